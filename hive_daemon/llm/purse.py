"""The port between model calls and budgets: before a call goes out, somebody may refuse it; afterwards they are told
what it came to.

Every try of every call passes here: retries, fallbacks, compaction, judges, edges that a model decides. Whoever runs an
execution sets `purse` for it. Laws: a call that was admitted is settled exactly once, also if it is cancelled; what may
have been billed although nobody knows how much is settled as None, and counts in full.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from hive_daemon.llm.failures import CallFailure, CallOverdue


class Stand(StrEnum):
    """Where a model stands among those that are asked one after the other."""

    ALONE = "alone"
    BEFORE_LAST = "before_last"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call about to go out, and the most that it may come to; `cost_usd` is None where the price is not known."""

    model: str
    tokens: int
    cost_usd: float | None
    stand: Stand = Stand.ALONE


@dataclass(frozen=True, slots=True)
class Came:
    """What a call came to; `cost_usd` is None where the price is not known."""

    tokens: int
    cost_usd: float | None


NOT_BILLED = Came(0, 0.0)
"""What a call came to that was refused or never arrived."""


class Hold(Protocol):
    """What is held back for a call in flight."""

    def settle(self, came: Came | None) -> None:
        """Say what the call came to; None if nobody knows."""


class Purse(Protocol):
    """What pays for the calls of somebody."""

    @property
    def counts(self) -> bool:
        """Whether anybody wants to know."""

    async def hold(self, wanted: Wanted) -> Hold:
        """Admit a call. Raises BudgetExceeded, or CallRejected if a model that is asked later may still answer."""

    async def hold_tool(self, name: str) -> None:
        """Admit a tool call, which counts at once. Raises BudgetExceeded."""


class _Nobody:
    """Pays for everything and counts nothing."""

    counts = False

    async def hold(self, wanted: Wanted) -> Hold:
        return self

    async def hold_tool(self, name: str) -> None:
        """Admit it."""

    def settle(self, came: Came | None) -> None:
        """Forget it."""


NOBODY: Purse = _Nobody()
NO_HOLD: Hold = _Nobody()

purse: ContextVar[Purse] = ContextVar("hive_purse", default=NOBODY)
"""Set for as long as somebody's budgets hold."""


def came_of(failure: CallFailure, *, was_heard: bool) -> Came | None:
    """Return what a failed try came to: nothing if the service refused it, unknown if it may have worked on it."""
    return None if was_heard or isinstance(failure, CallOverdue) else NOT_BILLED
