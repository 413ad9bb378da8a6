"""Brings the mirror back to what the store knows: after a start, after a resume, after the disk refused.

It reads through the ports only, one session at a time, and never hurries. Nothing waits for it, except the news of the
end of an execution whose session lags.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import StorageError, StorageFull
from hive_daemon.ids import session_of
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.mirror import Mirror, MirrorMeta, Rebuilt, SessionRecord
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import (
    MAX_PAGE,
    EventFilter,
    ExecutionFilter,
    ExecutionRow,
    StoredEvent,
)

logger = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
"""The pause after the disk refused."""
STALE_TRIES = 5

Describe = Callable[[ExecutionRow], MirrorMeta | None]
"""Says what the mirror needs to know of an execution beyond its row; None for an agent that is not known any more."""

_UNFINISHED = (
    ExecutionStatus.QUEUED,
    ExecutionStatus.RUNNING,
    ExecutionStatus.INTERRUPTED,
)


class MirrorCatchUp:
    """Rebuilds what lags."""

    def __init__(
        self, mirror: Mirror, store: Store, describe: Describe, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._mirror = mirror
        self._store = store
        self._describe = describe
        self._clock = clock

    async def run(self) -> None:
        """Catch up with what an earlier process left, then with whatever begins to lag, for ever."""
        while True:
            try:
                is_done = await self.once()
            except (StorageError, StorageFull) as error:
                logger.warning("the mirror cannot catch up now", extra={"error": str(error)})
                is_done = False
            if is_done:
                await self._mirror.behind.wait()
            else:
                await self._clock.sleep(RETRY_SECONDS)

    async def once(self) -> bool:
        """Catch up with everything that lags now; say False if the disk refused."""
        self._mirror.behind.clear()
        lag = await self._mirror.lag()
        names: dict[str, list[str]] = {}
        for name in lag.executions:
            names.setdefault(session_of(name), []).append(name)
        for session_id, lagging in names.items():
            rebuilt = await self._rebuild(session_id)
            if rebuilt is Rebuilt.FAILED:
                return False
            if rebuilt is None:
                self._mirror.dismiss(lagging)
        return lag.after_seq is None or await self._scan(lag.after_seq)

    async def _scan(self, after_seq: int) -> bool:
        """Go through the sessions that something happened to since an event."""
        last = (await self._store.executions.stats()).last_seq
        is_doubtful = self._mirror.start.is_doubtful
        if after_seq > last:
            # The database is older than the marker: somebody put a backup in its place.
            after_seq, is_doubtful = 0, True
        while after_seq < last:
            events = await self._store.executions.history(EventFilter(after_seq=after_seq))
            if not await self._rebuild_all(
                {e.session_id for e in events} - {""}, force=is_doubtful
            ):
                return False
            after_seq = events[-1].seq if events else last
            self._mirror.caught_up(after_seq)
        if not await self._rebuild_all(await self._unfinished()):
            return False
        self._mirror.caught_up(None)
        return True

    async def _unfinished(self) -> set[str]:
        """Return the sessions of executions that may have committed without an event."""
        rows = await self._query(ExecutionFilter(statuses=_UNFINISHED))
        return {row.session_id for row in rows if row.started_at is not None}

    async def _query(self, wanted: ExecutionFilter) -> list[ExecutionRow]:
        """Return all pages of executions."""
        rows: list[ExecutionRow] = []
        before = None
        while True:
            page = await self._store.executions.query(
                replace(wanted, before=before, limit=MAX_PAGE)
            )
            rows.extend(page)
            if len(page) < MAX_PAGE:
                return rows
            before = page[-1].n

    async def _rebuild_all(self, session_ids: Iterable[str], *, force: bool = False) -> bool:
        """Rebuild sessions; say False if the disk refused one."""
        for session_id in sorted(session_ids):
            if await self._rebuild(session_id, force=force) is Rebuilt.FAILED:
                return False
        return True

    async def _rebuild(self, session_id: str, *, force: bool = False) -> Rebuilt | None:
        """Rebuild a session; None if there is nothing to mirror."""
        rebuilt = Rebuilt.STALE
        for _ in range(STALE_TRIES):
            record = await self.read(session_id)
            if record is None:
                return None
            rebuilt = await self._mirror.rebuild(record, force=force)
            if rebuilt is not Rebuilt.STALE:
                break
        return rebuilt

    async def read(self, session_id: str) -> SessionRecord | None:
        """Return what the store knows of a session, None if there is nothing to mirror."""
        rows = await self._query(ExecutionFilter(session_id=session_id))
        rows.sort(key=lambda row: row.ordinal)
        described = [(self._describe(row), row) for row in rows]
        executions = [(meta, row) for meta, row in described if meta is not None]
        if not executions:
            return None
        checkpoints = await self._store.sessions.checkpoints(session_id)
        return SessionRecord(executions, checkpoints, await self._events(session_id))

    async def _events(self, session_id: str) -> list[StoredEvent]:
        events: list[StoredEvent] = []
        after_seq = 0
        while True:
            wanted = EventFilter(session_id=session_id, after_seq=after_seq, limit=MAX_PAGE)
            page = await self._store.executions.history(wanted)
            events.extend(page)
            if len(page) < MAX_PAGE:
                return events
            after_seq = page[-1].seq
