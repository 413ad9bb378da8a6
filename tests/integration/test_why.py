"""`/v1/why`: every situation is staged for real, and the story names its true cause with the facts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hive_daemon.budgets.rules import Amount
from hive_daemon.clock import Clock
from hive_daemon.control.wire import Route
from hive_daemon.monitoring.agent_watch import AgentWatch
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.webhook_schemes import Check, Verify, proof
from hive_daemon.storage.budget_ledger import Asking
from hive_daemon.storage.timer_values import LEDGER_NAME
from hive_daemon.storage.values import EventFilter
from tests.fakes.clerk import Clerk, add_clerk
from tests.fakes.clock import FakeClock
from tests.fakes.control_client import Client
from tests.fakes.control_host import Host, chain, node, running_host
from tests.fakes.timed_agent import NINE
from tests.fakes.webhook_bench import post

TRIGGER = "/v1/entry-points/{}/trigger"
SECRET = "s3cret-of-pager"


def every(address: str, **more: Any) -> EntryPointSpec:
    """An entry point at a node that waits at the gate, with a timer each minute."""
    given = {"interval_minutes": 1, **more.pop("config", {})}
    return EntryPointSpec(
        id=address,
        trigger_type="timer",
        trigger_config=given,
        isolation_level="isolated",
        **more,
    )


async def add_line(host: Host) -> None:
    """Add an agent whose entry points each have another reason to let an execution wait, or end."""
    await host.add(
        "line",
        chain("line", node("hold"), node("after")),
        EntryPointSpec(id="one", concurrency={"max": 1}),
        EntryPointSpec(id="keyed", concurrency={"max": 1, "key": "input.user"}),
        EntryPointSpec(id="calm", flow={"debounce": {"period": "1h"}}),
        EntryPointSpec(id="slow", flow={"throttle": {"limit": 1, "per": "1h"}}),
        EntryPointSpec(id="newest", concurrency={"max": 1, "strategy": "interrupt"}),
        EntryPointSpec(id="brief", concurrency={"max": 1, "queue_timeout": "50ms"}),
        EntryPointSpec(id="quick", timeout=0.2),
        EntryPointSpec(
            id="itself",
            entry_node="after",
            trigger_type="event",
            trigger_config={"event_types": ["execution_failed"], "filter_graph": "line"},
            isolation_level="isolated",
        ),
    )


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with running_host(tmp_path) as host:
        await add_line(host)
        yield host


@pytest.fixture
def client(host: Host) -> Client:
    return Client(host.socket)


async def start(client: Client, address: str, **body: Any) -> str:
    reply = await client.post(TRIGGER.format(address), body)
    assert reply.status == 202, reply.content
    return str(reply.json["execution_id"])


async def settled(client: Client, name: str) -> None:
    await client.get(f"/v1/executions/{name}?wait=15")


async def why(client: Client, name: str, at: str = "") -> dict[str, Any]:
    """Return the story, with its chain as one text."""
    reply = await client.get(Route.WHY.path(id=name) + (f"?at={at}" if at else ""))
    assert reply.status == 200, reply.content
    story: dict[str, Any] = reply.json
    return {**story, "chain": "\n".join(link["text"] for link in story["chain"])}


async def until(client: Client, name: str, cause: str) -> dict[str, Any]:
    """Ask until a story has this cause: what brings it about was ordered and takes its time."""
    async with asyncio.timeout(15):
        while (story := await why(client, name))["cause"] != cause:
            await asyncio.sleep(0.01)
    return story


# --- what waits -----------------------------------------------------------------------------------


async def test_one_that_waits_for_a_slot(host: Host, client: Client) -> None:
    await start(client, "line/one")
    await host.gate.entered.wait()
    second = await start(client, "line/one")
    story = await why(client, second)
    assert story["cause"] == "lane"
    assert "the slots of line/one are taken: 1 of 1" in story["answer"]
    assert story["remedy"] == f"hive queue explain {second}"


async def test_one_whose_key_is_busy(host: Host, client: Client) -> None:
    await start(client, "line/keyed", input={"user": "ann"})
    await host.gate.entered.wait()
    second = await start(client, "line/keyed", input={"user": "ann"})
    story = await why(client, second)
    assert story["cause"] == "key"
    assert "'ann'" in story["answer"]


async def test_one_whose_session_is_written_by_another(host: Host, client: Client) -> None:
    first = await start(client, "ops/triage")
    await host.gate.entered.wait()
    second = await start(client, "ops/triage", session_id=first)
    story = await why(client, second)
    assert story["cause"] == "session"
    assert f"{first} writes its session" in story["answer"]


async def test_one_that_is_held_by_a_debounce(client: Client) -> None:
    await start(client, "line/calm")
    held = await start(client, "line/calm")
    story = await why(client, held)
    assert story["cause"] == "debounce"
    assert "2 came so far" in story["answer"]


async def test_one_that_cools_down_behind_a_throttle(client: Client) -> None:
    await start(client, "line/slow")
    second = await start(client, "line/slow")
    story = await why(client, second)
    assert story["cause"] == "throttle"
    assert "its slot comes in" in story["answer"]


async def test_one_that_waited_too_long(host: Host, client: Client) -> None:
    await start(client, "line/brief")
    await host.gate.entered.wait()
    second = await start(client, "line/brief")
    story = await until(client, second, "queue_timeout")
    assert "cancelled before it began" in story["answer"]


async def test_one_that_waits_while_the_daemon_drains(host: Host, client: Client) -> None:
    await start(client, "line/one")
    await host.gate.entered.wait()
    second = await start(client, "line/one")
    host.stop.drain.set()
    story = await why(client, second)
    assert story["cause"] == "draining"
    assert "runs after the next start" in story["answer"]


async def test_one_whose_agent_is_degraded(tmp_path: Path) -> None:
    async with running_host(tmp_path) as host:
        await add_line(host)
        client = Client(host.socket)
        await start(client, "line/calm")
        held = await start(client, "line/calm")
    async with running_host(tmp_path) as again:
        again.degrade("line", "agent.py: NameError")
        story = await why(Client(again.socket), held)
    assert story["cause"] == "degraded"
    assert "its agent line does not run: agent.py: NameError" in story["answer"]


# --- what runs, and what was put away ---------------------------------------------------------------


async def test_one_that_is_at_work(host: Host, client: Client) -> None:
    first = await start(client, "line/one")
    await host.gate.entered.wait()
    story = await until(client, first, "at_work")
    assert "runs at node hold" in story["answer"]


async def test_one_that_waits_for_a_person(client: Client) -> None:
    asks = await start(client, "desk/ask")
    await settled(client, asks)
    story = await why(client, asks)
    assert story["cause"] == "waiting_input"
    assert "waits for a person at node ask" in story["answer"]
    assert "May I go on?" in story["answer"]
    assert story["remedy"] == f"hive sessions input {asks} -"


async def test_one_that_waits_for_an_approval(host: Host, client: Client) -> None:
    await add_clerk(host)
    pays = await start(client, "clerk/pay")
    await settled(client, pays)
    story = await why(client, pays)
    assert story["cause"] == "waiting_approval"
    assert "May send be called" in story["answer"]
    assert story["remedy"] == f"hive approvals show {pays}"


async def test_one_that_is_paused(client: Client) -> None:
    rests = await start(client, "desk/rest")
    await settled(client, rests)
    story = await why(client, rests)
    assert story["cause"] == "paused"
    assert "is paused at node stop" in story["answer"]
    assert story["remedy"] == f"hive sessions resume {rests}"


async def test_one_whose_budget_is_spent(host: Host, client: Client) -> None:
    budget = {"requests": 1, "per": "execution", "on_exceed": "pause"}
    spec = EntryPointSpec(id="thrifty", isolation_level="isolated", budgets=[budget])
    await add_clerk(host, Clerk(extra=(spec,)))
    spends = await start(client, "clerk/thrifty")
    await settled(client, spends)
    story = await why(client, spends)
    assert story["cause"] == "budget"
    assert "requests" in story["answer"]
    assert story["remedy"] == "hive budget status"


# --- what ended -------------------------------------------------------------------------------------


async def test_one_that_failed_names_the_node_and_its_error(host: Host, client: Client) -> None:
    host.gate.is_open.set()
    host.gate.fails.add("after")
    failed = await start(client, "line/one")
    await settled(client, failed)
    story = await why(client, failed)
    assert story["cause"] == "failed_node"
    assert "node after failed" in story["answer"]
    assert "after does not work" in story["answer"]
    assert "node after failed: after does not work" in story["chain"]


async def test_one_that_took_too_long(client: Client) -> None:
    late = await start(client, "line/quick")
    await settled(client, late)
    story = await why(client, late)
    assert story["cause"] == "timed_out"
    assert "0.2" in story["answer"]


async def test_one_that_somebody_cancelled(host: Host, client: Client) -> None:
    first = await start(client, "line/one")
    await host.gate.entered.wait()
    await client.post(Route.CANCEL.path(execution=first), {})
    await settled(client, first)
    story = await why(client, first)
    assert story["cause"] == "cancelled"
    assert re.search(r"cancelled by uid:\d+", story["answer"])
    assert "while it was at node hold" in story["answer"]


async def test_one_that_somebody_cancelled_for_a_reason_of_their_own(
    host: Host, client: Client
) -> None:
    first = await start(client, "line/one")
    await host.gate.entered.wait()
    await client.post(Route.CANCEL.path(execution=first), {"reason": "wrong log"})
    await settled(client, first)
    story = await why(client, first)
    assert story["cause"] == "cancelled"
    assert re.search(r"wrong log, ordered by uid:\d+", story["answer"])


async def test_one_that_was_replaced(host: Host, client: Client) -> None:
    first = await start(client, "line/newest")
    await host.gate.entered.wait()
    second = await start(client, "line/newest")
    await settled(client, first)
    story = await why(client, first)
    assert story["cause"] == "cancelled"
    assert f"replaced by {second}" in story["answer"]


async def test_a_chain_is_followed_back_to_what_began_it(host: Host, client: Client) -> None:
    host.gate.is_open.set()
    host.gate.fails.add("after")
    first = await start(client, "line/one")
    await settled(client, first)
    listed = (await client.get("/v1/executions?entry_point=line/itself")).json["items"]
    await settled(client, listed[0]["id"])
    story = await why(client, listed[0]["id"])
    assert f"execution_failed of {first} (line/one) set it off" in story["chain"]
    assert f"{first} of line/one is failed: after does not work" in story["chain"]


async def test_a_chain_that_was_suppressed(host: Host, client: Client) -> None:
    host.gate.is_open.set()
    host.gate.fails.add("after")
    first = await start(client, "line/one")
    await settled(client, first)
    listed = (await client.get("/v1/executions?entry_point=line/itself")).json["items"]
    await settled(client, listed[0]["id"])
    told = await host.services.store.executions.history(kept("trigger_suppressed"))
    story = await why(client, f"events/{told[0].seq}")
    assert story["cause"] == "suppressed"
    assert "line/itself was not set off by execution_failed" in story["answer"]
    assert "it is part of the chain that led here" in story["answer"]
    assert "line/one > line/itself" in story["chain"]


def kept(kind: str) -> EventFilter:
    return EventFilter(types=(kind,))


# --- webhooks -------------------------------------------------------------------------------------


async def deliver(host: Host, name: str, body: bytes, target: str = "/hooks/pager") -> None:
    headers = proof(Check(Verify.GITHUB, (SECRET.encode(),)), body, 0, name)
    await post(host.webhooks, body, headers, target=target)


async def deliveries(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/v1/webhooks/deliveries")).json["items"]
    return found


async def test_a_delivery_that_came_twice_started_once(host: Host, client: Client) -> None:
    host.gate.is_open.set()
    for _ in range(2):
        await deliver(host, "d-1", b'{"n": 1}')
    await host.webhooks.desk.noted()
    (row,) = await deliveries(client)
    story = await why(client, row["delivery_id"])
    assert story["cause"] == "duplicate"
    assert "came twice and started session_" in story["answer"]
    began = row["execution_ids"][0]
    assert (
        f"webhook delivery {row['delivery_id']} came on /hooks/pager"
        in (await why(client, began))["chain"]
    )


@pytest.fixture
async def picky(host: Host) -> Host:
    """The daemon, with an agent that takes one delivery in an hour, and only some."""
    await host.add(
        "picky",
        chain("picky", node("take")),
        EntryPointSpec(
            id="take",
            trigger_type="event",
            trigger_config={"event_types": ["webhook_received"], "filter_stream": "picky"},
            isolation_level="isolated",
            flow={"rate_limit": {"limit": 1, "per": "1h"}},
        ),
        routes=[
            {
                "source_id": "picky",
                "path": "/hooks/picky",
                "secret": SECRET,
                "filters": [{"field": "$.action", "in": ["opened"]}],
            }
        ],
    )
    return host


async def test_a_delivery_that_the_filter_kept_out(picky: Host, client: Client) -> None:
    await deliver(picky, "d-1", b'{"action": "closed"}', "/hooks/picky")
    (row,) = await deliveries(client)
    story = await why(client, row["delivery_id"])
    assert story["cause"] == "filtered"
    assert "the filter of /hooks/picky kept it out" in story["answer"]
    assert "action" in story["answer"]


async def test_a_delivery_that_came_too_fast(picky: Host, client: Client) -> None:
    for name in ("d-1", "d-2"):
        await deliver(picky, name, b'{"action": "opened"}', "/hooks/picky")
    newest, _ = await deliveries(client)
    story = await why(client, newest["delivery_id"])
    assert story["cause"] == "refused"
    assert "rate_limited" in story["answer"]
    assert story["remedy"] == f"hive webhooks replay {newest['delivery_id']}"


# --- timers ---------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NINE, auto=False)


async def add_timers(host: Host) -> None:
    await host.add(
        "clock",
        chain("clock", node("hold"), node("after")),
        every("skips"),
        every("idles", config={"idle_timeout_seconds": 300}),
        every("fails", entry_node="after", config={"pause_on_failure": 1}),
    )


@pytest.fixture
async def timed(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Host]:
    async with running_host(tmp_path, clock=clock) as host:
        await add_timers(host)
        yield host


async def settle(host: Host, clock: FakeClock, timer: str, count: int) -> None:
    """Let time pass until a timer has settled so many instants."""
    ledger = host.services.store.timers
    for _ in range(count):
        before = len(await ledger.occurrences(timer))
        await clock.advance(60)
        async with asyncio.timeout(15):
            while len(await ledger.occurrences(timer)) <= before:
                await asyncio.sleep(0.005)


async def test_a_timer_that_a_person_paused(timed: Host, clock: FakeClock) -> None:
    client = Client(timed.socket)
    await client.post("/v1/timers/pause", {"ids": ["clock/skips"], "note": "deploy"})
    await settle(timed, clock, "clock/skips", 1)
    now = await why(client, "timers/skips")
    assert now["cause"] == "timer_paused"
    assert re.search(r"paused by uid:\d+ at 2026-03-02 09:00:00", now["answer"])
    assert "deploy" in now["answer"]
    assert now["remedy"] == "hive timers resume clock/skips"
    then = await why(client, "timers/clock/skips", at="09:01")
    assert then["cause"] == "timer_paused"
    assert "started nothing at 2026-03-02 09:01:00+00:00: the timer was paused" in then["answer"]


async def test_a_timer_whose_last_execution_still_runs(timed: Host, clock: FakeClock) -> None:
    client = Client(timed.socket)
    await settle(timed, clock, "clock/skips", 2)
    first = (await client.get("/v1/executions?entry_point=clock/skips")).json["items"][0]["id"]
    story = await why(client, "timers/skips", at="09:02")
    assert story["cause"] == "overlap"
    assert "its last execution still runs" in story["answer"]
    assert f"{first} began 2026-03-02 09:01:00 UTC" in story["answer"]


async def test_a_timer_that_fired_is_followed_to_its_execution(
    timed: Host, clock: FakeClock
) -> None:
    client = Client(timed.socket)
    await settle(timed, clock, "clock/skips", 1)
    story = await why(client, "timers/skips", at="2026-03-02T09:01")
    assert story["cause"] == "fired"
    assert "fired at 2026-03-02 09:01:00+00:00 and began session_" in story["answer"]
    assert "clock/skips was accepted, from timer" in story["chain"]


async def test_a_timer_of_a_busy_agent(timed: Host, clock: FakeClock) -> None:
    client = Client(timed.socket)
    await start(client, "clock/skips")
    await timed.gate.entered.wait()
    await settle(timed, clock, "clock/idles", 1)
    story = await why(client, "timers/idles", at="09:01")
    assert story["cause"] == "idle"
    assert "less than idle_timeout_seconds 300" in story["answer"]


async def test_a_timer_whose_budget_is_spent(timed: Host, clock: FakeClock) -> None:
    budget = {"requests": 5, "per": "1h"}
    await timed.add("poor", chain("poor", node("after")), every("held", budgets=[budget]))
    hour = timed.services.budgets.hour()
    subject = "entry_point:poor/held"
    spent = Asking("t", (subject,), hour, Amount(requests=5), (), is_final=True)
    await timed.services.store.budgets.reserve(spent)
    await settle(timed, clock, "poor/held", 1)
    story = await why(Client(timed.socket), "timers/held", at="09:01")
    assert story["cause"] == "budget"
    assert "5 of 5 requests" in story["answer"]
    assert story["remedy"] == "hive budget status"


async def test_a_timer_of_an_agent_whose_key_is_refused(host: Host, client: Client) -> None:
    refused = {"error": {"kind": "auth", "message": "invalid x-api-key"}, "repeat": True}
    spec = EntryPointSpec(id="plain", isolation_level="isolated")
    await add_clerk(host, Clerk(script={"nodes": {"work": [refused]}}, extra=(spec, every("tick"))))
    opened = host.runtime("clerk").opened
    assert opened is not None
    timers = opened.timers.source

    def pause(agent: str, reason: str) -> list[str]:
        timers.set_paused(list(timers.timers), True, by=LEDGER_NAME, note=reason)
        return list(timers.timers)

    host.fortunes = AgentWatch(pause, lambda agent, ids: None)
    host.services.hub.listen(host.fortunes.tell)
    for _ in range(3):
        last = await start(client, "clerk/plain")
        await settled(client, last)
    story = await until(client, "timers/clerk/tick", "degraded")
    assert "refused the key 3 times in a row" in story["answer"]
    assert "invalid x-api-key" in story["answer"]
    failed = await why(client, last)
    assert failed["cause"] == "model_failed"
    assert "(auth)" in failed["answer"]


async def test_a_timer_that_failed_too_often(timed: Host, clock: FakeClock) -> None:
    client = Client(timed.socket)
    timed.gate.fails.add("after")
    await settle(timed, clock, "clock/fails", 1)
    async with asyncio.timeout(15):
        while (story := await why(client, "timers/fails"))["cause"] != "failing":
            await clock.advance(1)
            await asyncio.sleep(0.01)
    assert "paused by the daemon itself" in story["answer"]
    assert "1 execution failed" in story["answer"]
    for _ in range(2):
        await clock.advance(60)
    story = await why(client, "timers/fails")
    assert "skipped_paused" not in story["chain"]
    assert re.search(r"fired \(session_\S+, failed\)", story["chain"])
    assert re.search(r"session_\S+ failed: node after failed: ", story["chain"])


async def test_a_timer_that_nobody_was_there_for(tmp_path: Path, clock: FakeClock) -> None:
    later: Clock = FakeClock(NINE + 7200, auto=False)
    async with running_host(tmp_path, clock=clock) as host:
        await add_timers(host)
        await settle(host, clock, "clock/skips", 1)
    async with running_host(tmp_path, clock=later) as again:
        await add_timers(again)
        client = Client(again.socket)
        async with asyncio.timeout(15):
            while (story := await why(client, "timers/clock/skips", "10:00"))["cause"] == "not_due":
                await asyncio.sleep(0.005)
    assert story["cause"] == "missed"
    assert "missed 2026-03-02 10:00:00+00:00: nobody was there" in story["answer"]


async def test_a_time_at_which_a_timer_was_not_due(timed: Host, clock: FakeClock) -> None:
    client = Client(timed.socket)
    await settle(timed, clock, "clock/skips", 1)
    story = await why(client, "timers/clock/skips", at="08:00")
    assert story["cause"] == "not_due"
    assert "the next one was 2026-03-02 09:01:00+00:00 (fired)" in story["answer"]


async def test_a_time_is_for_timers_only(client: Client) -> None:
    held = await start(client, "line/calm")
    reply = await client.get(Route.WHY.path(id=held) + "?at=09:00")
    assert (reply.status, reply.code) == (400, "invalid")
