"""The rules of budgets: whom one counts for, what it limits, over which time, and what happens when it is reached.

Amounts are dollars, tokens, model calls and tool calls. What is counted is counted under a *subject*, a name such as
`global`, `agent:mail`, `entry_point:mail/api`, `session:…` or `execution:…`; a rule limits one kind of subject.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

WARN_AT = 0.8


class Scope(StrEnum):
    """Whose spending counts together."""

    EXECUTION = "execution"
    SESSION = "session"
    ENTRY_POINT = "entry_point"
    AGENT = "agent"
    GLOBAL = "global"


class Per(StrEnum):
    """Over which time: the life of each execution or session, or a window of the clock."""

    EXECUTION = "execution"
    SESSION = "session"
    HOUR = "1h"
    DAY = "1d"
    MONTH = "30d"

    @property
    def is_window(self) -> bool:
        """Whether it begins anew as the clock goes on."""
        return self in (Per.HOUR, Per.DAY, Per.MONTH)


class OnExceed(StrEnum):
    """What happens at the limit, from the mildest to the hardest."""

    DEGRADE = "degrade"
    PAUSE = "pause"
    REJECT = "reject"
    KILL = "kill"


SEVERITY = (OnExceed.DEGRADE, OnExceed.PAUSE, OnExceed.REJECT, OnExceed.KILL)


class Measure(StrEnum):
    """What is counted."""

    USD = "usd"
    TOKENS = "tokens"
    REQUESTS = "requests"
    TOOL_CALLS = "tool_calls"


@dataclass(frozen=True, slots=True)
class Amount:
    """So much of each measure; `tokens` are input and output together."""

    usd: float = 0.0
    tokens: int = 0
    requests: int = 0
    tool_calls: int = 0

    def plus(self, other: Amount) -> Amount:
        """Return the sum."""
        return Amount(
            self.usd + other.usd,
            self.tokens + other.tokens,
            self.requests + other.requests,
            self.tool_calls + other.tool_calls,
        )

    def of(self, measure: Measure) -> float:
        """Return how much of one measure it is."""
        match measure:
            case Measure.USD:
                return self.usd
            case Measure.TOKENS:
                return self.tokens
            case Measure.REQUESTS:
                return self.requests
        return self.tool_calls


NOTHING = Amount()


@dataclass(frozen=True, slots=True)
class Limits:
    """The most of each measure; None is no limit."""

    usd: float | None = None
    tokens: int | None = None
    requests: int | None = None
    tool_calls: int | None = None

    @property
    def written(self) -> dict[Measure, float]:
        """The limits there are."""
        known = {
            Measure.USD: self.usd,
            Measure.TOKENS: self.tokens,
            Measure.REQUESTS: self.requests,
            Measure.TOOL_CALLS: self.tool_calls,
        }
        return {measure: limit for measure, limit in known.items() if limit is not None}


@dataclass(frozen=True, slots=True)
class Spender:
    """Who spends: an execution, and what it belongs to. `stream` is the entry point as its agent addresses it."""

    agent: str
    stream: str
    session_id: str = ""
    execution_id: str = ""

    @property
    def entry_point(self) -> str:
        """The address of the entry point."""
        return f"{self.agent}/{self.stream}"

    @property
    def subjects(self) -> dict[Scope, str]:
        """Everything that its spending counts for."""
        named = {
            Scope.GLOBAL: "global",
            Scope.AGENT: f"agent:{self.agent}",
            Scope.ENTRY_POINT: f"entry_point:{self.entry_point}",
        }
        if self.session_id:
            named[Scope.SESSION] = f"session:{self.session_id}"
        if self.execution_id:
            named[Scope.EXECUTION] = f"execution:{self.execution_id}"
        return named


@dataclass(frozen=True, slots=True)
class Rule:
    """One budget.

    `name` is the agent or the entry point that `scope` speaks of. `agent` and `entry_point` say where the budget was
    written: it counts for the executions of these alone; empty is no such bound. `warn_at` is a share of the limit.
    """

    scope: Scope
    per: Per
    limits: Limits
    name: str = ""
    agent: str = ""
    entry_point: str = ""
    warn_at: float = WARN_AT
    on_exceed: OnExceed = OnExceed.PAUSE

    @property
    def target(self) -> str:
        """What it limits, as it is written: `agent:mail`, `execution`, …"""
        return f"{self.scope}:{self.name}" if self.name else self.scope.value

    @property
    def id(self) -> str:
        """Its name in messages and views: `agent:mail 1d usd`, `execution of mail/api execution tokens`."""
        place = "/".join(part for part in (self.agent, self.entry_point) if part)
        is_named = self.scope in (Scope.AGENT, Scope.ENTRY_POINT)
        of = f" of {place}" if place and not is_named else ""
        return f"{self.target}{of} {self.per} {','.join(self.limits.written)}"

    def subject(self, spender: Spender) -> str | None:
        """Return whose spending it limits when this one spends; None if it does not concern it."""
        if self.agent not in ("", spender.agent) or self.entry_point not in ("", spender.stream):
            return None
        if not self._names(spender):
            return None
        scope = self.scope
        if self.per in (Per.EXECUTION, Per.SESSION):
            scope = Scope(self.per.value)
        return spender.subjects.get(scope)

    def _names(self, spender: Spender) -> bool:
        match self.scope:
            case Scope.AGENT:
                return self.name == spender.agent
            case Scope.ENTRY_POINT:
                return self.name in (spender.entry_point, spender.stream)
        return True


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budgets of a place, and whether calls without a known price may pass a limit in dollars."""

    rules: tuple[Rule, ...] = ()
    allows_unpriced: bool = False

    def plus(self, rules: tuple[Rule, ...]) -> Budgets:
        """Return them with further rules."""
        return Budgets((*self.rules, *rules), self.allows_unpriced)

    def concerning(self, spender: Spender) -> tuple[tuple[Rule, str], ...]:
        """Return the rules for this spender, each with its subject."""
        found = ((rule, rule.subject(spender)) for rule in self.rules)
        return tuple((rule, subject) for rule, subject in found if subject is not None)


NO_BUDGETS = Budgets()


@dataclass(frozen=True, slots=True)
class Use:
    """What a subject used within a window.

    `held` is what calls in flight may still come to. `lost` is the part of `spent` that nobody knows: calls whose
    process died, or whose answer never came, count in full. `unpriced` calls are in it at no dollars.
    """

    spent: Amount = NOTHING
    held: Amount = NOTHING
    lost: Amount = NOTHING
    unpriced: int = 0

    @property
    def total(self) -> Amount:
        """Everything that counts."""
        return self.spent.plus(self.held)


NO_USE = Use()
