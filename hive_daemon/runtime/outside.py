"""Events from outside executions: what programs publish and webhooks deliver, on their way to entry points.

They reach entry points through `runtime.trigger`, read at that moment and called with its documented arguments, so that
a program may put something in between; where the call comes from travels beside it. Events of executions never come
this way: they are matched when they are committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hive_daemon.graph.topology import EVENT_KEY
from hive_daemon.observability.trace_context import (
    TRACEPARENT_HEADER,
    continuing,
    get_trace_context,
)
from hive_daemon.runtime.drafting import payload
from hive_daemon.runtime.events import LIVE, AgentEvent, EventType
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.intake import DEDUPE_SECONDS, Call
from hive_daemon.runtime.joining import join_for
from hive_daemon.runtime.routing import EventRoute, EventRouter, Suppressed
from hive_daemon.runtime.spawning import suppressed
from hive_daemon.storage.values import Claim

if TYPE_CHECKING:
    from hive_daemon.runtime.execution_face import ExecutionFace
    from hive_daemon.runtime.runtime_base import RuntimeBase
    from hive_daemon.runtime.webhook_delivery import Delivery

logger = logging.getLogger(__name__)

UNNAMED_DEDUPE_SECONDS = 300.0
"""How long a delivery without an id is known again, by its body."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a call comes from, when it is not a program's own.

    `joins_live` lets a shared entry point join the session that lives in the runtime. `body_hash` is compared when the
    same idempotency key comes again.
    """

    source: str = "api"
    causation: tuple[str, ...] = ()
    joins_live: bool = False
    correlation_id: str = ""
    idempotency_key: str = ""
    body_hash: str = ""
    dedupe_seconds: float = DEDUPE_SECONDS

    @staticmethod
    def current() -> Origin | None:
        """Return where the call that is being made comes from; None for a program's own."""
        return _origin.get()

    @contextmanager
    def accompanying(self) -> Iterator[None]:
        """Be the origin of the calls made meanwhile."""
        token = _origin.set(self)
        try:
            yield
        finally:
            _origin.reset(token)

    async def apply(self, call: Call, stream: ExecutionStream, runtime: RuntimeBase) -> Call:
        """Return the call with what its origin adds."""
        joins = None
        if self.joins_live and not call.names_session and not stream.takes_over:
            store = runtime.running().services.store
            joins = await join_for(stream, runtime.hosts, store)
        return replace(
            call,
            source=self.source,
            causation=self.causation,
            joins=joins,
            correlation_id=call.correlation_id or self.correlation_id,
            idempotency_key=call.idempotency_key or self.idempotency_key,
            body_hash=self.body_hash,
            dedupe_seconds=self.dedupe_seconds,
        )


_origin: ContextVar[Origin | None] = ContextVar("hive_origin_of_call", default=None)


