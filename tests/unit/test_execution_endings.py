"""What an execution comes to: who has the last word, and what is told."""

import itertools

import pytest

from hive_daemon.errors import IllegalMove
from hive_daemon.graph.executor import ExecutionResult
from hive_daemon.graph.facts import (
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionPaused,
)
from hive_daemon.runtime.endings import (
    DEFAULT_INTERRUPTION,
    Verdict,
    broken_off,
    last_fact,
    overrules,
    read_result,
    stored_result,
    verdict_on,
)
from hive_daemon.runtime.execution import StopReason
from hive_daemon.runtime.lifecycle import RunState, move
from hive_daemon.runtime.results import ResultShelf
from hive_daemon.status import ExecutionStatus
from tests.fakes.still_clock import StillClock


def result(status="completed", **more):
    return ExecutionResult(success=status == "completed", status=status, **more)


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [
        (StopReason.CANCEL, Verdict(ExecutionStatus.CANCELLED, "why", "cancelled")),
        (StopReason.TIMEOUT, Verdict(ExecutionStatus.FAILED, "why", "timeout")),
        (StopReason.DRAIN, Verdict(ExecutionStatus.INTERRUPTED, "why")),
    ],
)
def test_a_stop_ends_an_execution_by_its_reason(reason, verdict):
    assert verdict_on(reason, "why") == verdict


def test_an_interruption_always_says_something():
    assert verdict_on(StopReason.DRAIN, "").error == DEFAULT_INTERRUPTION


@pytest.mark.parametrize("reason", StopReason)
def test_what_is_completed_stays_completed(reason):
    assert not overrules(reason, result("completed"), is_held=False)


@pytest.mark.parametrize(
    ("reason", "status", "is_held", "overruled"),
    [
        (StopReason.CANCEL, "failed", False, True),
        (StopReason.CANCEL, "paused", True, True),
        (StopReason.TIMEOUT, "waiting_input", False, True),
        (StopReason.DRAIN, "waiting_input", False, False),
        (StopReason.DRAIN, "paused", False, False),
        (StopReason.DRAIN, "paused", True, True),
        (StopReason.DRAIN, "failed", False, True),
        (StopReason.NONE, "failed", False, False),
        (StopReason.PAUSE, "paused", True, False),
    ],
)
def test_a_stop_overrules_what_the_walk_came_to_before_it_noticed(
    reason, status, is_held, overruled
):
    assert overrules(reason, result(status), is_held=is_held) is overruled


def test_what_was_broken_off_says_where_to_go_on_and_is_no_pause():
    stopped = result("paused", paused_at="a", session_state={"paused_at": "a", "memory": {}})
    ended = broken_off(stopped, Verdict(ExecutionStatus.CANCELLED, "why", "cancelled"))
    assert (ended.success, ended.status, ended.paused_at) == (False, "cancelled", None)
    assert ended.session_state == {"memory": {}, "resume_from": "a"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("completed", ExecutionCompleted),
        ("failed", ExecutionFailed),
        ("paused", ExecutionPaused),
        ("waiting_input", ExecutionPaused),
    ],
)
def test_each_end_is_told_by_its_own_fact(status, kind):
    assert isinstance(last_fact(result(status), ""), kind)


def test_a_verdict_is_told_by_its_own_fact():
    kinds = {
        ExecutionStatus.CANCELLED: ExecutionCancelled,
        ExecutionStatus.INTERRUPTED: ExecutionPaused,
        ExecutionStatus.FAILED: ExecutionFailed,
        ExecutionStatus.RECOVERY_EXHAUSTED: ExecutionFailed,
    }
    for status, kind in kinds.items():
        assert isinstance(Verdict(status, "why").fact, kind)


def test_a_result_is_read_as_it_was_stored_but_for_the_session_state():
    whole = result("failed", error="no", output={"a": [1]}, path=["x"], session_state={"b": 2})
    read = read_result(stored_result(whole))
    assert (read.status, read.error, read.output, read.path) == ("failed", "no", {"a": [1]}, ["x"])
    assert read.session_state == {}


# --- the shelf of results -----------------------------------------------------------------------


def test_the_shelf_keeps_the_newest():
    shelf = ResultShelf(StillClock(), 2)
    for name in "abc":
        shelf.put(name, result())
    assert [shelf.get(name) is not None for name in "abc"] == [False, True, True]


def test_a_result_is_kept_for_its_time():
    clock = StillClock()
    shelf = ResultShelf(clock, 10, 60.0)
    shelf.put("a", result())
    clock.advance(30)
    shelf.put("b", result())
    clock.advance(30)
    assert (shelf.get("a"), shelf.get("b")) == (None, result())
    assert len(shelf) == 1


def test_a_result_that_counts_no_more_is_dropped():
    shelf = ResultShelf(StillClock(), 10)
    shelf.put("a", result())
    shelf.drop("a")
    shelf.drop("a")
    assert shelf.get("a") is None


# --- the life of a runtime ----------------------------------------------------------------------

MOVES = {
    ("new", "starting"),
    ("new", "stopped"),
    ("starting", "running"),
    ("starting", "failed"),
    ("running", "draining"),
    ("draining", "stopped"),
    ("stopped", "starting"),
    ("failed", "starting"),
    ("failed", "stopped"),
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(RunState, repeat=2)))
def test_a_runtime_moves_only_along_the_table(old, new):
    if (old, new) in MOVES:
        assert move(old, new) is new
    else:
        with pytest.raises(IllegalMove):
            move(old, new)
