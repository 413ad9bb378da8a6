"""The placeholders of a script: `{{ key.path | filter }}`, filled from values, never run as code.

    {{ severity }}                  the value of an input
    {{ counts.error }}              a key of an object, or the position in a list: {{ lines.0 }}
    {{ findings.service }}          over a list of objects: the list of that key
    {{ findings | join ', ' }}      a list as text; also {{ x | count }}, {{ x | json }}, {{ x | default 'none' }}
    {{ $visit }}                    something of the call itself: see `docs/scripted-provider.md`

A text that is one placeholder and nothing else keeps the type of its value. In a longer text a list is joined with
commas, an object becomes JSON, None becomes nothing. A path that leads nowhere is an error, unless `default` follows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
BODY = re.compile(
    r"\s*(?P<path>\$?[\w-]+(?:\.[\w-]+)*)\s*(?P<filters>(?:\|\s*\w+\s*(?:'[^']*'|\"[^\"]*\")?\s*)*)"
)
FILTER = re.compile(r"\|\s*(\w+)\s*('[^']*'|\"[^\"]*\")?")
NEEDS_ARGUMENT = {"join": True, "default": True, "json": False, "count": False}


class TemplateFault(ValueError):
    """A placeholder that cannot be read or filled; its text says which and why."""


@dataclass(frozen=True, slots=True)
class _Missing:
    reason: str


def check(value: object) -> None:
    """Read every placeholder in a JSON-shaped value. Raises TemplateFault."""
    for text in _texts(value):
        for match in PLACEHOLDER.finditer(text):
            _parse(match.group(1))


def fill(value: Any, values: Mapping[str, Any]) -> Any:
    """Return a JSON-shaped value with its placeholders filled. Raises TemplateFault."""
    if isinstance(value, str):
        return _fill_text(value, values)
    if isinstance(value, Mapping):
        return {key: fill(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, values) for item in value]
    return value


def fill_text(text: str, values: Mapping[str, Any]) -> str:
    """Return a text with its placeholders filled, as text. Raises TemplateFault."""
    return as_text(_fill_text(text, values))


def as_text(value: object) -> str:
    """Write a value as it stands in a text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(as_text(item) for item in value)
    return _json(value)


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


def _fill_text(text: str, values: Mapping[str, Any]) -> Any:
    whole = PLACEHOLDER.fullmatch(text.strip())
    if whole is not None and "}}" not in whole.group(1):
        return _evaluate(whole.group(1), values)
    return PLACEHOLDER.sub(lambda match: as_text(_evaluate(match.group(1), values)), text)


def _parse(body: str) -> tuple[str, list[tuple[str, str]]]:
    match = BODY.fullmatch(body)
    if match is None:
        raise TemplateFault(f"{{{{{body}}}}}: not of the form key.path | filter 'text'")
    filters = [(name, quoted[1:-1]) for name, quoted in _filters(match["filters"], body)]
    return match["path"], filters


def _filters(text: str, body: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = FILTER.findall(text)
    for name, quoted in found:
        if name not in NEEDS_ARGUMENT:
            known = ", ".join(sorted(NEEDS_ARGUMENT))
            raise TemplateFault(f"{{{{{body}}}}}: no filter {name!r}; there are {known}")
        if NEEDS_ARGUMENT[name] != bool(quoted):
            wants = "needs a text in quotes" if NEEDS_ARGUMENT[name] else "takes no text"
            raise TemplateFault(f"{{{{{body}}}}}: {name!r} {wants}")
    return found


def _evaluate(body: str, values: Mapping[str, Any]) -> Any:
    path, filters = _parse(body)
    value = _look_up(path, values)
    for name, argument in filters:
        value = _apply(name, argument, value)
    if isinstance(value, _Missing):
        raise TemplateFault(f"{{{{{body}}}}}: {value.reason}")
    return value


def _look_up(path: str, values: Mapping[str, Any]) -> Any:
    value: Any = values
    for step in path.split("."):
        value = _step(value, step)
        if isinstance(value, _Missing):
            return value
    return value


def _step(value: Any, step: str) -> Any:
    if isinstance(value, Mapping):
        if step in value:
            return value[step]
        return _Missing(f"no {step!r} among: {', '.join(map(str, value)) or 'nothing'}")
    if isinstance(value, list | tuple):
        return _step_into_list(value, step)
    return _Missing(f"{step!r} asked of {type(value).__name__}, not of an object or a list")


def _step_into_list(items: list[Any] | tuple[Any, ...], step: str) -> Any:
    if not step.isdecimal():
        found = [_step(item, step) for item in items]
        missing = [item for item in found if isinstance(item, _Missing)]
        return missing[0] if missing else found
    position = int(step)
    return (
        items[position] if position < len(items) else _Missing(f"the list has {len(items)} items")
    )


def _apply(name: str, argument: str, value: Any) -> Any:
    if name == "default":
        return argument if value is None or isinstance(value, _Missing) else value
    if isinstance(value, _Missing):
        return value
    if name == "json":
        return _json(value)
    if name == "count":
        return len(value) if isinstance(value, list | tuple | Mapping | str) else 1
    return argument.join(as_text(item) for item in value) if _is_list(value) else as_text(value)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
