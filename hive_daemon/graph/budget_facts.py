"""Facts about budgets: that one is nearly spent, and that it is."""

from __future__ import annotations

from dataclasses import dataclass

from hive_daemon.graph.facts import Fact


@dataclass(frozen=True, slots=True)
class BudgetWarned(Fact):
    """Of a budget, the share is spent that it warns at; told once in its window, by the execution that noticed.

    `subject` is whose spending counts together, `measure` one of usd, tokens, requests, tool_calls; `resets_at` is when
    the window rolls, an empty text for one that lasts a life.
    """

    kind = "budget_warning"
    budget: str
    subject: str
    measure: str
    limit: float
    used: float
    resets_at: str = ""


@dataclass(frozen=True, slots=True)
class BudgetReached(BudgetWarned):
    """A budget refused a call; told once in its window. `on_exceed` is what it does then."""

    kind = "budget_exceeded"
    on_exceed: str = ""
