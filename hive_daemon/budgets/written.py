"""Budgets as they are written: at the top of hive.yaml, at an agent, at an entry point.

At an agent the scope is that agent, at an entry point that entry point, unless another is written. Without `per`, a
budget of scope `execution` or `session` is for the life of each; every other one says over which time it counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from hive_daemon.budgets.rules import WARN_AT, Limits, OnExceed, Per, Rule, Scope
from hive_daemon.errors import ConfigError

_NAMED = (Scope.ENTRY_POINT, Scope.AGENT)
SCOPES = "execution, session, entry_point:NAME, agent:NAME or global"
_LIVES = {Scope.EXECUTION: Per.EXECUTION, Scope.SESSION: Per.SESSION}


class Unpriced(StrEnum):
    """What becomes of a call whose price is not known, under a budget in dollars."""

    BLOCK = "block"
    ALLOW = "allow"


Whole = Annotated[int, Field(ge=0, le=10**15)]


def _known(text: str) -> str:
    try:
        _read_scope(text)
    except ValueError:
        raise ValueError(f"is no scope, write {SCOPES}") from None
    return text


ScopeText = Annotated[str, Field(max_length=200), AfterValidator(_known)]


class BudgetKeys(BaseModel):
    """One budget, key by key."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    scope: ScopeText | None = None
    usd: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] | None = None
    tokens: Whole | None = None
    requests: Whole | None = None
    tool_calls: Whole | None = None
    per: Annotated[Per, Field(strict=False)] | None = None
    warn_at: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = WARN_AT
    on_exceed: Annotated[OnExceed, Field(strict=False)] = OnExceed.PAUSE

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if not self.limits.written:
            raise ValueError("limits nothing, give usd, tokens, requests or tool_calls")
        return self

    def written(self) -> dict[str, Any]:
        """Return it as it was written, in JSON values."""
        return self.model_dump(mode="json", exclude_unset=True, exclude_none=True)

    @property
    def limits(self) -> Limits:
        """What it limits."""
        return Limits(self.usd, self.tokens, self.requests, self.tool_calls)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a budget is written: at the top, at an agent, or at an entry point of one."""

    agent: str = ""
    entry_point: str = ""

    @property
    def own(self) -> str | None:
        """The scope that a budget has there if none is written."""
        if self.entry_point:
            return f"{Scope.ENTRY_POINT}:{self.agent}/{self.entry_point}"
        return f"{Scope.AGENT}:{self.agent}" if self.agent else None


TOP = Place()


def read_rules(
    written: Sequence[BudgetKeys | Mapping[str, Any]], place: Place = TOP
) -> tuple[Rule, ...]:
    """Return the budgets written at a place. Raises ConfigError, a sentence for each fault."""
    keys, problems = _read_keys(written)
    rules = []
    for n, one in keys:
        try:
            rules.append(_rule(one, place))
        except ValueError as error:
            problems.append(f"budgets[{n}]: {error}")
    if problems:
        raise ConfigError(problems)
    return tuple(rules)


def budget_problems(written: object) -> list[str]:
    """Return what is wrong with budgets by themselves, wherever they are written."""
    return _read_keys(written)[1]


def _read_keys(written: object) -> tuple[list[tuple[int, BudgetKeys]], list[str]]:
    """Return the budgets that can be read, each with its place in the list, and what is wrong with the others."""
    if isinstance(written, str | Mapping) or not isinstance(written, Sequence):
        return [], ["budgets: must be a list of budgets"]
    found, problems = [], []
    for n, one in enumerate(written):
        try:
            found.append(
                (n, one if isinstance(one, BudgetKeys) else BudgetKeys.model_validate(one))
            )
        except ValidationError as error:
            problems += [
                f"budgets[{n}]{_path(fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
                for fault in error.errors(include_url=False, include_input=False)
            ]
    return found, problems


def _path(location: tuple[int | str, ...]) -> str:
    return "".join(f".{part}" for part in location)


def _rule(keys: BudgetKeys, place: Place) -> Rule:
    text = keys.scope or place.own
    if text is None:
        raise ValueError(f"scope is missing: {SCOPES}")
    scope, name = _read_scope(text)
    name = _within(scope, name, place)
    per = keys.per or _LIVES.get(scope)
    if per is None:
        raise ValueError(f"per is missing: a budget of scope {scope} needs one, 1h, 1d or 30d")
    return Rule(
        scope=scope,
        per=per,
        limits=keys.limits,
        name=name,
        agent=place.agent,
        entry_point=place.entry_point,
        warn_at=keys.warn_at,
        on_exceed=keys.on_exceed,
    )


def _read_scope(text: str) -> tuple[Scope, str]:
    """Return a scope and the name that goes with it. Raises ValueError."""
    word, colon, name = text.partition(":")
    try:
        scope = Scope(word)
    except ValueError:
        raise ValueError(f"scope {text!r} is unknown: {SCOPES}") from None
    if scope not in _NAMED and colon:
        raise ValueError(f"scope {scope} takes no name")
    return scope, name


def _within(scope: Scope, name: str, place: Place) -> str:
    """Return the full name that a scope speaks of at a place. Raises ValueError for one that is outside of it."""
    if scope is Scope.GLOBAL and place != TOP:
        raise ValueError("scope global belongs to the budgets at the top of hive.yaml")
    if scope not in _NAMED:
        return ""
    if scope is Scope.AGENT:
        found = name or place.agent
        if place.entry_point or place.agent not in ("", found):
            raise ValueError(
                f"scope agent:{found} belongs to another place: write it at that agent"
            )
    else:
        found = name or (f"{place.agent}/{place.entry_point}" if place.entry_point else "")
        if place.agent and "/" not in found:
            found = f"{place.agent}/{found}"
        if place.entry_point and found != f"{place.agent}/{place.entry_point}":
            raise ValueError(f"scope entry_point:{found} belongs to another entry point")
        if place.agent and not found.startswith(f"{place.agent}/"):
            raise ValueError(f"scope entry_point:{found} belongs to another agent")
    if not found.rpartition("/")[2]:
        raise ValueError(f"scope {scope} needs a name: {scope}:NAME")
    return found
