"""The SQLite store, put together: the writer, the readers, and every port over them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.storage.ports import Store, StoreListener
from hive_daemon.storage.sqlite.blobs import SqliteBlobs
from hive_daemon.storage.sqlite.budgets import SqliteBudgets
from hive_daemon.storage.sqlite.database import DATABASE, own, prepare_directory
from hive_daemon.storage.sqlite.executions import SqliteExecutions
from hive_daemon.storage.sqlite.inbox import SqliteInbox
from hive_daemon.storage.sqlite.incidents import SqliteIncidents
from hive_daemon.storage.sqlite.lease import SqliteLease
from hive_daemon.storage.sqlite.notices import SqliteNotices
from hive_daemon.storage.sqlite.queue import SqliteQueue
from hive_daemon.storage.sqlite.reader import Readers
from hive_daemon.storage.sqlite.sessions import SqliteSessions
from hive_daemon.storage.sqlite.timers import SqliteTimers
from hive_daemon.storage.sqlite.webhook_deliveries import SqliteDeliveries
from hive_daemon.storage.sqlite.writer import Writer


@asynccontextmanager
async def open_sqlite(
    directory: Path, listener: StoreListener, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[Store]:
    """Own a state directory and open its hive.db for as long as the context lasts.

    Raises StateLocked, StorageCorrupt, StorageTooNew, StorageFull, StorageUnavailable.
    """
    prepare_directory(directory)
    path = directory / DATABASE
    with own(directory):
        writer = Writer(path, clock, listener)
        readers = Readers(path)
        try:
            await writer.open()
            await SqliteDeliveries(writer, readers).prepare()
            await SqliteBudgets(writer, readers).prepare()
            await SqliteIncidents(writer, readers).prepare()
            yield store_over(writer, readers, listener, clock)
        finally:
            readers.close()
            await writer.close()


def store_over(writer: Writer, readers: Readers, listener: StoreListener, clock: Clock) -> Store:
    """Put every port over a writer and readers."""
    queued = listener.queued
    return Store(
        queue=SqliteQueue(writer, readers, queued, clock),
        lease=SqliteLease(writer, queued),
        inbox=SqliteInbox(writer, queued),
        executions=SqliteExecutions(writer, readers, queued),
        sessions=SqliteSessions(writer, readers),
        timers=SqliteTimers(writer, readers, queued),
        blobs=SqliteBlobs(writer, readers),
        deliveries=SqliteDeliveries(writer, readers),
        budgets=SqliteBudgets(writer, readers),
        notices=SqliteNotices(writer),
        incidents=SqliteIncidents(writer, readers),
    )
