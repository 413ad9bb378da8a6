"""Judging a turn: is the node done, must the model go on, or does it need help?

The implicit judge asks whether the outputs are there; a node with `success_criteria` is then judged by the model, and a
program may bring a judge of its own. None of them can accept a node whose required outputs are missing.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, get_args

from pydantic import ValidationError

from hive_daemon.errors import ConfigError
from hive_daemon.graph.loop import Action, JudgeVerdict, about_missing
from hive_daemon.graph.node import NodeSpec

__all__ = [
    "ACCEPT",
    "JudgeProtocol",
    "JudgeVerdict",
    "Judged",
    "custom_verdict",
    "implicit_verdict",
    "missing_keys",
    "output_keys",
]


class JudgeProtocol(Protocol):
    """A judge of a program's own."""

    async def evaluate(self, context: dict[str, Any]) -> JudgeVerdict:
        """Judge a turn.

        `context` has `assistant_text`, `tool_calls`, `output_accumulator`, `accumulator`, `iteration`,
        `conversation_summary`, `output_keys` and `missing_keys`.
        """


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict and who gave it: implicit, validation, criteria or custom."""

    verdict: JudgeVerdict
    judge_type: str = "implicit"


ACCEPT = JudgeVerdict("ACCEPT")


def output_keys(spec: NodeSpec) -> tuple[str, ...]:
    """Return every key that the node may set, required ones in the order declared."""
    return tuple(dict.fromkeys([*spec.output_keys, *spec.nullable_output_keys]))


def missing_keys(spec: NodeSpec, outputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the required keys without a value."""
    return tuple(key for key in spec.required_output_keys if outputs.get(key) in (None, ""))


def implicit_verdict(spec: NodeSpec, outputs: Mapping[str, Any], validations: int = 0) -> Judged:
    """Judge a turn by the outputs alone; `validations` counts the refusals by `output_model` so far.

    After `max_validation_retries` of them the outputs are let through, for the node to fail with what is wrong.
    """
    missing = missing_keys(spec, outputs)
    if missing:
        return Judged(JudgeVerdict("RETRY", about_missing(missing)))
    keys = output_keys(spec)
    if keys and not any(outputs.get(key) is not None for key in keys):
        feedback = f"No output is set yet. Set at least one of: {', '.join(keys)}."
        return Judged(JudgeVerdict("RETRY", feedback))
    if spec.output_model is not None and validations < spec.max_validation_retries:
        problem = _misfit(spec, outputs)
        if problem:
            return Judged(JudgeVerdict("RETRY", problem), "validation")
    return Judged(ACCEPT)


async def custom_verdict(
    judge: JudgeProtocol, context: dict[str, Any], missing: Sequence[str]
) -> Judged:
    """Ask a program's judge, plain or asynchronous. An ACCEPT with missing outputs becomes a RETRY that names them.

    Raises ConfigError for an answer that is none of the three.
    """
    answer: Any = judge.evaluate(context)
    given: Any = await answer if inspect.isawaitable(answer) else answer
    action = getattr(given, "action", None)
    if action not in get_args(Action):
        raise ConfigError(f"the judge answered {action!r}, use {', '.join(get_args(Action))}")
    verdict = JudgeVerdict(given.action, given.feedback or "")
    if verdict.action == "ACCEPT" and missing:
        verdict = JudgeVerdict("RETRY", about_missing(missing))
    return Judged(verdict, "custom")


def _misfit(spec: NodeSpec, outputs: Mapping[str, Any]) -> str:
    model = spec.output_model
    try:
        if model is not None:
            model.model_validate(dict(outputs))
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])) or 'outputs'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        return f"The outputs do not have the right form. Set them again. {'; '.join(faults)}"
    return ""