class OutsideEvents:
    """Hands events from outside to the entry points that listen to them."""

    def __init__(self, runtime: ExecutionFace) -> None:
        self._runtime = runtime
        self._router = EventRouter()
        self._subscription: str | None = None
        self._unwatch: Callable[[], None] | None = None
        self._delivered: set[int] = set()

    def open(self, router: EventRouter) -> None:
        """Begin to listen, or go on with other routes."""
        self.close()
        self._router = router
        self._unwatch = self._runtime.event_bus.watch(self._complete)
        wanted = [kind for kind in set(EventType) - LIVE if router.listens_to(kind)]
        if wanted:
            self._subscription = self._runtime.event_bus.subscribe(wanted, self._heard)

    def close(self) -> None:
        """Listen no more."""
        if self._subscription is not None:
            self._runtime.event_bus.unsubscribe(self._subscription)
            self._subscription = None
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None

    def _complete(self, event: AgentEvent) -> None:
        """Say where an event comes from that a node publishes itself: so no loop of such events is endless."""
        if event.seq is not None or event.causation or event.type in LIVE:
            return
        name = get_trace_context().get("execution_id", "")
        for host in self._runtime.hosts if name else ():
            for stream in host.streams.values():
                execution = stream.running.get(name)
                if execution is not None:
                    _come_from(event, execution.claim)

    async def _heard(self, event: AgentEvent) -> None:
        """Take an event that a program published; those of executions were matched at their commit."""
        if _was_matched(event) or id(event) in self._delivered:
            return
        await self._call_back(event)
        origin = Origin(
            "event", event.causation, joins_live=True, correlation_id=event.correlation_id or ""
        )
        routes = self._routes(event)
        started = await asyncio.gather(
            *(self._trigger(route, event, origin) for route in routes), return_exceptions=True
        )
        for route, outcome in zip(routes, started, strict=True):
            if isinstance(outcome, BaseException):
                logger.error(
                    "an event could not start an entry point that listens to it",
                    extra={"entry_point": route.lane, "event_type": event.type.value},
                    exc_info=outcome,
                )

    async def deliver(self, delivery: Delivery) -> list[str]:
        """Take a webhook: every entry point that listens gets one execution; answer their ids once durable.

        The same delivery again answers the same ids.
        """
        self._runtime.running()
        event = replace(delivery.event, agent=self._runtime.agent)
        origin = Origin(
            source="webhook",
            joins_live=True,
            idempotency_key=f"wh:{event.stream_id}:{delivery.delivery_id or delivery.body_hash}",
            body_hash=delivery.body_hash,
            dedupe_seconds=DEDUPE_SECONDS if delivery.delivery_id else UNNAMED_DEDUPE_SECONDS,
        )
        await self._call_back(event)
        with continuing(_traceparent_of(event)):
            outcomes = await asyncio.gather(
                *(
                    self._trigger(route, event, origin, delivery.inputs)
                    for route in self._routes(event)
                ),
                return_exceptions=True,
            )
        # All are settled by now: nothing begins behind the back of a sender who is told of a refusal.
        refusals = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if refusals:
            raise refusals[0]
        started = [outcome for outcome in outcomes if isinstance(outcome, str)]
        self._delivered.add(id(event))
        try:
            await self._runtime.event_bus.publish(event)
        finally:
            self._delivered.discard(id(event))
        return started

    def _routes(self, event: AgentEvent) -> list[EventRoute]:
        chosen, kept_back = self._router.match(event)
        self._tell(event, kept_back)
        return chosen

    def _tell(self, event: AgentEvent, kept_back: Iterable[Suppressed]) -> None:
        """Tell of entry points that were kept back from an event."""
        opened = self._runtime.opened
        if opened is None:
            return
        for item in kept_back:
            opened.notices.tell(
                AgentEvent(
                    EventType.TRIGGER_SUPPRESSED,
                    event.stream_id,
                    event.node_id,
                    data=payload(suppressed(event, item)),
                    timestamp=datetime.fromtimestamp(opened.services.clock.time(), UTC),
                    correlation_id=event.correlation_id,
                    graph_id=event.graph_id,
                    agent=self._runtime.agent,
                    causation=event.causation,
                )
            )

    async def _call_back(self, event: AgentEvent) -> None:
        """Cancel what the event cancels; what was accepted after it is left alone."""
        orders, unclear = self._router.cancels(event)
        self._tell(event, unclear)
        for order in orders:
            stream = self._runtime.get_stream(order.lane.partition("/")[2])
            if stream is not None:
                await stream.call_back(order, event.timestamp.timestamp())

    async def _trigger(
        self,
        route: EventRoute,
        event: AgentEvent,
        origin: Origin,
        extra: Mapping[str, Any] = MappingProxyType({}),
    ) -> str:
        runtime = self._runtime
        stream_id = route.lane.partition("/")[2]
        stream = runtime.get_stream(stream_id)
        inputs: dict[str, Any] = {**extra, EVENT_KEY: event.to_dict()}
        if stream is not None and stream.setup.spec.task:
            inputs["task"] = stream.setup.spec.task
        call: Callable[..., Awaitable[str]] = runtime.trigger
        with origin.accompanying():
            return await call(stream_id, inputs, session_state=None)


def _was_matched(event: AgentEvent) -> bool:
    """Say whether an event was matched when it was committed; of notices, those of skipped triggers were not."""
    is_notice = event.execution_id is None and event.type is not EventType.TRIGGER_SUPPRESSED
    return event.seq is not None and not is_notice


def _come_from(event: AgentEvent, claim: Claim) -> None:
    """Fill in what an event does not say of the execution that it comes from."""
    event.causation = (*claim.causation, claim.lane)
    event.agent = claim.agent
    event.graph_id = event.graph_id or claim.graph_id
    event.execution_id = event.execution_id or claim.execution_id
    event.session_id = event.session_id or claim.session_id
    event.correlation_id = event.correlation_id or claim.correlation_id or claim.execution_id


def _traceparent_of(event: AgentEvent) -> str:
    """Return the header that names the trace a webhook belongs to; empty without one."""
    headers = event.data.get("headers")
    for name, value in headers.items() if isinstance(headers, Mapping) else ():
        if str(name).lower() == TRACEPARENT_HEADER:
            return str(value)
    return ""
