"""`hive ps`, `show`, `why`, `top`: the real commands, with a running daemon and with the store of one that is down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hive_daemon.control.wire import Route
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.webhook_schemes import Check, Verify, proof
from hive_daemon.storage.incident_book import Sighting
from tests.fakes.clerk import Clerk, add_clerk
from tests.fakes.control_client import SECONDS, Client
from tests.fakes.control_host import Host, running_host
from tests.fakes.hive_command import run_hive
from tests.fakes.timed_agent import NINE
from tests.fakes.webhook_bench import post

TRIGGER = "/v1/entry-points/{}/trigger"
Ran = tuple[int | None, str, str]
Run = Callable[..., Awaitable[Ran]]


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with running_host(tmp_path) as host:
        yield host


@pytest.fixture
def client(host: Host) -> Client:
    return Client(host.socket)


@pytest.fixture
def hive(tmp_path: Path) -> Run:
    """Run a command where the daemon's socket and state are; answer its exit code, stdout, stderr."""

    async def run(*arguments: str) -> Ran:
        state = str(tmp_path / "state")
        return await run_hive(tmp_path / "hived.sock", *arguments, HIVE_STATE_DIR=state)

    return run


async def start(client: Client, address: str, **body: Any) -> str:
    reply = await client.post(TRIGGER.format(address), body)
    assert reply.status == 202, reply.content
    return str(reply.json["execution_id"])


async def settled(client: Client, address: str) -> str:
    name = await start(client, address)
    await client.get(f"/v1/executions/{name}?wait=15")
    return name


async def shown(client: Client, id: str) -> Any:
    reply = await client.get(Route.SHOW.path(id=id))
    assert reply.status == 200, reply.content
    return reply.json


# --- ps -------------------------------------------------------------------------------------------


async def test_ps_lists_what_has_not_ended(host: Host, client: Client) -> None:
    asks, rests = await settled(client, "desk/ask"), await settled(client, "desk/rest")
    host.gate.is_open.set()
    done = await settled(client, "ops/triage")
    lines = (await client.get("/v1/ps")).json["items"]
    assert {line["id"] for line in lines} == {asks, rests}
    every = (await client.get("/v1/ps?all=true")).json["items"]
    assert {line["id"] for line in every} == {asks, rests, done}


async def test_ps_says_what_runs_and_gives_no_sign_of_life(host: Host, client: Client) -> None:
    name = await start(client, "ops/triage")
    await host.gate.entered.wait()
    [line] = (await client.get("/v1/ps")).json["items"]
    assert (line["id"], line["held_by"], line["waits_for"]) == (name, None, None)
    stream = host.runtime("ops").get_stream("triage")
    assert stream is not None
    execution = stream.get_context(name)
    assert execution is not None
    [pulse] = execution.pulses
    pulse.is_told = True  # What the stall watch does when the silence has been long enough.
    [line] = (await client.get("/v1/ps?filter=held_by=stalled")).json["items"]
    assert line["waits_for"].startswith("no sign of life for ")
    assert line["waits_for"].endswith(", at node hold")
    host.gate.is_open.set()


async def test_ps_filters_and_sorts(host: Host, client: Client) -> None:
    host.gate.is_open.set()
    asks, done = await settled(client, "desk/ask"), await settled(client, "ops/triage")
    of_desk = (await client.get("/v1/ps?all=true&filter=agent=desk")).json["items"]
    assert [line["id"] for line in of_desk] == [asks]
    assert of_desk[0]["held_by"] == "input"
    assert of_desk[0]["waits_for"] == "May I go on?"
    by_steps = (await client.get("/v1/ps?all=true&sort=-steps")).json["items"]
    assert [line["id"] for line in by_steps] == [done, asks]
    some = (await client.get("/v1/ps?all=true&filter=status=comp*&filter=status=failed")).json
    assert [line["id"] for line in some["items"]] == [done]


@pytest.mark.parametrize("query", ["filter=colour=red", "filter=status", "sort=-price", "all=1"])
async def test_ps_refuses_what_it_does_not_know(client: Client, query: str) -> None:
    reply = await client.get(f"/v1/ps?{query}")
    assert (reply.status, reply.code) == (400, "invalid")


async def test_ps_says_which_model_was_called_and_what_it_cost(host: Host, client: Client) -> None:
    await add_clerk(host)
    await settled(client, "clerk/pay")
    (line,) = (await client.get("/v1/ps?filter=agent=clerk")).json["items"]
    assert line["model"]
    assert line["held_by"] == "approval"
    assert "cost_usd" in line


