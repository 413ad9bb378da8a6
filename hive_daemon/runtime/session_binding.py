"""Which session a call belongs to: a pure choice.

Continuing a session is serialised: one writer at a time. Joining is for shared timers and events that find a live
session: they read what it knows and never write it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hive_daemon.runtime.session_state import Beginning
from hive_daemon.status import ExecutionStatus

RESUMABLE = frozenset(
    {
        ExecutionStatus.PAUSED,
        ExecutionStatus.WAITING_INPUT,
        ExecutionStatus.WAITING_APPROVAL,
        ExecutionStatus.INTERRUPTED,
    }
)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the session that a call names: its last main execution, if it has one.

    `lane` is the stream it belongs to, `seq` its last step; `has_walked` says whether it entered a node.
    """

    execution_id: str
    status: ExecutionStatus
    lane: str = ""
    seq: int = 0
    has_walked: bool = True


@dataclass(frozen=True, slots=True)
class NewSession:
    """Begin a session; `session_id` is empty when any will do."""

    session_id: str = ""
    beginning: Beginning = field(default_factory=Beginning)


@dataclass(frozen=True, slots=True)
class Continue:
    """Begin the next execution of a session, after cancelling `replaces`."""

    session_id: str
    beginning: Beginning = field(default_factory=Beginning)
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Join:
    """Run in a session beside its writer, with a copy of what it knows."""

    session_id: str
    copied: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GoOn:
    """Go on with an execution of this lane that was put away.

    Without a `beginning` it begins as it was meant to.
    """

    execution_id: str
    lane: str = ""
    beginning: Beginning | None = None


Binding = NewSession | Continue | Join | GoOn


def bind_named(
    session_id: str,
    session_state: Mapping[str, Any],
    inputs: Mapping[str, Any],
    known: Known | None,
) -> Binding:
    """Bind a call that names a session.

    One that was put away goes on with the call's input. Otherwise the next execution begins, with the memory handed in
    or, without one, with what the last left.
    """
    if known is None:
        return NewSession(session_id, Beginning(session_state))
    if known.status in RESUMABLE:
        beginning = None
        if known.has_walked or inputs:
            beginning = Beginning(resume_input=inputs, after_seq=known.seq)
        return GoOn(known.execution_id, known.lane, beginning)
    has_memory = "memory" in session_state or "data_buffer" in session_state
    return Continue(session_id, Beginning(session_state, carries_memory=not has_memory))
