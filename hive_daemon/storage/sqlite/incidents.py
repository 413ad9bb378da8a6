"""The book of incidents on SQLite: one row per signature, its content as JSON."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from hive_daemon.storage.incident_book import (
    KEPT_INCIDENTS,
    Incident,
    IncidentFilter,
    IncidentNotFound,
    IncidentStatus,
    Reported,
    Sighting,
    acknowledged,
    resolved,
    sighted,
)
from hive_daemon.storage.sqlite import rows
from hive_daemon.storage.sqlite.reader import Readers
from hive_daemon.storage.sqlite.tx import Tx
from hive_daemon.storage.sqlite.writer import Writer

INCIDENT_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS incidents (
        id TEXT PRIMARY KEY, agent TEXT NOT NULL, entry_point TEXT NOT NULL, status TEXT NOT NULL,
        last_seen REAL NOT NULL, content BLOB NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS incidents_seen ON incidents (last_seen)",
    """
    CREATE TABLE IF NOT EXISTS incident_alerts (
        incident_id TEXT NOT NULL, sink TEXT NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (incident_id, sink)
    ) STRICT, WITHOUT ROWID
    """,
)
"""Statements that make the tables if they are not there."""

_PUT = """
INSERT INTO incidents VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET status = excluded.status, last_seen = excluded.last_seen, content = excluded.content
"""
_ALERTED = """
INSERT INTO incident_alerts VALUES (?, ?, ?) ON CONFLICT (incident_id, sink) DO UPDATE SET at = excluded.at
"""
_FORGET = f"""
DELETE FROM incidents WHERE id IN (
    SELECT id FROM incidents ORDER BY status = '{IncidentStatus.RESOLVED}', last_seen DESC LIMIT -1 OFFSET ?
)
"""
_FORGET_ALERTS = "DELETE FROM incident_alerts WHERE incident_id NOT IN (SELECT id FROM incidents)"


class SqliteIncidents:
    """The book in hive.db."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def prepare(self) -> None:
        """Make the tables if they are not there."""
        await self._writer.do(_prepare)

    async def report(self, sighting: Sighting) -> Reported:
        """See `IncidentBook.report`."""
        return await self._writer.do(_report, sighting)

    async def acknowledge(self, incident_id: str, by: str, note: str = "") -> Incident:
        """See `IncidentBook.acknowledge`."""
        return await self._writer.do(_acknowledge, incident_id, by, note)

    async def resolve(self, incident_ids: Sequence[str], by: str, note: str = "") -> list[Incident]:
        """See `IncidentBook.resolve`."""
        return await self._writer.do(_resolve, tuple(incident_ids), by, note)

    async def load(self, incident_id: str) -> Incident:
        """See `IncidentBook.load`."""
        return await self._readers.read(_load, incident_id)

    async def listing(self, wanted: IncidentFilter) -> list[Incident]:
        """See `IncidentBook.listing`."""
        return await self._readers.read(_listing, wanted)

    async def may_alert(self, incident_id: str, sink: str, cooldown: float) -> bool:
        """See `IncidentBook.may_alert`."""
        return await self._writer.do(_may_alert, incident_id, sink, cooldown)


def _prepare(tx: Tx) -> None:
    for statement in INCIDENT_TABLES:
        tx.execute(statement)


def _report(tx: Tx, sighting: Sighting) -> Reported:
    reported = sighted(_find(tx.connection, sighting.incident_id), sighting)
    _put(tx, reported.incident)
    if reported.incident.count == 1:
        tx.execute(_FORGET, (KEPT_INCIDENTS,))
        tx.execute(_FORGET_ALERTS)
    return reported


def _acknowledge(tx: Tx, incident_id: str, by: str, note: str) -> Incident:
    return _put(tx, acknowledged(_load(tx.connection, incident_id), tx.now, by, note))


def _resolve(tx: Tx, incident_ids: Sequence[str], by: str, note: str) -> list[Incident]:
    found = [_load(tx.connection, each) for each in dict.fromkeys(incident_ids)]
    return [_put(tx, resolved(each, tx.now, by, note)) for each in found if not each.is_over]


def _may_alert(tx: Tx, incident_id: str, sink: str, cooldown: float) -> bool:
    if _load(tx.connection, incident_id).status is IncidentStatus.ACKNOWLEDGED:
        return False
    query = "SELECT at FROM incident_alerts WHERE incident_id = ? AND sink = ?"
    last = tx.execute(query, (incident_id, sink)).fetchone()
    if last is not None and 0 <= tx.now - last[0] < cooldown:
        return False
    tx.execute(_ALERTED, (incident_id, sink, tx.now))
    return True


def _put(tx: Tx, incident: Incident) -> Incident:
    place = (incident.id, incident.agent, incident.entry_point)
    tx.execute(_PUT, (*place, incident.status.value, incident.last_seen, incident.encode()))
    return incident


def _find(connection: sqlite3.Connection, incident_id: str) -> Incident | None:
    query = "SELECT content FROM incidents WHERE id = ?"
    row = connection.execute(query, (incident_id,)).fetchone()
    return None if row is None else Incident.decode(row[0])


def _load(connection: sqlite3.Connection, incident_id: str) -> Incident:
    found = _find(connection, incident_id)
    if found is None:
        raise IncidentNotFound(
            f"there is no incident {incident_id}",
            hint="list them with `hive incidents list`",
            subject=incident_id,
        )
    return found


def _listing(connection: sqlite3.Connection, wanted: IncidentFilter) -> list[Incident]:
    tests = ["1"]
    values: list[str | int] = []
    for column, value in (("agent", wanted.agent), ("entry_point", wanted.entry_point)):
        if value is not None:
            tests.append(f"{column} = ?")
            values.append(value)
    if wanted.statuses:
        tests.append(rows.one_of("status", len(wanted.statuses)))
        values.extend(status.value for status in wanted.statuses)
    found = connection.execute(
        f"SELECT content FROM incidents WHERE {' AND '.join(tests)} ORDER BY last_seen DESC, id LIMIT ? OFFSET ?",
        (*values, rows.page(wanted.limit), wanted.offset),
    ).fetchall()
    return [Incident.decode(content) for (content,) in found]
