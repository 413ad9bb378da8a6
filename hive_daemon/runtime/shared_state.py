"""Shared state: values that outlive an execution, in three scopes, under three levels of isolation.

The manager keeps the shared scopes of one agent in memory and every write in the store. Executions see them through
`ambient` and change them in the same commit as the step that wrote (see `runtime.journal`).

Reads go execution → stream → global; `isolated` sees the execution's own scope only. Laws: a write is visible to others
only once it is durable; under `synchronized` no write based on an outdated value takes effect.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import StateConflict
from hive_daemon.runtime.encoding import dumps
from hive_daemon.runtime.entry_point import IsolationLevel
from hive_daemon.storage.ports import SessionRecords
from hive_daemon.storage.values import StateWrite

HISTORY = 1000
RETRIES = 32
"""How often a write through the manager itself is tried again because an execution's commit came first."""


class StateScope(StrEnum):
    """How far a value reaches."""

    EXECUTION = "execution"
    STREAM = "stream"
    GLOBAL = "global"


@dataclass(frozen=True, slots=True)
class StateChange:
    """One change of one key."""

    key: str
    old_value: Any
    new_value: Any
    scope: StateScope
    execution_id: str
    stream_id: str
    timestamp: datetime


class SharedStateManager:
    """The shared state of one agent. Without a store (`sessions` None) it lives in memory only."""

    def __init__(
        self,
        sessions: SessionRecords | None = None,
        agent: str = "",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._sessions = sessions
        self._agent = agent
        self._clock = clock
        self._shared: dict[str, dict[str, tuple[Any, int]]] = {}
        self._executions: dict[str, dict[str, Any]] = {}
        self._history: deque[StateChange] = deque(maxlen=HISTORY)
        self._changes = 0
        self._turn = asyncio.Lock()

    # --- the store's side -------------------------------------------------------------------

    def attach(self, sessions: SessionRecords, agent: str) -> None:
        """Keep the shared scopes in a store from now on."""
        self._sessions = sessions
        self._agent = agent

    async def load(self, stream_ids: Iterable[str]) -> None:
        """Read the shared scopes from the store."""
        if self._sessions is None:
            return
        scopes = [self.scope_name(""), *(self.scope_name(stream) for stream in stream_ids)]
        for (scope, key), (value, version) in (await self._sessions.state(scopes)).items():
            self._shared.setdefault(scope, {})[key] = (orjson.loads(value), version)

    def scope_name(self, stream_id: str) -> str:
        """Return the store's name for a stream's scope; for the global one with an empty `stream_id`."""
        return f"{self._agent}/{stream_id}" if stream_id else self._agent

    def ambient(self, stream_id: str, isolation: IsolationLevel) -> dict[str, Any]:
        """Return what an execution sees beyond its own scope."""
        if isolation is IsolationLevel.ISOLATED:
            return {}
        return {
            **self._values(self.scope_name("")),
            **self._values(self.scope_name(stream_id)),
        }

    def versions(self, keys: Iterable[str]) -> dict[str, int]:
        """Return the versions of global keys; 0 for one that is not set."""
        known = self._shared.get(self.scope_name(""), {})
        return {key: known[key][1] if key in known else 0 for key in keys}

    def committed(self, writes: Iterable[StateWrite], execution_id: str, stream_id: str) -> None:
        """Take note of shared writes that became durable with a step."""
        for write in writes:
            scope = StateScope.GLOBAL if write.scope == self._agent else StateScope.STREAM
            value = orjson.loads(write.value)
            self._remember(write.scope, write.key, value)
            self._changed(write.key, value, scope, (execution_id, stream_id))

    def _values(self, scope: str) -> dict[str, Any]:
        return {key: value for key, (value, _) in self._shared.get(scope, {}).items()}

    def _remember(self, scope: str, key: str, value: Any) -> None:
        entries = self._shared.setdefault(scope, {})
        version = entries[key][1] if key in entries else 0
        entries[key] = (value, version + 1)

    def _changed(
        self, key: str, value: Any, scope: StateScope, who: tuple[str, str], old: Any = None
    ) -> None:
        moment = datetime.fromtimestamp(self._clock.time(), UTC)
        self._history.append(StateChange(key, old, value, scope, *who, moment))
        self._changes += 1

    # --- the programming interface ----------------------------------------------------------

    def create_memory(
        self, execution_id: str, stream_id: str, isolation: IsolationLevel | str
    ) -> StreamMemory:
        """Return a view of the state for one execution."""
        self._executions.setdefault(execution_id, {})
        return StreamMemory(self, execution_id, stream_id, IsolationLevel(isolation))

    create_buffer = create_memory

    async def read(
        self,
        key: str,
        execution_id: str,
        stream_id: str,
        isolation: IsolationLevel | str = IsolationLevel.SHARED,
    ) -> Any:
        """Return the value of a key as an execution sees it, None when nobody has set it."""
        return self.read_sync(key, execution_id, stream_id, IsolationLevel(isolation))

    def read_sync(
        self, key: str, execution_id: str, stream_id: str, isolation: IsolationLevel
    ) -> Any:
        """Return the value of a key without awaiting."""
        own = self._executions.get(execution_id, {})
        if key in own:
            return own[key]
        return self.ambient(stream_id, isolation).get(key)

    def read_all_sync(
        self, execution_id: str, stream_id: str, isolation: IsolationLevel
    ) -> dict[str, Any]:
        """Return everything that an execution sees."""
        return {**self.ambient(stream_id, isolation), **self._executions.get(execution_id, {})}

    async def write(
        self,
        key: str,
        value: Any,
        execution_id: str,
        stream_id: str,
        isolation: IsolationLevel | str = IsolationLevel.SHARED,
        scope: StateScope | str = StateScope.EXECUTION,
    ) -> None:
        """Set a key in a scope. An isolated execution writes to its own scope whatever it asks for."""
        level, target = IsolationLevel(isolation), StateScope(scope)
        if level is IsolationLevel.ISOLATED:
            target = StateScope.EXECUTION
        who = (execution_id, stream_id)
        if target is StateScope.EXECUTION:
            own = self._executions.setdefault(execution_id, {})
            self._changed(key, value, target, who, own.get(key))
            own[key] = value
            return
        name = self.scope_name("" if target is StateScope.GLOBAL else stream_id)
        old = self._values(name).get(key)
        await self._write_through(name, {key: value})
        self._changed(key, value, target, who, old)

    async def write_batch(
        self,
        values: Mapping[str, Any],
        execution_id: str,
        stream_id: str,
        isolation: IsolationLevel | str = IsolationLevel.SHARED,
        scope: StateScope | str = StateScope.EXECUTION,
    ) -> None:
        """Set several keys, all or none."""
        level, target = IsolationLevel(isolation), StateScope(scope)
        if target is StateScope.EXECUTION or level is IsolationLevel.ISOLATED:
            for key, value in values.items():
                await self.write(key, value, execution_id, stream_id, level)
            return
        name = self.scope_name("" if target is StateScope.GLOBAL else stream_id)
        old = self._values(name)
        await self._write_through(name, values)
        for key, value in values.items():
            self._changed(key, value, target, (execution_id, stream_id), old.get(key))

    async def _write_through(self, scope: str, values: Mapping[str, Any]) -> None:
        """Make shared values durable, then visible. Raises StateConflict after RETRIES tries.

        Every write says which version it follows. So the store settles the order between it and the commits of
        executions, and memory shows the same last value whichever of them is heard of first.
        """
        written = {key: dumps(value) for key, value in values.items()}
        async with self._turn:
            for attempt in range(RETRIES):
                known = {key: self._version(scope, key) for key in values}
                try:
                    await self._send(
                        [StateWrite(scope, k, v, known[k]) for k, v in written.items()]
                    )
                except StateConflict:
                    if attempt == RETRIES - 1:
                        raise
                    await self._catch_up(scope, known)
                else:
                    break
            for key, value in written.items():
                self._follow(scope, key, orjson.loads(value), known[key])

    async def _send(self, writes: Sequence[StateWrite]) -> None:
        if self._sessions is not None:
            await self._sessions.write_state(writes)

    async def _catch_up(self, scope: str, known: Mapping[str, int]) -> None:
        """Ask the store, if nobody else has told what it knows more."""
        if self._sessions is None or any(self._version(scope, k) != v for k, v in known.items()):
            return
        for (_, key), (value, version) in (await self._sessions.state([scope])).items():
            self._shared.setdefault(scope, {})[key] = (orjson.loads(value), version)

    def _follow(self, scope: str, key: str, value: Any, version: int) -> None:
        """Take note of a write that followed `version`; what was heard of since then came after it."""
        entries = self._shared.setdefault(scope, {})
        latest, now = entries.get(key, (value, 0))
        entries[key] = (value if now == version else latest, now + 1)

    def _version(self, scope: str, key: str) -> int:
        _, version = self._shared.get(scope, {}).get(key, (None, 0))
        return version

    def cleanup_execution(self, execution_id: str) -> None:
        """Forget what one execution wrote into its own scope."""
        self._executions.pop(execution_id, None)

    async def cleanup_stream(self, stream_id: str) -> None:
        """Forget a stream's scope, in the store too."""
        name = self.scope_name(stream_id)
        self._shared.pop(name, None)
        if self._sessions is not None:
            await self._sessions.clear_state(name)

    def get_recent_changes(self, limit: int = 10) -> list[StateChange]:
        """Return the last changes, newest first."""
        return list(self._history)[: -limit - 1 : -1]

    def get_stats(self) -> dict[str, int]:
        """Return counts of keys, streams, executions and changes."""
        return {
            "global_keys": len(self._shared.get(self.scope_name(""), {})),
            "stream_count": sum(1 for scope in self._shared if scope != self.scope_name("")),
            "execution_count": len(self._executions),
            "total_changes": self._changes,
            "version": self._changes,
        }


class StreamMemory:
    """The state as one execution sees it."""

    def __init__(
        self,
        manager: SharedStateManager,
        execution_id: str,
        stream_id: str,
        isolation: IsolationLevel,
    ) -> None:
        self._manager = manager
        self._execution_id = execution_id
        self._stream_id = stream_id
        self._isolation = isolation
        self._read_keys: frozenset[str] = frozenset()
        self._write_keys: frozenset[str] = frozenset()

    def with_permissions(self, read_keys: Iterable[str], write_keys: Iterable[str]) -> StreamMemory:
        """Return a narrower view; an empty set of keys means no restriction."""
        view = StreamMemory(self._manager, self._execution_id, self._stream_id, self._isolation)
        view._read_keys = frozenset(read_keys)
        view._write_keys = frozenset(write_keys)
        return view

    async def read(self, key: str) -> Any:
        """Return the value of a key, None when nobody has set it. Raises PermissionError."""
        return self.read_sync(key)

    def read_sync(self, key: str) -> Any:
        """Return the value of a key without awaiting. Raises PermissionError."""
        if self._read_keys and key not in self._read_keys:
            raise PermissionError(f"this view may not read {key!r}")
        return self._manager.read_sync(key, self._execution_id, self._stream_id, self._isolation)

    async def write(
        self, key: str, value: Any, scope: StateScope | str = StateScope.EXECUTION
    ) -> None:
        """Set a key in a scope. Raises PermissionError."""
        if self._write_keys and key not in self._write_keys:
            raise PermissionError(f"this view may not write {key!r}")
        await self._manager.write(
            key, value, self._execution_id, self._stream_id, self._isolation, scope
        )

    async def read_all(self) -> dict[str, Any]:
        """Return everything the view may read."""
        seen = self._manager.read_all_sync(self._execution_id, self._stream_id, self._isolation)
        return {k: v for k, v in seen.items() if not self._read_keys or k in self._read_keys}


SharedBufferManager = SharedStateManager
StreamBuffer = StreamMemory
