"""Places in a webhook: where a key, a filter or an input finds its value. Pure.

A place is written `$.pull_request.number` (the payload; numbers choose from a list), `header.X-GitHub-Event` or
`query.team`; a header with a hyphen may stand alone. Laws: a place that is not there has no value and is no error;
a place can name nothing that carries a credential.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from hive_daemon.observability.secret_patterns import is_secret_name

Data = Mapping[str, Any]
"""The `data` of a webhook's event: path, method, headers, payload, query_params."""


class Absent:
    """The value of a place that is not there."""


ABSENT: Final = Absent()
MAX_TEXT = 65_536
"""Characters that a template may grow to, each."""

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_STEP = re.compile(r"[^.\s\[\]{}]+")
_CREDENTIAL = re.compile(
    r"auth|cookie|signature|token|secret|passw|api-?key|credential|csrf|session", re.IGNORECASE
)
_PIECE = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[^{}]+|[{}]")


class Part(StrEnum):
    """The part of a request that a place is in."""

    PAYLOAD = "$"
    HEADER = "header"
    QUERY = "query"


@dataclass(frozen=True, slots=True)
class Place:
    """One place. `steps` lead into the payload, or name the one header or parameter."""

    part: Part
    steps: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: object) -> Place:
        """Read a place. Raises ValueError with the predicate of a sentence about it."""
        if not isinstance(text, str):
            raise ValueError("is no place, write $.name, header.Name or query.name")
        if text == "$":
            return cls(Part.PAYLOAD)
        start, _, rest = text.partition(".")
        if start == Part.PAYLOAD and all(_STEP.fullmatch(step) for step in rest.split(".")):
            return cls(Part.PAYLOAD, tuple(rest.split(".")))
        if start == Part.QUERY and rest:
            return cls(Part.QUERY, (rest,))
        name = rest if start == Part.HEADER else text
        is_header = start == Part.HEADER or ("-" in text and "." not in text)
        if not is_header or not _HEADER.fullmatch(name):
            raise ValueError(
                f"is no place, write $.{text.strip('$.') or 'name'} for the payload, "
                "header.Name for a header or query.name for a parameter"
            )
        check_header(name)
        return cls(Part.HEADER, (name.lower(),))

    def value(self, data: Data) -> Any:
        """Return what is there, or ABSENT."""
        match self.part:
            case Part.HEADER:
                return data["headers"].get(self.steps[0], ABSENT)
            case Part.QUERY:
                return data["query_params"].get(self.steps[0], ABSENT)
            case Part.PAYLOAD:
                return _walk(data["payload"], self.steps)


def _walk(value: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and _is_index(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return ABSENT
    return value


def _is_index(step: str) -> bool:
    return step.isascii() and step.isdigit() and len(step) <= 9


def check_header(name: str) -> None:
    """Make sure that a header may enter an event. Raises ValueError with a sentence."""
    if not _HEADER.fullmatch(name):
        raise ValueError("is no name of a header")
    if _CREDENTIAL.search(name) or is_secret_name(name):
        raise ValueError("carries a credential or a signature, which never enters an event")


def text_of(value: Any) -> str:
    """Write a value as a key or into a text: a text as it is, an absent one as nothing, all else as JSON."""
    if isinstance(value, str):
        return value
    if value is ABSENT or value is None:
        return ""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Template:
    """A value of `input`: a text with places in braces, or anything else, which stands for itself.

    `{$.a}` alone gives the value as it is, None where there is none; with text around it, it is written into the text.
    `{{` and `}}` are braces.
    """

    pieces: tuple[str | Place, ...] = ()
    constant: Any = None

    @classmethod
    def read(cls, written: Any) -> Template:
        """Read a template. Raises ValueError with the predicate of a sentence about it."""
        if not isinstance(written, str):
            return cls(constant=written)
        return cls(pieces=tuple(_pieces(written)))

    @property
    def places(self) -> tuple[Place, ...]:
        """The places that it reads."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Place))

    def fill(self, data: Data) -> Any:
        """Return the value for a delivery; a text is cut at 65,536 characters."""
        match self.pieces:
            case ():
                return self.constant
            case (Place() as place,):
                value = place.value(data)
                return None if value is ABSENT else value
            case _:
                parts = [
                    text_of(piece.value(data)) if isinstance(piece, Place) else piece
                    for piece in self.pieces
                ]
                return "".join(parts)[:MAX_TEXT]


def _pieces(written: str) -> Iterator[str | Place]:
    for piece in _PIECE.finditer(written):
        match piece[0]:
            case "{" | "}":
                raise ValueError(
                    "holds a brace without its partner, write {{ or }} for a plain one"
                )
            case "{{" | "}}":
                yield piece[0][0]
            case text if text.startswith("{"):
                yield Place.read(text[1:-1].strip())
            case text:
                yield text
    if not written:
        yield written
