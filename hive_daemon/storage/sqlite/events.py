"""Durable events on SQLite: numbered inside the transaction that causes them, read in order."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from hive_daemon.storage.sqlite import rows
from hive_daemon.storage.sqlite.notices import matching
from hive_daemon.storage.sqlite.tx import Held, Identity, Tx
from hive_daemon.storage.values import EventFilter, EventRecord, StoredEvent

_HELD = """
SELECT n, agent, graph_id, stream_id, id, session_id, correlation, causation, lane, event_seq
FROM executions WHERE n = ?
"""


def recall(tx: Tx, n: int) -> Held | None:
    """Return what is to be remembered of an execution, None if there is no such row."""
    row = tx.execute(_HELD, (n,)).fetchone()
    if row is None:
        return None
    n, agent, graph_id, stream_id, name, session_id, correlation, causation, lane, event_seq = row
    caused_by = rows.chain(causation)
    identity = Identity(n, agent, graph_id, stream_id, name, session_id, correlation, caused_by)
    return Held(identity, lane, event_seq)


def append_events(tx: Tx, n: int, events: Sequence[EventRecord]) -> None:
    """Add events to an execution outside a step."""
    held = recall(tx, n)
    if held is None:
        return
    last = held.event_seq + len(events)
    tx.execute("UPDATE executions SET event_seq = ? WHERE n = ?", (last, n))
    if n in tx.held:
        tx.held[n].event_seq = last
    tx.add_events(held.identity, events, last)


def history(connection: sqlite3.Connection, wanted: EventFilter) -> list[StoredEvent]:
    """Return the durable events that match, in order."""
    tests = ["e.seq > ?"]
    values: list[Any] = [wanted.after_seq]
    for column, value in (
        ("x.agent = ?", wanted.agent),
        ("x.session_id = ?", wanted.session_id),
        ("x.id = ?", wanted.execution_id),
        ("x.stream_id = ?", wanted.stream_id),
        ("e.node_id = ?", wanted.node_id),
    ):
        if value is not None:
            tests.append(column)
            values.append(value)
    if wanted.types:
        tests.append(rows.one_of("e.type", len(wanted.types)))
        values.extend(wanted.types)
    # One session has few executions: begin with them. Otherwise walk the events in order.
    few = wanted.session_id is not None or wanted.execution_id is not None
    source = "executions x CROSS JOIN events e" if few else "events e CROSS JOIN executions x"
    order = "DESC" if wanted.newest else "ASC"
    found = connection.execute(
        f"SELECT {rows.EVENT} FROM {source} WHERE e.x = x.n AND {' AND '.join(tests)} "
        f"ORDER BY e.seq {order} LIMIT ?",
        (*values, rows.page(wanted.limit)),
    ).fetchall()
    events = [rows.event(connection, row) for row in found]
    told = sorted((*events, *matching(connection, wanted)), key=attrgetter("seq"))
    most = rows.page(wanted.limit)
    return told[max(len(told) - most, 0) :] if wanted.newest else told[:most]
