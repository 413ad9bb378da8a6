"""The journal port: how the engine makes its moves durable, and a journal for programs that keep nothing.

`Journal` is what `graph.performer` writes to. The runtime's journal commits to the store; `LocalJournal` only tells an
event bus, for a `GraphExecutor` that is used on its own.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from hive_daemon.graph.facts import Fact, Recorder
from hive_daemon.graph.totals import Totals
from hive_daemon.graph.walk_state import Step

if TYPE_CHECKING:
    from hive_daemon.graph.executor import ExecutionResult

__all__ = ["Journal", "LocalJournal", "Move", "Totals"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Move:
    """One step of the walk with everything that becomes durable with it.

    `shared` are the values that the node wrote to keys shared with other executions; `expects` their versions when the
    node began (None: last write wins). `result` is set when the walk stopped here.
    """

    node_id: str | None
    step: Step
    totals: Totals
    facts: tuple[Fact, ...] = ()
    shared: Mapping[str, Any] = field(default_factory=dict)
    expects: Mapping[str, int] | None = None
    result: ExecutionResult | None = None


class Journal(Recorder, Protocol):
    """Where moves go. Laws: moves become durable in order; a move and its facts become durable together.

    The first move comes by `begin`, unless the walk stopped with it; every other by `step`.
    """

    def admit(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values as they will be read back later. Raises TypeError for what cannot be kept."""

    def begin(self, move: Move) -> None:
        """Make the first move durable without waiting for it; `step` waits for it first."""

    async def step(self, move: Move) -> None:
        """Make a move durable. Raises StateConflict if a shared key has another version than expected."""

    def busy(self, node_id: str) -> AbstractContextManager[None]:
        """Mark a stretch in which the execution is at work at a node, however long it says nothing."""


class LocalJournal:
    """A journal that keeps nothing and tells an event bus of every fact.

    The bus may be any object with `emit_{kind}` methods, plain or asynchronous: each is given what it takes of
    `stream_id`, `node_id`, `execution_id` and the fact's fields. What a bus does not offer is not told, and what it
    raises is logged: events tell, they do not command.
    """

    def __init__(
        self,
        bus: object,
        stream_id: str = "",
        execution_id: str = "",
        *,
        records: Mapping[str, bytes] | None = None,
    ) -> None:
        self._bus = bus
        self._stream_id = stream_id
        self._execution_id = execution_id
        self._emitters: dict[str, _Emitter | None] = {}
        self._noted: list[Fact] = []
        self._records: dict[str, bytes] = dict(records or {})

    @property
    def is_watched(self) -> bool:
        """Whether there is a bus."""
        return self._bus is not None

    def admit(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values as they are: nothing is kept, so anything may be."""
        return dict(values)

    def note(self, *facts: Fact) -> None:
        """Tell the facts with the next move."""
        self._noted.extend(facts)

    def show(self, fact: Fact) -> None:
        """Tell the fact with the next move or record."""
        self._noted.append(fact)

    async def record(self, *facts: Fact, records: Mapping[str, bytes | None] | None = None) -> None:
        """Tell the facts; keep the records for as long as this journal lives."""
        for key, value in (records or {}).items():
            if value is None:
                self._records.pop(key, None)
            else:
                self._records[key] = value
        await self._tell(facts)

    async def recall(self, prefix: str) -> dict[str, bytes]:
        """Return the records whose key begins with `prefix`."""
        return {k: v for k, v in sorted(self._records.items()) if k.startswith(prefix)}

    def begin(self, move: Move) -> None:
        """Tell the facts of the first move with the second."""
        self._noted.extend((*move.facts, *move.step.facts))

    async def step(self, move: Move) -> None:
        """Tell the facts of a move."""
        await self._tell((*move.facts, *move.step.facts))

    def busy(self, node_id: str) -> AbstractContextManager[None]:
        """Nobody watches for idleness here."""
        return _UNWATCHED

    async def _tell(self, facts: tuple[Fact, ...]) -> None:
        noted, self._noted = self._noted, []
        if self._bus is None:
            return
        for fact in (*noted, *facts):
            await self._emit(fact)

    async def _emit(self, fact: Fact) -> None:
        """Deliver one fact: part of the boundary at which a handler's exceptions are caught."""
        if fact.kind not in self._emitters:
            method = getattr(self._bus, f"emit_{fact.kind}", None)
            self._emitters[fact.kind] = _Emitter.of(method) if callable(method) else None
        emitter = self._emitters[fact.kind]
        if emitter is None:
            return
        fields = {"stream_id": self._stream_id, "node_id": fact.node_id, **fact.data()}
        if self._execution_id:
            fields["execution_id"] = self._execution_id
        try:
            told = emitter.call(fields)
            if inspect.isawaitable(told):
                await told
        except Exception:
            logger.warning("an event bus failed", extra={"event": fact.kind}, exc_info=True)


_UNWATCHED = nullcontext()


@dataclass(frozen=True, slots=True)
class _Emitter:
    """One method of a bus, and the names it takes; None for any."""

    method: Callable[..., Any]
    names: frozenset[str] | None

    @classmethod
    def of(cls, method: Callable[..., Any]) -> _Emitter:
        try:
            parameters = inspect.signature(method).parameters.values()
        except (TypeError, ValueError):
            return cls(method, None)
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return cls(method, None)
        return cls(method, frozenset(parameter.name for parameter in parameters))

    def call(self, fields: Mapping[str, Any]) -> Any:
        if self.names is None:
            return self.method(**fields)
        return self.method(**{name: fields[name] for name in self.names if name in fields})