async def test_ps_names_the_model_that_is_asked_for_the_first_time(
    host: Host, client: Client
) -> None:
    slow = {"delay_seconds": 600, "text": "late"}
    spec = EntryPointSpec(id="plain", isolation_level="isolated")
    await add_clerk(host, Clerk(script={"nodes": {"work": [slow]}}, extra=(spec,)))
    name = await start(client, "clerk/plain")
    async with asyncio.timeout(SECONDS):
        # The node begins after the answer to the trigger.
        while (await line_of(client, name))["model"] != "scripted":
            await asyncio.sleep(0.01)
    assert (await line_of(client, name))["input_tokens"] == 0


async def line_of(client: Client, name: str) -> dict[str, Any]:
    items: list[dict[str, Any]] = (await client.get("/v1/ps")).json["items"]
    return next(line for line in items if line["id"] == name)


async def test_what_its_budget_paused_stands_at_the_node_that_asked(
    host: Host, client: Client
) -> None:
    budget = {"requests": 1, "per": "execution", "on_exceed": "pause"}
    spec = EntryPointSpec(id="thrifty", isolation_level="isolated", budgets=[budget])
    await add_clerk(host, Clerk(extra=(spec,)))
    name = await settled(client, "clerk/thrifty")
    execution = (await client.get(f"/v1/executions/{name}")).json
    assert (execution["status"], execution["error_code"]) == ("paused", "budget_exceeded")
    assert (execution["current_node"], execution["paused_at"]) == ("work", "work")
    assert (await line_of(client, name))["node"] == "work"
    story = (await client.get(Route.WHY.path(id=name))).json
    assert "is paused at node work, since" in story["answer"]


async def test_hive_ps_writes_a_table(client: Client, hive: Run) -> None:
    asks = await settled(client, "desk/ask")
    code, out, _ = await hive("ps", "--filter", "agent=desk", "--sort", "-cost")
    assert code == 0
    assert asks in out
    assert "input May I go on?" in out


async def test_hive_top_writes_as_many_pictures_as_it_is_told(client: Client, hive: Run) -> None:
    asks = await settled(client, "desk/ask")
    code, out, _ = await hive("top", "-n", "2", "--every", "200ms")
    assert code == 0
    assert out.count("EXECUTION") == out.count(asks) == 2
    assert out.count("1 waiting input; 0.0 tokens/s") == 2
    assert "\x1b" not in out


# --- show -----------------------------------------------------------------------------------------


async def test_whatever_has_an_id_is_shown(host: Host, client: Client) -> None:
    await add_clerk(host)
    asks, pays = await settled(client, "desk/ask"), await settled(client, "clerk/pay")
    assert (await shown(client, asks))["kind"] == "execution"
    assert (await shown(client, asks.removeprefix("session_")[:-2]))["id"] == asks
    assert (await shown(client, f"sessions/{asks}"))["shown"]["id"] == asks
    assert (await shown(client, "timers/report"))["shown"]["id"] == "ops/report"
    assert (await shown(client, "ops/report"))["kind"] == "timer"
    event = await shown(client, "events/1")
    assert event["shown"]["seq"] == 1
    (approval,) = (await client.get("/v1/approvals")).json["items"]
    assert (await shown(client, approval["id"]))["shown"]["execution_id"] == pays
    (checkpoint, *_) = (await client.get(f"/v1/sessions/{asks}/checkpoints")).json["items"]
    name = f"{asks}/{checkpoint['checkpoint_id']}"
    assert (await shown(client, name))["shown"] == checkpoint


async def test_a_delivery_is_shown_by_the_beginning_of_its_id(host: Host, client: Client) -> None:
    host.gate.is_open.set()
    headers = proof(Check(Verify.GITHUB, (b"s3cret-of-pager",)), b"{}", 0, "d-1")
    await post(host.webhooks, b"{}", headers, target="/hooks/pager")
    (row,) = (await client.get("/v1/webhooks/deliveries")).json["items"]
    found = await shown(client, row["delivery_id"][:12])
    assert (found["kind"], found["id"]) == ("delivery", row["delivery_id"])


