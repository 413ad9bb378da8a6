"""The states of an execution and the moves between them. Nothing infers a status from a text.

What a store does in one moment may be several moves: what is given back or recovered goes from running through
interrupted to queued, what parks while its answer is there already goes through waiting.
"""

from __future__ import annotations

from enum import StrEnum

from hive_daemon.errors import IllegalMove


class ExecutionStatus(StrEnum):
    """Where an execution is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    WAITING_INPUT = "waiting_input"
    WAITING_APPROVAL = "waiting_approval"
    INTERRUPTED = "interrupted"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RECOVERY_EXHAUSTED = "recovery_exhausted"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows any more; a retry or a resume is a new execution."""
        return not MOVES[self]

    @property
    def is_parked(self) -> bool:
        """Whether somebody outside must say before it goes on."""
        return self in PARKED


_S = ExecutionStatus

MOVES: dict[ExecutionStatus, frozenset[ExecutionStatus]] = {
    _S.QUEUED: frozenset({_S.RUNNING, _S.CANCELLED, _S.INTERRUPTED}),
    _S.RUNNING: frozenset(
        {
            _S.COMPLETED,
            _S.FAILED,
            _S.CANCELLED,
            _S.PAUSED,
            _S.WAITING_INPUT,
            _S.WAITING_APPROVAL,
            _S.INTERRUPTED,
            _S.RECOVERY_EXHAUSTED,
        }
    ),
    _S.PAUSED: frozenset({_S.QUEUED, _S.CANCELLED}),
    _S.WAITING_INPUT: frozenset({_S.QUEUED, _S.CANCELLED}),
    _S.WAITING_APPROVAL: frozenset({_S.QUEUED, _S.CANCELLED}),
    _S.INTERRUPTED: frozenset({_S.QUEUED, _S.RECOVERY_EXHAUSTED, _S.CANCELLED}),
    _S.COMPLETED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.RECOVERY_EXHAUSTED: frozenset(),
}
"""The legal moves; a status without one is terminal."""

PARKED = frozenset({_S.PAUSED, _S.WAITING_INPUT, _S.WAITING_APPROVAL})
RETRYABLE = frozenset({_S.FAILED, _S.CANCELLED, _S.RECOVERY_EXHAUSTED})
"""Statuses from which a resume makes the next execution of the session."""


def check_move(old: ExecutionStatus, new: ExecutionStatus) -> None:
    """Raise IllegalMove if `old` cannot become `new`."""
    if new not in MOVES[old]:
        raise IllegalMove(f"an execution that is {old} cannot become {new}")
