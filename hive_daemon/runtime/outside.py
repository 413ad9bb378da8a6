"""Events from outside executions: what programs publish and webhooks deliver, on their way to entry points.

They reach entry points through `runtime.trigger`, read at that moment, so that a program may put something in between.
Events of executions never come this way: they are matched when they are committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hive_daemon.graph.topology import EVENT_KEY
from hive_daemon.runtime.events import LIVE, AgentEvent, EventType
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.intake import DEDUPE_SECONDS, Call
from hive_daemon.runtime.joining import join_for
from hive_daemon.runtime.routing import EventRoute, EventRouter
from hive_daemon.runtime.webhook_server import Delivery

if TYPE_CHECKING:
    from hive_daemon.runtime.execution_face import ExecutionFace
    from hive_daemon.runtime.runtime_base import RuntimeBase

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
    body_hash: str = ""
    dedupe_seconds: float = DEDUPE_SECONDS

    async def apply(self, call: Call, stream: ExecutionStream, runtime: RuntimeBase) -> Call:
        """Return the call with what its origin adds."""
        joins = None
        if self.joins_live and not call.names_session and stream.setup.spec.max_concurrent > 1:
            store = runtime.running().services.store
            joins = await join_for(stream, runtime.hosts, store)
        return replace(
            call,
            source=self.source,
            causation=self.causation,
            joins=joins,
            body_hash=self.body_hash,
            dedupe_seconds=self.dedupe_seconds,
        )


class OutsideEvents:
    """Hands events from outside to the entry points that listen to them."""

    def __init__(self, runtime: ExecutionFace) -> None:
        self._runtime = runtime
        self._router = EventRouter()
        self._subscription: str | None = None
        self._delivered: set[int] = set()

    def open(self, router: EventRouter) -> None:
        """Begin to listen, or go on with other routes."""
        self.close()
        self._router = router
        wanted = [kind for kind in set(EventType) - LIVE if router.listens_to(kind)]
        if wanted:
            self._subscription = self._runtime.event_bus.subscribe(wanted, self._heard)

    def close(self) -> None:
        """Listen no more."""
        if self._subscription is not None:
            self._runtime.event_bus.unsubscribe(self._subscription)
            self._subscription = None

    async def _heard(self, event: AgentEvent) -> None:
        """Take an event that a program published; those of executions were matched at their commit."""
        if event.seq is not None or id(event) in self._delivered:
            return
        for route in self._routes(event):
            await self._trigger(route, event, Origin("event", event.causation, joins_live=True))

    async def deliver(self, delivery: Delivery) -> list[str]:
        """Take a webhook: every entry point that listens gets one execution; answer their ids once durable.

        The same delivery again answers the same ids.
        """
        self._runtime.running()
        event = replace(delivery.event, agent=self._runtime.agent)
        key = f"wh:{event.stream_id}:{delivery.delivery_id or delivery.body_hash}"
        origin = Origin(
            source="webhook",
            joins_live=True,
            body_hash=delivery.body_hash,
            dedupe_seconds=DEDUPE_SECONDS if delivery.delivery_id else UNNAMED_DEDUPE_SECONDS,
        )
        started = await asyncio.gather(
            *(self._trigger(route, event, origin, key) for route in self._routes(event))
        )
        self._delivered.add(id(event))
        try:
            await self._runtime.event_bus.publish(event)
        finally:
            self._delivered.discard(id(event))
        return list(started)

    def _routes(self, event: AgentEvent) -> list[EventRoute]:
        chosen, _ = self._router.match(event)
        return chosen

    async def _trigger(
        self, route: EventRoute, event: AgentEvent, origin: Origin, key: str | None = None
    ) -> str:
        runtime = self._runtime
        stream_id = route.lane.partition("/")[2]
        stream = runtime.get_stream(stream_id)
        inputs: dict[str, Any] = {EVENT_KEY: event.to_dict()}
        if stream is not None and stream.setup.spec.task:
            inputs["task"] = stream.setup.spec.task
        call: Callable[..., Awaitable[str]] = runtime.trigger
        state: Mapping[str, Any] | None = None
        return await call(
            stream_id, inputs, session_state=state, idempotency_key=key, origin=origin
        )
