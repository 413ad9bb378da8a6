"""docs/control-api.md says what the daemon answers, and the daemon answers what it says: every route, every field."""

import json
import re
from itertools import dropwhile, takewhile
from pathlib import Path

import pytest

from hive_daemon.control.table import ENDPOINTS
from hive_daemon.control.wire import Route
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.tools.mcp_values import ServerState, ServerView, ToolView
from tests.conformance.test_incident_books import SEEN
from tests.fakes.clerk import add_clerk
from tests.fakes.control_client import Client
from tests.fakes.control_host import chain, node, running_host

API = (Path(__file__).parent.parent.parent / "docs" / "control-api.md").read_text()

SCALARS = {
    "text": str,
    "time": str,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "list of text": list,
    "list of object": list,
}
LISTS = {
    Route.AGENTS: "agent",
    Route.ENTRY_POINTS: "entry point",
    Route.EXECUTIONS: "execution",
    Route.QUEUE: "queued",
    Route.SESSIONS: "session",
    Route.SESSION_CHECKPOINTS: "checkpoint",
    Route.APPROVALS: "approval",
    Route.INCIDENTS: "incident",
    Route.WEBHOOKS: "webhook route",
    Route.DELIVERIES: "webhook delivery",
    Route.WEBHOOKS_REPLAY: "webhook replay",
    Route.MCP: "mcp server",
    Route.TIMERS: "timer",
    Route.TIMERS_PAUSE: "timer",
    Route.TIMERS_RESUME: "timer",
    Route.TIMER_NEXT: "fire",
    Route.TIMER_HISTORY: "occurrence",
}
OBJECTS = {
    Route.HEALTH: "health",
    Route.READY: "health",
    Route.LIVEZ: "health",
    Route.READYZ: "health",
    Route.STATUS: "status",
    Route.STATS: "stats",
    Route.PS: "processes",
    Route.SHOW: "thing",
    Route.WHY: "story",
    Route.TRIGGER: "accepted",
    Route.TRIGGER_OF_AGENT: "accepted",
    Route.EXECUTION: "execution",
    Route.TRACE: "trace",
    Route.CANCEL: "cancellation",
    Route.QUEUED: "explanation",
    Route.QUEUED_FRONT: "explanation",
    Route.QUEUED_CANCEL: "cancellation",
    Route.SESSION: "session",
    Route.SESSION_RESUME: "accepted",
    Route.SESSION_INPUT: "accepted",
    Route.APPROVAL: "approval",
    Route.BUDGETS: "budgets",
    Route.BUDGETS_FORECAST: "budget forecast",
    Route.INCIDENT: "incident",
    Route.INCIDENT_ACK: "incident",
    Route.INCIDENT_RESOLVE: "incident",
    Route.APPROVAL_DECIDE: "accepted",
    Route.TIMERS_SIMULATE: "simulation",
    Route.TIMER: "timer detail",
    Route.TIMER_TRIGGER: "accepted",
    Route.TIMER_BACKFILL: "backfill",
    Route.WEBHOOKS_TEST: "webhook trial",
    Route.DELIVERY: "webhook delivery",
    Route.DRAIN: "stats",
}
TRIAL = {"route": "/hooks/pager", "payload": "{}", "sign": True}
STREAMS = (Route.EVENTS, Route.SESSION_EVENTS)
STATUSES = {Route.TRIGGER: 202, Route.TRIGGER_OF_AGENT: 202, Route.DRAIN: 202} | dict.fromkeys(
    (
        Route.CANCEL,
        Route.QUEUED_CANCEL,
        Route.SESSION_RESUME,
        Route.SESSION_INPUT,
        Route.APPROVAL_DECIDE,
    ),
    202,
)
STATUSES[Route.TIMER_TRIGGER] = 202


