"""The ledger of webhook deliveries on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from hive_daemon.errors import IdempotencyConflict
from hive_daemon.storage.sqlite.codec import pack, unpack
from hive_daemon.storage.sqlite.reader import Readers
from hive_daemon.storage.sqlite.tx import Tx
from hive_daemon.storage.sqlite.writer import Writer
from hive_daemon.storage.webhook_deliveries import (
    MAX_PAGE,
    OPEN,
    Admission,
    Arrival,
    DeliveryFilter,
    DeliveryRow,
    DeliveryStatus,
    Settlement,
)

DELIVERY_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS deliveries (
        n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
        route TEXT NOT NULL, source_id TEXT NOT NULL, key TEXT NOT NULL, body_hash TEXT NOT NULL,
        known_until REAL NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL, grp TEXT NOT NULL,
        received_at REAL NOT NULL, due_at REAL, settled_at REAL,
        execution_ids TEXT NOT NULL DEFAULT '', superseded INTEGER NOT NULL DEFAULT 0,
        superseded_by TEXT NOT NULL DEFAULT '', repeats INTEGER NOT NULL DEFAULT 0,
        replay_of TEXT NOT NULL, data BLOB NOT NULL
    ) STRICT
    """,
    "CREATE INDEX IF NOT EXISTS deliveries_key ON deliveries (route, key)",
    "CREATE INDEX IF NOT EXISTS deliveries_age ON deliveries (received_at)",
    """
    CREATE INDEX IF NOT EXISTS deliveries_open ON deliveries (route, grp, n)
        WHERE status IN ('received', 'coalesced')
    """,
    """
    CREATE INDEX IF NOT EXISTS deliveries_superseded ON deliveries (superseded_by)
        WHERE superseded_by <> ''
    """,
)
"""Statements that make the table if it is not there."""

_PLAIN = (
    "id, route, source_id, key, body_hash, status, reason, grp, received_at, due_at, settled_at, "
    "execution_ids, superseded, superseded_by, repeats, replay_of"
)
_COLUMNS = f"{_PLAIN}, data"
_KNOWN = f"""
SELECT {_COLUMNS} FROM deliveries WHERE route = ? AND key = ? AND known_until > ?
ORDER BY n DESC LIMIT 1
"""
_INSERT = """
INSERT INTO deliveries (id, route, source_id, key, body_hash, known_until, status, reason, grp,
    received_at, due_at, settled_at, repeats, replay_of, data)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_SETTLE = """
UPDATE deliveries SET status = ?, reason = ?, execution_ids = ?, settled_at = ?
WHERE id = ? AND status IN ('received', 'refused') RETURNING superseded
"""
# The planner takes a partial index only if the query says the same as the index.
_SUPERSEDED = """
UPDATE deliveries SET execution_ids = ? WHERE superseded_by = ? AND superseded_by <> ''
"""
_OPEN = "status IN ('received', 'coalesced')"
_WAITING = f"route = ? AND grp = ? AND status = 'coalesced' AND {_OPEN}"
_PRUNE = """
DELETE FROM deliveries WHERE received_at < ? AND known_until <= ?
    AND status NOT IN ('received', 'coalesced')
"""


class SqliteDeliveries:
    """The ledger in hive.db."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def prepare(self) -> None:
        """Make the table if it is not there."""
        await self._writer.do(_prepare)

    async def admit(self, arrival: Arrival) -> Admission:
        """See `DeliveryLedger.admit`."""
        return await self._writer.do(_admit, arrival)

    async def settle(self, *settled: Settlement) -> None:
        """See `DeliveryLedger.settle`."""
        await self._writer.do(_settle, settled)

    async def withdraw(self, delivery_id: str) -> None:
        """See `DeliveryLedger.withdraw`."""
        await self._writer.do(_withdraw, delivery_id)

    async def release(self, route: str, group: str) -> DeliveryRow | None:
        """See `DeliveryLedger.release`."""
        return await self._writer.do(_release, route, group)

    async def query(self, wanted: DeliveryFilter) -> list[DeliveryRow]:
        """See `DeliveryLedger.query`."""
        return await self._readers.read(_query, wanted)

    async def prune(self, older_than: float) -> int:
        """See `DeliveryLedger.prune`."""
        return await self._writer.do(_prune, older_than)


def _prepare(tx: Tx) -> None:
    for statement in DELIVERY_TABLES:
        tx.execute(statement)


def _admit(tx: Tx, arrival: Arrival) -> Admission:
    known = tx.execute(_KNOWN, (arrival.route, arrival.key, tx.now)).fetchone()
    if known is None:
        return Admission(_insert(tx, arrival, arrival.id), is_new=True)
    row = _row(known)
    if row.body_hash != arrival.body_hash:
        raise IdempotencyConflict(subject=arrival.key)
    if row.status is DeliveryStatus.REFUSED:
        tx.execute("DELETE FROM deliveries WHERE id = ?", (row.id,))
        return Admission(_insert(tx, arrival, row.id, row.repeats + 1), is_new=True)
    tx.execute("UPDATE deliveries SET repeats = repeats + 1 WHERE id = ?", (row.id,))
    return Admission(row, is_new=False)


