"""The ledger of budgets: what was spent, what calls in flight may still come to, and whether a further one is admitted.

Guarantees of `BudgetLedger` are in its docstrings; `tests/conformance/test_budget_ledgers.py` holds every back end to
them. Times are wall seconds; what is spent is kept by subject and by the hour in which the call went out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from hive_daemon.budgets.decisions import Exceeded, Reached, decide, nearing
from hive_daemon.budgets.rules import Amount, Per, Rule, Use

KEPT_SECONDS = 40 * 86_400.0
"""How long the hours of windows are kept."""

KEPT_LIVES_SECONDS = 120 * 86_400.0
"""How long an execution or a session is known after its last call."""


@dataclass(frozen=True, slots=True)
class Check:
    """A rule that a call is held against: `subject` used since `since`. One that does not bind is only looked at."""

    rule: Rule
    subject: str
    since: float = 0.0
    binds: bool = True


@dataclass(frozen=True, slots=True)
class Asking:
    """A call that wants to go out.

    `estimate` is the most that it may come to; it counts for every one of `subjects`, in the hour that began at `hour`.
    `is_final`: the estimate is what it comes to, there is nothing to settle.
    """

    call_id: str
    subjects: tuple[str, ...]
    hour: float
    estimate: Amount
    checks: tuple[Check, ...]
    is_final: bool = False


class NewsKind(StrEnum):
    """What is told once for each rule, subject and window."""

    WARNING = "warning"
    EXCEEDED = "exceeded"


@dataclass(frozen=True, slots=True)
class News:
    """Something that nobody was told yet."""

    kind: NewsKind
    check: Check
    reached: Reached


@dataclass(frozen=True, slots=True)
class Answer:
    """What the ledger says to a call: admitted if nothing that binds is exceeded; then it is reserved."""

    exceeded: tuple[tuple[Check, Reached], ...] = ()
    news: tuple[News, ...] = ()

    @property
    def is_admitted(self) -> bool:
        """Whether the call may go out."""
        return not self.exceeded


@dataclass(frozen=True, slots=True)
class Actual:
    """What a call came to. `is_lost`: nobody knows, it is the estimate; `is_unpriced`: its dollars are not known."""

    amount: Amount
    is_lost: bool = False
    is_unpriced: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """A subject within a window."""

    subject: str
    since: float = 0.0


class BudgetLedger(Protocol):
    """Where spending is kept."""

    async def reserve(self, asking: Asking) -> Answer:
        """Admit a call and hold its estimate until it is settled, or refuse it and hold nothing; durable on return.

        Laws: it is refused exactly if a check that binds is exceeded (`budgets.decisions.decide`), over all that was
        spent and is held by then; the holds of a process that ended without settling count as spent, and as lost.
        Each piece of news is answered once. Raises StorageFull, StorageUnavailable.
        """

    def settle(self, call_id: str, actual: Actual | None) -> Awaitable[None]:
        """Replace what a call holds by what it came to; None: nobody knows, all that it holds is spent.

        Counts for every `reserve` that begins later, also if nobody awaits it. One that holds nothing changes nothing.
        """

    async def usage(self, looks: Sequence[Look]) -> list[Use]:
        """Return what each subject used since a time."""

    async def leading(self, prefix: str, limit: int) -> list[tuple[str, Use]]:
        """Return the subjects whose name begins so and that spent the most tokens, over all time."""


def weigh(
    asking: Asking, uses: Sequence[Use], was_told: Callable[[NewsKind, Check], bool]
) -> Answer:
    """Say what the ledger answers a call, given what each check's subject used and what was told before."""
    exceeded: list[tuple[Check, Reached]] = []
    news: list[News] = []
    for check, use in zip(asking.checks, uses, strict=True):
        verdict = decide(check.rule.limits, use, asking.estimate)
        if isinstance(verdict, Exceeded):
            news.append(News(NewsKind.EXCEEDED, check, verdict.reached))
            if check.binds:
                exceeded.append((check, verdict.reached))
            continue
        near = nearing(check.rule.limits, use, check.rule.warn_at)
        if near is not None:
            news.append(News(NewsKind.WARNING, check, near))
    return Answer(tuple(exceeded), tuple(one for one in news if not was_told(one.kind, one.check)))


def is_life(subject: str) -> bool:
    """Say whether a subject is an execution or a session: it is known as long as it lives, not by windows alone."""
    return subject.partition(":")[0] in (Per.EXECUTION, Per.SESSION)
