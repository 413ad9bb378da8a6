"""The ledger of budgets in memory, held to the same laws as the durable one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from hive_daemon.budgets.rules import NOTHING, Amount, Use
from hive_daemon.errors import StorageUnavailable
from hive_daemon.storage.budget_ledger import (
    Actual,
    Answer,
    Asking,
    Check,
    Look,
    NewsKind,
    weigh,
)


@dataclass
class BudgetBook:
    """What outlives a process: entries of (subject, hour, actual), holds by call, and what was told."""

    spent: list[tuple[str, float, Actual]] = field(default_factory=list)
    held: dict[str, Asking] = field(default_factory=dict)
    told: set[tuple[str, str, float, NewsKind]] = field(default_factory=set)


class MemoryBudgets:
    """The ledger over a book."""

    def __init__(self, book: BudgetBook | None = None) -> None:
        self._book = BudgetBook() if book is None else book
        self.is_closed = False
        for call_id in tuple(self._book.held):
            self._put_down(call_id, None)

    async def reserve(self, asking: Asking) -> Answer:
        """See `BudgetLedger.reserve`."""
        if self.is_closed:
            raise StorageUnavailable("the store is closed")
        uses = [self._use(Look(check.subject, check.since)) for check in asking.checks]
        answer = weigh(asking, uses, lambda kind, check: _key(kind, check) in self._book.told)
        self._book.told.update(_key(news.kind, news.check) for news in answer.news)
        if answer.is_admitted:
            self._book.held[asking.call_id] = asking
            if asking.is_final:
                self._put_down(asking.call_id, Actual(asking.estimate))
        return answer

    def settle(self, call_id: str, actual: Actual | None) -> Awaitable[None]:
        """See `BudgetLedger.settle`."""
        self._put_down(call_id, actual)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def usage(self, looks: Sequence[Look]) -> list[Use]:
        """See `BudgetLedger.usage`."""
        return [self._use(look) for look in looks]

    async def leading(self, prefix: str, limit: int) -> list[tuple[str, Use]]:
        """See `BudgetLedger.leading`."""
        names = {subject for subject, _, _ in self._book.spent if subject.startswith(prefix)}
        found = [(name, self._use(Look(name))) for name in sorted(names)]
        return sorted(found, key=lambda each: -each[1].spent.tokens)[:limit]

    def _put_down(self, call_id: str, actual: Actual | None) -> None:
        asking = self._book.held.pop(call_id, None)
        if asking is None:
            return
        known = Actual(asking.estimate, is_lost=True) if actual is None else actual
        self._book.spent += [(subject, asking.hour, known) for subject in asking.subjects]

    def _use(self, look: Look) -> Use:
        mine = [
            actual
            for subject, hour, actual in self._book.spent
            if subject == look.subject and hour >= look.since
        ]
        held = [
            asking.estimate
            for asking in self._book.held.values()
            if look.subject in asking.subjects and asking.hour >= look.since
        ]
        lost = _sum(actual.amount for actual in mine if actual.is_lost)
        return Use(
            _sum(actual.amount for actual in mine),
            _sum(held),
            replace(lost, tool_calls=0),
            sum(actual.is_unpriced for actual in mine),
        )


def _sum(amounts: Iterable[Amount]) -> Amount:
    total = NOTHING
    for amount in amounts:
        total = total.plus(amount)
    return total


def _key(kind: NewsKind, check: Check) -> tuple[str, str, float, NewsKind]:
    return check.rule.id, check.subject, check.since, kind
