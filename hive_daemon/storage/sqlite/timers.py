"""The timers' ledger on SQLite: one row per timer, one row per due instant."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from hive_daemon.errors import TimerNotFound
from hive_daemon.storage.sqlite import rows
from hive_daemon.storage.sqlite.reader import Readers
from hive_daemon.storage.sqlite.submit import submit
from hive_daemon.storage.sqlite.timer_account import account, count_ends, count_failure
from hive_daemon.storage.sqlite.tx import Tx
from hive_daemon.storage.sqlite.writer import Writer
from hive_daemon.storage.timer_values import (
    CONFIG_NAME,
    EVERYTHING,
    KEPT_OCCURRENCES,
    Occurrence,
    Span,
    TimerFire,
    TimerOutcome,
    TimerRow,
    TimerSkip,
    TimerSpec,
)
from hive_daemon.storage.values import Submission, Submitted

_SYNC = """
INSERT INTO timers (id, agent, entry_point, signature, anchor, failure_limit, remaining,
    written_remaining) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
ON CONFLICT (id) DO UPDATE SET active = 1, agent = ?2, entry_point = ?3, failure_limit = ?6,
    anchor = CASE WHEN signature = ?4 THEN anchor ELSE ?5 END,
    last_scheduled = CASE WHEN signature = ?4 THEN last_scheduled END,
    next_at = CASE WHEN signature = ?4 THEN next_at END,
    remaining = CASE WHEN signature = ?4 AND written_remaining IS ?7 THEN remaining ELSE ?7 END,
    written_remaining = ?7,
    signature = ?4
"""
_WRITTEN = "SELECT signature, written_paused, paused_by FROM timers WHERE id = ?"
_PAUSE_WRITTEN = """
UPDATE timers SET paused_at = ?, paused_by = ?, note = ?, paused_until = NULL
WHERE id = ? AND paused_at IS NULL
"""
_RESUME = """
UPDATE timers SET paused_at = NULL, paused_by = '', note = '', paused_until = NULL, failures = 0,
    is_news = 0 WHERE id = ?
"""
_PAUSE = """
UPDATE timers SET paused_at = ?, paused_by = ?, note = ?, paused_until = ?, is_news = 0 WHERE id = ?
"""
_KNOWN = """
SELECT forgotten, fired + skipped + missed, remaining, paused_at IS NOT NULL
    AND coalesce(paused_until > ?, 1) FROM timers WHERE id = ?
"""
_SETTLE = """
INSERT INTO occurrences VALUES (?, ?, ?, ?, ?, NULL, ?, NULL) ON CONFLICT DO NOTHING
"""
_PASSED_OVER = """
DELETE FROM occurrences WHERE timer_id = ? AND scheduled_at = ? AND outcome <> 'fired'
RETURNING outcome
"""
_BEGAN = "UPDATE occurrences SET execution_id = ? WHERE timer_id = ? AND scheduled_at = ?"
_NOTE = """
UPDATE timers SET
    next_at = CASE WHEN ?1 >= coalesce(last_scheduled, ?1) THEN ?2 ELSE next_at END,
    last_scheduled = max(coalesce(last_scheduled, ?1), ?1),
    last_outcome = ?3, last_reason = ?4, last_at = ?5,
    last_execution = coalesce(?6, last_execution),
    last_late_by = CASE WHEN ?6 IS NULL THEN last_late_by ELSE ?7 END
WHERE id = ?8
"""
_COUNT = """
UPDATE timers SET fired = fired + ?, skipped = skipped + ?, missed = missed + ? WHERE id = ?
"""
_USE_ONE = """
UPDATE timers SET remaining = remaining - 1,
    next_at = CASE WHEN remaining > 1 THEN next_at END
WHERE id = ? AND remaining IS NOT NULL
"""
_OLDEST_KEPT = """
SELECT scheduled_at FROM occurrences WHERE timer_id = ? ORDER BY scheduled_at DESC LIMIT 1 OFFSET ?
"""
_FORGET = "DELETE FROM occurrences WHERE timer_id = ? AND scheduled_at <= ?"
_TIDY_EVERY = 64
_PAUSED = TimerSkip(TimerOutcome.SKIPPED_PAUSED, "the timer was paused")


def sync(tx: Tx, agent: str, specs: Sequence[TimerSpec]) -> list[TimerRow]:
    """Make an agent's timers known; answer the rows of those that exist now."""
    tx.execute("UPDATE timers SET active = 0 WHERE agent = ?", (agent,))
    for spec in specs:
        _sync_one(tx, agent, spec)
    return read_timers(tx.connection, agent)


def _sync_one(tx: Tx, agent: str, spec: TimerSpec) -> None:
    name = spec.timer_id
    old = tx.execute(_WRITTEN, (name,)).fetchone()
    known = (name, agent, spec.entry_point, spec.signature, spec.anchor)
    tx.execute(_SYNC, (*known, spec.failure_limit, spec.remaining))
    signature, was_paused, paused_by = old or ("", 0, "")
    if bool(was_paused) == spec.starts_paused and (signature == spec.signature or not was_paused):
        return
    if spec.starts_paused:
        tx.execute(_PAUSE_WRITTEN, (tx.now, CONFIG_NAME, spec.note, name))
    elif paused_by == CONFIG_NAME:
        tx.execute(_RESUME, (name,))
    tx.execute("UPDATE timers SET written_paused = ? WHERE id = ?", (spec.starts_paused, name))


