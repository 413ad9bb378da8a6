"""The ledger of budgets on SQLite.

One process owns the store: whatever is held when it is opened belongs to calls of a process that is gone, and may have
been billed. It becomes spent, and lost, before anybody asks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Sequence

from hive_daemon.budgets.rules import Amount, Use
from hive_daemon.storage.budget_ledger import (
    KEPT_LIVES_SECONDS,
    KEPT_SECONDS,
    Actual,
    Answer,
    Asking,
    Check,
    Look,
    NewsKind,
    weigh,
)
from hive_daemon.storage.sqlite.reader import Readers
from hive_daemon.storage.sqlite.tx import Tx
from hive_daemon.storage.sqlite.writer import Writer

BUDGET_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS budget_use (
        subject TEXT NOT NULL, hour REAL NOT NULL,
        usd REAL NOT NULL, tokens INTEGER NOT NULL, requests INTEGER NOT NULL, tool_calls INTEGER NOT NULL,
        lost_usd REAL NOT NULL, lost_tokens INTEGER NOT NULL, lost_requests INTEGER NOT NULL,
        unpriced INTEGER NOT NULL,
        PRIMARY KEY (subject, hour)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS budget_use_age ON budget_use (hour)",
    """
    CREATE TABLE IF NOT EXISTS budget_holds (
        subject TEXT NOT NULL, call_id TEXT NOT NULL, hour REAL NOT NULL,
        usd REAL NOT NULL, tokens INTEGER NOT NULL, requests INTEGER NOT NULL, tool_calls INTEGER NOT NULL,
        PRIMARY KEY (subject, call_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS budget_holds_call ON budget_holds (call_id)",
    """
    CREATE TABLE IF NOT EXISTS budget_news (
        rule TEXT NOT NULL, subject TEXT NOT NULL, since REAL NOT NULL, kind TEXT NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (rule, subject, since, kind)
    ) STRICT, WITHOUT ROWID
    """,
)
"""Statements that make the tables if they are not there."""

_SECONDS_BETWEEN_PRUNES = 3600.0
_SUMS = """
ifnull(sum(usd), 0.0), ifnull(sum(tokens), 0), ifnull(sum(requests), 0), ifnull(sum(tool_calls), 0)
"""
_LOST = """
ifnull(sum(lost_usd), 0.0), ifnull(sum(lost_tokens), 0), ifnull(sum(lost_requests), 0), ifnull(sum(unpriced), 0)
"""
_SPENT = f"SELECT {_SUMS}, {_LOST} FROM budget_use WHERE subject = ? AND hour >= ?"
_HELD = f"SELECT {_SUMS} FROM budget_holds WHERE subject = ? AND hour >= ?"
_HOLD = "INSERT OR REPLACE INTO budget_holds VALUES (?, ?, ?, ?, ?, ?, ?)"
_OF_CALL = """
DELETE FROM budget_holds WHERE call_id = ?
RETURNING subject, hour, usd, tokens, requests, tool_calls
"""
_SPEND = """
INSERT INTO budget_use VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (subject, hour) DO UPDATE SET
    usd = usd + excluded.usd, tokens = tokens + excluded.tokens,
    requests = requests + excluded.requests, tool_calls = tool_calls + excluded.tool_calls,
    lost_usd = lost_usd + excluded.lost_usd, lost_tokens = lost_tokens + excluded.lost_tokens,
    lost_requests = lost_requests + excluded.lost_requests, unpriced = unpriced + excluded.unpriced
"""
_LEADING = """
SELECT subject FROM budget_use WHERE subject >= ? AND subject < ?
GROUP BY subject ORDER BY sum(tokens) DESC, subject LIMIT ?
"""
_PRUNE_WINDOWS = """
DELETE FROM budget_use WHERE hour < ? AND subject NOT LIKE 'execution:%' AND subject NOT LIKE 'session:%'
"""
_PRUNE_LIVES = """
DELETE FROM budget_use WHERE hour < ?1 AND NOT EXISTS (
    SELECT 1 FROM budget_use AS later WHERE later.subject = budget_use.subject AND later.hour >= ?1
)
"""


class SqliteBudgets:
    """The ledger in hive.db."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers
        self._pruned_at = 0.0

    async def prepare(self) -> None:
        """Make the tables if they are not there, and settle what a process left that is gone."""
        await self._writer.do(_prepare)

    async def reserve(self, asking: Asking) -> Answer:
        """See `BudgetLedger.reserve`."""
        if asking.hour - self._pruned_at >= _SECONDS_BETWEEN_PRUNES:
            self._pruned_at = asking.hour
            await self._writer.do(_prune, asking.hour)
        return await self._writer.do(_reserve, asking)

    def settle(self, call_id: str, actual: Actual | None) -> Awaitable[None]:
        """See `BudgetLedger.settle`."""
        return self._writer.do(_settle, call_id, actual)

    async def usage(self, looks: Sequence[Look]) -> list[Use]:
        """See `BudgetLedger.usage`."""
        return await self._readers.read(_usage, tuple(looks))

    async def leading(self, prefix: str, limit: int) -> list[tuple[str, Use]]:
        """See `BudgetLedger.leading`."""
        return await self._readers.read(_leading, prefix, limit)


def _prepare(tx: Tx) -> None:
    for statement in BUDGET_TABLES:
        tx.execute(statement)
    left = tx.execute("SELECT DISTINCT call_id FROM budget_holds").fetchall()
    for (call_id,) in left:
        _settle(tx, call_id, None)


def _reserve(tx: Tx, asking: Asking) -> Answer:
    uses = [_use(tx.connection, Look(check.subject, check.since)) for check in asking.checks]
    answer = weigh(asking, uses, lambda kind, check: _was_told(tx, kind, check))
    for news in answer.news:
        check = news.check
        tx.execute(
            "INSERT OR IGNORE INTO budget_news VALUES (?, ?, ?, ?, ?)",
            (check.rule.id, check.subject, check.since, news.kind, tx.now),
        )
    if answer.is_admitted:
        for subject in asking.subjects:
            _take(tx, asking, subject)
    return answer


def _take(tx: Tx, asking: Asking, subject: str) -> None:
    estimate = asking.estimate
    if asking.is_final:
        _spend(tx, subject, asking.hour, Actual(estimate))
        return
    tx.execute(_HOLD, (subject, asking.call_id, asking.hour, *_columns(estimate)))


def _settle(tx: Tx, call_id: str, actual: Actual | None) -> None:
    for subject, hour, usd, tokens, requests, tool_calls in tx.execute(
        _OF_CALL, (call_id,)
    ).fetchall():
        held = Actual(Amount(usd, tokens, requests, tool_calls), is_lost=True)
        _spend(tx, subject, hour, held if actual is None else actual)


def _spend(tx: Tx, subject: str, hour: float, actual: Actual) -> None:
    amount = actual.amount
    lost = amount if actual.is_lost else Amount()
    tx.execute(
        _SPEND,
        (
            subject,
            hour,
            *_columns(amount),
            lost.usd,
            lost.tokens,
            lost.requests,
            int(actual.is_unpriced),
        ),
    )


def _columns(amount: Amount) -> tuple[float, int, int, int]:
    return amount.usd, amount.tokens, amount.requests, amount.tool_calls


def _was_told(tx: Tx, kind: NewsKind, check: Check) -> bool:
    found = tx.execute(
        "SELECT 1 FROM budget_news WHERE rule = ? AND subject = ? AND since = ? AND kind = ?",
        (check.rule.id, check.subject, check.since, kind),
    )
    return found.fetchone() is not None


def _use(connection: sqlite3.Connection, look: Look) -> Use:
    *spent, lost_usd, lost_tokens, lost_requests, unpriced = connection.execute(
        _SPENT, (look.subject, look.since)
    ).fetchone()
    held = connection.execute(_HELD, (look.subject, look.since)).fetchone()
    lost = Amount(lost_usd, lost_tokens, lost_requests)
    return Use(Amount(*spent), Amount(*held), lost, unpriced)


def _usage(connection: sqlite3.Connection, looks: Sequence[Look]) -> list[Use]:
    return [_use(connection, look) for look in looks]


def _leading(connection: sqlite3.Connection, prefix: str, limit: int) -> list[tuple[str, Use]]:
    beyond = prefix + chr(0x10FFFF)
    found = connection.execute(_LEADING, (prefix, beyond, limit)).fetchall()
    return [(subject, _use(connection, Look(subject))) for (subject,) in found]


def _prune(tx: Tx, hour: float) -> None:
    tx.execute(_PRUNE_WINDOWS, (hour - KEPT_SECONDS,))
    tx.execute(_PRUNE_LIVES, (hour - KEPT_LIVES_SECONDS,))
    tx.execute("DELETE FROM budget_news WHERE at < ?", (tx.now - KEPT_LIVES_SECONDS,))
