"""Ready-made publishers for the types of events that programs publish themselves: `await bus.emit_…(…)`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.payloads import PAYLOADS

_EMIT = "emit_"
_KINDS = frozenset(kind.value for kind in EventType)
_ABOUT_EXECUTIONS = frozenset(
    {
        EventType.EXECUTION_STARTED,
        EventType.EXECUTION_COMPLETED,
        EventType.EXECUTION_FAILED,
        EventType.EXECUTION_CANCELLED,
        EventType.CONSTRAINT_VIOLATION,
        EventType.STATE_CHANGED,
    }
)
"""Types whose second argument is the execution's id, as older programs have it."""

_ABOUT_STREAMS = frozenset(
    {EventType.WEBHOOK_RECEIVED, EventType.GOAL_PROGRESS, EventType.GOAL_ACHIEVED}
)
"""Types whose payload follows on the stream; with all others the second argument is the node's id."""

_OLDER_NAMES = {"input_data": "input", "source_id": "stream_id"}


class Emitters(ABC):
    """`emit_{type}` for every event type: first where, then the payload's keys, in their order or by name."""

    @abstractmethod
    async def publish(self, event: AgentEvent) -> None:
        """Tell everybody who wants to know."""

    async def emit(
        self,
        type: EventType | str,
        stream_id: str = "",
        node_id: str | None = None,
        execution_id: str | None = None,
        correlation_id: str | None = None,
        graph_id: str | None = None,
        **data: Any,
    ) -> None:
        """Publish an event of this type with `data` as its payload. Raises ValueError for an unknown type."""
        await self.publish(
            AgentEvent(
                type=EventType(type),
                stream_id=stream_id,
                node_id=node_id,
                execution_id=execution_id,
                correlation_id=correlation_id,
                graph_id=graph_id,
                data=data,
            )
        )

    def __getattr__(self, name: str) -> Any:
        kind = name.removeprefix(_EMIT)
        if name.startswith(_EMIT) and kind in _KINDS:
            return _Emit(self, EventType(kind))
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class _Emit:
    """One bound emitter."""

    __slots__ = ("_bus", "_kind")

    def __init__(self, bus: Emitters, kind: EventType) -> None:
        self._bus = bus
        self._kind = kind

    async def __call__(self, *places: Any, **named: Any) -> None:
        """Publish. Raises TypeError for more arguments than the payload has keys."""
        kind = self._kind
        names = ("stream_id", *_second(kind), *PAYLOADS[kind])
        if len(places) > len(names):
            raise TypeError(f"emit_{kind} takes {', '.join(names)}: {len(places)} were given")
        given = dict(zip(names, places, strict=False))
        given.update((_OLDER_NAMES.get(name, name), value) for name, value in named.items())
        await self._bus.emit(kind, **given)


def _second(kind: EventType) -> tuple[str, ...]:
    if kind in _ABOUT_STREAMS:
        return ()
    return ("execution_id",) if kind in _ABOUT_EXECUTIONS else ("node_id",)
