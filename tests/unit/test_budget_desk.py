"""The desk of budgets: settling while the store has trouble."""

import asyncio

from hive_daemon.budgets.rules import Amount, Use
from hive_daemon.errors import StorageFull
from hive_daemon.runtime.budget_desk import BudgetDesk
from hive_daemon.storage.budget_ledger import Actual, Asking, Look
from tests.fakes.memory_budgets import MemoryBudgets
from tests.fakes.store_kit import SetClock


class FullOnce(MemoryBudgets):
    """A ledger that has no room for the first settlement."""

    is_full = True

    def settle(self, call_id, actual):
        if not self.is_full:
            return super().settle(call_id, actual)
        self.is_full = False
        refused = asyncio.get_running_loop().create_future()
        refused.set_exception(StorageFull())
        return refused


async def test_what_could_not_be_settled_is_settled_later():
    ledger = FullOnce()
    desk = BudgetDesk(ledger, SetClock())
    await ledger.reserve(Asking("a", ("global",), 0.0, Amount(tokens=100), ()))
    desk.settle("a", Actual(Amount(tokens=7)))
    await asyncio.sleep(0)
    assert await ledger.usage([Look("global")]) == [Use(held=Amount(tokens=100))]
    desk.settle_again()
    await asyncio.sleep(0)
    assert await ledger.usage([Look("global")]) == [Use(spent=Amount(tokens=7))]
