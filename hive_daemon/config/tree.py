"""A configuration before it is validated: a tree of plain values, and the paths that lead into it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

Tree: TypeAlias = "str | int | float | bool | list[Tree] | dict[str, Tree] | None"
KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list indexes from the top: `("agents", 0, "path")`."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


def dotted(path: KeyPath) -> str:
    """Write a path as people read it.

    >>> dotted(("agents", 0, "entry_points", "a.b", "timeout"))
    'agents[0].entry_points["a.b"].timeout'
    """
    return "".join(_step(part) for part in path).removeprefix(".")


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _PLAIN.fullmatch(part) else f'["{part[:80]}"]'


def leaves(tree: Tree, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Tree]]:
    """Yield every scalar, empty list and empty mapping below, with its path."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from leaves(value, (*path, key))
    elif isinstance(tree, list) and tree:
        for index, value in enumerate(tree):
            yield from leaves(value, (*path, index))
    else:
        yield path, tree


def map_texts(tree: Tree, change: Callable[[KeyPath, str], Tree], path: KeyPath = ()) -> Tree:
    """Return the tree with every text (no key) replaced by what `change` makes of it."""
    match tree:
        case dict():
            return {key: map_texts(value, change, (*path, key)) for key, value in tree.items()}
        case list():
            return [map_texts(value, change, (*path, at)) for at, value in enumerate(tree)]
        case str():
            return change(path, tree)
        case _:
            return tree


def value_at(tree: Tree, path: KeyPath) -> Tree:
    """Return what stands at the path, None when nothing does."""
    for part in path:
        match tree, part:
            case dict(), str():
                tree = tree.get(part)
            case list(), int() if part < len(tree):
                tree = tree[part]
            case _:
                return None
    return tree


def with_value(tree: Mapping[str, Tree], path: KeyPath, value: Tree) -> dict[str, Tree]:
    """Return a copy of the tree that holds `value` at a path of keys.

    A step that leads through something other than a mapping is left as it is: the validation names it.
    """
    key, *rest = (str(part) for part in path)
    if not rest:
        return {**tree, key: value}
    inner = tree.get(key, {})
    return (
        {**tree, key: with_value(inner, tuple(rest), value)}
        if isinstance(inner, dict)
        else dict(tree)
    )
