"""kill -9 of the daemon around a tool call: no history that a strict model server refuses, no call made twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.counting_model import Model, is_summary, results_of, start, uses
from tests.fakes.daemon_process import Hived, Place, opened_place
from tests.fakes.openai_server import _history_fault

LONG = 33_000
"""Characters of a result that fill the window: the conversation is shortened before the next answer."""


@pytest.fixture
def place() -> Iterator[Place]:
    with opened_place() as place:
        place.environ["USES"] = str(place.path / "uses")
        yield place


async def die(place: Place, model: Model, point: str, entry_point: str = "count") -> str:
    """Let the daemon begin, and end by SIGKILL at a point; return the execution's id."""
    place.agent("counter")
    extra = {"RESULT_CHARS": str(LONG)} if point == "compaction begun" else {}
    if point in ("started", "ended"):
        extra["DIE_AT"] = point
    model.is_cut_off = point == "chosen"
    if point == "result stored":
        model.holds = lambda request: bool(results_of(request, model.tool))
    elif point == "output set":
        model.holds = lambda request: bool(results_of(request, "set_output"))
    elif point == "compaction begun":
        model.holds = is_summary
    daemon = await asyncio.to_thread(start, place, model, **extra)
    execution_id = await asyncio.to_thread(place.trigger, f"counter/{entry_point}")
    if "DIE_AT" in extra:
        await asyncio.to_thread(daemon.ended)
    else:
        await asyncio.wait_for(model.held.wait(), 30)
        await asyncio.to_thread(daemon.kill)
    model.calm()
    return execution_id


async def live_on(place: Place, model: Model, execution_id: str) -> dict[str, Any]:
    """Start the daemon again; return the execution once it is settled."""
    await asyncio.to_thread(start, place, model)
    settled: dict[str, Any] = await asyncio.to_thread(place.settled, execution_id)
    return settled


POINTS = ("chosen", "started", "ended", "result stored", "output set", "compaction begun")


@pytest.mark.parametrize("tool", ["once", "again"])
@pytest.mark.parametrize("point", POINTS)
async def test_a_killed_daemon_goes_on_with_a_valid_history(place: Place, point: str, tool: str):
    async with Model(tool) as model:
        execution_id = await die(place, model, point)
        execution = await live_on(place, model, execution_id)
        assert execution["status"] == "completed", place.log
        assert execution["output"]["said"] == "counted"
        assert [_history_fault(request.messages) for request in model.requests] == [""] * len(
            model.requests
        )
    if tool == "once":
        assert len(uses(place)) == (0 if point == "started" else 1)
    else:
        # Made again where nobody knows, with the key of the first time, and only there.
        assert len(uses(place)) == (2 if point == "ended" else 1)
        assert len(set(uses(place))) == 1


async def test_a_call_of_which_nobody_knows_is_told_to_the_model(place: Place):
    async with Model("once") as model:
        await live_on(place, model, await die(place, model, "ended"))
        told = results_of(model.requests[-1], "once")
    assert len(told) == 1
    assert told[0].startswith("ERROR: interrupted")


# --- approvals ----------------------------------------------------------------------------------


async def waiting(place: Place, model: Model, entry_point: str = "careful") -> tuple[Hived, str]:
    """Let a run come to the approval of its tool call; return the daemon, and the id of the run."""
    place.agent("counter")
    daemon = await asyncio.to_thread(start, place, model)
    execution_id = await asyncio.to_thread(place.trigger, f"counter/{entry_point}")
    execution = await asyncio.to_thread(place.settled, execution_id)
    assert execution["status"] == "waiting_approval"
    return daemon, execution_id


async def hive(place: Place, *words: str) -> str:
    done = await asyncio.to_thread(place.hive, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_an_approval_survives_kill_9_and_is_given_from_the_command_line(place: Place):
    async with Model("once") as model:
        daemon, execution_id = await waiting(place, model)
        await asyncio.to_thread(daemon.kill)
        await asyncio.to_thread(start, place, model)
        asked = len(model.requests)
        listed = await hive(place, "approvals", "list")
        assert f"{execution_id}:count:1:1" in listed
        assert "it counts" in listed
        edit = place.path / "edit.json"
        edit.write_text('{"note": "by a person"}')
        shown = await hive(place, "approvals", "show", f"{execution_id}:count:1:1")
        assert "once" in shown
        assert asked == len(model.requests) == 1
        said = await hive(place, "approvals", "approve", execution_id, "--edit", str(edit))
        assert said.strip() == execution_id
        execution = await asyncio.to_thread(place.settled, execution_id)
        assert execution["status"] == "completed"
        told = results_of(model.requests[-1], "once")
    assert told[0].startswith('[a person changed the arguments to {"note": "by a person"}]')
    assert uses(place) == [f"{execution_id}:count:1:1"]
    assert [path.name for path in place.state.glob("agents/counter/sessions/*")] == [execution_id]


async def test_an_approval_waits_through_an_orderly_stop_and_is_rejected(place: Place):
    async with Model("once") as model:
        daemon, execution_id = await waiting(place, model)
        assert await asyncio.to_thread(daemon.terminate) == 0
        await asyncio.to_thread(start, place, model)
        await hive(place, "approvals", "reject", execution_id, "--message", "not today")
        execution = await asyncio.to_thread(place.settled, execution_id)
        assert execution["status"] == "completed"
        assert results_of(model.requests[-1], "once") == [
            "ERROR: once was not called: a person rejected the call: not today"
        ]
        assert await hive(place, "approvals", "list", "--json") == (
            '{\n  "items": [],\n  "next_cursor": null\n}\n'
        )
    assert uses(place) == []


@pytest.mark.parametrize(("verb", "times"), [("approve", 2), ("reject", 1)])
async def test_a_person_decides_on_a_call_of_which_nobody_knows(
    place: Place, verb: str, times: int
):
    async with Model("doubt") as model:
        execution_id = await die(place, model, "ended")
        execution = await live_on(place, model, execution_id)
        assert execution["status"] == "waiting_approval"
        assert "it may have had its effect" in execution["waiting"]["question"]
        await hive(place, "approvals", verb, execution_id)
        execution = await asyncio.to_thread(place.settled, execution_id)
        assert execution["status"] == "completed"
    assert len(uses(place)) == times
    assert len(set(uses(place))) == 1
