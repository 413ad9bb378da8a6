"""Every ledger of budgets keeps the laws of its port."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from hive_daemon.budgets.rules import (
    NO_USE,
    Amount,
    Limits,
    Measure,
    Per,
    Rule,
    Scope,
    Use,
)
from hive_daemon.storage.budget_ledger import (
    KEPT_LIVES_SECONDS,
    KEPT_SECONDS,
    Actual,
    Asking,
    BudgetLedger,
    Check,
    Look,
    NewsKind,
)
from hive_daemon.storage.sqlite.budgets import SqliteBudgets
from hive_daemon.storage.sqlite.database import prepare_directory
from hive_daemon.storage.sqlite.reader import Readers
from hive_daemon.storage.sqlite.writer import Writer
from tests.fakes.memory_budgets import BudgetBook, MemoryBudgets
from tests.fakes.store_kit import Ear, SetClock

HOUR = 3600.0
ALL = Look("global")

Open = Callable[[], AbstractAsyncContextManager[BudgetLedger]]


@asynccontextmanager
async def on_sqlite(directory: Path, clock: SetClock) -> AsyncIterator[BudgetLedger]:
    prepare_directory(directory)
    async with AsyncExitStack() as stack:
        writer = Writer(directory / "hive.db", clock, Ear())
        stack.push_async_callback(writer.close)
        await writer.open()
        readers = Readers(directory / "hive.db")
        stack.callback(readers.close)
        ledger = SqliteBudgets(writer, readers)
        await ledger.prepare()
        yield ledger


@asynccontextmanager
async def in_memory(book: BudgetBook) -> AsyncIterator[BudgetLedger]:
    yield MemoryBudgets(book)


@pytest.fixture(params=["memory", "sqlite"])
def opens(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same ledger again and again, as one process after the other."""
    clock = SetClock()
    book = BudgetBook()
    if request.param == "memory":
        return lambda: in_memory(book)
    return lambda: on_sqlite(tmp_path, clock)


@pytest.fixture
async def ledger(opens: Open) -> AsyncIterator[BudgetLedger]:
    async with opens() as made:
        yield made


def check(limits: Limits, *, since: float = 0.0, binds: bool = True) -> Check:
    return Check(Rule(Scope.GLOBAL, Per.DAY, limits), "global", since, binds)


def call(
    name: str,
    estimate: Amount,
    *checks: Check,
    hour: float = HOUR,
    subjects: tuple[str, ...] = ("global",),
    is_final: bool = False,
) -> Asking:
    return Asking(name, subjects, hour, estimate, checks, is_final)


async def used(ledger: BudgetLedger, look: Look = ALL) -> Use:
    [use] = await ledger.usage([look])
    return use


async def test_a_call_holds_its_estimate_until_it_is_settled(ledger: BudgetLedger) -> None:
    answer = await ledger.reserve(call("a", Amount(0.5, 100, 1), check(Limits(usd=1))))
    assert answer.is_admitted
    assert await used(ledger) == Use(held=Amount(0.5, 100, 1))
    await ledger.settle("a", Actual(Amount(0.25, 60, 1)))
    assert await used(ledger) == Use(spent=Amount(0.25, 60, 1))


async def test_what_is_held_counts_for_the_next_call(ledger: BudgetLedger) -> None:
    full = check(Limits(tokens=100))
    await ledger.reserve(call("a", Amount(tokens=100, requests=1), full))
    answer = await ledger.reserve(call("b", Amount(tokens=1, requests=1), full))
    [(found, reached)] = answer.exceeded
    assert (found, reached.measure, reached.limit, reached.used) == (
        full,
        Measure.TOKENS,
        100,
        100,
    )
    assert await used(ledger) == Use(held=Amount(tokens=100, requests=1))


async def test_calls_at_once_pass_a_limit_by_one_call_at_most(ledger: BudgetLedger) -> None:
    limit = check(Limits(tokens=1000))
    answers = await asyncio.gather(
        *(ledger.reserve(call(f"c{n}", Amount(tokens=150, requests=1), limit)) for n in range(50))
    )
    assert sum(answer.is_admitted for answer in answers) == 7
    assert (await used(ledger)).held == Amount(tokens=1050, requests=7)


async def test_what_a_dead_process_held_is_spent_and_called_lost(opens: Open) -> None:
    async with opens() as ledger:
        await ledger.reserve(call("a", Amount(0.5, 100, 1)))
    async with opens() as ledger:
        held = Amount(0.5, 100, 1)
        assert await used(ledger) == Use(spent=held, lost=held)
        await ledger.settle("a", Actual(Amount(0.1, 10, 1)))
        assert (await used(ledger)).spent == held


async def test_a_call_that_nobody_knows_of_counts_in_full(ledger: BudgetLedger) -> None:
    await ledger.reserve(call("a", Amount(0.5, 100, 1)))
    await ledger.settle("a", None)
    held = Amount(0.5, 100, 1)
    assert await used(ledger) == Use(spent=held, lost=held)