def sections():
    parts = re.split(r"^#+ (.*)$", API, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def table(text):
    below = dropwhile(lambda line: not line.startswith("|"), text.splitlines())
    rows = list(takewhile(lambda line: line.startswith("|"), below))
    cells = [re.split(r"(?<!\\)\|", row)[1:-1] for row in rows[2:]]
    return [[cell.strip() for cell in row] for row in cells]


SECTIONS = sections()
SHAPES = {
    name: {row[0].strip("`"): (row[1], row[2]) for row in table(SECTIONS[name])}
    for name in (
        "execution",
        "waiting",
        "asking",
        "session",
        "checkpoint",
        "accepted",
        "queued",
        "explanation",
        "hold",
        "processes",
        "process",
        "thing",
        "story",
        "link",
        "trace",
        "span",
        "cancellation",
        "timer",
        "pause",
        "timer detail",
        "fire",
        "occurrence",
        "backfill",
        "ran",
        "simulation",
        "collision",
        "clock change",
        "approval",
        "incident",
        "budget",
        "budget standing",
        "budgets",
        "budget forecast",
        "prospect",
        "outlook",
        "webhook route",
        "webhook delivery",
        "webhook trial",
        "webhook check",
        "webhook replay",
        "mcp server",
        "mcp tool",
        "agent",
        "entry point",
        "webhook",
        "stats",
        "stream",
        "store",
        "timers summary",
        "next timer",
        "events summary",
        "model summary",
        "health",
        "status",
        "agent status",
        "check",
        "event",
        "stream end",
    )
}


def assert_shaped(value, name, *, listed=False):
    """The object has exactly the documented fields, in their order, of the documented types, and so inside."""
    shape = {
        field: kind
        for field, (kind, remark) in SHAPES[name].items()
        if not (listed and "left out in lists" in remark)
    }
    assert list(value) == list(shape), name
    for field, kind in shape.items():
        assert_typed(value[field], kind, f"{name}.{field}", listed=listed)


def assert_typed(value, kind, where, *, listed=False):
    if kind.endswith(" or null"):
        if value is None:
            return
        kind = kind.removesuffix(" or null")
    if kind in SCALARS:
        assert isinstance(value, SCALARS[kind]), (where, value)
        if kind == "time":
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", value), (where, value)
        if kind == "number":
            assert not isinstance(value, bool), where
    elif kind.startswith("list of "):
        for item in value:
            assert_shaped(item, kind.removeprefix("list of "))
    else:
        # A session shows its execution whole, the end of a stream as in lists.
        assert_shaped(value, kind, listed=where == "stream end.execution")


def test_every_route_has_an_endpoint_and_nothing_else_does():
    assert set(ENDPOINTS) == set(Route)
    told_apart = {Route.SESSION_STATE, Route.METRICS, Route.LOGS}
    assert {*LISTS, *OBJECTS, *STREAMS, *told_apart} == set(Route)


@pytest.mark.parametrize("route", Route, ids=lambda route: route.name)
def test_every_parameter_is_documented_and_nothing_else_is(route):
    text = SECTIONS[str(route)]
    named = set(re.findall(r"`\?(\w+)=", text))
    if "list of" in text and ENDPOINTS[route].query:
        named |= {"limit", "cursor"}
    if "section 6" in text:
        named |= set(re.findall(r"`\?(after|last|since|until|live)=", SECTIONS["6. Event streams"]))
    assert named == set(ENDPOINTS[route].query)


@pytest.mark.parametrize("route", Route, ids=lambda route: route.name)
def test_every_key_of_a_body_is_documented_and_nothing_else_is(route):
    text = SECTIONS[str(route)]
    if route is Route.TRIGGER:
        text = SECTIONS[str(Route.TRIGGER_OF_AGENT)]
    bodies = [json.loads(body) for body in re.findall(r"(?:Body `|```json\n)(\{.*\})", text)]
    if route is Route.TIMERS_RESUME:
        bodies[0] |= {"note": "as above"}
        assert "`note` is taken" in text
    assert {key for body in bodies for key in body} == set(ENDPOINTS[route].keys)
    assert ("Idempotency-Key" in text) == ENDPOINTS[route].takes_key


@pytest.fixture
async def world(tmp_path):
    """A daemon in which something of everything has happened, and the ids in it."""
    async with running_host(tmp_path) as host:
        client = Client(host.socket)
        host.gate.is_open.set()
        done = await _run(client, "ops/triage")
        asking = await _run(client, "desk/ask")
        resting = await _run(client, "desk/rest")
        await _backfill(client)
        await client.post("/v1/timers/pause", {"ids": ["report"], "note": "n"})
        await client.post("/v1/webhooks/test", {**TRIAL, "send": True}, key="k")
        await add_clerk(host)
        paying = await _run(client, "clerk/pay")
        limited = EntryPointSpec(id="limited", budgets=[{"usd": 1.0, "per": "1d"}])
        await host.add("payer", chain("payer", node("look")), limited)
        waiting = await _put_in_line(host, client)
        host.degrade("broken", "no nodes")
        host.incidents.sight(SEEN)
        await host.incidents.settle()
        yield client, done, asking, resting, paying, waiting


async def _backfill(client):
    body = {"start": "2026-03-02", "end": "2026-03-03"}
    done = await client.post(Route.TIMER_BACKFILL.path(timer="ops/report"), body)
    assert [one["began"] for one in done.json["instants"]] == [True]


async def _run(client, address):
    answer = await client.post(f"/v1/entry-points/{address}/trigger", {"input": {"log": "x"}})
    name = answer.json["execution_id"]
    await client.get(f"/v1/executions/{name}?wait=15")
    return name


async def _put_in_line(host, client):
    """Return an execution that waits for its turn."""
    rare = EntryPointSpec(id="rare", flow={"throttle": {"limit": 1, "per": "1h"}})
    await host.add("line", chain("line", node("look")), rare)
    await _run(client, "line/rare")
    answer = await client.post("/v1/entry-points/line/rare/trigger", {})
    assert answer.json["due_at"] is not None
    return answer.json["execution_id"]


def _path(route, done, asking, resting, paying, waiting):
    session = {Route.SESSION_RESUME: resting, Route.SESSION_INPUT: asking}.get(route, done)
    execution = asking if route is Route.CANCEL else done
    if "/queue/" in route:
        execution = waiting
    names = {"agent": "ops", "entry_point": "triage", "execution": execution, "session": session}
    names["approval"] = paying
    names["incident"] = SEEN.incident_id
    names["timer"] = "ops/report"
    names["id"] = "timers/ops/report" if route is Route.WHY else asking
    used = re.findall(r"\{(\w+)\}", route.template)
    return route.path(**{name: names[name] for name in used})


async def _delivery(client):
    [delivery] = (await client.get(Route.DELIVERIES.path())).json["items"]
    return Route.DELIVERY.path(delivery=delivery["delivery_id"])


@pytest.mark.parametrize("route", [*LISTS, *OBJECTS], ids=lambda route: route.name)
async def test_every_answer_has_exactly_the_documented_fields(world, route):
    client, *names = world
    bodies = {
        Route.SESSION_INPUT: {"text": "yes"},
        Route.APPROVAL_DECIDE: {"decision": "approve"},
        Route.WEBHOOKS_TEST: TRIAL,
        Route.TIMER_BACKFILL: {"start": "2026-03-01", "end": "2026-03-05"},
        Route.WEBHOOKS_REPLAY: {"since": "1h", "dry_run": True},
    }
    body = bodies.get(route)
    path = _path(route, *names) if route is not Route.DELIVERY else await _delivery(client)
    reply = await client.ask(route.method, path, body)
    assert reply.status == STATUSES.get(route, 200), reply.content
    if route in OBJECTS:
        assert_shaped(reply.json, OBJECTS[route])
        return
    assert list(reply.json) == ["items", "next_cursor"]
    assert reply.json["items"]
    for item in reply.json["items"]:
        assert_shaped(item, LISTS[route], listed=True)


def test_a_tool_of_a_server_is_shown_as_documented():
    tools = (ToolView("read", "Read."),)
    server = ServerView("files", "stdio", "files", ServerState.READY, tools=tools, starts=1)
    assert_shaped({"agent": "desk", **server.to_json()}, "mcp server")


@pytest.mark.parametrize("which", [1, 2, 3])
async def test_what_waits_is_shown_as_documented(world, which):
    client, *names = world
    execution = (await client.get(f"/v1/executions/{names[which]}")).json
    assert_shaped(execution, "execution")
    assert execution["waiting"] is not None


async def test_checks_are_shown_as_documented(world):
    client, *_ = world
    for path in ("/v1/health", "/v1/ready"):
        for check in (await client.get(path)).json["checks"].values():
            assert_shaped(check, "check")


@pytest.mark.parametrize("route", STREAMS, ids=lambda route: route.name)
async def test_events_are_shown_as_documented(world, route):
    client, *names = world
    until = "settled" if route is Route.SESSION_EVENTS else "caught_up"
    messages = await client.messages(f"{_path(route, *names)}?until={until}")
    *events, caught_up, end = [json.loads(message.data) for message in messages]
    assert events
    for event in events:
        assert_shaped(event, "event")
    assert list(caught_up) == ["seq"]
    assert_shaped(end, "stream end")
    assert (end["execution"] is None) == (until == "caught_up")


async def test_errors_are_shown_as_documented(world):
    client, *_ = world
    reply = await client.get("/v1/executions/session_2")
    assert list(reply.json) == ["error"]
    assert list(reply.error) == ["code", "message", "hint", "candidates"]
    assert list((await client.get("/v1/nothing")).error) == ["code", "message", "hint"]
