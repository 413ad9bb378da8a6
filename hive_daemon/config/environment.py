"""`HIVE_*` variables: `HIVE_A__B=v` sets `a.b`, and a few names of their own.

The value of a text, path or secret is taken as it stands, any other is read as YAML. An empty variable counts as not
set, as container tools pass variables that nobody set as empty ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from hive_daemon.config.document import parse_value
from hive_daemon.config.draft import Setting, env_origin
from hive_daemon.config.schema import ENTRY, ITEM, Kind, key_at, patterns
from hive_daemon.config.tree import KeyPath, Tree
from hive_daemon.errors import ConfigError

PREFIX = "HIVE_"
NO_KEYS = frozenset({"HIVE_CONFIG", "HIVE_DEBUG_EVENTS"})
"""Variables of ours that set no key."""
SHORT_NAMES: Mapping[str, KeyPath] = {"HIVE_MODEL": ("llm", "model")}
"""Variables that set a key of another name."""

_VERBATIM = frozenset({Kind.TEXT, Kind.PATH, Kind.SECRET})


@dataclass(frozen=True, slots=True)
class EnvironmentReading:
    """The settings that the environment makes, and what was wrong or odd about it."""

    settings: tuple[Setting, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def variable_of(pattern: str) -> str:
    """Name the variable that sets a key, empty for keys inside lists: those are set as a whole.

    >>> variable_of("shutdown.drain_seconds")
    'HIVE_SHUTDOWN__DRAIN_SECONDS'
    """
    if ITEM in pattern or f".{ENTRY}." in pattern:
        return ""
    return PREFIX + pattern.upper().replace(".", "__")


def read_environment(environ: Mapping[str, str]) -> EnvironmentReading:
    """Read every `HIVE_*` variable, in alphabetical order."""
    settings: list[Setting] = []
    problems: list[str] = []
    warnings: list[str] = []
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in NO_KEYS or not environ[variable].strip():
            continue
        path = _paths().get(variable)
        if path is None:
            known = problems if "__" in variable else warnings
            known.append(f"{variable}: {_unknown(variable)}")
            continue
        try:
            settings.append(Setting(path, _value_of(environ[variable], path), env_origin(variable)))
        except ConfigError as error:
            problems.extend(f"{variable}: {problem}" for problem in error.problems)
    problems.extend(_quarrels(settings))
    return EnvironmentReading(tuple(settings), tuple(problems), tuple(warnings))


@cache
def _paths() -> Mapping[str, KeyPath]:
    keys = ((variable_of(pattern), tuple(pattern.split("."))) for pattern in patterns())
    return {**{variable: path for variable, path in keys if variable}, **SHORT_NAMES}


def _value_of(text: str, path: KeyPath) -> Tree:
    key = key_at(path)
    return text if key is not None and key.kind in _VERBATIM else parse_value(text)


def _unknown(variable: str) -> str:
    if close := get_close_matches(variable.upper(), [*_paths(), *NO_KEYS], n=1, cutoff=0.8):
        return f"sets no key, did you mean {close[0]}?"
    return "sets no key of hive.yaml, the keys and their variables stand in docs/config.md"


def _quarrels(settings: list[Setting]) -> Iterator[str]:
    seen: dict[KeyPath, Setting] = {}
    for setting in settings:
        other = seen.setdefault(setting.path, setting)
        if other.value != setting.value:
            names = (each.origin.removeprefix("env ") for each in (other, setting))
            yield f"{' and '.join(names)} set the same key to different values, keep one of them"