async def test_spending_survives_a_restart(opens: Open) -> None:
    async with opens() as ledger:
        await ledger.reserve(call("a", Amount(1.0, 100, 1)))
        await ledger.settle("a", Actual(Amount(0.75, 80, 1)))
    async with opens() as ledger:
        assert await used(ledger) == Use(spent=Amount(0.75, 80, 1))


async def test_a_window_counts_from_its_hour_on(ledger: BudgetLedger) -> None:
    for n in range(4):
        await ledger.reserve(call(f"c{n}", Amount(requests=1), hour=n * HOUR, is_final=True))
    assert (await used(ledger, Look("global", 2 * HOUR))).spent == Amount(requests=2)


async def test_a_hold_counts_in_the_hour_of_its_call(ledger: BudgetLedger) -> None:
    await ledger.reserve(call("a", Amount(tokens=9), hour=HOUR))
    assert await used(ledger, Look("global", 2 * HOUR)) == NO_USE
    await ledger.settle("a", Actual(Amount(tokens=5)))
    assert await used(ledger, Look("global", 2 * HOUR)) == NO_USE


async def test_each_subject_of_a_call_is_charged(ledger: BudgetLedger) -> None:
    await ledger.reserve(
        call("a", Amount(tokens=9), subjects=("global", "agent:mail"), is_final=True)
    )
    uses = await ledger.usage([ALL, Look("agent:mail"), Look("agent:other")])
    assert [use.spent.tokens for use in uses] == [9, 9, 0]


async def test_what_only_looks_on_refuses_nothing(ledger: BudgetLedger) -> None:
    loose = check(Limits(requests=0), binds=False)
    answer = await ledger.reserve(call("a", Amount(requests=1), loose))
    assert answer.is_admitted
    assert [news.kind for news in answer.news] == [NewsKind.EXCEEDED]


async def test_a_warning_is_told_once_in_a_window(ledger: BudgetLedger) -> None:
    limits = Limits(requests=10)
    for n in range(8):
        await ledger.reserve(call(f"c{n}", Amount(requests=1), is_final=True))
    told = [
        (await ledger.reserve(call(name, Amount(), check(limits, since=since)))).news
        for name, since in (("x", 0.0), ("y", 0.0), ("z", HOUR))
    ]
    assert [[news.kind for news in each] for each in told] == [
        [NewsKind.WARNING],
        [],
        [NewsKind.WARNING],
    ]


async def test_a_refusal_is_news_once(ledger: BudgetLedger) -> None:
    none_left = check(Limits(requests=0))
    first = await ledger.reserve(call("a", Amount(requests=1), none_left))
    second = await ledger.reserve(call("b", Amount(requests=1), none_left))
    assert [news.kind for news in first.news] == [NewsKind.EXCEEDED]
    assert second.news == ()
    assert not second.is_admitted


async def test_a_call_without_a_price_is_counted_as_such(ledger: BudgetLedger) -> None:
    await ledger.reserve(call("a", Amount(tokens=10, requests=1)))
    await ledger.settle("a", Actual(Amount(tokens=7, requests=1), is_unpriced=True))
    assert await used(ledger) == Use(spent=Amount(tokens=7, requests=1), unpriced=1)


async def test_settling_what_holds_nothing_changes_nothing(ledger: BudgetLedger) -> None:
    await ledger.settle("nobody", Actual(Amount(tokens=7)))
    assert await used(ledger) == NO_USE


async def test_a_settlement_counts_although_nobody_awaits_it(ledger: BudgetLedger) -> None:
    limit = check(Limits(tokens=100))
    await ledger.reserve(call("a", Amount(tokens=100), limit))
    settled = ledger.settle("a", Actual(Amount(tokens=1)))
    answer = await ledger.reserve(call("b", Amount(tokens=1), limit))
    assert answer.is_admitted
    await settled


async def test_those_who_spent_most_lead(ledger: BudgetLedger) -> None:
    for name, tokens in (("a", 5), ("b", 50), ("c", 20)):
        await ledger.reserve(
            call(name, Amount(tokens=tokens), subjects=(f"session:{name}",), is_final=True)
        )
    found = await ledger.leading("session:", 2)
    assert [(subject, use.spent.tokens) for subject, use in found] == [
        ("session:b", 50),
        ("session:c", 20),
    ]


async def test_old_hours_of_windows_are_forgotten_and_living_sessions_are_not(
    tmp_path: Path,
) -> None:
    subjects = ("global", "session:old", "session:gone")
    async with on_sqlite(tmp_path, SetClock()) as ledger:
        await ledger.reserve(
            call("a", Amount(tokens=1), subjects=subjects, hour=0.0, is_final=True)
        )
        middle, later = KEPT_LIVES_SECONDS - HOUR, KEPT_LIVES_SECONDS + 2 * HOUR
        assert middle > KEPT_SECONDS
        await ledger.reserve(
            call("b", Amount(tokens=1), subjects=subjects[:2], hour=middle, is_final=True)
        )
        await ledger.reserve(
            call("d", Amount(tokens=1), subjects=subjects[:1], hour=later, is_final=True)
        )
        await ledger.reserve(call("c", Amount(), hour=later + HOUR))
        uses = await ledger.usage([Look(subject) for subject in subjects])
    assert [use.spent.tokens for use in uses] == [2, 2, 0]
