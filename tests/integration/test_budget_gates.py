"""Spent budgets at the doors: triggers are refused, timers are held until the window rolls."""

import pytest

from hive_daemon.budgets.rules import Amount
from hive_daemon.errors import BudgetExceeded, IdempotencyConflict
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.storage.budget_ledger import Asking
from tests.fakes.clock import FakeClock
from tests.fakes.timed_agent import NINE, agent, timer

HALF_PAST = NINE + 1800.0
REJECTS = {"tokens": 5, "per": "1h", "on_exceed": "reject"}


@pytest.fixture
def clock():
    return FakeClock(HALF_PAST, auto=False)


def spec(**budget):
    made = timer(interval_minutes=10)
    made.budgets = [{"requests": 5, "per": "1h", **budget}]
    return made


async def spend(made, subject="entry_point:agent/report", requests=5):
    ledger, hour = made.services.store.budgets, made.services.budgets.hour()
    amount = Amount(requests=requests)
    asking = Asking(f"{hour}{subject}", (subject,), hour, amount, (), is_final=True)
    assert (await ledger.reserve(asking)).is_admitted


@pytest.mark.parametrize("on_exceed", ["pause", "reject", "kill"])
async def test_a_timer_is_held_until_its_budget_begins_anew(tmp_path, clock, on_exceed):
    async with agent(tmp_path, clock, spec(on_exceed=on_exceed)) as made:
        await spend(made)
        await clock.advance(600)
        outcome, reason = await made.skipped(1)
        assert outcome == "held_budget"
        assert "5 of 5 requests" in reason
        await clock.advance(600)
        await made.skipped(2)
        await clock.advance(600)
        await made.fired(1)
        outcomes = [outcome for _, outcome in await made.ledger()]
    assert outcomes == ["held_budget", "held_budget", "fired"]


async def test_a_timer_fires_on_under_a_budget_that_degrades(tmp_path, clock):
    async with agent(tmp_path, clock, spec(on_exceed="degrade")) as made:
        await spend(made)
        await clock.advance(600)
        await made.fired(1)


async def test_a_timer_fires_on_under_a_budget_of_another_entry_point(tmp_path, clock):
    async with agent(tmp_path, clock, spec()) as made:
        await spend(made, "entry_point:agent/other")
        await clock.advance(600)
        await made.fired(1)


@pytest.mark.parametrize("on_exceed", ["reject", "kill"])
async def test_a_trigger_is_refused_and_told_when_to_come_again(tmp_path, clock, on_exceed):
    point = EntryPointSpec(id="api", budgets=[{**REJECTS, "on_exceed": on_exceed}])
    async with agent(tmp_path, clock, point) as made:
        await spend_tokens(made)
        with pytest.raises(BudgetExceeded) as refused:
            await made.runtime.trigger("api", {})
    assert refused.value.retry_after == 1800.0
    assert "begins anew at 2026-03-02T10:00" in refused.value.hint


async def test_a_call_that_came_before_is_answered_with_its_execution_though_the_budget_is_spent(
    tmp_path, clock
):
    point = EntryPointSpec(id="api", budgets=[REJECTS])
    async with agent(tmp_path, clock, point) as made:
        first = await made.runtime.trigger("api", {"n": 1}, idempotency_key="one")
        await spend_tokens(made)
        assert await made.runtime.trigger("api", {"n": 1}, idempotency_key="one") == first
        with pytest.raises(IdempotencyConflict):
            await made.runtime.trigger("api", {"n": 2}, idempotency_key="one")
        with pytest.raises(BudgetExceeded):
            await made.runtime.trigger("api", {"n": 1}, idempotency_key="two")


async def test_what_an_entry_point_knows_already_is_answered_though_the_budget_is_spent(
    tmp_path, clock
):
    point = EntryPointSpec(
        id="api", budgets=[REJECTS], flow={"dedupe": {"key": "input.n", "ttl": "2h"}}
    )
    async with agent(tmp_path, clock, point) as made:
        first = await made.runtime.trigger("api", {"n": 1})
        await spend_tokens(made)
        assert await made.runtime.trigger("api", {"n": 1}) == first
        with pytest.raises(BudgetExceeded):
            await made.runtime.trigger("api", {"n": 2})


async def spend_tokens(made):
    ledger, hour = made.services.store.budgets, made.services.budgets.hour()
    subject = "entry_point:agent/api"
    await ledger.reserve(Asking("t", (subject,), hour, Amount(tokens=5), (), is_final=True))


@pytest.mark.parametrize("on_exceed", ["pause", "degrade"])
async def test_a_trigger_is_taken_under_a_milder_budget(tmp_path, clock, on_exceed):
    point = EntryPointSpec(id="api", budgets=[{"tokens": 5, "per": "1h", "on_exceed": on_exceed}])
    async with agent(tmp_path, clock, point) as made:
        await spend_tokens(made)
        assert await made.runtime.trigger("api", {"event": {}})
