"""Merging the memory of branches: by place in the fan-out, never by who finished first.

A value gives way to one that was written with knowledge of it. Values written without knowledge of each other are a
conflict, which the declared strategy settles; what came of it counts as a new write, made with knowledge of them all.
A value that an edge handed to a branch is no write of the branch: it gives way to one, and is never a conflict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hive_daemon.errors import HiveError
from hive_daemon.graph.edge import ConflictStrategy
from hive_daemon.graph.memory import ROOT, Entry, Memory
from hive_daemon.graph.walk_state import Scope


class MergeConflict(HiveError):
    """Two branches wrote the same key, and the strategy is `error`."""

    code = "merge_conflict"


@dataclass(frozen=True, slots=True)
class Side:
    """What one branch brings to a merge.

    `known` maps each scope to the last moment up to which its writes were known to the branch.
    """

    entries: Mapping[str, Entry]
    known: Mapping[int, int]

    def knows(self, entry: Entry) -> bool:
        """Say whether the branch was told of this write, or made it."""
        return entry.stamp <= self.known.get(entry.origin, -1)


@dataclass(frozen=True, slots=True)
class ScopeTree:
    """The scopes of a walk with what is written in them, as they are at the moment `now`."""

    scopes: Mapping[int, Scope]
    memory: Memory
    now: int

    def lineage(self, scope: int) -> list[int]:
        """Return the scopes from the root down to `scope`."""
        chain = [scope]
        while chain[-1] != ROOT:
            chain.append(self.scopes[chain[-1]].parent)
        return chain[::-1]

    def common(self, members: Sequence[int]) -> int:
        """Return the deepest scope above all members."""
        lines = [self.lineage(member)[:-1] or [ROOT] for member in members]
        shared = ROOT
        for level in zip(*lines, strict=False):
            if len(set(level)) > 1:
                break
            shared = level[0]
        return shared

    def below(self, scope: int, home: int) -> int:
        """Return the scope right below `home` on the way to `scope`."""
        while self.scopes[scope].parent != home:
            scope = self.scopes[scope].parent
        return scope

    def users(self, members: Iterable[int]) -> dict[int, int]:
        """Return how many of the members' lineages each scope is in."""
        counts: dict[int, int] = {}
        for member in members:
            for scope in self.lineage(member):
                counts[scope] = counts.get(scope, 0) + 1
        return counts

    def side(self, member: int, home: int) -> Side:
        """Return what a branch that writes to `member` knows beyond the scope `home` above it."""
        entries: dict[str, Entry] = {}
        known: dict[int, int] = {}
        lineage = self.lineage(member)
        for scope in lineage[lineage.index(home) + 1 :]:
            entries.update(self.memory.layers.get(scope, {}))
            for absorbed, until in self.scopes[scope].absorbed:
                known[absorbed] = max(until, known.get(absorbed, 0))
            known[scope] = self.now
        return Side(entries, known)


def merge(
    sides: Sequence[Side], strategy: ConflictStrategy, moment: tuple[int, int]
) -> dict[str, Entry]:
    """Merge what the sides bring, given in branch order; `moment` is the stamp and the scope of what is settled.

    Raises MergeConflict under the strategy `error`.
    """
    keys = {key: None for side in sides for key in side.entries}
    return {key: _settle(key, sides, strategy, moment) for key in keys}


def absorbed(sides: Iterable[Side]) -> dict[int, int]:
    """Return what was known to any of the sides."""
    known: dict[int, int] = {}
    for side in sides:
        for scope, until in side.known.items():
            known[scope] = max(until, known.get(scope, 0))
    return known


def is_same(one: Entry, other: Entry) -> bool:
    """Say whether two entries come from one write."""
    return one.stamp == other.stamp and one.origin == other.origin


def _settle(
    key: str, sides: Sequence[Side], strategy: ConflictStrategy, moment: tuple[int, int]
) -> Entry:
    holders = [side for side in sides if key in side.entries]
    rivals = [side.entries[key] for side in holders if not _is_outdated(key, side, holders)]
    if all(is_same(rival, rivals[0]) for rival in rivals):
        return rivals[0]
    written = [rival for rival in rivals if not rival.is_handed]
    if strategy is ConflictStrategy.ERROR and any(not is_same(w, written[0]) for w in written):
        raise MergeConflict(
            f"two branches of a fan-out wrote the key {key!r}",
            hint="give the branches different output keys, or set "
            "parallel_config.memory_conflict_strategy to first_wins or last_wins",
        )
    pool = written or rivals
    chosen = pool[0] if strategy is ConflictStrategy.FIRST_WINS else pool[-1]
    return Entry(chosen.value, *moment, chosen.is_handed)


def _is_outdated(key: str, side: Side, holders: Iterable[Side]) -> bool:
    """Say whether another side knew what this one holds, and holds something newer."""
    mine = side.entries[key]
    return any(other.knows(mine) and not is_same(other.entries[key], mine) for other in holders)
