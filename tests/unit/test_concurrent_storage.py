"""ConcurrentStorage and the records it keeps."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from hive_daemon.errors import InvalidInput, StorageCorrupt
from hive_daemon.schemas.decision import Decision, DecisionType, Option, Outcome
from hive_daemon.schemas.run import Run, RunStatus, RunSummary
from hive_daemon.storage.concurrent import CacheEntry, ConcurrentStorage
from tests.fakes.still_clock import StillClock


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def storage(tmp_path: Path, clock: StillClock) -> ConcurrentStorage:
    return ConcurrentStorage(tmp_path, clock=clock)


async def test_what_is_saved_is_loaded(storage: ConcurrentStorage) -> None:
    run = Run(id="run_1", goal_id="g", input_data={"q": 1})
    await storage.start()
    await storage.save_run(run)
    assert await storage.load_run("run_1") == run
    assert await storage.load_run("run_1", use_cache=False) == run
    assert storage.load_run_sync("run_1") == run
    await storage.stop()
    assert not storage.is_running
    assert await storage.load_run("run_1") == run


async def test_a_change_after_saving_is_not_saved(storage: ConcurrentStorage) -> None:
    run = Run(id="run_1", goal_id="g")
    await storage.save_run(run)
    run.narrative = "changed"
    loaded = await storage.load_run("run_1")
    assert loaded is not None
    assert loaded.narrative == ""


async def test_an_old_cache_entry_is_read_anew(
    storage: ConcurrentStorage, clock: StillClock, tmp_path: Path
) -> None:
    storage.save_run_sync(Run(id="run_1", goal_id="old"))
    ConcurrentStorage(tmp_path).save_run_sync(Run(id="run_1", goal_id="new"))
    before = await storage.load_run("run_1")
    clock.advance(61)
    after = await storage.load_run("run_1")
    assert before is not None
    assert after is not None
    assert (before.goal_id, after.goal_id) == ("old", "new")


async def test_the_cache_is_bounded(tmp_path: Path) -> None:
    storage = ConcurrentStorage(tmp_path, max_locks=3)
    for number in range(10):
        await storage.save_run(Run(id=f"run_{number}", goal_id="g"))
    assert len(storage._cache) == 3


async def test_absent_and_deleted_runs_are_none(storage: ConcurrentStorage) -> None:
    await storage.save_run(Run(id="run_1", goal_id="g"))
    assert await storage.delete_run("run_1")
    assert not await storage.delete_run("run_1")
    assert await storage.load_run("run_1") is None
    assert await storage.load_summary("run_1") is None


async def test_a_damaged_run_is_never_taken_for_one(
    storage: ConcurrentStorage, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/run_1.json").write_bytes(b"{")
    with pytest.raises(StorageCorrupt):
        await storage.load_run("run_1")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".."])
async def test_an_id_that_is_no_name_touches_no_path(
    storage: ConcurrentStorage, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InvalidInput):
        await storage.load_run(name)
    with pytest.raises(InvalidInput):
        await storage.delete_run(name)
    with pytest.raises(InvalidInput):
        storage.save_run_sync(Run(id=name, goal_id="g"))
    assert os.listdir(tmp_path) == []


async def test_many_saves_at_once_leave_each_run_whole(storage: ConcurrentStorage) -> None:
    runs = [Run(id=f"run_{n % 5}", goal_id=f"g{n}") for n in range(50)]
    await asyncio.gather(*(storage.save_run(run) for run in runs))
    for number in range(5):
        assert await storage.load_run(f"run_{number}", use_cache=False) is not None
    assert sorted(os.listdir(storage.base_path / "runs")) == [f"run_{n}.json" for n in range(5)]


def test_a_cache_entry_knows_its_age() -> None:
    assert not CacheEntry("x", 100.0).is_expired(60, now=160.0)
    assert CacheEntry("x", 100.0).is_expired(60, now=160.1)


def decision(name: str) -> Decision:
    return Decision(
        id=name,
        node_id="n",
        intent="find it",
        decision_type=DecisionType.TOOL_SELECTION,
        options=[Option(id="o", description="look", action_type="tool_call")],
        chosen_option_id="o",
        reasoning="it is there",
    )


def test_a_run_counts_what_it_decided() -> None:
    run = Run(id="r", goal_id="g")
    run.add_decision(decision("d1"))
    run.add_decision(decision("d2"))
    run.record_outcome("d1", Outcome(success=True, summary="found", tokens_used=5, latency_ms=7))
    run.record_outcome("d2", Outcome(success=False, error="no"))
    run.record_outcome("unknown", Outcome(success=True))
    assert run.add_problem("critical", "it broke", "d2", suggested_fix="mend it") == "prob_0"
    run.add_problem("warning", "it creaks")
    run.complete(RunStatus.COMPLETED)
    assert run.decisions[0].was_successful
    assert run.decisions[0].chosen_option == decision("x").options[0]
    assert (run.metrics.success_rate, run.metrics.total_tokens) == (0.5, 5)
    assert run.completed_at is not None
    summary = RunSummary.from_run(run)
    assert summary.status is RunStatus.COMPLETED
    assert (summary.decision_count, summary.problem_count) == (2, 2)
    assert (summary.critical_problems, summary.warnings) == (["it broke"], ["it creaks"])
    assert (summary.successes, summary.key_decisions[0]) == (["found"], "find it: it is there")
    assert "2 decisions" in summary.narrative
