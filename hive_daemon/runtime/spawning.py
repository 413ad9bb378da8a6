"""What an event of an execution sets off: matched when it is committed, submitted in the same commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hive_daemon.clock import Clock
from hive_daemon.graph.facts import Fact, TriggerSuppressed
from hive_daemon.graph.topology import EVENT_KEY
from hive_daemon.ids import new_session_id, new_trace_id
from hive_daemon.runtime.encoding import show
from hive_daemon.runtime.entry_point import IsolationLevel
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.routing import EventRouter
from hive_daemon.storage.values import Submission

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

    def spawn(
        self, event: AgentEvent, values: Mapping[str, Any]
    ) -> tuple[Sequence[Submission], Sequence[Fact]]:
        """Return the submissions for an event, and a fact for each entry point kept back.

        A shared entry point joins the session that the event comes from, with a copy of the keys it declares; an
        isolated one begins a session of its own. One with a single slot replaces what it runs and has queued, and goes
        on in that session, as for any other trigger.
        """
        chosen, kept_back = self.router.match(event)
        remarks = [
            TriggerSuppressed(None, s.route.lane, s.reason, event.type.value) for s in kept_back
        ]
        submissions = []
        for route in chosen:
            stream = self.stream_of(route.lane)
            if stream is not None:
                submissions.append(self._submission(stream, event, values))
        return submissions, remarks

    def spawned(self, submissions: Iterable[Submission]) -> None:
        """Carry out what submissions mean that are durable now: what they replace is cancelled where it runs."""
        for submission in submissions:
            stream = self.stream_of(f"{submission.agent}/{submission.stream_id}")
            if stream is not None and submission.replaces:
                stream.replaced(submission.replaces, submission.session_id)

    def _submission(
        self, stream: ExecutionStream, event: AgentEvent, values: Mapping[str, Any]
    ) -> Submission:
        setup = stream.setup
        has_one_slot = setup.spec.max_concurrent == 1
        replaced = stream.open_executions() if has_one_slot else {}
        joins = (
            not has_one_slot
            and setup.isolation is not IsolationLevel.ISOLATED
            and event.session_id is not None
        )
        inputs: dict[str, Any] = {EVENT_KEY: event.to_dict()}
        if setup.spec.task:
            inputs["task"] = setup.spec.task
        if joins:
            inputs = {**declared(stream, values), **inputs}
        session = event.session_id if joins else next(reversed(replaced.values()), None)
        return Submission(
            agent=setup.agent,
            graph_id=setup.graph_id,
            entry_point=setup.spec.id,
            stream_id=setup.stream_id,
            session_id=session or new_session_id(self.clock.time()),
            input=show(inputs),
            source="event",
            correlation_id=event.correlation_id or "",
            is_new_session=session is None,
            is_joined=joins,
            replaces=tuple(replaced),
            priority=setup.spec.priority,
            causation=event.causation,
            trace_id=new_trace_id(),
        )


def declared(stream: ExecutionStream, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the keys that a stream's entry node declares as inputs; all of them if it declares none."""
    node = stream.setup.topology.nodes[stream.setup.entry_node]
    return {k: v for k, v in values.items() if not node.input_keys or k in node.input_keys}
