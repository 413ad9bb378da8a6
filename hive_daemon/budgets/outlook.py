"""What timers will spend: the fires to come, times what an execution came to before.

An estimate on two levels: the usual (the median) and the high (the 95th of 100). It knows timers alone: what calls,
webhooks and events set off is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from hive_daemon.budgets.rules import Per, Rule

USUAL, HIGH = 0.5, 0.95


@dataclass(frozen=True, slots=True)
class Cost:
    """What one execution comes to; None where it is not known."""

    usd: float | None = None
    tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Prospect:
    """One timer in the days to come: how often it fires on each, and what its executions usually come to.

    `subjects` is whose spending it counts for.
    """

    timer_id: str
    subjects: frozenset[str]
    fires: Mapping[date, int]
    observed: int
    usual: Cost
    high: Cost

    @property
    def count(self) -> int:
        """How often it fires in all."""
        return sum(self.fires.values())


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value that a share of the values does not pass (nearest rank); None of none.

    >>> percentile([1, 2, 3, 4], 0.5), percentile([1, 2, 3, 4], 0.95)
    (2, 4)
    """
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def times(count: int, one: float | None) -> float | None:
    """Return what so many come to; none come to nothing, whatever one of them would."""
    return 0.0 if not count else None if one is None else count * one


def runs_out(
    rule: Rule, subject: str, used: float, prospects: Sequence[Prospect], *, high: bool = False
) -> date | None:
    """Return the first day on which timers alone bring a budget in dollars to its limit; None if none does.

    `used` is what is spent of its window by now. A budget for 30 days is looked at as if nothing of them would roll
    off; one for an hour, or for a life, is not looked at.
    """
    limit = rule.limits.usd
    if limit is None or rule.per not in (Per.DAY, Per.MONTH):
        return None
    mine = [each for each in prospects if subject in each.subjects]
    days = sorted({day for each in mine for day in each.fires})
    spent = used
    for n, day in enumerate(days):
        if n and rule.per is Per.DAY:
            spent = 0.0
        for each in mine:
            cost = each.high.usd if high else each.usual.usd
            spent += each.fires.get(day, 0) * (cost or 0.0)
        if spent >= limit:
            return day
    return None