def _insert(tx: Tx, arrival: Arrival, delivery_id: str, repeats: int = 0) -> DeliveryRow:
    row = _row_of(tx, arrival, delivery_id, repeats)
    tx.execute(
        _INSERT,
        (
            delivery_id,
            arrival.route,
            arrival.source_id,
            arrival.key,
            arrival.body_hash,
            tx.now + arrival.known_seconds,
            arrival.status,
            arrival.reason,
            arrival.group,
            row.received_at,
            row.due_at,
            row.settled_at,
            repeats,
            arrival.replay_of,
            pack(arrival.data),
        ),
    )
    return row


def _row_of(tx: Tx, arrival: Arrival, delivery_id: str, repeats: int) -> DeliveryRow:
    return DeliveryRow(
        id=delivery_id,
        route=arrival.route,
        source_id=arrival.source_id,
        key=arrival.key,
        body_hash=arrival.body_hash,
        status=arrival.status,
        reason=arrival.reason,
        group=arrival.group,
        received_at=tx.now,
        due_at=_due_at(tx, arrival),
        settled_at=tx.now if arrival.status is DeliveryStatus.IGNORED else None,
        execution_ids=(),
        superseded=0,
        superseded_by="",
        repeats=repeats,
        replay_of=arrival.replay_of,
        data=arrival.data,
    )


def _due_at(tx: Tx, arrival: Arrival) -> float | None:
    if arrival.status is not DeliveryStatus.COALESCED:
        return None
    (first,) = tx.execute(
        f"SELECT min(received_at) FROM deliveries WHERE {_WAITING}",
        (arrival.route, arrival.group),
    ).fetchone()
    began = tx.now if first is None else first
    return min(tx.now + arrival.window, began + arrival.max_wait)


def _settle(tx: Tx, settled: Sequence[Settlement]) -> None:
    for each in settled:
        ids = " ".join(each.execution_ids)
        values = (each.status, each.reason, ids, tx.now, each.delivery_id)
        row = tx.execute(_SETTLE, values).fetchone()
        if row is not None and row[0]:
            tx.execute(_SUPERSEDED, (ids, each.delivery_id))


def _withdraw(tx: Tx, delivery_id: str) -> None:
    tx.execute("DELETE FROM deliveries WHERE id = ? AND status = 'received'", (delivery_id,))


def _release(tx: Tx, route: str, group: str) -> DeliveryRow | None:
    waiting = tx.execute(
        f"SELECT id FROM deliveries WHERE {_WAITING} ORDER BY n DESC",
        (route, group),
    ).fetchall()
    if not waiting:
        return None
    (last,) = waiting[0]
    tx.execute(
        "UPDATE deliveries SET status = 'received', superseded = ? WHERE id = ?",
        (len(waiting) - 1, last),
    )
    tx.execute(
        "UPDATE deliveries SET status = 'superseded', superseded_by = ?, settled_at = ? "
        f"WHERE {_WAITING}",
        (last, tx.now, route, group),
    )
    return _load(tx, last)


def _prune(tx: Tx, older_than: float) -> int:
    return tx.execute(_PRUNE, (older_than, tx.now)).rowcount


def _load(tx: Tx, delivery_id: str) -> DeliveryRow:
    found = tx.execute(f"SELECT {_COLUMNS} FROM deliveries WHERE id = ?", (delivery_id,))
    return _row(found.fetchone())


def _query(connection: sqlite3.Connection, wanted: DeliveryFilter) -> list[DeliveryRow]:
    terms: list[str] = ["1"]
    values: list[object] = []
    for column, among in (
        ("id", wanted.ids),
        ("key", wanted.keys),
        ("route", wanted.routes),
        ("status", wanted.statuses),
    ):
        if among:
            terms.append(f"{column} IN ({', '.join('?' * len(among))})")
            values.extend(among)
    if wanted.statuses and set(wanted.statuses) <= set(OPEN):
        terms.append(_OPEN)
    for term, moment in (("received_at >= ?", wanted.since), ("received_at < ?", wanted.until)):
        if moment is not None:
            terms.append(term)
            values.append(moment)
    if wanted.before:
        terms.append("n < (SELECT n FROM deliveries WHERE id = ?)")
        values.append(wanted.before)
    columns = _COLUMNS if wanted.with_data else _PLAIN
    found = connection.execute(
        f"SELECT {columns} FROM deliveries WHERE {' AND '.join(terms)} ORDER BY n DESC LIMIT ?",
        (*values, min(wanted.limit, MAX_PAGE)),
    )
    return [_row(row) for row in found.fetchall()]


def _row(row: tuple[Any, ...]) -> DeliveryRow:
    # Without its data a row is shorter.
    values = dict(zip(DeliveryRow.__dataclass_fields__, row, strict=False))
    data = {"data": unpack(values["data"])} if "data" in values else {}
    return DeliveryRow(
        **{
            **values,
            "status": DeliveryStatus(values["status"]),
            "execution_ids": tuple(values["execution_ids"].split()),
            **data,
        }
    )
