"""Large values by their content's hash, on SQLite."""

from __future__ import annotations

import sqlite3

from hive_daemon.errors import NotFound
from hive_daemon.storage.sqlite.codec import blob_key, pack, unpack
from hive_daemon.storage.sqlite.reader import Readers
from hive_daemon.storage.sqlite.tx import Holder, Tx
from hive_daemon.storage.sqlite.writer import Writer
from hive_daemon.tasks import to_thread


def put(tx: Tx, key: str, packed: bytes) -> None:
    """Keep a content that is packed already, for the caller's sake."""
    tx.execute("INSERT INTO blobs VALUES (?, ?) ON CONFLICT DO NOTHING", (key, packed))
    tx.refer(key, Holder.CALLER, "")


def delete(tx: Tx, key: str) -> bool:
    """Forget a content unless a row refers to it."""
    there = _is_there(tx, key)
    tx.execute("DELETE FROM blob_refs WHERE kind = ? AND key = ?", (Holder.CALLER, key))
    return there and not _is_there(tx, key)


def _is_there(tx: Tx, key: str) -> bool:
    return tx.execute("SELECT 1 FROM blobs WHERE key = ?", (key,)).fetchone() is not None


class SqliteBlobs:
    """The blob store on SQLite."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def put_if_absent(self, content: bytes) -> str:
        """See `BlobStore.put_if_absent`."""
        # Hashing and packing a large value takes long enough to be kept off the loop and the writer.
        key, packed = await to_thread(_prepare, content)
        await self._writer.do(put, key, packed)
        return key

    async def get(self, key: str) -> bytes:
        """See `BlobStore.get`."""
        return await self._readers.read(_get, key)

    async def delete(self, key: str) -> bool:
        """See `BlobStore.delete`."""
        return await self._writer.do(delete, key)


def _prepare(content: bytes) -> tuple[str, bytes]:
    return blob_key(content), pack(content)


def _get(connection: sqlite3.Connection, key: str) -> bytes:
    row = connection.execute("SELECT content FROM blobs WHERE key = ?", (key,)).fetchone()
    if row is None:
        raise NotFound("no blob has this key", subject=key)
    return unpack(row[0])