def settle(tx: Tx, due: TimerFire) -> Submitted | None:
    """Settle one due instant once, whatever happens twice."""
    action = due.action
    if isinstance(action, Submission):
        count_ends(tx, due.timer_id)
    known = tx.execute(_KNOWN, (due.scheduled_at, due.timer_id)).fetchone()
    if known is None:
        raise TimerNotFound(subject=due.timer_id)
    forgotten, settled, remaining, is_paused = known
    if forgotten is not None and due.scheduled_at <= forgotten:
        return None
    if settled % _TIDY_EVERY == 0:
        _tidy(tx, due.timer_id)
    if isinstance(action, TimerSkip):
        _pass_over(tx, due, action)
    elif is_paused and not due.again:
        _pass_over(tx, due, _PAUSED)
    elif remaining != 0 or due.again:
        return _begin(tx, due, action)
    return None


def _begin(tx: Tx, due: TimerFire, submission: Submission) -> Submitted | None:
    """Write the row of an instant and submit its execution, unless it has one."""
    timer_id, instant = due.timer_id, due.scheduled_at
    if due.again:
        was = tx.execute(_PASSED_OVER, (timer_id, instant)).fetchone()
        if was is not None:
            _count(tx, timer_id, TimerOutcome(was[0]), -1)
    if not _insert(tx, due, instant, TimerOutcome.FIRED, due.reason):
        return None
    submitted = submit(tx, submission)
    tx.execute(_BEGAN, (submitted.execution_id, timer_id, instant))
    _count(tx, timer_id, TimerOutcome.FIRED, 1)
    if due.again:
        tx.execute(
            "UPDATE timers SET last_execution = ? WHERE id = ?", (submitted.execution_id, timer_id)
        )
    else:
        _note(tx, due, TimerOutcome.FIRED, due.reason, submitted.execution_id)
        tx.execute(_USE_ONE, (timer_id,))
    return submitted


def _pass_over(tx: Tx, due: TimerFire, skip: TimerSkip) -> None:
    """Write the rows of instants that start nothing."""
    count = sum(
        _insert(tx, due, instant, skip.outcome, skip.reason)
        for instant in (*skip.earlier, due.scheduled_at)
    )
    if not count:
        return
    _count(tx, due.timer_id, skip.outcome, count + skip.uncounted)
    _note(tx, due, skip.outcome, skip.reason, None)
    if skip.outcome is TimerOutcome.FAILED:
        count_failure(tx, due.timer_id)


def _insert(tx: Tx, due: TimerFire, instant: float, outcome: TimerOutcome, reason: str) -> bool:
    late = due.late_by + (due.scheduled_at - instant)
    row = (due.timer_id, instant, tx.now, outcome, reason, late)
    return tx.execute(_SETTLE, row).rowcount > 0


def _note(
    tx: Tx, due: TimerFire, outcome: TimerOutcome, reason: str, execution_id: str | None
) -> None:
    told = (due.scheduled_at, due.next_at, outcome, reason, tx.now, execution_id)
    tx.execute(_NOTE, (*told, due.late_by, due.timer_id))


def _count(tx: Tx, timer_id: str, outcome: TimerOutcome, count: int) -> None:
    is_fired, is_missed = outcome is TimerOutcome.FIRED, outcome is TimerOutcome.MISSED
    is_skipped = not is_fired and not is_missed
    tx.execute(_COUNT, (count * is_fired, count * is_skipped, count * is_missed, timer_id))


def _tidy(tx: Tx, timer_id: str) -> None:
    """Forget the rows of a timer's oldest instants; they stay settled."""
    oldest = tx.execute(_OLDEST_KEPT, (timer_id, KEPT_OCCURRENCES)).fetchone()
    if oldest is None:
        return
    tx.execute(_FORGET, (timer_id, oldest[0]))
    tx.execute("UPDATE timers SET forgotten = ? WHERE id = ?", (oldest[0], timer_id))


def set_paused(
    tx: Tx, timer_ids: Sequence[str], paused: bool, by: str, note: str, until: float | None
) -> None:
    """Pause or resume timers, all or none."""
    for timer_id in timer_ids:
        done = (
            tx.execute(_PAUSE, (tx.now, by, note, until, timer_id))
            if paused
            else tx.execute(_RESUME, (timer_id,))
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


def read_occurrences(
    connection: sqlite3.Connection, timer_id: str, limit: int, span: Span
) -> list[Occurrence]:
    """Return the last due instants of a timer, newest first."""
    values: list[Any] = [timer_id, span.since, span.before, *span.outcomes]
    test = f"AND {rows.one_of('outcome', len(span.outcomes))}" if span.outcomes else ""
    found = connection.execute(
        f"SELECT {rows.OCCURRENCE} FROM occurrences "
        f"WHERE timer_id = ? AND scheduled_at >= ? AND scheduled_at < ? {test} "
        "ORDER BY scheduled_at DESC LIMIT ?",
        (*values, rows.page(limit)),
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

    async def account(self, timer_ids: Sequence[str]) -> list[TimerRow]:
        """See `TimerLease.account`."""
        return await self._writer.do(account, timer_ids)

    async def set_paused(
        self,
        timer_ids: Sequence[str],
        paused: bool,
        *,
        by: str = "",
        note: str = "",
        until: float | None = None,
    ) -> None:
        """See `TimerLease.set_paused`."""
        await self._writer.do(set_paused, timer_ids, paused, by, note, until)

    async def rows(self, agent: str | None = None) -> list[TimerRow]:
        """See `TimerLease.rows`."""
        return await self._readers.read(read_timers, agent)

    async def occurrences(
        self, timer_id: str, limit: int = 50, span: Span = EVERYTHING
    ) -> list[Occurrence]:
        """See `TimerLease.occurrences`."""
        return await self._readers.read(read_occurrences, timer_id, limit, span)
