"""The keys of hive.yaml, read off the model: what kind each is, which may be secret, which one a typo meant.

This is the only place that walks pydantic's field descriptions. The documentation's tables are compared with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from hive_daemon.config.kinds import Section
from hive_daemon.config.model import HiveConfig
from hive_daemon.config.tree import KeyPath, dotted

ITEM = "[]"
"""The step from a list to its items, in a pattern such as `agents[].path`."""
ENTRY = "ID"
"""The step from a mapping with free keys to its values, as in `agents[].entry_points.ID.timeout`."""

_SECRET_NAME = re.compile(
    r"secret|token|passw|api[_-]?key|private[_-]?key|credential|authorization", re.IGNORECASE
)


class Kind(StrEnum):
    """What may stand at a key."""

    TEXT = "text"
    PATH = "path"
    SECRET = "secret"
    NUMBER = "number"
    SWITCH = "switch"
    SECTION = "section"
    LIST = "list"
    MAPPING = "mapping"
    FREE = "free"
    """Anything at all: the inside of a `trigger_config`."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key, and what may stand below it.

    `item` is what each item of a list or each value of a mapping must be; `shorthand` the key that a bare text sets.
    """

    kind: Kind
    children: Mapping[str, Key] = field(default_factory=dict)
    item: Key | None = None
    shorthand: str | None = None


@cache
def root() -> Key:
    """Return the schema of the whole file."""
    return _section(HiveConfig)


def key_at(path: KeyPath) -> Key | None:
    """Return what may stand at the path, None where nothing may."""
    key = root()
    for part in path:
        if key.kind is Kind.FREE:
            return key
        below = key.children.get(str(part)) if key.kind is Kind.SECTION else key.item
        if below is None:
            return None
        key = below
    return key


def is_secret(path: KeyPath) -> bool:
    """Say whether what stands at the path is to be kept from every eye: by its kind, or where that is open, by name."""
    typed = len(path)
    while (key := key_at(path[:typed])) is None or key.kind is Kind.FREE:
        typed -= 1
    if typed == len(path):
        return key.kind is Kind.SECRET
    return any(_SECRET_NAME.search(part) for part in path[typed:] if isinstance(part, str))


def patterns() -> tuple[str, ...]:
    """Return every key except plain sections, as the documentation writes it, in the model's order."""
    return tuple(dotted_pattern(path) for path in _patterns(root(), ()))


def dotted_pattern(path: tuple[str, ...]) -> str:
    """Write a pattern: `("agents", "[]", "path")` is `agents[].path`."""
    return ".".join(path).replace(f".{ITEM}", ITEM)


def suggestion(path: KeyPath) -> str:
    """Return the end of the sentence `unknown key…` for a path of which only the last part is unknown."""
    parent = key_at(path[:-1])
    siblings = list(parent.children) if parent is not None else []
    wanted = str(path[-1]).replace("-", "_").lower()
    elsewhere = [key for key in patterns() if key.rpartition(".")[2] == wanted]
    if close := get_close_matches(wanted, siblings, n=1, cutoff=0.6 if not elsewhere else 0.8):
        return f"unknown key, did you mean {close[0]!r}?"
    if elsewhere:
        return f"unknown key here, did you mean {min(elsewhere, key=len)!r}?"
    return f"unknown key, {dotted(path[:-1]) or 'the file'} may hold {', '.join(siblings)}"


def _patterns(key: Key, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if key.kind is not Kind.SECTION:
        yield path
    for name, child in key.children.items():
        yield from _patterns(child, (*path, name))
    if key.item is not None and key.item.kind is Kind.SECTION:
        yield from _patterns(key.item, (*path, ITEM if key.kind is Kind.LIST else ENTRY))


def _section(model: type[Section]) -> Key:
    children = {name: _of_field(info) for name, info in model.model_fields.items()}
    return Key(Kind.SECTION, children, shorthand=model.SHORTHAND)


def _of_field(info: FieldInfo) -> Key:
    return _of_type(info.annotation)


def _of_type(annotation: object) -> Key:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _of_type(arguments[0])
    if origin in (Union, UnionType):
        return _of_type(next(each for each in arguments if each is not NoneType))
    if origin is tuple:
        return Key(Kind.LIST, item=_of_type(arguments[0]))
    if origin is dict:
        value = _of_type(arguments[1])
        return value if value.kind is Kind.FREE else Key(Kind.MAPPING, item=value)
    return _of_class(annotation)


def _of_class(annotation: object) -> Key:
    if annotation is Any or not isinstance(annotation, type):
        return Key(Kind.FREE)
    if issubclass(annotation, Section):
        return _section(annotation)
    if annotation is bool:
        return Key(Kind.SWITCH)
    if annotation in (int, float):
        return Key(Kind.NUMBER)
    if annotation is SecretStr:
        return Key(Kind.SECRET)
    return Key(Kind.PATH) if issubclass(annotation, Path) else Key(Kind.TEXT)
