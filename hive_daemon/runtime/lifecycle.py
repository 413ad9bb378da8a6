"""The life of a runtime: its states, and the moves between them."""

from __future__ import annotations

from enum import StrEnum

from hive_daemon.errors import IllegalMove


class RunState(StrEnum):
    """Where a runtime is in its life."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


_MOVES = {
    RunState.NEW: {RunState.STARTING, RunState.STOPPED},
    RunState.STARTING: {RunState.RUNNING, RunState.FAILED},
    RunState.RUNNING: {RunState.DRAINING},
    RunState.DRAINING: {RunState.STOPPED},
    RunState.STOPPED: {RunState.STARTING},
    RunState.FAILED: {RunState.STARTING, RunState.STOPPED},
}


def move(old: RunState, new: RunState) -> RunState:
    """Return the new state. Raises IllegalMove if `old` cannot become `new`."""
    if new not in _MOVES[old]:
        raise IllegalMove(f"a runtime that is {old} cannot become {new}")
    return new
