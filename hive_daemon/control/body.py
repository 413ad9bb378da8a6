"""The body of a request: one JSON object, read by key and type, refused with a sentence that names the key."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from hive_daemon.control.query import refuse_unknown
from hive_daemon.errors import InvalidInput

_KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class Body:
    """A JSON object. Every reader raises InvalidInput for a value of the wrong type."""

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self._values = values or {}

    @classmethod
    def read(cls, content: bytes) -> Body:
        """Read a body; an empty one is an empty object. Raises InvalidInput."""
        if not content.strip():
            return cls()
        try:
            value = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise InvalidInput(
                f"the body is not JSON: {error}", hint="send one JSON object in UTF-8"
            ) from None
        if not isinstance(value, dict):
            raise InvalidInput(
                f"the body is {_kind(value)}, not an object", hint="send one JSON object in UTF-8"
            )
        return cls(value)

    def check(self, known: Sequence[str]) -> None:
        """Raise InvalidInput for a key that the route does not have."""
        refuse_unknown("key", self._values, known)

    @property
    def digest(self) -> str:
        """The same for equal bodies, however they are written, and for no others."""
        try:
            canonical = orjson.dumps(self._values, option=orjson.OPT_SORT_KEYS)
        except TypeError as error:
            raise InvalidInput(f"the body cannot be kept: {error}") from None
        return hashlib.sha256(canonical).hexdigest()

    def has(self, key: str) -> bool:
        """Say whether a key is there."""
        return key in self._values

    def text(self, key: str, *, most: int, otherwise: str = "") -> str:
        """Return a text of at most `most` characters."""
        value = self._values.get(key, otherwise)
        if not isinstance(value, str):
            raise _wrong(key, value, "text")
        if len(value) > most:
            raise InvalidInput(
                f"{key} has {len(value)} characters", hint=f"it may have {most} at most"
            )
        return value

    def mapping(self, key: str) -> dict[str, Any]:
        """Return an object, empty without the key."""
        value = self._values.get(key, {})
        if not isinstance(value, dict):
            raise _wrong(key, value, "an object")
        return value

    def flag(self, key: str) -> bool:
        """Return a boolean, false without the key."""
        value = self._values.get(key, False)
        if not isinstance(value, bool):
            raise _wrong(key, value, "true or false")
        return value

    def texts(self, key: str) -> list[str] | None:
        """Return a list of texts, None without the key."""
        if key not in self._values:
            return None
        value = self._values[key]
        if not isinstance(value, list):
            raise _wrong(key, value, "a list of texts")
        for item in value:
            if not isinstance(item, str):
                raise _wrong(f"an item of {key}", item, "text")
        return value


def _wrong(key: str, value: object, wanted: str) -> InvalidInput:
    return InvalidInput(f"{key} is {_kind(value)}", hint=f"it must be {wanted}")


def _kind(value: object) -> str:
    return _KINDS[type(value)]
