"""Scripts for the scripted provider: their format, and which turn of a script comes next.

The choice is a function of the conversation, not of anything remembered: after a crash and resume the script goes on
at the right turn. `docs/scripted-provider.md` describes the format for people.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hive_daemon.errors import ConfigError
from hive_daemon.llm import script_template
from hive_daemon.llm.failures import FailureKind
from hive_daemon.llm.openai_shapes import text_of
from hive_daemon.llm.values import CallContext, Message


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScriptedFault(_Part):
    """A turn that fails: on the first `attempts` tries (0: on all), before its text or after it."""

    kind: FailureKind
    message: str = ""
    attempts: int = Field(default=0, ge=0)
    after_text: bool = False
    retry_after_seconds: float | None = Field(default=None, ge=0)


class ScriptedCall(_Part):
    """A tool call."""

    name: str
    input: dict[str, Any] = Field(default_factory=dict)


class ScriptedTurn(_Part):
    """What the model says once. `text` may be a list of lines."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    set_output: dict[str, Any] = Field(default_factory=dict)
    error: ScriptedFault | None = None
    delay_seconds: float = Field(default=0.0, ge=0)
    when: str | None = None
    repeat: bool = False

    @field_validator("text", mode="before")
    @classmethod
    def _join_lines(cls, text: Any) -> Any:
        lines = isinstance(text, list) and all(isinstance(line, str) for line in text)
        return "\n".join(text) if lines else text

    @field_validator("text", "reasoning", "set_output")
    @classmethod
    def _check_placeholders(cls, value: Any) -> Any:
        script_template.check(value)
        return value

    @field_validator("tool_calls")
    @classmethod
    def _check_inputs(cls, calls: tuple[ScriptedCall, ...]) -> tuple[ScriptedCall, ...]:
        for call in calls:
            script_template.check(call.input)
        return calls

    @field_validator("when")
    @classmethod
    def _check_pattern(cls, when: str | None) -> str | None:
        try:
            _pattern(when or "")
        except re.error as error:
            raise ValueError(f"{when}: {error}") from error
        return when

    def fits(self, text: str) -> bool:
        """Say whether `when` is found in a text: as a substring, or as a regular expression between slashes."""
        return self.when is not None and _pattern(self.when).search(text) is not None


class Script(_Part):
    """A whole script: turns by node id (`ID#2` for its second visit), for any other node, for completions."""

    nodes: dict[str, tuple[ScriptedTurn, ...]] = Field(default_factory=dict)
    default: tuple[ScriptedTurn, ...] = ()
    completions: tuple[ScriptedTurn, ...] = ()

    def turns_for(self, node_id: str, visit: int) -> tuple[ScriptedTurn, ...]:
        """Return the turns of one visit of a node."""
        for name in (f"{node_id}#{visit}", node_id):
            if name in self.nodes:
                return self.nodes[name]
        return self.default


def pick(
    turns: Sequence[ScriptedTurn], messages: Sequence[Message], context: CallContext
) -> ScriptedTurn | None:
    """Choose the turn that answers a conversation; None when the script has no more to say.

    The first turn whose `when` fits the last message wins. Otherwise the turns without `when` follow each other, one
    for each assistant message that was not the answer to a `when`; a turn with `repeat` stays for ever.
    """
    conditional = [turn for turn in turns if turn.when is not None]
    last = text_of(messages[-1]) if messages else ""
    for turn in conditional:
        if turn.fits(last):
            return turn
    taken = turns_taken(messages, context)
    questions = _answered(messages)[-taken:] if taken else []
    count = taken - sum(_fits_any(conditional, text) for text in questions)
    plain = [turn for turn in turns if turn.when is None]
    for position, turn in enumerate(plain):
        if position == count or (turn.repeat and position < count):
            return turn
    return None


def turns_taken(messages: Sequence[Message], context: CallContext) -> int:
    """Count the turns that the model has taken in this visit."""
    if context.turn is not None:
        return context.turn
    return sum(message.get("role") == "assistant" for message in messages)


def load_script(path: Path) -> Script:
    """Read a script file (JSON). Raises ConfigError with every fault and its place."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", source=str(path)) from error
    except ValueError as error:
        raise ConfigError(f"is not JSON: {error}", source=str(path)) from error
    return parse_script(document, source=str(path))


def parse_script(document: Any, *, source: str = "script") -> Script:
    """Read a decoded script. Raises ConfigError with every fault and its place."""
    try:
        return Script.model_validate(document)
    except ValidationError as error:
        problems = [f"{_place(fault['loc'])}: {fault['msg']}" for fault in error.errors()]
    raise ConfigError(problems, source=source, hint="docs/scripted-provider.md has the format")


def _place(steps: tuple[int | str, ...]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".") or "the script"


def _pattern(when: str) -> re.Pattern[str]:
    is_regex = len(when) > 1 and when.startswith("/") and when.endswith("/")
    return re.compile(when[1:-1] if is_regex else re.escape(when))


def _answered(messages: Sequence[Message]) -> list[str]:
    """Return the text before each assistant message: what it was the answer to."""
    return [
        text_of(messages[position - 1]) if position else ""
        for position, message in enumerate(messages)
        if message.get("role") == "assistant"
    ]


def _fits_any(turns: Sequence[ScriptedTurn], text: str) -> bool:
    return any(turn.fits(text) for turn in turns)
