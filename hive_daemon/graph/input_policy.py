"""What becomes of a question that a node puts to a person: the rule of the entry point, as pure values.

Laws: a question is parked, answered or refused, nothing else; a visit of a node is answered by the rule at most
MOST_DEFAULT_ANSWERS times, so that a node that asks without end comes to one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hive_daemon.observability.strict_json import json_shape, strict_json

INPUT_NEEDED = "input_needed"
"""The code of a failure because nobody is asked; a resume with an answer mends it."""

MOST_DEFAULT_ANSWERS = 3
"""How often a visit may get the default before it fails: who asks again was not helped by it."""


class OnInput(StrEnum):
    """What a question does to an execution."""

    PARK = "park"
    """It waits, durably, until a person answers."""
    FAIL = "fail"
    """Its node fails."""
    DEFAULT = "default"
    """It goes on with an answer that was given beforehand."""


@dataclass(frozen=True, slots=True)
class Park:
    """Wait for a person."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Go on with this answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Let the node fail, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class InputPolicy:
    """The rule of one entry point.

    `default` answers every question; a mapping answers by node id, and refuses those of other nodes.
    """

    on_input: OnInput = OnInput.PARK
    default: Any = None

    def decide(self, node: str, question: str, answers: int) -> Park | Answer | Refuse:
        """Say what becomes of a question that a node asks after so many answers in this visit."""
        if self.on_input is OnInput.PARK:
            return Park()
        if self.on_input is OnInput.FAIL:
            return Refuse(f"on_input is fail: nobody is asked {question!r}")
        by_node = isinstance(self.default, Mapping)
        value = self.default.get(node) if by_node else self.default
        if value is None:
            return Refuse(f"on_input is default, without an answer for {node}: {question!r}")
        if answers >= MOST_DEFAULT_ANSWERS:
            return Refuse(f"the default answered {answers} times, and {node} asks: {question!r}")
        return Answer(spoken(value))


def spoken(value: Any) -> str:
    """Return a value as a person would say it: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else strict_json(json_shape(value))
