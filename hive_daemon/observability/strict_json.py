"""Strict JSON on one line, from anything at all.

What programs put into logs and events is only nearly JSON. `json_shape` makes it exactly that, `strict_json`
writes it so that no character can break a line, forge one or command a terminal, `fitted` keeps a record within
a size. A broken `__repr__`, a value that holds itself, a number too long to print: none of them stops a record.
"""

from __future__ import annotations

import json
import math
import re
import traceback
from collections import deque
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from pathlib import PurePath
from reprlib import Repr
from types import MappingProxyType, NoneType
from typing import Any
from uuid import UUID

CUT = "...[cut]"
"""Ends a text that was cut, and stands for what was left out."""

SMALLEST_RECORD = 1024
"""Bytes; `fitted` cannot promise less."""

_DEEPEST = 32
_MOST_PARTS = 10_000
_WIDEST_INTEGER_BITS = 64
_KEY_ROOM = 256
_AS_IT_IS = frozenset({str, bool, NoneType})

_UNSAFE = re.compile(
    # Controls, line and paragraph separators, marks that turn the direction of reading, lone surrogates.
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_NOT_ASCII = re.compile("[^\x00-\x7f]")
_SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

_encoder = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
)
_repr = Repr()
_repr.maxother = 1 << 20


def json_shape(value: object) -> Any:
    """Return the value as dicts with text keys, lists, text, finite numbers, booleans and None.

    NaN and Infinity become None; integers of more than 64 bits, bytes, times and paths become text; sets become
    lists; an exception becomes `Type: message`; any other object its `repr`, or its type's name if that
    fails. What lies deeper than 32 levels or beyond 10,000 parts is left out, and marked. The result shares
    no dict or list with the value.
    """
    return _Shaping().shape(value, 0)


class _Shaping:
    """One walk through a value; it counts the parts, since a value may hold itself."""

    __slots__ = ("_room",)

    def __init__(self) -> None:
        self._room = _MOST_PARTS

    def shape(self, value: object, depth: int) -> Any:
        self._room -= 1
        if self._room < 0:
            return CUT
        if type(value) in _AS_IT_IS:
            return value
        if isinstance(value, Enum):
            return self.shape(value.value, depth)
        if isinstance(value, str | int | float):
            return _scalar(value)
        if isinstance(value, dict | MappingProxyType | list | tuple | set | frozenset | deque):
            return self._container(value, depth + 1) if depth < _DEEPEST else CUT
        return _text_of(value)

    def _container(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict | MappingProxyType):
            items = self._taken(value.items())
            return {_key(key): self.shape(item, depth) for key, item in items}
        return [self.shape(item, depth) for item in self._taken(value)]

    def _taken(self, items: Iterable[Any]) -> list[Any]:
        """Return as many items as there is room for, and one more, which will be marked as cut."""
        return list(islice(items, max(self._room, 0) + 1))


def _key(key: object) -> str:
    if type(key) is str:
        return key
    shaped = json_shape(key)
    return shaped if isinstance(shaped, str) else json.dumps(shaped)


def _scalar(value: str | int | float) -> str | int | float | None:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    # Python refuses to write more than 4,300 decimal digits, and few readers take more than 64 bits.
    return int(value) if value.bit_length() <= _WIDEST_INTEGER_BITS else hex(value)


def _text_of(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta | Decimal | PurePath | UUID):
        return str(value)
    if isinstance(value, BaseException):
        return "".join(traceback.format_exception_only(value)).strip()
    # repr_instance catches what a broken __repr__ raises.
    return _repr.repr_instance(value, 1)


def escape_controls(text: str) -> str:
    r"""Write every character that could break a line or command a terminal as an escape.

    >>> print(escape_controls("a\nb\x1b[31m"))
    a\nb\x1b[31m
    """
    return _UNSAFE.sub(_escape, text)


def strict_json(shaped: Any) -> str:
    """Write a shaped value (`json_shape`) as JSON on one line, which holds nothing that needs escaping.

    Lone surrogates are replaced. Raises ValueError or TypeError if the value was not shaped.
    """
    return _UNSAFE.sub(_json_escape, _encoder.encode(shaped))


def ascii_json(line: str) -> str:
    """Rewrite a line of JSON in ASCII, at most three times as long in bytes as it was in UTF-8."""
    return line if line.isascii() else _NOT_ASCII.sub(_ascii_escape, line)


def fitted(fields: dict[str, Any], limit: int) -> str:
    """Write shaped fields as one JSON object of at most `limit` bytes of UTF-8.

    If it would be longer, each field in turn gets at most half of the room that is left, so the first ones
    stay whole; long ones become text that ends in the mark, and `cut` counts the fields that were left out.
    The limit is at least SMALLEST_RECORD.
    """
    line = strict_json(fields)
    if 4 * len(line) <= limit or _size(line) <= limit:
        return line
    kept: dict[str, Any] = {}
    room = limit - _KEY_ROOM
    for key, value in fields.items():
        name = _shortened(key, _KEY_ROOM)
        kept[name] = _shortened(value, room // 2)
        cost = _size(strict_json({name: kept[name]}))
        if cost > room:
            del kept[name]
            break
        room -= cost
    return strict_json({**kept, "cut": len(fields) - len(kept)})


def _shortened(value: Any, room: int) -> Any:
    """Return the value, or the beginning of its text, that takes at most `room` bytes of JSON or is the mark."""
    written = strict_json(value)
    if _size(written) <= room:
        return value
    text = value if isinstance(value, str) else written
    text = text[: max(room, 0)]
    while text and _size(strict_json(text + CUT)) > room:
        text = text[: 3 * len(text) // 4]
    return text + CUT


def _size(text: str) -> int:
    return len(text.encode())


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return _SHORT_ESCAPES.get(match[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _json_escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"


def _ascii_escape(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]
