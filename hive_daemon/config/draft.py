"""A configuration while it is put together: its tree, where each value comes from, on which line it stands.

Sources are laid over each other key by key, lists whole. A null stands for a key that is not written, except inside a
`trigger_config`, where it removes what the agent folder says. A shorthand is written out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from hive_daemon.config.schema import Kind, key_at
from hive_daemon.config.tree import KeyPath, Tree, dotted, leaves, with_value

FILE = "file"
FLAG = "flag"
DEFAULT = "default"


def env_origin(variable: str) -> str:
    """Name an environment variable as the origin of a value."""
    return f"env {variable}"


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of one source."""

    path: KeyPath
    value: Tree
    origin: str


@dataclass(frozen=True, slots=True)
class Draft:
    """The tree so far. `origins` knows every path that a source wrote, `lines` every path of the file."""

    tree: dict[str, Tree] = field(default_factory=dict)
    origins: Mapping[KeyPath, str] = field(default_factory=dict)
    lines: Mapping[KeyPath, int] = field(default_factory=dict)

    def overlaid(self, settings: Iterable[Setting]) -> Draft:
        """Return the draft with the settings over it, later ones over earlier ones."""
        tree, origins = self.tree, dict(self.origins)
        for setting in settings:
            for path, value in _spread(setting.path, _tidy(setting.value, setting.path)):
                tree = with_value(tree, path, value)
                for below in [each for each in origins if each[: len(path)] == path]:
                    del origins[below]
                _mark(origins, path, value, setting.origin)
        return Draft(tree, origins, self.lines)

    def origin(self, path: KeyPath) -> str:
        """Say where the value at the path comes from: the file, a flag, a variable, or nowhere (`default`)."""
        return self.origins.get(path, DEFAULT)

    def place(self, path: KeyPath) -> str:
        """Return the end of a sentence that says where to look, such as ` (line 12)`; empty if unknown."""
        while path and path not in self.origins and path not in self.lines:
            path = path[:-1]
        origin = self.origin(path)
        if origin == FLAG:
            return f" (from --{dotted(path).replace('.', '-').replace('_', '-')})"
        if origin not in (FILE, DEFAULT):
            return f" (from {origin.removeprefix('env ')})"
        line = self.line(path)
        return f" (line {line})" if line else ""

    def line(self, path: KeyPath) -> int:
        """Return the line of the nearest path above that has one, 0 if none but the file itself has."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines[path] if path else 0


def draft_of_file(tree: dict[str, Tree], lines: Mapping[KeyPath, int]) -> Draft:
    """Return the draft that a file alone makes."""
    pairs = ((key, (key,), value) for key, value in tree.items())
    tidy = {
        key: _tidy(value, at) for key, at, value in pairs if value is not None or _null_counts(at)
    }
    origins: dict[KeyPath, str] = {}
    _mark(origins, (), tidy, FILE)
    return Draft(tidy, origins, lines)


def empty_keys(tree: Tree) -> Iterator[KeyPath]:
    """Yield the keys that are written without a value and so mean nothing."""
    return (
        path for path, value in leaves(tree) if value is None and path and not _null_counts(path)
    )


def _mark(origins: dict[KeyPath, str], path: KeyPath, value: Tree, origin: str) -> None:
    for leaf, _ in leaves(value, path):
        for length in range(len(leaf), 0, -1):
            origins.setdefault(leaf[:length], origin)


def _spread(path: KeyPath, value: Tree) -> Iterator[tuple[KeyPath, Tree]]:
    """Split a mapping into its leaves, so that it is merged; anything else replaces what is there."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _spread((*path, key), inner)
    else:
        yield path, value


def _tidy(value: Tree, path: KeyPath) -> Tree:
    """Return the value without the nulls that mean nothing, and with its shorthands written out."""
    key = key_at(path)
    match value:
        case dict():
            inner = ((name, (*path, name), below) for name, below in value.items())
            return {
                name: _tidy(below, at)
                for name, at, below in inner
                if below is not None or _null_counts(at)
            }
        case list():
            return [_tidy(item, (*path, at)) for at, item in enumerate(value)]
        case str() if key is not None and key.shorthand is not None:
            return {key.shorthand: value}
        case _:
            return value


def _null_counts(path: KeyPath) -> bool:
    # An unknown key is one with or without a value.
    above = key_at(path[:-1])
    return (
        isinstance(path[-1], int)
        or key_at(path) is None
        or (above is not None and above.kind is Kind.FREE)
    )
