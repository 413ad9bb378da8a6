"""What a budget says to a call: pure decisions of limits and of what was used.

Law: a call is admitted while what was spent and what calls in flight may come to are together below the limit; so
calls that are made at once pass it by no more than one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hive_daemon.budgets.rules import (
    SEVERITY,
    WARN_AT,
    Amount,
    Limits,
    Measure,
    OnExceed,
    Rule,
    Use,
)


@dataclass(frozen=True, slots=True)
class Reached:
    """A limit that was reached, or almost."""

    measure: Measure
    limit: float
    used: float

    @property
    def told(self) -> str:
        """How far it is, in words: `$1.02 of $1`, `900 of 1000 tokens`."""
        if self.measure is Measure.USD:
            return f"${self.used:.6g} of ${self.limit:g}"
        return f"{self.used:g} of {self.limit:g} {self.measure.replace('_', ' ')}"


@dataclass(frozen=True, slots=True)
class Admit:
    """The call may be made."""


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The call may not be made, because of this limit."""

    reached: Reached


def decide(limits: Limits, use: Use, asks: Amount) -> Admit | Exceeded:
    """Say whether a call that may come to `asks` is admitted; a measure that it adds nothing to does not hold it."""
    total = use.total
    for measure, limit in limits.written.items():
        if asks.of(measure) > 0 and total.of(measure) >= limit:
            return Exceeded(Reached(measure, limit, total.of(measure)))
    return Admit()


def nearing(limits: Limits, use: Use, warn_at: float = WARN_AT) -> Reached | None:
    """Return the limit of which a share of `warn_at` is spent, the one that is nearest to its end; None if none is."""
    found = [
        Reached(measure, limit, use.spent.of(measure))
        for measure, limit in limits.written.items()
        if limit > 0 and use.spent.of(measure) >= warn_at * limit
    ]
    return max(found, key=lambda each: each.used / each.limit, default=None)


def spent_out(limits: Limits, use: Use) -> Reached | None:
    """Return a limit that is reached by what was spent: until the window rolls, nothing that counts for it goes on."""
    for measure, limit in limits.written.items():
        if use.spent.of(measure) >= limit:
            return Reached(measure, limit, use.spent.of(measure))
    return None


def hardest(rules: Iterable[Rule]) -> Rule | None:
    """Return the rule that does the hardest thing at its limit; the first of those that do the same."""
    return max(rules, key=lambda rule: SEVERITY.index(rule.on_exceed), default=None)


def action_of(rule: Rule, *, can_degrade: bool) -> OnExceed:
    """Say what a rule does at its limit: without another model to go on with, it pauses."""
    if rule.on_exceed is OnExceed.DEGRADE and not can_degrade:
        return OnExceed.PAUSE
    return rule.on_exceed
