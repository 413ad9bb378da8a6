"""Requests about a session that take effect once, however often they are sent: notes of them, kept in the store.

What begins a session is made unique by the queue itself. What goes on with one, or says something to it, changes an
execution that exists; so a note is made durable before, and completed after. Who finds a note without its completion
looks at the execution to see whether the first request came that far.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from weakref import WeakValueDictionary

import orjson

from hive_daemon.clock import Clock
from hive_daemon.errors import IdempotencyConflict
from hive_daemon.runtime.intake import DEDUPE_SECONDS
from hive_daemon.storage.ports import SessionRecords
from hive_daemon.storage.values import StateWrite

_NAME = "request"


@dataclass(frozen=True, slots=True)
class Note:
    """A request that was begun.

    `target` is the execution that it was about and `seen` when that had last changed; `ordinal` the session's last one
    then; `is_next` whether the request begins a further execution; `done` the execution that it came to, once it did.
    """

    digest: str
    at: float
    target: str
    seen: float
    ordinal: int
    is_next: bool = False
    node_id: str = ""
    done: str = ""


class Once:
    """Keeps notes for seven days. Requests about one session are taken one after the other."""

    def __init__(self, records: SessionRecords, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, session_id: str) -> AsyncIterator[None]:
        """Keep other requests about this session waiting."""
        lock = self._turns.setdefault(session_id, asyncio.Lock())
        async with lock:
            yield

    async def recall(self, session_id: str, key: str, digest: str) -> Note | None:
        """Return the note of the request that came first with this key.

        Raises IdempotencyConflict if that was another request.
        """
        note = await self.first(session_id, key)
        if note is not None and note.digest != digest:
            raise IdempotencyConflict(
                f"the key {key} was used with another request, for {note.target}",
                hint="use a new key for a new request",
            )
        return note

    async def first(self, session_id: str, key: str) -> Note | None:
        """Return the note of the request that came first with this key, whichever it was."""
        kept = await self._records.state([_scope(session_id, key)])
        notes = [Note(**orjson.loads(value)) for value, _ in kept.values()]
        fresh = [note for note in notes if note.at + DEDUPE_SECONDS > self._clock.time()]
        return fresh[0] if fresh else None

    async def keep(self, session_id: str, key: str, note: Note) -> None:
        """Make a note durable."""
        await self._records.write_state(
            [StateWrite(_scope(session_id, key), _NAME, orjson.dumps(asdict(note)))]
        )

    async def complete(self, session_id: str, key: str, note: Note, execution_id: str) -> None:
        """Note which execution a request came to."""
        await self.keep(session_id, key, replace(note, done=execution_id))


def _scope(session_id: str, key: str) -> str:
    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    return f"control:{session_id}:{digest}"
