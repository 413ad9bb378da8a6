"""`/v1/queue` and `hive queue`: what waits, why, and what can be done about it; how a refusal reaches a caller."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hive_daemon.runtime.entry_point import EntryPointSpec
from tests.fakes.control_client import Client
from tests.fakes.control_host import Host, chain, node, running_host
from tests.fakes.hive_command import run_hive

ROOT = Path(__file__).parent.parent.parent
TRIGGER = "/v1/entry-points/{}/trigger"


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    """A daemon with an agent whose executions wait at the gate."""
    async with running_host(tmp_path) as host:
        await host.add(
            "line",
            chain("line", node("hold")),
            EntryPointSpec(id="one", concurrency={"max": 1, "queue_max": 2}),
            EntryPointSpec(id="no", concurrency={"max": 1, "strategy": "reject"}),
            EntryPointSpec(id="rare", flow={"rate_limit": {"limit": 1, "per": "1h"}}),
            EntryPointSpec(id="calm", flow={"debounce": {"period": "1h"}}),
            EntryPointSpec(id="once", flow={"dedupe": {"key": "input.n", "ttl": "1h"}}),
        )
        yield host


@pytest.fixture
def client(host: Host) -> Client:
    return Client(host.socket)


async def start(client: Client, entry_point: str, **inputs: Any) -> dict[str, Any]:
    reply = await client.post(TRIGGER.format(f"line/{entry_point}"), {"input": inputs})
    assert reply.status == 202, reply.content
    answer: dict[str, Any] = reply.json
    return answer


async def line_up(host: Host, client: Client) -> list[str]:
    """Start three at an entry point with one slot; the first runs."""
    first = await start(client, "one")
    await host.gate.entered.wait()
    rest = [await start(client, "one") for _ in range(2)]
    return [each["execution_id"] for each in (first, *rest)]


async def test_the_queue_is_listed_in_the_order_of_running(host: Host, client: Client) -> None:
    _, second, third = await line_up(host, client)
    page = (await client.get("/v1/queue?entry_point=line/one&limit=1")).json
    assert [each["execution_id"] for each in page["items"]] == [second]
    rest = (await client.get(f"/v1/queue?limit=1&cursor={page['next_cursor']}")).json
    assert [(each["execution_id"], each["position"]) for each in rest["items"]] == [(third, 2)]
    assert (await client.get("/v1/queue?agent=ops")).json["items"] == []


async def test_a_full_queue_is_429_with_its_depth(host: Host, client: Client) -> None:
    await line_up(host, client)
    reply = await client.post(TRIGGER.format("line/one"), {})
    assert (reply.status, reply.error["code"]) == (429, "queue_full")
    assert reply.error["queue"]["depth"] == 2
    assert reply.error["queue"]["oldest_age"] >= 0
    assert int(reply.headers["retry-after"]) >= 1


async def test_a_busy_entry_point_that_rejects_is_409(host: Host, client: Client) -> None:
    await start(client, "no")
    reply = await client.post(TRIGGER.format("line/no"), {})
    assert (reply.status, reply.error["code"]) == (409, "busy")


async def test_too_many_triggers_are_429_with_the_time_to_come_again(client: Client) -> None:
    await start(client, "rare")
    reply = await client.post(TRIGGER.format("line/rare"), {})
    assert (reply.status, reply.error["code"]) == (429, "rate_limited")
    assert 3590 <= int(reply.headers["retry-after"]) <= 3600


async def test_the_answer_says_what_became_of_a_trigger(client: Client) -> None:
    first, again = await start(client, "calm", n=1), await start(client, "calm", n=2)
    assert (first["outcome"], again["outcome"]) == ("queued", "coalesced")
    assert again["execution_id"] == first["execution_id"]
    assert again["due_at"] >= first["due_at"]
    same = [(await start(client, "once", n=1))["outcome"] for _ in range(2)]
    assert same == ["queued", "duplicate"]


async def test_what_waits_is_explained_and_moved_to_the_front(host: Host, client: Client) -> None:
    _, _, third = await line_up(host, client)
    before = (await client.get(f"/v1/queue/{third}")).json
    assert (before["ahead"], before["holds"][0]["by"]) == (1, "lane")
    after = (await client.post(f"/v1/queue/{third}/front", {})).json
    assert (after["ahead"], after["queued"]["position"]) == (0, 1)


async def test_what_waits_is_cancelled_and_never_runs(host: Host, client: Client) -> None:
    _, second, third = await line_up(host, client)
    reply = await client.post(f"/v1/queue/{second}/cancel", {"reason": "no need"})
    assert (reply.status, reply.json["status"]) == (202, "cancelled")
    host.gate.is_open.set()
    assert (await client.get(f"/v1/executions/{third}?wait=15")).json["status"] == "completed"
    shown = (await client.get(f"/v1/executions/{second}")).json
    assert (shown["status"], shown["started_at"], shown["error"]) == ("cancelled", None, "no need")
    assert shown["cancelled_by"].startswith("uid:")


@pytest.mark.parametrize("path", ["", "/front", "/cancel"])
async def test_what_runs_does_not_wait_any_more(host: Host, client: Client, path: str) -> None:
    first, *_ = await line_up(host, client)
    reply = await client.ask("POST" if path else "GET", f"/v1/queue/{first}{path}", None)
    assert (reply.status, reply.error["code"]) == (409, "illegal_move")


# --- on the command line --------------------------------------------------------------------


async def hive(host: Host, *arguments: str) -> tuple[int | None, str, str]:
    """Run a command; answer its exit code, stdout, stderr."""
    return await run_hive(host.socket, *arguments)


async def test_hive_queue_lists_explains_moves_and_cancels(host: Host, client: Client) -> None:
    _, second, third = await line_up(host, client)
    code, out, _ = await hive(host, "queue", "list", "--entry-point", "line/one", "--json")
    assert (code, [each["execution_id"] for each in json.loads(out)["items"]]) == (
        0,
        [second, third],
    )
    code, out, _ = await hive(host, "queue", "explain", third)
    assert (code, out.splitlines()[0]) == (0, f"{third} of line/one: 1 before it")
    assert out.splitlines()[1].startswith("  lane: ")
    code, out, _ = await hive(host, "queue", "move", third, "--front")
    assert (code, out.splitlines()[0]) == (0, f"{third} of line/one: 0 before it")
    code, out, _ = await hive(host, "queue", "cancel", second)
    assert (code, out) == (0, f"cancelled {second}\n")
    code, out, _ = await hive(host, "queue", "list")
    assert code == 0
    assert third in out
    assert second not in out


async def test_move_wants_to_be_told_where_to(host: Host) -> None:
    code, _, err = await hive(host, "queue", "move", "session_20260302_090000_1a2b3c4d")
    assert code == 2
    assert "--front" in err


@pytest.mark.parametrize("entry_point", ["one", "no", "rare"])
async def test_a_refused_trigger_is_exit_4(host: Host, client: Client, entry_point: str) -> None:
    await line_up(host, client) if entry_point == "one" else await start(client, entry_point)
    code, out, err = await hive(host, "trigger", f"line/{entry_point}")
    assert (code, out) == (4, "")
    assert "try again" in err


async def test_the_command_says_what_became_of_a_trigger(host: Host) -> None:
    _, _, err = await hive(host, "trigger", "line/calm")
    assert "queued, begins in" in err
    _, _, err = await hive(host, "trigger", "line/calm")
    assert "coalesced" in err
    for _ in range(2):
        _, _, err = await hive(host, "trigger", "line/once", "--set", "n=1")
    assert "duplicate" in err
