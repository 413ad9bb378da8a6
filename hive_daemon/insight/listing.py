"""The list of executions as `hive ps` and `hive top` show it: one line each, filtered and sorted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from hive_daemon.errors import InvalidInput
from hive_daemon.status import ExecutionStatus

Line = dict[str, Any]
"""One execution, as docs/control-api.md describes `process`."""


class Key(StrEnum):
    """What lines are filtered by and sorted by: names of fields, the short ones for those that people type."""

    ID = "id"
    SESSION = "session"
    AGENT = "agent"
    ENTRY_POINT = "entry_point"
    STATUS = "status"
    SOURCE = "source"
    NODE = "node"
    MODEL = "model"
    HELD_BY = "held_by"
    AGE = "age"
    DURATION = "duration"
    STEPS = "steps"
    TOKENS = "tokens"
    RATE = "rate"
    COST = "cost"

    def of(self, line: Line) -> Any:
        """Return the value of a line."""
        if self is Key.TOKENS:
            return line["input_tokens"] + line["output_tokens"]
        return line[_FIELDS.get(self, self.value)]


_FIELDS = {
    Key.SESSION: "session_id",
    Key.AGE: "age_seconds",
    Key.DURATION: "duration_seconds",
    Key.RATE: "tokens_per_second",
    Key.COST: "cost_usd",
}


@dataclass(frozen=True, slots=True)
class Order:
    """By what lines are sorted; those without a value come last, whichever way."""

    key: Key = Key.AGE
    is_descending: bool = False

    @classmethod
    def read(cls, text: str) -> Order:
        """Read `cost` or `-cost`. Raises InvalidInput."""
        return cls(_key(text.removeprefix("-"), "sort"), text.startswith("-"))

    def sorted(self, lines: Iterable[Line]) -> list[Line]:
        """Return the lines in this order; equal ones keep theirs."""
        known: list[Line] = []
        unknown: list[Line] = []
        for line in lines:
            (unknown if self.key.of(line) is None else known).append(line)
        return [*sorted(known, key=self.key.of, reverse=self.is_descending), *unknown]


@dataclass(frozen=True, slots=True)
class Match:
    """What a field must be: its value, or the beginning of it before a `*`."""

    key: Key
    value: str

    @classmethod
    def read(cls, text: str) -> Match:
        """Read `status=running` or `entry_point=ops/*`. Raises InvalidInput."""
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise InvalidInput(f'"{text}" is no filter', hint="write KEY=VALUE, as status=running")
        key = _key(name, "filter")
        if key is Key.STATUS and not any(_agrees(str(status), value) for status in ExecutionStatus):
            raise InvalidInput(
                f'there is no status "{value}"', hint=f"it is one of {', '.join(ExecutionStatus)}"
            )
        return cls(key, value)

    def holds(self, line: Line) -> bool:
        """Say whether a line is wanted."""
        found = self.key.of(line)
        return _agrees("-" if found is None else str(found), self.value)


def chosen(lines: Iterable[Line], matches: Sequence[Match], order: Order) -> list[Line]:
    """Return the lines that are wanted: any value of one key, every key; in order."""
    by_key: dict[Key, list[Match]] = {}
    for match in matches:
        by_key.setdefault(match.key, []).append(match)
    wanted = (
        line
        for line in lines
        if all(any(match.holds(line) for match in alternatives) for alternatives in by_key.values())
    )
    return order.sorted(wanted)


def rate(turns: Iterable[tuple[int, float]]) -> float | None:
    """Return output tokens in a second over some model calls, each (tokens, seconds); None if there was none.

    >>> rate([(100, 2.0), (50, 1.0)])
    50.0
    """
    tokens = seconds = 0.0
    for count, took in turns:
        tokens, seconds = tokens + count, seconds + took
    return round(tokens / seconds, 2) if seconds > 0 else None


def _agrees(shown: str, value: str) -> bool:
    """Say whether a text is the value, or begins as one that ends in `*`."""
    return shown.startswith(value[:-1]) if value.endswith("*") else shown == value


def _key(text: str, what: str) -> Key:
    try:
        return Key(text)
    except ValueError:
        close = get_close_matches(text, list(Key), n=1)
        hint = f"did you mean {close[0]}?" if close else f"it is one of {', '.join(Key)}"
        raise InvalidInput(f'there is no {what} key "{text}"', hint=hint) from None