async def test_an_incident_is_shown_and_told_of(host: Host, client: Client) -> None:
    seen = Sighting("ops", "triage", "stall", "silent", "high", "no step", "look", NINE)
    host.incidents.sight(seen)
    await host.incidents.settle()
    assert (await shown(client, seen.incident_id))["shown"]["cause"] == "no step"
    story = (await client.get(Route.WHY.path(id=seen.incident_id))).json
    assert (story["kind"], "seen once: no step" in story["answer"]) == ("incident", True)
    assert story["remedy"] == f"hive incidents ack {seen.incident_id}"


@pytest.mark.parametrize(
    ("id", "status"),
    [
        ("session_20200101_000000_00000000", 404),
        ("99999999", 404),
        ("events/99999999", 404),
        ("timers/nobody", 404),
        ("dlv_00", 404),
        ("inc_000000000000", 404),
        ("cp_node_start_x_000001", 404),
        ("what is this?", 400),
    ],
)
async def test_what_is_not_there_is_said(client: Client, id: str, status: int) -> None:
    for route in (Route.SHOW, Route.WHY):
        reply = await client.get(route.path(id=id))
        assert reply.status == status, reply.content


async def test_a_number_that_means_two_things_is_ambiguous(client: Client) -> None:
    asks = await settled(client, "desk/ask")
    digits = asks.removeprefix("session_")[:1]
    while (reply := await client.get(Route.SHOW.path(id=digits))).status == 200:
        await settled(client, "desk/rest")
    assert (reply.status, reply.code) == (409, "ambiguous")


async def test_hive_show_and_why_write_for_people(client: Client, hive: Run) -> None:
    asks = await settled(client, "desk/ask")
    code, out, _ = await hive("show", asks)
    assert code == 0
    assert out.startswith(f"execution {asks}\n")
    code, out, _ = await hive("show", "timers/report")
    assert (code, "OUTCOME" in out) == (0, True)
    code, out, _ = await hive("why", asks)
    assert code == 0
    first, *chain, last = out.splitlines()
    assert "waits for a person at node ask" in first
    assert any("was accepted, from api" in line for line in chain)
    assert last == f"next: hive sessions input {asks} -"


# --- without a daemon -------------------------------------------------------------------------------


@pytest.fixture
async def gone(tmp_path: Path) -> dict[str, str]:
    """The store of a daemon that is gone, with an execution that waits for a person and one that is paused."""
    async with running_host(tmp_path) as host:
        client = Client(host.socket)
        return {
            "asks": await settled(client, "desk/ask"),
            "rests": await settled(client, "desk/rest"),
        }


async def test_the_store_is_read_when_the_daemon_is_down(gone: dict[str, str], hive: Run) -> None:
    code, out, err = await hive("ps", "--json")
    assert code == 0, err
    assert {line["id"] for line in json.loads(out)["items"]} == set(gone.values())
    assert "hived is not running: this is what its store says" in err
    code, out, _ = await hive("show", gone["asks"])
    assert (code, "May I go on?" in out) == (0, True)
    code, out, _ = await hive("why", gone["rests"], "--json")
    assert (code, json.loads(out)["cause"]) == (0, "paused")
    code, out, _ = await hive("why", "timers/ops/report", "--json")
    assert (code, json.loads(out)["cause"]) == (0, "daemon_down")
    code, out, _ = await hive("sessions", "list", "--json")
    assert (code, len(json.loads(out)["items"])) == (0, 2)
    code, out, _ = await hive("sessions", "show", gone["asks"])
    assert (code, gone["asks"] in out) == (0, True)
    code, out, _ = await hive("sessions", "tail", gone["asks"], "--json")
    types = [json.loads(line)["type"] for line in out.splitlines()]
    assert (code, types[0], types[-1]) == (0, "execution_started", "execution_paused")
    code, out, _ = await hive("sessions", "tail", gone["asks"], "-n", "1", "--json")
    assert (code, len(out.splitlines())) == (0, 1)


async def test_what_is_not_in_the_store_is_not_found_without_a_daemon_too(
    gone: dict[str, str], hive: Run
) -> None:
    code, out, _ = await hive("show", "session_20200101_000000_00000000", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (3, "not_found")


async def test_without_a_store_the_daemon_is_unreachable(hive: Run) -> None:
    code, out, _ = await hive("ps", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (5, "unreachable")


async def test_reading_a_store_leaves_it_as_it_is(
    gone: dict[str, str], hive: Run, tmp_path: Path
) -> None:
    before = (tmp_path / "state" / "hive.db").read_bytes()
    await hive("why", gone["asks"])
    assert (tmp_path / "state" / "hive.db").read_bytes() == before
