"""Filters: which deliveries set anything off. Pure.

A filter is a mapping of one place and the conditions that its value must meet, or of `all`, `any` or `not` with
filters inside. Every filter of a route must let a delivery pass. Laws: a filter never fails on a payload, it lets it
pass or not; its cost is linear in the size of the value (patterns are shell patterns, not regular expressions, so that
no sender can stall the daemon).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import translate
from typing import Any

from hive_daemon.runtime.webhook_places import ABSENT, Data, Place

MAX_MATCHED = 4_096
"""Characters of a value that a pattern is held against; a longer one matches none."""
MAX_DEPTH = 8

Test = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter. `holds` says whether it lets a delivery pass; `written` is it as a person wrote it."""

    holds: Callable[[Data], bool]
    written: Mapping[str, Any]
    places: tuple[Place, ...] = field(default=())


def read_filter(written: object, depth: int = 0) -> Filter:
    """Read a filter. Raises ValueError with a predicate."""
    if not isinstance(written, Mapping) or not written or depth > MAX_DEPTH:
        raise ValueError("is no filter, write for example {field: $.action, equals: opened}")
    if "field" in written:
        return _read_condition(written)
    if len(written) != 1 or (word := next(iter(written))) not in _JOINS:
        raise ValueError(_unknown(set(written) - set(_JOINS), ("field", *_JOINS)))
    inner = written[word]
    parts = [inner] if word == "not" else inner
    if not isinstance(parts, list | tuple) or not parts:
        raise ValueError(f"needs a list of filters behind {word!r}")
    filters = [read_filter(part, depth + 1) for part in parts]
    places = tuple(place for each in filters for place in each.places)
    return Filter(_JOINS[word](filters), written, places)


def rejection(filters: Sequence[Filter], data: Data) -> str:
    """Return why the filters do not let a delivery pass, empty if they do."""
    for at, each in enumerate(filters):
        if not each.holds(data):
            return f"filters[{at}] does not hold: {dict(each.written)}"
    return ""


def _read_condition(written: Mapping[str, Any]) -> Filter:
    place = Place.read(written["field"])
    words = [word for word in written if word != "field"]
    if not words:
        raise ValueError(f"has no condition, add one of {', '.join(_CONDITIONS)}")
    if unknown := set(words) - set(_CONDITIONS):
        raise ValueError(_unknown(unknown, ("field", *_CONDITIONS)))
    tests = [_CONDITIONS[word](written[word]) for word in words]
    return Filter(_Condition(place, tests), written, (place,))


def _unknown(words: set[Any], known: Sequence[str]) -> str:
    word = min(map(str, words), default="")
    close = get_close_matches(word, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"write {', '.join(known)}"
    return f"holds the unknown condition {word!r}, {hint}" if word else f"must be one of {known}"


# --- conditions -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Condition:
    place: Place
    tests: Sequence[Test]

    def __call__(self, data: Data) -> bool:
        value = self.place.value(data)
        return all(test(value) for test in self.tests)


@dataclass(frozen=True, slots=True)
class _Exists:
    wanted: bool

    def __call__(self, value: Any) -> bool:
        return (value is not ABSENT and value is not None) == self.wanted


@dataclass(frozen=True, slots=True)
class _Equals:
    wanted: Any
    is_so: bool = True

    def __call__(self, value: Any) -> bool:
        return _same(value, self.wanted) == self.is_so


@dataclass(frozen=True, slots=True)
class _In:
    wanted: Sequence[Any]
    is_so: bool = True

    def __call__(self, value: Any) -> bool:
        return any(_same(value, each) for each in self.wanted) == self.is_so


@dataclass(frozen=True, slots=True)
class _Contains:
    wanted: Any

    def __call__(self, value: Any) -> bool:
        if isinstance(value, str):
            return isinstance(self.wanted, str) and self.wanted in value
        if isinstance(value, list):
            return any(_same(each, self.wanted) for each in value)
        return isinstance(value, dict) and self.wanted in value


@dataclass(frozen=True, slots=True)
class _Matches:
    patterns: Sequence[re.Pattern[str]]

    def __call__(self, value: Any) -> bool:
        return (
            isinstance(value, str)
            and len(value) <= MAX_MATCHED
            and any(pattern.match(value) for pattern in self.patterns)
        )


def _same(one: Any, other: Any) -> bool:
    # In JSON true is not 1.
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _read_exists(value: Any) -> Test:
    if not isinstance(value, bool):
        raise ValueError("needs true or false behind 'exists'")
    return _Exists(value)


def _read_list(value: Any, word: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"needs a list of values behind {word!r}")
    return tuple(value)


def _read_contains(value: Any) -> Test:
    if isinstance(value, list | tuple | dict):
        raise ValueError("needs one value behind 'contains'")
    return _Contains(value)


def _read_matches(value: Any) -> Test:
    patterns = _read_list([value] if isinstance(value, str) else value, "matches")
    if not all(isinstance(each, str) and each.count("*") <= 8 for each in patterns):
        raise ValueError("needs shell patterns behind 'matches', with at most 8 asterisks each")
    return _Matches([re.compile(translate(each)) for each in patterns])


_CONDITIONS: dict[str, Callable[[Any], Test]] = {
    "exists": _read_exists,
    "equals": _Equals,
    "not_equals": lambda value: _Equals(value, is_so=False),
    "in": lambda value: _In(_read_list(value, "in")),
    "not_in": lambda value: _In(_read_list(value, "not_in"), is_so=False),
    "contains": _read_contains,
    "matches": _read_matches,
}
CONDITIONS = tuple(_CONDITIONS)


# --- filters of filters -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _All:
    filters: Sequence[Filter]

    def __call__(self, data: Data) -> bool:
        return all(each.holds(data) for each in self.filters)


@dataclass(frozen=True, slots=True)
class _Any:
    filters: Sequence[Filter]

    def __call__(self, data: Data) -> bool:
        return any(each.holds(data) for each in self.filters)


@dataclass(frozen=True, slots=True)
class _Not:
    filters: Sequence[Filter]

    def __call__(self, data: Data) -> bool:
        return not self.filters[0].holds(data)


_JOINS: dict[str, Callable[[Sequence[Filter]], Callable[[Data], bool]]] = {
    "all": _All,
    "any": _Any,
    "not": _Not,
}
