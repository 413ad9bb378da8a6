"""Problems of a configuration, as sentences: which key, what stands there, what to write, where to look.

A sentence never quotes a secret, nor what a reference yielded: it quotes what the operator wrote, and only where no
secret can stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hive_daemon.config.draft import Draft
from hive_daemon.config.schema import is_secret, key_at, suggestion
from hive_daemon.config.tree import KeyPath, Tree, dotted, value_at

MAX_SHOWN = 60

_KEY = "[key]"
_USER_INFO = re.compile(r"(?<=://)[^/@\s]*@")
_NEEDED = {
    "int_type": "a whole number is needed",
    "float_type": "a number is needed",
    "bool_type": "write true or false",
    "string_type": "a text is needed",
    "path_type": "a path is needed",
    "enum": "",
    "tuple_type": "a list is needed, write [a, b] or lines that begin with '- '",
    "dict_type": "a mapping is needed, lines of the form 'key: value'",
    "model_type": "a mapping is needed, lines of the form 'key: value'",
}
_LIMITS = {
    "greater_than": ("gt", "is too small, it must be more than"),
    "greater_than_equal": ("ge", "is too small, the least is"),
    "less_than": ("lt", "is too large, it must be less than"),
    "less_than_equal": ("le", "is too large, the most is"),
}
_SCALAR_NEEDED = frozenset(
    {"int_type", "float_type", "bool_type", "string_type", "path_type", "enum"}
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong at one key."""

    path: KeyPath
    text: str

    def sentence(self, draft: Draft) -> str:
        """Write it with its key and where to look."""
        return f"{dotted(self.path)}: {self.text}{draft.place(self.path)}"


def explain(error: ValidationError, draft: Draft) -> Iterator[Problem]:
    """Turn what pydantic found into problems; values are quoted from the draft, as the operator wrote them."""
    for detail in error.errors(include_url=False, include_input=False):
        path = tuple(part for part in detail["loc"] if part != _KEY)
        written: Tree = path[-1] if _KEY in detail["loc"] else value_at(draft.tree, path)
        # A list of which no item is valid counts as too short: its items have said so.
        if detail["type"] != "too_short" or not written:
            yield Problem(path, _predicate(detail, path, written))


def shown(path: KeyPath, value: Tree) -> str:
    """Quote a value for a person; what may be secret becomes a word for its kind."""
    match value:
        case bool():
            return json.dumps(value)
        case str() | int() | float() if not is_secret(path):
            text = json.dumps(
                hide_user_info(value) if isinstance(value, str) else value, ensure_ascii=False
            )
            return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
        case _:
            return "the value"


def hide_user_info(text: str) -> str:
    """Take user name and password out of the URLs in a text."""
    return _USER_INFO.sub("***@", text)


def _predicate(detail: ErrorDetails, path: KeyPath, written: Tree) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return suggestion(path)
    if kind == "missing":
        return "is missing, and has no default"
    if kind == "value_error":
        return f"{shown(path, written)} {context['error']}"
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        return f"{shown(path, written)} {words} {_plain(context[name])}"
    if kind in ("too_short", "string_too_short"):
        return "is empty, remove the key or give it a value"
    if kind in _NEEDED:
        return _wrong_type(kind, path, written, context)
    return f"{shown(path, written)} is not accepted: {detail['msg'].lower()}"


def _plain(limit: float) -> str:
    return str(int(limit) if limit == int(limit) else limit)


def _wrong_type(kind: str, path: KeyPath, written: Tree, context: Mapping[str, object]) -> str:
    if kind == "enum":
        return f"{shown(path, written)} is not accepted, write {_one_of(str(context['expected']), written)}"
    # A text where a section belongs may be a secret that slipped a line up.
    quoted = shown(path, written) if kind in _SCALAR_NEEDED else "the value"
    key = key_at(path)
    or_else = f"a {key.shorthand} or " if key is not None and key.shorthand is not None else ""
    return f"{quoted} is {_noun(written)}, {or_else}{_NEEDED[kind]}{_quotes(kind, written)}"


def _one_of(expected: str, written: Tree) -> str:
    choices = expected.replace("'", "").replace(" or ", ", ").split(", ")
    close = get_close_matches(str(written).lower(), choices, n=1)
    return f"{close[0]} (one of {', '.join(choices)})" if close else f"one of {', '.join(choices)}"


def _noun(value: Tree) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return "true or false"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _quotes(kind: str, value: Tree) -> str:
    if kind in ("string_type", "path_type") and isinstance(value, bool | int | float):
        return ", put it in quotes"
    if kind in ("int_type", "float_type") and isinstance(value, str) and value.strip().isdigit():
        return ", write it without quotes"
    return ""
