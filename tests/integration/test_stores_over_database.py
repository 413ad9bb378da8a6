"""The documented stores where there is a database: they read it, and nothing else, while its owner writes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hive_daemon.errors import Conflict, InvalidInput
from hive_daemon.runtime.runtime_log_store import RuntimeLogStore
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.checkpoint_store import Checkpoint, CheckpointStore
from hive_daemon.storage.concurrent import ConcurrentStorage
from hive_daemon.storage.session_store import SessionState, SessionStore
from tests.fakes.mirrored import SESSION, World, mirrored, node_completed, read_json, tool_completed
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


async def run_one(world: World, name: str, status: ExecutionStatus = S.COMPLETED) -> None:
    running = await world.start(name)
    at = world.clock.time()
    events = [tool_completed("fetch", at), node_completed("fetch", at)]
    await world.step(running, "fetch", {"a": 1}, events=events)
    await world.end(running, status)
    await world.drained(name)


async def test_a_session_reads_like_its_mirror(world: World) -> None:
    await run_one(world, NAME)
    store = SessionStore(world.directory)
    state = await store.read_state(NAME)
    assert state is not None
    mirrored_state = read_json(world.session(NAME) / "state.json")
    assert state == SessionState.model_validate(mirrored_state)
    assert await store.session_exists(NAME)
    assert store.get_session_path(NAME) == world.session(NAME)


async def test_the_database_is_believed_over_the_files(world: World) -> None:
    await run_one(world, NAME)
    (world.session(NAME) / "state.json").write_text('{"status": "running"}')
    (world.session(NAME) / "logs/details.jsonl").unlink()
    state = await SessionStore(world.directory).read_state(NAME)
    details = await RuntimeLogStore(world.directory).load_details(NAME)
    assert state is not None
    assert details is not None
    assert state.status == "completed"
    assert [node.node_id for node in details.nodes] == ["fetch", "z"]


async def test_sessions_are_listed_by_status_and_goal(world: World, clock: StillClock) -> None:
    for number, status in ((1, S.COMPLETED), (2, S.FAILED), (3, S.COMPLETED)):
        clock.advance(1)
        await run_one(world, SESSION.format(number), status)
    store = SessionStore(world.directory)
    assert [s.session_id for s in await store.list_sessions()] == [
        SESSION.format(n) for n in (3, 2, 1)
    ]
    assert [s.status for s in await store.list_sessions(status="failure")] == ["failed"]
    assert len(await store.list_sessions(goal_id="the-goal")) == 3
    assert await store.list_sessions(goal_id="another") == []
    assert len(await store.list_sessions(limit=1)) == 1


async def test_nothing_is_written_beside_a_database(world: World) -> None:
    await run_one(world, NAME)
    store = SessionStore(world.directory)
    checkpoints = CheckpointStore(world.session(NAME))
    with pytest.raises(Conflict):
        await store.write_state(NAME, SessionState(session_id=NAME))
    with pytest.raises(Conflict):
        await store.delete_session(NAME)
    with pytest.raises(Conflict):
        await checkpoints.save_checkpoint(Checkpoint(checkpoint_id="cp_x"))
    with pytest.raises(Conflict):
        await checkpoints.prune_checkpoints()
    with pytest.raises(InvalidInput):
        await store.read_state("../..")


async def test_an_agent_sees_only_its_own_sessions(world: World) -> None:
    await run_one(world, NAME)
    other = SessionStore(world.root / "agents/another")
    assert await other.read_state(NAME) is None
    assert await other.list_sessions() == []
    everything = SessionStore(world.root)
    assert [s.session_id for s in await everything.list_sessions()] == [NAME]
    assert everything.get_session_path(NAME) == world.session(NAME)


async def test_checkpoints_read_like_their_mirror(world: World) -> None:
    await run_one(world, NAME)
    store = CheckpointStore(world.session(NAME))
    index = await store.load_index()
    latest = await store.load_checkpoint()
    assert index is not None
    assert latest is not None
    assert [c.checkpoint_id for c in index.checkpoints] == [
        "cp_node_complete_fetch_000001",
        "cp_node_complete_z_000002",
    ]
    on_disk = read_json(world.session(NAME) / "checkpoints/cp_node_complete_z_000002.json")
    assert latest == Checkpoint.model_validate(on_disk)
    assert not await store.checkpoint_exists("cp_node_complete_z_000009")


async def test_the_samples_of_the_observability_guide_work(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await run_one(world, NAME)
    log_store = RuntimeLogStore(base_path=world.directory)

    summary = await log_store.load_summary(NAME)
    assert summary is not None
    print(f"Run: {summary.run_id}")
    print(f"Status: {summary.status}")
    print(f"Started: {summary.started_at}")
    print(f"Duration: {summary.duration_seconds}s")
    print(f"Nodes executed: {len(summary.nodes_executed)}")
    print(f"Needs attention: {summary.needs_attention}")
    runs = await log_store.list_runs(status="failed", limit=10)
    assert runs == []

    details = await log_store.load_details(NAME)
    assert details is not None
    for node in details.nodes:
        print(f"Node: {node.node_id}")
        print(f"  Iterations: {node.iterations}")
        print(f"  Duration: {node.duration_seconds}s")
        print(f"  Result: {node.result}")
        print(f"  LLM calls: {node.llm_call_count}")
        print(f"  Tool calls: {node.tool_call_count}")

    tool_logs = await log_store.load_tool_logs(NAME)
    assert tool_logs is not None
    for step in tool_logs.steps:
        print(f"Step {step.step_number} @ {step.timestamp}")
        print(f"  Node: {step.node_id}")
        print(f"  Tool: {step.tool_name}")
        print(f"  Input: {step.tool_input}")
        print(f"  Result: {step.tool_result[:200]}...")
        if step.tool_error:
            print(f"  ERROR: {step.tool_error}")

    shown = capsys.readouterr().out
    assert "Nodes executed: 2" in shown
    assert "  Tool: lookup" in shown
    assert "  Result: found it..." in shown


async def test_a_running_execution_is_in_progress(world: World) -> None:
    running = await world.start(NAME)
    await world.step(running, "fetch", {})
    store = RuntimeLogStore(world.directory)
    summary = await store.load_summary(NAME)
    assert summary is not None
    assert (summary.status, summary.nodes_executed) == ("in_progress", ["fetch"])
    assert [r.run_id for r in await store.list_runs(status="in_progress")] == [NAME]
    assert await store.list_runs(status="completed") == []


async def test_failed_runs_are_found_by_either_word(world: World) -> None:
    await run_one(world, NAME, S.FAILED)
    await run_one(world, SESSION.format(2))
    store = RuntimeLogStore(world.directory)
    for word in ("failed", "failure"):
        (run,) = await store.list_runs(status=word, needs_attention=True)
        assert (run.run_id, run.status) == (NAME, "failed")


async def test_each_execution_of_a_session_can_be_asked_for(world: World) -> None:
    await run_one(world, NAME)
    joined = await world.start(NAME, is_new=False, is_joined=True)
    await world.end(joined, node="check")
    again = await world.start(NAME, is_new=False)
    await world.end(again, node="again")
    store = RuntimeLogStore(world.directory)
    for name, nodes in ((f"{NAME}-2", ["check"]), (f"{NAME}-3", ["again"]), (NAME, ["again"])):
        details = await store.load_details(name)
        assert details is not None
        assert [node.node_id for node in details.nodes] == nodes
    assert await store.load_details(f"{NAME}-4") is None


async def test_an_execution_reads_as_a_run(world: World) -> None:
    await run_one(world, NAME)
    storage = ConcurrentStorage(world.directory)
    run = await storage.load_run(NAME)
    assert run is not None
    assert (run.status, run.output_data, run.input_data) == (
        "completed",
        {"answer": 42},
        {"topic": "weather"},
    )
    assert await storage.load_run(SESSION.format(9)) is None


async def test_a_database_that_nobody_owns_is_read_too(tmp_path: Path, clock: StillClock) -> None:
    async with mirrored(tmp_path, clock) as world:
        await run_one(world, NAME)
    state = await SessionStore(world.directory).read_state(NAME)
    assert state is not None
    assert state.status == "completed"


async def test_a_queued_session_is_known(world: World) -> None:
    await world.submit(NAME)
    state = await SessionStore(world.directory).read_state(NAME)
    assert state is not None
    assert (state.status, state.is_resumable) == ("queued", False)
