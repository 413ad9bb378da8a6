"""A hive.db that somebody else owns, or nobody: every port over it, of which only those that read work.

Guarantees: nothing is written, no lock is taken, no file is made where there is no database.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import StorageUnavailable
from hive_daemon.storage.ports import Store, StoreListener
from hive_daemon.storage.sqlite.database import DATABASE
from hive_daemon.storage.sqlite.reader import Readers
from hive_daemon.storage.sqlite.store import store_over
from hive_daemon.storage.sqlite.tx import Tx
from hive_daemon.storage.sqlite.writer import Writer
from hive_daemon.storage.values import Fence, StepCommit, StoredEvent

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _NoWriter(Writer):
    """Refuses whatever is to be written."""

    def do(self, work: Callable[[Tx, *Ts], T], *arguments: *Ts) -> asyncio.Future[T]:
        """Refuse."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        answer.set_exception(
            StorageUnavailable("the store is only read here", hint="start the daemon")
        )
        return answer


class Deaf(StoreListener):
    """Hears of nothing: nothing is committed."""

    def committed(
        self, fence: Fence | None, step: StepCommit | None, events: Sequence[StoredEvent]
    ) -> None:
        """Take note of nothing."""

    def queued(self, lane: str) -> None:
        """Take note of nothing."""


@asynccontextmanager
async def read_sqlite(directory: Path, clock: Clock = SYSTEM_CLOCK) -> AsyncIterator[Store]:
    """Open the hive.db of a state directory for reading, whoever owns it. Raises StorageUnavailable if there is none.

    What reads raises StorageCorrupt, StorageTooNew, StorageUnavailable.
    """
    path = directory / DATABASE
    if not path.is_file():
        raise StorageUnavailable(f"there is no {DATABASE} in {directory}")
    readers = Readers(path)
    try:
        yield store_over(_NoWriter(path, clock, Deaf()), readers, Deaf(), clock)
    finally:
        readers.close()
