"""From facts to the events of a commit, and to the executions that those events set off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from hive_daemon.clock import Clock
from hive_daemon.errors import InvalidInput
from hive_daemon.graph.facts import Fact
from hive_daemon.observability.redaction import redactor
from hive_daemon.runtime.encoding import show
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.hub import Hub
from hive_daemon.runtime.shared_state import SharedStateManager
from hive_daemon.storage.event_values import CancelOrder
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import Claim, EventRecord, Submission, Submitted

_STRUCTURAL = frozenset(
    {
        "node_started",
        "node_completed",
        "node_skipped",
        "edge_traversed",
        "node_loop_started",
        "node_loop_iteration",
        "node_loop_completed",
        "output_key_set",
        "llm_turn_complete",
    }
)
"""Facts that hold names, numbers and errors that were redacted before: nothing in them could be a secret."""

_TYPES = {kind.value: kind for kind in EventType}
_FIELDS: dict[type[Fact], tuple[str, ...]] = {}


class Spawned(NamedTuple):
    """What an event sets off and calls back, and what is to be said about what was kept back."""

    submissions: Sequence[Submission] = ()
    remarks: Sequence[Fact] = ()
    cancels: Sequence[CancelOrder] = ()


class Spawner(Protocol):
    """Answers which executions an event sets off and calls back."""

    def listens_to(self, kind: EventType) -> bool:
        """Say whether any entry point listens to this type of event."""

    def spawn(self, event: AgentEvent, values: Mapping[str, Any]) -> Spawned:
        """Return what an event does; `values` is what the execution's memory holds. Its cancels come first."""

    def spawned(
        self, submissions: Sequence[Submission], answers: Sequence[Submitted | None]
    ) -> None:
        """Carry out what these submissions mean for others: they are durable now, with these answers."""

    def cancelled(self, orders: Iterable[CancelOrder]) -> None:
        """Carry out these orders where the executions run: they are durable now."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What a journal writes with: the same for every execution of a stream."""

    store: Store
    hub: Hub
    clock: Clock
    shared: SharedStateManager
    spawner: Spawner
    keep_checkpoints: int


class Told(NamedTuple):
    """Facts as a commit holds them: their events, and the executions that these set off and call back."""

    events: tuple[EventRecord, ...]
    spawned: tuple[Submission, ...]
    cancels: tuple[CancelOrder, ...] = ()


class Drafter:
    """Turns the facts of one execution into events."""

    def __init__(self, desk: Desk, claim: Claim) -> None:
        self._spawner = desk.spawner
        self._claim = claim
        self._causation = (*claim.causation, claim.lane)

    def tell(
        self, groups: Iterable[tuple[float, Iterable[Fact]]], values: Mapping[str, Any]
    ) -> Told:
        """Return the events of facts, each group with the wall second at which it happened."""
        events: list[EventRecord] = []
        spawned: list[Submission] = []
        cancels: list[CancelOrder] = []
        for at, facts in groups:
            for fact in facts:
                data = payload(fact)
                events.append(_record(fact, at, data))
                if not self._spawner.listens_to(_TYPES[fact.kind]):
                    continue
                more = self._spawner.spawn(self.event(fact, data, at), values)
                cancels.extend(replace(order, after=len(spawned)) for order in more.cancels)
                spawned.extend(more.submissions)
                # Nothing is set off by a remark: one that did would be remarked upon in turn, without end.
                events.extend(_record(remark, at) for remark in more.remarks)
        return Told(tuple(events), tuple(spawned), tuple(cancels))

    def event(self, fact: Fact, data: dict[str, Any], at: float) -> AgentEvent:
        """Return a fact as an event."""
        claim = self._claim
        return AgentEvent(
            type=_TYPES[fact.kind],
            stream_id=claim.stream_id,
            node_id=fact.node_id,
            execution_id=claim.execution_id,
            data=data,
            timestamp=datetime.fromtimestamp(at, UTC),
            correlation_id=claim.correlation_id or claim.execution_id,
            graph_id=claim.graph_id,
            session_id=claim.session_id,
            agent=claim.agent,
            causation=self._causation,
        )


def _record(fact: Fact, at: float, data: dict[str, Any] | None = None) -> EventRecord:
    content = show(payload(fact) if data is None else data)
    return EventRecord(fact.kind, fact.node_id, at, content)


def checked(facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
    """Return facts that there is an event type for. Raises InvalidInput."""
    for fact in facts:
        if fact.kind not in _TYPES:
            raise InvalidInput(f"there is no event type {fact.kind!r}")
    return facts


def payload(fact: Fact) -> dict[str, Any]:
    """Return what the event of a fact carries, without secrets."""
    kind = type(fact)
    if kind.data is Fact.data:
        names = _FIELDS.get(kind)
        if names is None:
            names = tuple(f.name for f in fields(fact) if f.name != "node_id")
            _FIELDS[kind] = names
        data = {name: getattr(fact, name) for name in names}
    else:
        data = fact.data()
    if fact.kind in _STRUCTURAL:
        return data
    redacted: dict[str, Any] = redactor().redact_value(data)
    return redacted
