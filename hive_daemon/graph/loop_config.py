"""The limits of a model loop, and how a graph's `loop_config` sets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from hive_daemon.errors import ConfigError

MAX_CLIENT_ITERATIONS = 100
"""Iterations of a node that talks with a person, where its graph does not say."""

ALIASES = {"max_context_tokens": "max_history_tokens"}
"""Other names of fields; where both are written the alias counts."""


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """What one visit of a model loop may use."""

    max_iterations: int = 50
    """Turns before the node fails; an answer of a person gives as many again."""
    max_tool_calls_per_turn: int = 10
    """Tool calls that a turn should need; `hard_tool_limit` is what it may make."""
    judge_every_n_turns: int = 1
    """Only each n-th turn is judged; after the others the loop goes on."""
    stall_detection_threshold: int = 3
    """Turns that say the same and do nothing, or answers that cannot be used, before the node counts as stalled."""
    max_history_tokens: int = 32_000
    """The window: above four fifths of it the conversation is shortened."""
    store_prefix: str = ""
    """Goes before the keys of the session records."""
    tool_call_overflow_margin: float = 0.5
    """The share by which a turn may exceed `max_tool_calls_per_turn`."""
    max_tool_result_chars: int = 30_000
    """Characters of one tool result, or of one input, that the model is shown."""
    spillover_dir: str | None = None
    """Where longer tool results are kept whole; default: the session's data directory."""
    max_stream_retries: int = 3
    """How often one model call is tried again; see `model_call`."""
    stream_retry_backoff_base: float = 2.0
    """The longest first pause before a further try, in seconds; it doubles with each."""
    stream_retry_max_delay: float = 60.0
    """The longest pause, also of those that a service asks for."""
    tool_doom_loop_threshold: int = 3
    """Equal tool rounds in a row, or equal pairs of them, that count as a doom loop."""
    tool_doom_loop_enabled: bool = True
    tool_call_timeout_seconds: float = 60.0
    """The time of one tool call."""

    @property
    def hard_tool_limit(self) -> int:
        """The tool calls that a turn may make."""
        return int(self.max_tool_calls_per_turn * (1 + self.tool_call_overflow_margin))


_DEFAULTS = {field.name: field.default for field in fields(LoopConfig)}
_MAY_BE_ZERO = frozenset(
    {
        "max_stream_retries",
        "tool_call_overflow_margin",
        "stream_retry_backoff_base",
        "stream_retry_max_delay",
    }
)


def loop_config(settings: Mapping[str, Any], *, is_client_facing: bool = False) -> LoopConfig:
    """Read `GraphSpec.loop_config`; unknown keys have no effect. Raises ConfigError for values that do not fit."""
    problems = value_problems(settings)
    if problems:
        raise ConfigError(problems)
    known = {name: value for name, value in settings.items() if name in _DEFAULTS}
    for alias, name in ALIASES.items():
        if alias in settings:
            known[name] = settings[alias]
    if is_client_facing:
        known.setdefault("max_iterations", MAX_CLIENT_ITERATIONS)
    return LoopConfig(**known)


def unknown_keys(settings: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each key that has no effect, with the nearest known one: warnings for validation."""
    known = [*_DEFAULTS, *ALIASES]
    sentences = []
    for key in settings:
        if key in known:
            continue
        near = get_close_matches(str(key), known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(known))}"
        sentences.append(f"loop_config.{key} is unknown and has no effect; {advice}")
    return sentences


def value_problems(settings: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each known key whose value does not fit: errors for validation."""
    sentences = []
    for key, value in settings.items():
        name = ALIASES.get(key, key)
        if name in _DEFAULTS and (needed := _needed(name, value)):
            sentences.append(f"loop_config.{key}: {value!r} does not fit, write {needed}")
    return sentences


def _needed(name: str, value: Any) -> str:
    """Say what a field needs; nothing if the value fits."""
    default = _DEFAULTS[name]
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    if default is None or isinstance(default, str):
        fits = isinstance(value, str) or (default is None and value is None)
        return "" if fits else "a text"
    kinds = (int,) if isinstance(default, int) else (int, float)
    least = "of at least 0" if name in _MAY_BE_ZERO else "above 0"
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if is_number and (value > 0 or (value == 0 and name in _MAY_BE_ZERO)):
        return ""
    return f"a {'whole ' if kinds == (int,) else ''}number {least}"
