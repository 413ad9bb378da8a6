"""Durable events, and what they bring about beside executions: cancellations, and notices of what did not begin."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EventRecord:
    """A durable event of an execution, before the store numbered it. `data` is a JSON object."""

    type: str
    node_id: str | None
    timestamp: float
    data: bytes


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A durable event with its place: `seq` over the whole store, `execution_seq` dense in its execution.

    A notice has no execution: its `execution_id` and `session_id` are empty, its `execution_seq` is 0.
    """

    seq: int
    execution_seq: int
    type: str
    timestamp: float
    agent: str
    graph_id: str
    stream_id: str
    node_id: str | None
    execution_id: str
    session_id: str
    correlation_id: str
    causation: tuple[str, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Orders the cancellation of executions of one lane that have not ended.

    It concerns those with this correlation id or in this session (an empty one names none), or all of them (`is_all`);
    never the execution `spares`. `after` is how many of the step's `spawn` come before it.
    """

    lane: str
    reason: str
    is_all: bool = False
    correlation_id: str = ""
    session_id: str = ""
    spares: str = ""
    after: int = 0

    def concerns(self, execution_id: str, session_id: str, correlation_id: str) -> bool:
        """Say whether an execution of the lane is meant."""
        if execution_id == self.spares:
            return False
        is_related = self.correlation_id == correlation_id or self.session_id == session_id
        return self.is_all or is_related


@dataclass(frozen=True, slots=True)
class Notice:
    """A durable event of no execution: what was kept from beginning one. `data` is a JSON object.

    `causation` is the whole chain that led to it.
    """

    type: str
    timestamp: float
    agent: str
    graph_id: str
    stream_id: str
    data: bytes
    node_id: str | None = None
    correlation_id: str = ""
    causation: tuple[str, ...] = ()
