"""The constraints of a goal: which can be computed, which a model must judge, and which are broken. Pure.

A constraint whose `check` is an expression (`graph.expression`; true while it holds) is computed after each node that
wrote something it reads, once everything that it reads is there. `output` in it is what the node wrote, `memory` what
the execution holds then. The others are for the judge of nodes with `success_criteria`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hive_daemon.errors import HiveError
from hive_daemon.graph.expression import Expression, ExpressionError
from hive_daemon.graph.goal import Constraint, Goal

_WHOLES = frozenset({"output", "memory", "buffer"})
"""Names that stand for everything."""


class ConstraintViolated(HiveError):
    """A hard constraint of the goal is broken."""

    code = "constraint_violation"


@dataclass(frozen=True, slots=True)
class Check:
    """What came of looking at the constraints; `faults` are sentences about expressions that could not be computed."""

    broken: tuple[Constraint, ...] = ()
    faults: tuple[str, ...] = ()


ALL_HOLD = Check()


def check(goal: Goal, written: Mapping[str, Any], memory: Mapping[str, Any]) -> Check:
    """Look at the constraints that read something of `written`; `memory` has it in it already."""
    if not goal.constraints or not written:
        return ALL_HOLD
    broken, faults = [], []
    context = {**memory, "output": written, "memory": memory, "buffer": memory}
    for constraint in goal.constraints:
        expression = _expression(constraint)
        if expression is None or not _is_due(expression.names, written, memory):
            continue
        try:
            if not expression.truth(context):
                broken.append(constraint)
        except ExpressionError as error:
            faults.append(f"constraint {constraint.id!r}: {error}")
    return Check(tuple(broken), tuple(faults))


def for_the_judge(goal: Goal | None) -> tuple[Constraint, ...]:
    """Return the constraints that cannot be computed."""
    if goal is None:
        return ()
    return tuple(each for each in goal.constraints if _expression(each) is None)


def told_of(broken: Iterable[Constraint]) -> str:
    """Say which hard constraints are broken; empty if none is."""
    hard = [f"{each.id}: {each.description}" for each in broken if each.is_hard]
    return f"a hard constraint of the goal is broken: {'; '.join(hard)}" if hard else ""


def _expression(constraint: Constraint) -> Expression | None:
    if not constraint.check.strip():
        return None
    try:
        return Expression.parse(constraint.check)
    except ExpressionError:
        # Older agents wrote words there.
        return None


def _is_due(names: frozenset[str], written: Mapping[str, Any], memory: Mapping[str, Any]) -> bool:
    keys = names - _WHOLES
    is_there = all(key in memory for key in keys)
    return is_there and bool(names & _WHOLES or keys & written.keys())
