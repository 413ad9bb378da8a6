"""Reading hive.db: read-only connections in worker threads, so that no reader delays the writer or the loop.

Each read sees one state of the database, with everything committed before it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from hive_daemon.errors import StorageCorrupt, StorageUnavailable
from hive_daemon.storage.sqlite.codec import key_in, unpack
from hive_daemon.storage.sqlite.database import open_reader, translated

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
THREADS = 2


class Readers:
    """A few threads with a read-only connection each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="hive-reader")
        self._is_closed = False

    async def read(self, work: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        """Run `work` with a connection. Raises StorageUnavailable, StorageCorrupt."""
        if self._is_closed:
            raise StorageUnavailable("the store is closed")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._run, work, arguments)

    def _run(self, work: Callable[..., T], arguments: tuple[object, ...]) -> T:
        if self._is_closed:
            raise StorageUnavailable("the store is closed")
        with translated(self._path):
            connection = self._connection()
            try:
                connection.execute("BEGIN")
                return work(connection, *arguments)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = open_reader(self._path)
            self._connections.append(connection)
        return connection

    def close(self) -> None:
        """Interrupt what is being read and close the connections."""
        self._is_closed = True
        for connection in self._connections:
            connection.interrupt()
        self._pool.shutdown(wait=True)
        for connection in self._connections:
            connection.close()


def value_of(connection: sqlite3.Connection, column: bytes | None) -> bytes | None:
    """Return the value that a column holds, wherever it is kept."""
    return None if column is None else required(connection, column)


def required(connection: sqlite3.Connection, column: bytes) -> bytes:
    """Return the value that a column holds, wherever it is kept. Raises StorageCorrupt if it is not there."""
    key = key_in(column)
    if key is None:
        return unpack(column)
    row = connection.execute("SELECT content FROM blobs WHERE key = ?", (key,)).fetchone()
    if row is None:
        raise StorageCorrupt("a value of the store is gone", subject=key)
    return unpack(row[0])
