"""The memory of an execution: scopes with a parent, merged in branch order; and the view a node gets of it.

Scope 0 is the execution's own. A fan-out gives each branch a scope of its own on top, so siblings never see each
other's writes; a join merges them by the declared strategy. Everything is copy-on-write: a `Memory` is a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

ROOT = 0


class Entry(NamedTuple):
    """A value in the scope of a branch, and which write it came from.

    `stamp` and `origin` name the write: its moment, and the scope it was made in. `is_handed` tells a value that an
    edge handed on from one that a node wrote.
    """

    value: Any
    stamp: int
    origin: int
    is_handed: bool = False


class Write(NamedTuple):
    """One change of one key in one scope; a commit's patch is a list of these."""

    scope: int
    key: str
    value: Any
    stamp: int = 0
    origin: int = ROOT
    is_handed: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What the branches of one execution know: `root` holds scope 0, `layers` what branches have put on top."""

    root: Mapping[str, Any] = field(default_factory=dict)
    layers: Mapping[int, Mapping[str, Entry]] = field(default_factory=dict)

    def read(self, lineage: Iterable[int]) -> dict[str, Any]:
        """Return the values seen from the last scope of `lineage`, which runs from the root down."""
        seen = dict(self.root)
        for scope in lineage:
            if scope != ROOT:
                for key, entry in self.layers.get(scope, {}).items():
                    seen[key] = entry.value
        return seen

    def apply(self, writes: Iterable[Write], live: Iterable[int] | None = None) -> Memory:
        """Return a memory with `writes` done and, if given, only the `live` scopes kept on top of the root."""
        root: dict[str, Any] | None = None
        layers: dict[int, Mapping[str, Entry]] | None = None
        fresh: dict[int, dict[str, Entry]] = {}
        for scope, key, *entry in writes:
            if scope == ROOT:
                if root is None:
                    root = dict(self.root)
                root[key] = entry[0]
                continue
            if scope not in fresh:
                fresh[scope] = dict(self.layers.get(scope, {}))
            fresh[scope][key] = Entry(*entry)
        if fresh or live is not None:
            layers = {**self.layers, **fresh}
        if live is not None and layers:
            kept = frozenset(live)
            layers = {scope: layer for scope, layer in layers.items() if scope in kept}
        return Memory(
            self.root if root is None else root, self.layers if layers is None else layers
        )

    def writes(self) -> list[Write]:
        """Return the whole memory as writes: a snapshot is a patch from nothing."""
        return [
            *(Write(ROOT, key, value) for key, value in self.root.items()),
            *(
                Write(scope, key, *entry)
                for scope, layer in self.layers.items()
                for key, entry in layer.items()
            ),
        ]


class NodeMemory:
    """What one node may read and write: a view for one attempt, whose writes count only if the node succeeds.

    An empty set of keys means no restriction. `ambient` holds shared values that the execution itself has not set.
    Lists and dicts are handed out as copies, one per key: a node that changes them changes nothing but its own.
    Raises PermissionError for a key that the node did not declare.
    """

    __slots__ = ("_ambient", "_may_read", "_may_write", "_own", "_values", "written")

    def __init__(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        read_keys: Iterable[str] = (),
        write_keys: Iterable[str] = (),
        ambient: Mapping[str, Any] | None = None,
    ) -> None:
        self._values: Mapping[str, Any] = values if values is not None else {}
        self._ambient: Mapping[str, Any] = ambient if ambient is not None else {}
        writable = frozenset(write_keys)
        readable = frozenset(read_keys)
        self._may_read = readable | writable if readable else None
        self._may_write = writable or None
        self._own: dict[str, Any] = {}
        self.written: dict[str, Any] = {}

    def may_read(self, key: str) -> bool:
        """Say whether the node declared that it reads this key; it may always read what it writes."""
        return self._may_read is None or key in self._may_read

    def may_write(self, key: str) -> bool:
        """Say whether the node declared that it writes this key."""
        return self._may_write is None or key in self._may_write

    def read(self, key: str) -> Any:
        """Return the value of a key, None when nobody has set it."""
        if not self.may_read(key):
            raise PermissionError(f"this node may not read {key!r}: add it to its input_keys")
        if key in self.written:
            return self.written[key]
        source = self._values if key in self._values else self._ambient
        return self._owned(key, source[key]) if key in source else None

    def write(self, key: str, value: Any, validate: bool = True) -> None:
        """Set a key. `validate` is accepted for older programs: every write is checked."""
        if not self.may_write(key):
            raise PermissionError(f"this node may not write {key!r}: add it to its output_keys")
        self.written[key] = value

    async def write_async(self, key: str, value: Any, validate: bool = True) -> None:
        """Set a key, for programs that await it."""
        self.write(key, value, validate)

    def read_all(self) -> dict[str, Any]:
        """Return everything the node may read."""
        known = {**self._ambient, **self._values}
        if self._may_read is not None:
            known = {key: value for key, value in known.items() if key in self._may_read}
        mine = {key: self._owned(key, value) for key, value in known.items()}
        mine.update((key, value) for key, value in self.written.items() if self.may_read(key))
        return mine

    def with_permissions(self, read_keys: Iterable[str], write_keys: Iterable[str]) -> NodeMemory:
        """Return a view that shares the writes of this one and may do no more than this one may."""
        view = NodeMemory(
            self._values, read_keys=read_keys, write_keys=write_keys, ambient=self._ambient
        )
        view._may_read = _both(self._may_read, view._may_read)
        view._may_write = _both(self._may_write, view._may_write)
        view._own = self._own
        view.written = self.written
        return view

    def _owned(self, key: str, value: Any) -> Any:
        if type(value) is not dict and type(value) is not list:
            return value
        if key not in self._own:
            self._own[key] = _copied(value)
        return self._own[key]


MUCH = 10_000
"""Items of lists and dicts that take a few hundredths of a second to copy."""


def is_much(values: Iterable[Any]) -> bool:
    """Say whether copying values takes so long that nothing else should have to wait for it.

    Looked at are lists and dicts, and those directly within them: a guess that is cheap where there is little.
    """
    items = 0
    for value in values:
        if isinstance(value, dict):
            within: Iterable[Any] = value.values()
        elif isinstance(value, list):
            within = value
        else:
            continue
        items += len(value)
        if items < MUCH:
            items += sum(len(one) for one in within if type(one) is list or type(one) is dict)
        if items >= MUCH:
            return True
    return False


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """Return the keys that two sets of permissions have in common; None is every key."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _copied(value: Any) -> Any:
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    if type(value) is list:
        return [_copied(item) for item in value]
    return value


SharedMemory = NodeMemory
"""The name under which older programs know it."""
