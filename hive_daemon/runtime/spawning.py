"""What an event of an execution sets off: matched when it is committed, submitted in the same commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hive_daemon.clock import Clock
from hive_daemon.graph.facts import TriggerSuppressed
from hive_daemon.graph.topology import EVENT_KEY
from hive_daemon.ids import new_session_id, new_trace_id
from hive_daemon.observability.trace_context import current_parent
from hive_daemon.runtime.admitting import Arrival, admission_of
from hive_daemon.runtime.drafting import Spawned
from hive_daemon.runtime.encoding import show
from hive_daemon.runtime.entry_point import IsolationLevel
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.routing import EventRouter, Suppressed
from hive_daemon.storage.event_values import CancelOrder
from hive_daemon.storage.values import EventRecord, Submission, Submitted

FindStream = Callable[[str], ExecutionStream | None]


@dataclass(slots=True)
class EventSpawner:
    """Turns events into submissions for the event entry points of one agent."""

    clock: Clock
    stream_of: FindStream
    router: EventRouter = field(default_factory=EventRouter)

    def listens_to(self, kind: EventType) -> bool:
        """Say whether any entry point listens to this type of event."""
        return self.router.listens_to(kind)

    def spawn(self, event: AgentEvent, values: Mapping[str, Any]) -> Spawned:
        """Return the submissions for an event, what it cancels, and a fact for each entry point kept back.

        A shared entry point joins the session that the event comes from, with a copy of the keys it declares; an
        isolated one begins a session of its own. One with a single slot replaces what it runs and has queued, and goes
        on in that session, as for any other trigger.
        """
        chosen, kept_back = self.router.match(event)
        orders, unclear = self.router.cancels(event)
        remarks = [suppressed(event, item) for item in (*unclear, *kept_back)]
        submissions = []
        for route in chosen:
            stream = self.stream_of(route.lane)
            if stream is not None:
                submissions.append(self._submission(stream, event, values))
        return Spawned(submissions, remarks, orders)

    def cancelled(self, orders: Iterable[CancelOrder]) -> None:
        """Carry out orders to cancel that are durable now: what runs here is stopped, the rest has ended."""
        for order in orders:
            stream = self.stream_of(order.lane)
            if stream is None:
                continue
            for name, execution in tuple(stream.running.items()):
                claim = execution.claim
                if order.concerns(name, claim.session_id, claim.correlation_id):
                    stream.ordered(name, order.reason)
            stream.obey()

    def spawned(
        self, submissions: Sequence[Submission], answers: Sequence[Submitted | None]
    ) -> None:
        """Carry out what submissions mean that are durable now: what they replace is cancelled where it runs.

        Without answers, which nobody remembers any more, a replaced execution hears of it at the next sign of life.
        """
        for submission, submitted in zip(submissions, answers, strict=False):
            stream = self.stream_of(submission.lane)
            if stream is not None and submitted is not None:
                stream.took(submitted)

    def _submission(
        self, stream: ExecutionStream, event: AgentEvent, values: Mapping[str, Any]
    ) -> Submission:
        setup = stream.setup
        joins = (
            not stream.takes_over
            and setup.isolation is not IsolationLevel.ISOLATED
            and event.session_id is not None
        )
        inputs: dict[str, Any] = {EVENT_KEY: event.to_dict()}
        if setup.spec.task:
            inputs["task"] = setup.spec.task
        if joins:
            inputs = {**declared(stream, values), **inputs}
        correlation_id = event.correlation_id or ""
        arrival = Arrival(stream.lane, "event", correlation_id=correlation_id, is_joined=joins)
        admission, once = admission_of(stream.rules, arrival, inputs)
        parent = current_parent()
        return Submission(
            agent=setup.agent,
            graph_id=setup.graph_id,
            entry_point=setup.spec.id,
            stream_id=setup.stream_id,
            session_id=(event.session_id if joins else "") or new_session_id(self.clock.time()),
            input=show(inputs),
            source="event",
            correlation_id=correlation_id,
            is_new_session=not joins,
            is_joined=joins,
            priority=setup.spec.priority,
            causation=event.causation,
            trace_id=new_trace_id() if parent is None else parent.trace_id,
            trace_parent="" if parent is None else parent.span_id,
            once=once,
            admission=admission,
            refusal_event=self._refusal(stream, event),
        )

    def _refusal(self, stream: ExecutionStream, event: AgentEvent) -> EventRecord:
        """Return the event of a submission that its entry point refuses; the store adds why."""
        data = {"entry_point": stream.lane, "event_type": event.type.value}
        return EventRecord(TriggerSuppressed.kind, None, self.clock.time(), show(data))


def suppressed(event: AgentEvent, kept_back: Suppressed) -> TriggerSuppressed:
    """Return the fact that an entry point was kept back from an event."""
    return TriggerSuppressed(None, kept_back.route.lane, kept_back.reason, event.type.value)


def declared(stream: ExecutionStream, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the keys that a stream's entry node declares as inputs; all of them if it declares none."""
    node = stream.setup.topology.nodes[stream.setup.entry_node]
    return {k: v for k, v in values.items() if not node.input_keys or k in node.input_keys}
