"""The mirror, driven by real commits into a real SQLite store."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.mirror import Mirror
from hive_daemon.storage.mirror_files import Files
from hive_daemon.storage.mirror_fold import MirrorMode
from hive_daemon.storage.mirror_items import Begun, Offered
from hive_daemon.storage.mirror_pages import Pages
from hive_daemon.storage.mirror_scribe import Scribe
from hive_daemon.storage.values import (
    Checkpoint,
    CheckpointKind,
    Ending,
    EventFilter,
    StepCommit,
)
from tests.fakes.mirrored import (
    SESSION,
    World,
    event,
    mirrored,
    node_completed,
    read_json,
    read_lines,
    tool_completed,
    tree,
)
from tests.fakes.still_clock import StillClock

NAME = SESSION.format(1)
S = ExecutionStatus


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
async def world(tmp_path: Path, clock: StillClock) -> AsyncIterator[World]:
    async with mirrored(tmp_path, clock) as world:
        yield world


async def test_a_finished_execution_has_every_documented_file(world: World) -> None:
    running = await world.start(NAME)
    at = world.clock.time()
    await world.step(
        running,
        "fetch",
        {"a": 1},
        events=[tool_completed("fetch", at), node_completed("fetch", at)],
    )
    await world.end(running)
    await world.drained(NAME)
    assert sorted(tree(world.session(NAME))) == [
        "checkpoints/cp_node_complete_fetch_000001.json",
        "checkpoints/cp_node_complete_z_000002.json",
        "checkpoints/index.json",
        "logs/details.jsonl",
        "logs/summary.json",
        "logs/tool_logs.jsonl",
        "state.json",
    ]


async def test_the_state_has_the_documented_shape(world: World, clock: StillClock) -> None:
    running = await world.start(NAME)
    clock.advance(1)
    await world.step(running, "fetch", {"a": 1, "b": None})
    await world.step(running, "branch", {"hidden": True}, scope=3)
    clock.advance(0.5)
    await world.end(running)
    await world.drained(NAME)
    assert read_json(world.session(NAME) / "state.json") == {
        "schema_version": "1.2",
        "session_id": NAME,
        "execution_id": NAME,
        "seq": 3,
        "agent": "reporter",
        "stream_id": "default",
        "correlation_id": NAME,
        "trace_id": "ab" * 16,
        "status": "completed",
        "goal_id": "the-goal",
        "agent_id": "graph",
        "entry_point": "default",
        "timestamps": {
            "created_at": "2026-03-02T09:00:00.000000Z",
            "started_at": "2026-03-02T09:00:00.000000Z",
            "updated_at": "2026-03-02T09:00:01.500000Z",
            "completed_at": "2026-03-02T09:00:01.500000Z",
            "paused_at_time": None,
        },
        "progress": {
            "current_node": "z",
            "paused_at": None,
            "resume_from": None,
            "steps_executed": 3,
            "total_tokens": 30,
            "total_latency_ms": 500,
            "path": ["fetch", "branch", "z"],
            "total_retries": 0,
            "nodes_with_failures": [],
            "retry_details": {},
            "had_partial_failures": False,
            "execution_quality": "clean",
            "node_visit_counts": {},
        },
        "result": {"success": True, "error": None, "output": {"answer": 42}},
        "memory": {"a": 1, "b": None},
        "metrics": {
            "decision_count": 0,
            "problem_count": 0,
            "total_input_tokens": 30,
            "total_cached_tokens": 12,
            "total_output_tokens": 15,
            "total_reasoning_tokens": 6,
            "total_cost_usd": 0.75,
            "nodes_executed": ["fetch", "branch", "z"],
            "edges_traversed": ["fetch-next", "branch-next"],
        },
        "problems": [],
        "decisions": [],
        "input_data": {"topic": "weather"},
        "isolation_level": "shared",
        "checkpoint_enabled": True,
        "latest_checkpoint_id": "cp_node_complete_z_000003",
        "duration_ms": 1500,
        "is_resumable": False,
        "is_resumable_from_checkpoint": False,
    }


async def test_a_checkpoint_shows_memory_and_path_as_they_were(world: World) -> None:
    running = await world.start(NAME)
    await world.step(running, "fetch", {"a": 1})
    await world.step(running, "parse", {"a": 2, "b": 3})
    await world.drained(NAME)
    folder = world.session(NAME) / "checkpoints"
    first = read_json(folder / "cp_node_complete_fetch_000001.json")
    second = read_json(folder / "cp_node_complete_parse_000002.json")
    assert (first["shared_memory"], first["execution_path"]) == ({"a": 1}, ["fetch"])
    assert (second["shared_memory"], second["execution_path"]) == (
        {"a": 2, "b": 3},
        ["fetch", "parse"],
    )
    assert {key: first[key] for key in ("checkpoint_type", "current_node", "next_node")} == {
        "checkpoint_type": "node_complete",
        "current_node": "fetch",
        "next_node": "next",
    }
    assert first["description"] == "Node Complete: fetch"


async def test_a_snapshot_replaces_what_was_before(world: World) -> None:
    running = await world.start(NAME)
    await world.step(running, "fetch", {"a": 1})
    running.memory.clear()
    await world.step(running, "parse", {"b": 2}, is_snapshot=True)
    await world.drained(NAME)
    state = read_json(world.session(NAME) / "state.json")
    assert state["memory"] == {"b": 2}
    assert state["progress"]["path"] == ["fetch", "parse"]


async def test_only_the_last_checkpoints_are_kept(world: World, clock: StillClock) -> None:
    running = await world.start(NAME)
    for number in range(9):
        await world.step(running, f"n{number}", {"n": number})
        clock.advance(1)
        await world.drained(NAME)
    folder = world.session(NAME) / "checkpoints"
    index = read_json(folder / "index.json")
    names = [f"cp_node_complete_n{n}_{n + 1:06d}" for n in range(4, 9)]
    assert [c["checkpoint_id"] for c in index["checkpoints"]] == names
    assert index["total_checkpoints"] == 5
    assert index["latest_checkpoint_id"] == names[-1]
    assert sorted(os.listdir(folder)) == [*(f"{name}.json" for name in names), "index.json"]


async def test_no_node_id_leads_out_of_the_directory(world: World) -> None:
    running = await world.start(NAME)
    await world.step(running, "../../../../escape", {"a": 1})
    await world.drained(NAME)
    (name,) = set(os.listdir(world.session(NAME) / "checkpoints")) - {"index.json"}
    assert name == "cp_node_complete_.._.._.._.._escape_000001.json"
    assert not any("escape" in found for found in os.listdir(world.root))


async def test_the_node_log_carries_both_vocabularies(world: World) -> None:
    running = await world.start(NAME)
    await world.step(running, "fetch", {})
    await world.drained(NAME)
    (line,) = read_lines(world.session(NAME) / "logs/details.jsonl")
    guide = {"iterations": 2, "duration_seconds": 0.25, "result": "success", "llm_call_count": 2}
    older = {"total_steps": 2, "latency_ms": 250, "exit_status": "success", "tokens_used": 15}
    assert {key: line[key] for key in guide} == guide
    assert {key: line[key] for key in older} == older
    assert (line["node_id"], line["execution_id"], line["tool_call_count"]) == ("fetch", NAME, 1)


async def test_the_summary_has_what_its_model_calls_came_to(world: World) -> None:
    running = await world.start(NAME)
    await world.step(running, "fetch", {})
    await world.end(running)
    await world.drained(NAME)
    summary = read_json(world.session(NAME) / "logs/summary.json")
    names = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "cost_usd")
    assert [summary[f"total_{name}"] for name in names] == [20, 8, 10, 4, 0.5]


async def test_the_tool_log_carries_both_vocabularies(world: World) -> None:
    running = await world.start(NAME)
    at = world.clock.time()
    failed = tool_completed("fetch", at, result="no such key", is_error=True, step_number=2)
    await world.step(running, "fetch", {}, events=[tool_completed("fetch", at), failed])
    await world.drained(NAME)
    good, bad = read_lines(world.session(NAME) / "logs/tool_logs.jsonl")
    assert good["timestamp"] == "2026-03-02T09:00:00.000000Z"
    assert (good["tool_result"], good["tool_error"]) == ("found it", None)
    assert (bad["step_number"], bad["tool_error"]) == (2, "no such key")
    assert bad["tool_calls"] == [
        {
            "tool_use_id": "t1",
            "tool_name": "lookup",
            "tool_input": {"key": "a"},
            "result": "no such key",
            "is_error": True,
        }
    ]


async def test_the_summary_carries_both_vocabularies_and_says_what_needs_attention(
    world: World, clock: StillClock
) -> None:
    running = await world.start(NAME)
    clock.advance(2)
    slow = node_completed("fetch", clock.time(), duration_seconds=61.0, retry_count=4)
    await world.step(running, "fetch", {}, events=[slow])
    await world.end(running, S.FAILED)
    await world.drained(NAME)
    summary = read_json(world.session(NAME) / "logs/summary.json")
    assert summary["status"] == "failed"
    assert (summary["duration_seconds"], summary["duration_ms"]) == (2.0, 2000)
    assert (summary["nodes_executed"], summary["total_nodes_executed"]) == (["fetch", "z"], 2)
    assert summary["needs_attention"] is True
    assert summary["attention_reasons"] == [
        "fetch: 4 retries",
        "fetch: 61000 ms",
        "z: failed: no reason given",
        "the execution ended as failed",
    ]


async def test_a_running_execution_has_no_summary(world: World) -> None:
    running = await world.start(NAME)
    await world.step(running, "fetch", {})
    await world.drained(NAME)
    assert not (world.session(NAME) / "logs/summary.json").exists()
    assert read_json(world.session(NAME) / "state.json")["result"] == {
        "success": None,
        "error": None,
        "output": {},
    }


@pytest.mark.parametrize(
    ("status", "paused_at", "is_resumable"),
    [(S.PAUSED, "z", True), (S.FAILED, None, True), (S.INTERRUPTED, None, True)],
)
async def test_the_state_says_whether_it_can_go_on(
    world: World, status: ExecutionStatus, paused_at: str | None, is_resumable: bool
) -> None:
    running = await world.start(NAME)
    await world.end(running, status)
    await world.drained(NAME)
    state = read_json(world.session(NAME) / "state.json")
    assert (state["status"], state["progress"]["paused_at"]) == (status, paused_at)
    assert (state["is_resumable"], state["is_resumable_from_checkpoint"]) == (is_resumable, True)


async def test_a_continuing_execution_takes_the_main_files_over(world: World) -> None:
    first = await world.start(NAME)
    await world.step(first, "fetch", {"a": 1})
    await world.end(first)
    second = await world.start(NAME, is_new=False)
    await world.step(second, "again", {"c": 3})
    await world.end(second)
    await world.drained(NAME)
    state = read_json(world.session(NAME) / "state.json")
    summary = read_json(world.session(NAME) / "logs/summary.json")
    assert (state["execution_id"], state["memory"]) == (f"{NAME}-2", {"c": 3})
    assert (summary["execution_id"], summary["nodes_executed"]) == (f"{NAME}-2", ["again", "z"])
    lines = read_lines(world.session(NAME) / "logs/details.jsonl")
    assert [line["execution_id"] for line in lines] == [NAME, NAME, f"{NAME}-2", f"{NAME}-2"]
    assert sorted(os.listdir(world.session(NAME) / "checkpoints")) == [
        "cp_node_complete_again_2-000001.json",
        "cp_node_complete_z_2-000002.json",
        "index.json",
    ]


async def test_of_two_executions_owed_at_once_the_later_one_stays_shown(
    world: World, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Begun | Offered] = []
    monkeypatch.setattr(world.mirror, "_desk", SimpleNamespace(put=told.append))
    names = [SESSION.format(n) for n in range(1, 11)]
    for name in names:
        await world.end(await world.start(name), S.CANCELLED)
        await world.end(await world.start(name, is_new=False))
    monkeypatch.undo()
    files = Files()
    scribe = Scribe(Pages(files, MirrorMode.FULL, 5), clock, 5, 0)
    for item in told:
        scribe.begin(*item) if isinstance(item, Begun) else scribe.take(item)
    scribe.settle(names)
    files.close()
    states = [read_json(world.session(name) / "state.json") for name in names]
    assert [state["execution_id"] for state in states] == [f"{name}-2" for name in names]


async def test_a_joined_execution_keeps_to_its_corner(world: World) -> None:
    first = await world.start(NAME)
    await world.step(first, "fetch", {"a": 1})
    await world.drained(NAME)
    before = tree(world.session(NAME))
    joined = await world.start(NAME, is_new=False, is_joined=True)
    await world.step(joined, "check", {"b": 2})
    await world.end(joined)
    await world.drained(NAME)
    after = tree(world.session(NAME))
    corner = {path for path in after if path.startswith("executions/2/")}
    assert {path: after[path] for path in after if path not in corner} == before
    assert "executions/2/logs/summary.json" in corner
    state = read_json(world.session(NAME) / "executions/2/state.json")
    assert (state["session_id"], state["execution_id"]) == (NAME, f"{NAME}-2")


async def test_a_resumed_execution_goes_on_in_its_files(world: World) -> None:
    running = await world.start(NAME)
    await world.step(running, "fetch", {"a": 1})
    await world.end(running, S.PAUSED)
    await world.store.queue.requeue(NAME)
    (resumed,) = await world.claim()
    assert await world.catch_up.once()
    await world.step(resumed, "more", {"b": 2})
    await world.drained(NAME)
    state = read_json(world.session(NAME) / "state.json")
    assert (state["status"], state["memory"]) == ("running", {"a": 1, "b": 2})
    assert state["progress"]["path"] == ["fetch", "z", "more"]
    lines = read_lines(world.session(NAME) / "logs/details.jsonl")
    assert [line["node_id"] for line in lines] == ["fetch", "z", "more"]


async def test_the_news_of_an_end_waits_until_a_lagging_session_is_rebuilt(world: World) -> None:
    running = await world.start(NAME)
    await world.end(running, S.PAUSED)
    await world.store.queue.requeue(NAME)
    (resumed,) = await world.claim()
    await world.mirror.lag()  # somebody tends to what lags
    await world.end(resumed)
    drained = world.mirror.drained([NAME])
    assert await world.catch_up.once()
    await drained
    assert read_json(world.session(NAME) / "state.json")["status"] == "completed"


async def test_the_news_of_an_end_waits_for_nobody_where_nobody_rebuilds(world: World) -> None:
    running = await world.start(NAME)
    await world.end(running, S.PAUSED)
    await world.store.queue.requeue(NAME)
    (resumed,) = await world.claim()
    await world.end(resumed)
    await world.drained(NAME)


async def test_the_state_is_not_rewritten_before_its_time(world: World, clock: StillClock) -> None:
    running = await world.start(NAME)
    await world.step(running, "fetch", {"a": 1})
    await world.drained(NAME)
    for _ in range(5):
        await world.step(running, "fetch", {"a": 2})
        await world.drained(SESSION.format(9))  # a round of the mirror in which nobody asks for it
    assert read_json(world.session(NAME) / "state.json")["seq"] == 1
    clock.advance(0.3)
    await world.drained(SESSION.format(9))
    await world.drained(SESSION.format(9))
    assert read_json(world.session(NAME) / "state.json")["seq"] == 6


async def test_logs_grow_before_the_state_is_due(world: World, clock: StillClock) -> None:
    running = await world.start(NAME)
    await world.step(running, "fetch", {"a": 1})
    await world.drained(NAME)
    await world.step(running, "parse", {"a": 2})
    await world.drained(SESSION.format(9))  # the mirror has it now
    clock.advance(0.06)
    await world.drained(SESSION.format(9))
    await world.drained(SESSION.format(9))
    assert len(read_lines(world.session(NAME) / "logs/details.jsonl")) == 2
    assert read_json(world.session(NAME) / "state.json")["seq"] == 1


async def test_closing_writes_what_is_owed(tmp_path: Path, clock: StillClock) -> None:
    async with mirrored(tmp_path, clock) as world:
        running = await world.start(NAME)
        await world.step(running, "fetch", {"a": 1})
    assert read_json(world.session(NAME) / "state.json")["memory"] == {"a": 1}


async def test_only_the_state_is_written_in_that_mode(tmp_path: Path, clock: StillClock) -> None:
    async with mirrored(tmp_path, clock, MirrorMode.STATE) as world:
        running = await world.start(NAME)
        await world.step(running, "fetch", {"a": 1})
        await world.end(running)
        await world.drained(NAME)
    assert list(tree(world.session(NAME))) == ["state.json"]


async def test_nothing_is_written_when_it_is_off(tmp_path: Path, clock: StillClock) -> None:
    async with mirrored(tmp_path, clock, MirrorMode.OFF) as world:
        running = await world.start(NAME)
        await world.end(running)
        await world.drained(NAME)
    assert not world.directory.exists()
    assert not (tmp_path / "mirror.json").exists()


async def test_infinity_and_not_a_number_are_null(world: World) -> None:
    running = await world.start(NAME)
    at = world.clock.time()
    await world.step(
        running,
        "fetch",
        {"x": float("inf"), "y": float("nan")},
        events=[node_completed("fetch", at, duration_seconds=float("nan"))],
    )
    await world.drained(NAME)
    assert read_json(world.session(NAME) / "state.json")["memory"] == {"x": None, "y": None}


async def test_what_is_no_json_stops_the_files_of_one_execution_only(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    broken = await world.start(NAME)
    sound = await world.start(SESSION.format(2))
    await world.store.executions.commit(
        broken.fence,
        StepCommit(1, "n", Checkpoint(CheckpointKind.NODE_COMPLETE, b"{}", b"no json")),
    )
    await world.end(sound)
    await world.drained(NAME, SESSION.format(2))
    assert (world.session(SESSION.format(2)) / "state.json").exists()
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [
        "this cannot be mirrored"
    ]


async def test_a_disk_that_refuses_harms_no_execution_and_is_made_up_for(
    world: World, clock: StillClock, caplog: pytest.LogCaptureFixture
) -> None:
    sessions = world.directory / "sessions"
    sessions.parent.mkdir(parents=True)
    sessions.write_text("in the way")
    first = await world.start(NAME)
    await world.end(first)
    second = await world.start(SESSION.format(2))
    await world.step(second, "fetch", {"a": 1})
    await world.drained(NAME, SESSION.format(2))
    assert not await world.catch_up.once()
    complaints = [r for r in caplog.records if "the mirror is behind" in r.getMessage()]
    assert len(complaints) == 1

    sessions.unlink()
    assert await world.catch_up.once()
    await world.step(second, "parse", {"b": 2})
    await world.drained(SESSION.format(2))
    assert read_json(world.session(NAME) / "state.json")["status"] == "completed"
    state = read_json(world.session(SESSION.format(2)) / "state.json")
    assert state["memory"] == {"a": 1, "b": 2}
    lines = read_lines(world.session(SESSION.format(2)) / "logs/details.jsonl")
    assert [line["node_id"] for line in lines] == ["fetch", "parse"]


async def test_catching_up_goes_on_by_itself_once_the_disk_is_willing(
    world: World, clock: StillClock
) -> None:
    sessions = world.directory / "sessions"
    sessions.parent.mkdir(parents=True)
    sessions.write_text("in the way")
    running = await world.start(NAME)
    await world.end(running)
    await world.drained(NAME)
    task = asyncio.ensure_future(world.catch_up.run())
    try:
        while not clock._sleepers:
            await world.mirror.lag()
        sessions.unlink()
        clock.advance(31)
        while (await world.mirror.lag()).executions:
            await asyncio.sleep(0)
    finally:
        task.cancel()
    assert read_json(world.session(NAME) / "state.json")["status"] == "completed"


async def test_a_cancelled_parked_execution_is_shown_as_cancelled(world: World) -> None:
    running = await world.start(NAME)
    await world.end(running, S.WAITING_INPUT)
    await world.drained(NAME)
    await world.store.inbox.cancel(NAME, "no longer wanted")
    assert await world.catch_up.once()
    state = read_json(world.session(NAME) / "state.json")
    assert (state["status"], state["result"]["error"]) == ("cancelled", "no longer wanted")


async def test_one_that_was_cancelled_before_it_ran_leaves_no_files(world: World) -> None:
    await world.submit(NAME)
    await world.store.inbox.cancel(NAME, "no longer wanted")
    assert await world.catch_up.once()
    assert not world.session(NAME).exists()
    assert (await world.mirror.lag()).executions == ()


async def test_a_forgotten_session_is_removed(world: World) -> None:
    running = await world.start(NAME)
    await world.end(running)
    await world.drained(NAME)
    world.mirror.remove(world.directory, NAME)
    await world.drained(NAME)
    assert not world.session(NAME).exists()


async def test_one_who_fails_at_an_answer_keeps_nobody_else_waiting(world: World) -> None:
    failed: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failed.append(context["exception"]))
    error = RuntimeError("of whoever asked")

    def fail() -> None:
        raise error

    for _ in range(20):
        world.mirror.complete(NAME, fail)
    await world.drained(NAME)
    assert failed == [error] * 20


async def test_a_fault_in_its_thread_leaves_nobody_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threading.excepthook", lambda args: None)
    world.mirror.begin(42)  # type: ignore[arg-type]  # a fault of ours
    await world.drained(NAME)
    await world.drained(NAME)
    running = await world.start(NAME)
    await world.end(running)
    await world.drained(NAME)


async def test_torn_lines_of_a_dead_process_are_never_glued(
    tmp_path: Path, clock: StillClock
) -> None:
    async with mirrored(tmp_path, clock) as world:
        running = await world.start(NAME)
        await world.step(running, "fetch", {})
        await world.end(running)
        await world.drained(NAME)
    log = world.session(NAME) / "logs/details.jsonl"
    with open(log, "ab") as torn:
        torn.write(b'{"node_id": "to')
    async with mirrored(tmp_path, clock) as world:
        again = await world.start(NAME, is_new=False)
        await world.end(again)
        await world.drained(NAME)
    lines = [
        line for line in log.read_bytes().splitlines() if not line.startswith(b'{"node_id": "to')
    ]
    assert [orjson.loads(line)["node_id"] for line in lines] == ["fetch", "z", "z"]


async def test_a_mirror_of_many_is_complete_at_the_barrier(world: World) -> None:
    names = [SESSION.format(n) for n in range(100, 160)]
    await world.run_all(names)
    for name in names:
        assert read_json(world.session(name) / "state.json")["status"] == "completed"
        assert len(read_lines(world.session(name) / "logs/details.jsonl")) == 2


async def test_the_last_end_wins_over_an_earlier_result(world: World) -> None:
    running = await world.start(NAME)
    await world.end(running, S.PAUSED)
    await world.store.queue.requeue(NAME)
    (resumed,) = await world.claim()
    assert await world.catch_up.once()
    at = world.clock.time()
    await world.step(
        resumed,
        "n",
        events=[event("execution_failed", None, at)],
        ending=Ending(S.FAILED, None, "no"),
    )
    await world.drained(NAME)
    state = read_json(world.session(NAME) / "state.json")
    events = await world.store.executions.history(EventFilter(session_id=NAME))
    assert [e.type for e in events] == ["node_completed", "execution_paused", "execution_failed"]
    assert state["status"] == "failed"


def test_a_mirror_needs_a_running_loop(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        Mirror(tmp_path, MirrorMode.FULL)
