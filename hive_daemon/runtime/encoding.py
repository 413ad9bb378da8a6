"""JSON as the runtime keeps it: strict, compact, the same after a restart as before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from hive_daemon.observability.strict_json import json_shape, strict_json

_KEPT = orjson.OPT_NON_STR_KEYS
_LARGEST = 2**63 - 1


def dumps(value: Any) -> bytes:
    """Write a value as JSON. NaN and Infinity become null. Raises TypeError for what JSON cannot hold."""
    return orjson.dumps(value, option=_KEPT)


def show(value: Any) -> bytes:
    """Write a value as JSON for people to read: what JSON cannot hold is written as its text; a dict stays one."""
    try:
        return orjson.dumps(value, default=repr, option=_KEPT)
    except TypeError:
        return strict_json(json_shape(value)).encode()


def loads(data: bytes) -> Any:
    """Read JSON. Raises ValueError."""
    return orjson.loads(data)


def clean(text: str) -> str:
    """Return the text with everything replaced that UTF-8 cannot hold, such as half a character of a file name."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def settled(values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return values as they will be read back later: only JSON, nothing shared with the caller.

    Raises TypeError that names the key and the type that cannot be kept.
    """
    kept: dict[str, Any] = {}
    for key, value in values.items():
        if type(key) is not str:
            raise TypeError(f"{what} {key!r} cannot be kept as JSON: a key must be text")
        if _is_plain(value) and key.isascii():
            kept[key] = value
            continue
        try:
            kept.update(orjson.loads(orjson.dumps({key: value}, option=_KEPT)))
        except TypeError as error:
            raise TypeError(
                f"{what} {key!r} cannot be kept as JSON ({error}): "
                "return text, numbers, booleans, lists and dicts"
            ) from error
    return kept


def _is_plain(value: object) -> bool:
    """Say whether a value is one that JSON gives back as it is."""
    if isinstance(value, str):
        return type(value) is str and value.isascii()
    if isinstance(value, int):
        return type(value) is bool or (type(value) is int and -_LARGEST <= value <= _LARGEST)
    if isinstance(value, float):
        return type(value) is float and math.isfinite(value)
    return value is None
