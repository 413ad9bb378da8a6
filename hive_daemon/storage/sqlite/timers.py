"""The timers' ledger on SQLite: one row per timer, one row per due instant."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from hive_daemon.errors import TimerNotFound
from hive_daemon.storage.sqlite import rows
from hive_daemon.storage.sqlite.reader import Readers
from hive_daemon.storage.sqlite.submit import submit
from hive_daemon.storage.sqlite.tx import Tx
from hive_daemon.storage.sqlite.writer import Writer
from hive_daemon.storage.timer_values import (
    KEPT_OCCURRENCES,
    Occurrence,
    TimerFire,
    TimerOutcome,
    TimerRow,
    TimerSkip,
    TimerSpec,
)
from hive_daemon.storage.values import Submission, Submitted

_SYNC = """
INSERT INTO timers (id, agent, entry_point, signature, anchor) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (id) DO UPDATE SET active = 1, agent = ?2, entry_point = ?3,
    anchor = CASE WHEN signature = ?4 THEN anchor ELSE ?5 END,
    last_scheduled = CASE WHEN signature = ?4 THEN last_scheduled END,
    next_at = CASE WHEN signature = ?4 THEN next_at END,
    signature = ?4
"""
_KNOWN = "SELECT forgotten, fired + skipped + missed FROM timers WHERE id = ?"
_SETTLE = "INSERT INTO occurrences VALUES (?, ?, ?, ?, ?, NULL) ON CONFLICT DO NOTHING"
_NOTE = """
UPDATE timers SET
    next_at = CASE WHEN ?1 >= coalesce(last_scheduled, ?1) THEN ?2 ELSE next_at END,
    last_scheduled = max(coalesce(last_scheduled, ?1), ?1),
    last_outcome = ?3, last_reason = ?4, last_at = ?5,
    last_execution = coalesce(?6, last_execution),
    fired = fired + ?7, skipped = skipped + ?8, missed = missed + ?9
WHERE id = ?10
"""
_OLDEST_KEPT = """
SELECT scheduled_at FROM occurrences WHERE timer_id = ? ORDER BY scheduled_at DESC LIMIT 1 OFFSET ?
"""
_FORGET = "DELETE FROM occurrences WHERE timer_id = ? AND scheduled_at <= ?"
_TIDY_EVERY = 64


def sync(tx: Tx, agent: str, specs: Sequence[TimerSpec]) -> list[TimerRow]:
    """Make an agent's timers known; answer the rows of those that exist now."""
    tx.execute("UPDATE timers SET active = 0 WHERE agent = ?", (agent,))
    for spec in specs:
        tx.execute(_SYNC, (spec.timer_id, agent, spec.entry_point, spec.signature, spec.anchor))
    return read_timers(tx.connection, agent)


def settle(tx: Tx, due: TimerFire) -> Submitted | None:
    """Settle one due instant once, whatever happens twice."""
    known = tx.execute(_KNOWN, (due.timer_id,)).fetchone()
    if known is None:
        raise TimerNotFound(subject=due.timer_id)
    forgotten, settled = known
    if forgotten is not None and due.scheduled_at <= forgotten:
        return None
    action = due.action
    skip = action if isinstance(action, TimerSkip) else TimerSkip(TimerOutcome.FIRED, "")
    instant = (due.timer_id, due.scheduled_at, tx.now, skip.outcome, skip.reason)
    if tx.execute(_SETTLE, instant).rowcount == 0:
        return None
    submitted = None
    if isinstance(action, Submission):
        submitted = submit(tx, action)
        tx.execute(
            "UPDATE occurrences SET execution_id = ? WHERE timer_id = ? AND scheduled_at = ?",
            (submitted.execution_id, due.timer_id, due.scheduled_at),
        )
    _note(tx, due, skip, submitted)
    if settled % _TIDY_EVERY == 0:
        _tidy(tx, due.timer_id)
    return submitted


def _note(tx: Tx, due: TimerFire, skip: TimerSkip, submitted: Submitted | None) -> None:
    is_fired = skip.outcome is TimerOutcome.FIRED
    is_missed = skip.outcome is TimerOutcome.MISSED
    tx.execute(
        _NOTE,
        (
            due.scheduled_at,
            due.next_at,
            skip.outcome,
            skip.reason,
            tx.now,
            submitted.execution_id if submitted else None,
            is_fired,
            not is_fired and not is_missed,
            is_missed,
            due.timer_id,
        ),
    )


def _tidy(tx: Tx, timer_id: str) -> None:
    """Forget the rows of a timer's oldest instants; they stay settled."""
    oldest = tx.execute(_OLDEST_KEPT, (timer_id, KEPT_OCCURRENCES)).fetchone()
    if oldest is None:
        return
    tx.execute(_FORGET, (timer_id, oldest[0]))
    tx.execute("UPDATE timers SET forgotten = ? WHERE id = ?", (oldest[0], timer_id))


def set_paused(tx: Tx, timer_ids: Sequence[str], paused: bool, by: str, note: str) -> None:
    """Pause or resume timers, all or none."""
    for timer_id in timer_ids:
        done = tx.execute(
            "UPDATE timers SET paused_at = ?, paused_by = ?, note = ? WHERE id = ?",
            (tx.now, by, note, timer_id) if paused else (None, "", "", timer_id),
        )
        if done.rowcount == 0:
            raise TimerNotFound(subject=timer_id)


def read_timers(connection: sqlite3.Connection, agent: str | None) -> list[TimerRow]:
    """Return the timers that exist now, of one agent or of all."""
    where, values = ("", ()) if agent is None else ("AND agent = ?", (agent,))
    found = connection.execute(
        f"SELECT {rows.TIMER} FROM timers WHERE active {where} ORDER BY id", values
    )
    return [rows.timer(row) for row in found.fetchall()]


def read_occurrences(connection: sqlite3.Connection, timer_id: str, limit: int) -> list[Occurrence]:
    """Return the last due instants of a timer, newest first."""
    found = connection.execute(
        "SELECT timer_id, scheduled_at, at, outcome, reason, execution_id FROM occurrences "
        "WHERE timer_id = ? ORDER BY scheduled_at DESC LIMIT ?",
        (timer_id, rows.page(limit)),
    )
    return [rows.occurrence(row) for row in found.fetchall()]


class SqliteTimers:
    """The timers' ledger on SQLite."""

    def __init__(self, writer: Writer, readers: Readers, queued: Callable[[str], None]) -> None:
        self._writer = writer
        self._readers = readers
        self._queued = queued

    async def sync(self, agent: str, specs: Sequence[TimerSpec]) -> list[TimerRow]:
        """See `TimerLease.sync`."""
        return await self._writer.do(sync, agent, specs)

    async def fire(self, fire: TimerFire) -> Submitted | None:
        """See `TimerLease.fire`."""
        answer = self._writer.do(settle, fire)
        if isinstance(fire.action, Submission):
            self._queued(fire.action.lane)
        return await answer

    async def set_paused(
        self, timer_ids: Sequence[str], paused: bool, *, by: str = "", note: str = ""
    ) -> None:
        """See `TimerLease.set_paused`."""
        await self._writer.do(set_paused, timer_ids, paused, by, note)

    async def rows(self, agent: str | None = None) -> list[TimerRow]:
        """See `TimerLease.rows`."""
        return await self._readers.read(read_timers, agent)

    async def occurrences(self, timer_id: str, limit: int = 50) -> list[Occurrence]:
        """See `TimerLease.occurrences`."""
        return await self._readers.read(read_occurrences, timer_id, limit)
