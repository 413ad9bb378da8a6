"""The desk of budgets: the rules of this process, its ledger, and who spends at the moment.

What a rule says of one spender is answered here, for calls (`execution_purse`), for triggers, and for timers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from functools import partial

from hive_daemon.budgets.decisions import Reached, spent_out
from hive_daemon.budgets.rules import NO_BUDGETS, Budgets, OnExceed, Per, Rule, Spender, Use
from hive_daemon.budgets.windows import Window, hour_of, window_at
from hive_daemon.clock import Clock, iso_z
from hive_daemon.errors import BudgetExceeded, StorageFull, StorageUnavailable
from hive_daemon.runtime.execution import Execution, StopReason
from hive_daemon.storage.budget_ledger import Actual, BudgetLedger, Check, Look

logger = logging.getLogger(__name__)

REFUSES_TRIGGERS = frozenset({OnExceed.REJECT, OnExceed.KILL})
"""Whose limit lets no trigger in."""

HOLDS_TIMERS = frozenset({OnExceed.PAUSE, OnExceed.REJECT, OnExceed.KILL})
"""Whose limit lets no timer fire."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A rule, whose spending it is held against, in which window, and what was used of it."""

    rule: Rule
    subject: str
    window: Window
    use: Use


@dataclass(eq=False, slots=True)
class BudgetDesk:
    """The budgets of a process. `budgets` are those at the top of hive.yaml; agents and entry points bring theirs."""

    ledger: BudgetLedger
    clock: Clock
    zone: tzinfo = UTC
    budgets: Budgets = NO_BUDGETS
    _unsettled: list[tuple[str, Actual | None]] = field(default_factory=list)
    _spending: dict[str, tuple[Execution, Spender]] = field(default_factory=dict)

    def concerning(self, spender: Spender, own: Sequence[Rule]) -> tuple[tuple[Rule, str], ...]:
        """Return the rules for a spender, with the subject of each; `own` are those of its agent and entry point."""
        return self.budgets.plus(tuple(own)).concerning(spender)

    def window(self, per: Per) -> Window:
        """Return the window that it is now."""
        return window_at(per, self.clock.time(), self.zone)

    def hour(self) -> float:
        """Return when this hour began."""
        return hour_of(self.clock.time(), self.zone)

    def check(self, rule: Rule, subject: str, *, binds: bool = True) -> Check:
        """Return what a call is held against."""
        return Check(rule, subject, self.window(rule.per).since, binds)

    async def standings(self, found: Iterable[tuple[Rule, str]]) -> list[Standing]:
        """Return how rules stand now, each with its subject."""
        asked = [(rule, subject, self.window(rule.per)) for rule, subject in found]
        if not asked:
            return []
        looks = [Look(subject, window.since) for _, subject, window in asked]
        uses = await self.ledger.usage(looks)
        return [Standing(*each, use) for each, use in zip(asked, uses, strict=True)]

    async def refusal(
        self, spender: Spender, own: Sequence[Rule], actions: frozenset[OnExceed]
    ) -> BudgetExceeded | None:
        """Return why nothing new may begin for a spender; None if no rule that does one of `actions` is spent.

        Raises StorageUnavailable.
        """
        found = [each for each in self.concerning(spender, own) if each[0].on_exceed in actions]
        for standing in await self.standings(found):
            reached = spent_out(standing.rule.limits, standing.use)
            if reached is not None:
                return self.refused(standing.rule, reached)
        return None

    def refused(self, rule: Rule, reached: Reached) -> BudgetExceeded:
        """Return the refusal that a rule makes at its limit."""
        until = self.window(rule.per).until
        anew = "" if until is None else f"it begins anew at {iso_z(until)}, "
        return BudgetExceeded(
            f"the budget {rule.id} is spent: {reached.told}",
            hint=f"{anew}or raise it in hive.yaml; `hive budget status` shows all",
            subject=rule.id,
            retry_after=None if until is None else max(0.0, until - self.clock.time()),
        )

    def resets_at(self, rule: Rule) -> str:
        """Return when the window of a rule rolls, in ISO 8601; empty for a life."""
        until = self.window(rule.per).until
        return "" if until is None else iso_z(until)

    # --- settling ---------------------------------------------------------------------------

    def settle(self, call_id: str, actual: Actual | None) -> None:
        """Note what a call came to. While the store cannot be written all that it holds counts; it is tried again."""
        done = asyncio.ensure_future(self.ledger.settle(call_id, actual))
        done.add_done_callback(partial(self._settled, call_id, actual))

    def settle_again(self) -> None:
        """Try again to note what could not be noted before."""
        waiting, self._unsettled = self._unsettled, []
        for call_id, actual in waiting:
            self.settle(call_id, actual)

    def _settled(self, call_id: str, actual: Actual | None, done: asyncio.Future[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, StorageFull | StorageUnavailable):
            self._unsettled.append((call_id, actual))
            logger.warning("a call is settled later", extra={"error": str(error)})

    # --- who spends -------------------------------------------------------------------------

    def enter(self, execution: Execution, spender: Spender) -> None:
        """Note that an execution spends."""
        self._spending[execution.execution_id] = (execution, spender)

    def leave(self, execution: Execution) -> None:
        """Note that an execution spends no more."""
        self._spending.pop(execution.execution_id, None)

    def kill(self, rule: Rule, subject: str, text: str) -> None:
        """End everything at once that a rule counts under this subject."""
        for execution, spender in tuple(self._spending.values()):
            if rule.subject(spender) == subject:
                execution.stop(StopReason.OUT_OF_BUDGET, text)
