"""Durable events of no execution, on SQLite: numbered with the others, in a table of their own."""

from __future__ import annotations

import asyncio
import sqlite3

from hive_daemon.storage.event_values import Notice
from hive_daemon.storage.ports import KEPT_NOTICES
from hive_daemon.storage.sqlite import rows
from hive_daemon.storage.sqlite.codec import pack, unpack
from hive_daemon.storage.sqlite.tx import Tx
from hive_daemon.storage.sqlite.writer import Writer
from hive_daemon.storage.values import EventFilter, StoredEvent

_COLUMNS = "seq, type, at, agent, graph_id, stream_id, node_id, correlation, causation, data"
_INSERT = f"INSERT INTO notices ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FORGET = """
DELETE FROM notices WHERE seq <= (SELECT seq FROM notices ORDER BY seq DESC LIMIT 1 OFFSET ?)
"""


def post(tx: Tx, notice: Notice) -> None:
    """Add a notice, and forget the oldest beyond those that are kept."""
    seq, tx.next_event = tx.next_event, tx.next_event + 1
    chain, data = rows.dump_chain(notice.causation), pack(notice.data)
    place = (notice.agent, notice.graph_id, notice.stream_id, notice.node_id)
    values = (seq, notice.type, notice.timestamp, *place, notice.correlation_id, chain, data)
    tx.execute(_INSERT, values)
    tx.execute(_FORGET, (KEPT_NOTICES,))
    tx.events.append(_event(seq, notice))


def matching(connection: sqlite3.Connection, wanted: EventFilter) -> list[StoredEvent]:
    """Return the notices that match, in order."""
    if wanted.session_id is not None or wanted.execution_id is not None:
        return []
    tests: list[str] = ["seq > ?"]
    values: list[str | int] = [wanted.after_seq]
    for column, value in (
        ("agent = ?", wanted.agent),
        ("stream_id = ?", wanted.stream_id),
        ("node_id = ?", wanted.node_id),
    ):
        if value is not None:
            tests.append(column)
            values.append(value)
    if wanted.types:
        tests.append(rows.one_of("type", len(wanted.types)))
        values.extend(wanted.types)
    order = "DESC" if wanted.newest else "ASC"
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM notices WHERE {' AND '.join(tests)} ORDER BY seq {order} LIMIT ?",
        (*values, rows.page(wanted.limit)),
    ).fetchall()
    events = [_read(row) for row in found]
    return events[::-1] if wanted.newest else events


def _read(row: rows.Row) -> StoredEvent:
    seq, kind, at, agent, graph_id, stream_id, node_id, correlation, causation, data = row
    chain, content = rows.chain(causation), unpack(data)
    place = (agent, graph_id, stream_id)
    return _event(seq, Notice(kind, at, *place, content, node_id, correlation, chain))


def _event(seq: int, notice: Notice) -> StoredEvent:
    return StoredEvent(
        seq=seq,
        execution_seq=0,
        type=notice.type,
        timestamp=notice.timestamp,
        agent=notice.agent,
        graph_id=notice.graph_id,
        stream_id=notice.stream_id,
        node_id=notice.node_id,
        execution_id="",
        session_id="",
        correlation_id=notice.correlation_id,
        causation=notice.causation,
        data=notice.data,
    )


class SqliteNotices:
    """The notices on SQLite."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def post(self, notice: Notice) -> asyncio.Future[None]:
        """See `NoticeBoard.post`."""
        return self._writer.do(post, notice)
