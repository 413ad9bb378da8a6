"""The query parameters of a request: read by name and type, refused with a sentence that names them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

from hive_daemon.errors import InvalidInput

Choice = TypeVar("Choice", bound=StrEnum)

_WHOLE = re.compile(r"[0-9]{1,18}")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_FLAGS = {"true": True, "false": False}
_SHOWN = 80


class Query:
    """Query parameters. Every reader raises InvalidInput for a value that does not fit."""

    def __init__(self, given: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in given:
            self._values.setdefault(name, []).append(value)

    def check(self, known: Iterable[str]) -> None:
        """Raise InvalidInput for a parameter that the route does not have."""
        refuse_unknown("query parameter", self._values, tuple(known))

    def every(self, name: str) -> Sequence[str]:
        """Return the values of a parameter that may be repeated."""
        return self._values.get(name, ())

    def one(self, name: str) -> str | None:
        """Return the value of a parameter that may be given once, None without it."""
        values = self.every(name)
        if len(values) > 1:
            raise InvalidInput(f"the query parameter {name} may be given only once")
        return values[0] if values else None

    def whole(self, name: str, least: int, most: int) -> int | None:
        """Return a whole number between `least` and `most`."""
        text = self.one(name)
        if text is None:
            return None
        if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
            raise _wrong(name, text, f"a whole number from {least} to {most}")
        return int(text)

    def seconds(self, name: str, most: float) -> float | None:
        """Return a number of seconds from 0 to `most`, written in digits with an optional fraction."""
        text = self.one(name)
        if text is None:
            return None
        if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)) or float(text) > most:
            raise _wrong(name, text, f"a number of seconds from 0 to {most:g}")
        return float(text)

    def flag(self, name: str, otherwise: bool) -> bool:
        """Return `true` or `false`."""
        text = self.one(name)
        if text is None:
            return otherwise
        if text not in _FLAGS:
            raise _wrong(name, text, "true or false")
        return _FLAGS[text]

    def choice(self, name: str, otherwise: Choice) -> Choice:
        """Return one of some words."""
        text = self.one(name)
        return otherwise if text is None else read_choice(name, text, type(otherwise))

    def choices(self, name: str, words: type[Choice]) -> tuple[Choice, ...]:
        """Return some of some words."""
        return tuple(read_choice(name, text, words) for text in self.every(name))


def read_choice(name: str, text: str, words: type[Choice]) -> Choice:
    """Return the word that a text is. Raises InvalidInput."""
    try:
        return words(text)
    except ValueError:
        raise _wrong(name, text, f"one of {', '.join(words)}") from None


def refuse_unknown(what: str, given: Mapping[str, object], known: Sequence[str]) -> None:
    """Raise InvalidInput for the first name that is not known, with the nearest that is."""
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise InvalidInput(
                f"there is no {what} {shown(name)} here",
                hint=f"did you mean {close[0]}?" if close else takes,
            )


def shown(text: str) -> str:
    """Quote what somebody sent, not longer than it takes to recognise it."""
    return f'"{text[:_SHOWN]}{"…" if len(text) > _SHOWN else ""}"'


def _wrong(name: str, text: str, wanted: str) -> InvalidInput:
    return InvalidInput(f"the query parameter {name} is {shown(text)}", hint=f"it is {wanted}")
