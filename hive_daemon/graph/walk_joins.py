"""Which waiting branches may go on: the rule of fan-in.

A branch that stands before a node waits for every other branch that may still come there, if their fan-out can bring
both to that node: from where the two were forked off, each must have a way to it that does not lead over the fork
again. (Branches that come back to their fork meet before it. A loop that passes its own fork while the others went
elsewhere begins a new fan-out; nobody waits for that.) Branches that wait for each other alone, which only a cycle can
bring about, go on one at a time, the first in branch order first. No two branches are ever at work at one node. Every
part of the rule only ever changes from "wait" to "go" as branches move, so that what meets does not depend on who came
first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hive_daemon.graph.walk_draft import Draft
from hive_daemon.graph.walk_state import Branch, Phase

_OVER = (Phase.FAILED, Phase.ENDED)


def released(draft: Draft) -> list[list[Branch]]:
    """Return the branches that may enter their nodes now, those that meet together and in branch order."""
    fan_in = _FanIn(draft)
    found = (fan_in.next_at(place) for place in fan_in.waiting)
    return [group.members for group in found if group is not None]


@dataclass(eq=False, slots=True)
class _Group:
    """Branches that wait before one node and will enter it as one.

    `awaits` are the groups it waits for; it is held if it waits for a branch that is not itself waiting.
    """

    place: str
    members: list[Branch]
    awaits: list[_Group] = field(default_factory=list)
    is_held: bool = False
    is_looked_at: bool = False


class _FanIn:
    """The branches of a walk, as far as they may meet. What nobody asks for is not worked out."""

    def __init__(self, draft: Draft) -> None:
        self._topology = draft.topology
        self._scopes = draft.scopes
        self._tree = draft.tree
        self._lines: dict[int, list[int]] = {}
        self._groups: dict[int, _Group] = {}
        self._alive = [branch for branch in draft.branches if branch.phase not in _OVER]
        self._order = {branch.id: place for place, branch in enumerate(self._alive)}
        self._busy = {b.node for b in self._alive if b.phase is not Phase.WAITING}
        self.waiting: dict[str, list[Branch]] = {}
        for branch in self._alive:
            if branch.phase is Phase.WAITING:
                self.waiting.setdefault(branch.node, []).append(branch)

    def next_at(self, place: str) -> _Group | None:
        """Return the group that may enter a node now: groups that cannot meet take turns, the oldest first."""
        if place in self._busy:
            return None
        for branch in sorted(self.waiting[place], key=_age):
            group = self._group_of(branch)
            if self._goes(group):
                return group
        return None

    def _goes(self, group: _Group) -> bool:
        """Say whether a group waits for nobody, or is the first of those that wait for each other alone."""
        chain = self._closure(group)
        if any(other.is_held for other in chain):
            return False
        mine = self._order[group.members[0].id]
        return all(
            mine <= self._order[other.members[0].id] and group in self._closure(other)
            for other in chain
        )

    def _closure(self, group: _Group) -> list[_Group]:
        """Return a group with all that it waits for, directly or through others; up to one that is held."""
        found = [group]
        for known in found:
            self._look(known)
            if known.is_held:
                break
            found.extend(other for other in known.awaits if other not in found)
        return found

    def _look(self, group: _Group) -> None:
        """Find out whom a group waits for."""
        if group.is_looked_at:
            return
        group.is_looked_at = True
        group.is_held = group.place in self._busy
        for branch in () if group.is_held else self._alive:
            if not self._is_awaited(group, branch):
                continue
            if branch.phase is not Phase.WAITING:
                group.is_held = True
                return
            other = self._group_of(branch)
            if other not in group.awaits:
                group.awaits.append(other)

    def _is_awaited(self, group: _Group, branch: Branch) -> bool:
        """Say whether a branch that is elsewhere may still come and meet a group."""
        if branch.node == group.place or group.place not in self._topology.reach[branch.node]:
            return False
        return any(self._meet(member, branch) for member in group.members)

    def _group_of(self, branch: Branch) -> _Group:
        """Return the group that a waiting branch is in."""
        known = self._groups.get(branch.id)
        if known is not None:
            return known
        members = [branch]
        rest = [
            b for b in self.waiting[branch.node] if b is not branch and b.id not in self._groups
        ]
        for member in members:
            apart: list[Branch] = []
            for other in rest:
                (members if self._meet(member, other) else apart).append(other)
            rest = apart
        members.sort(key=lambda member: self._order[member.id])
        group = _Group(branch.node, members)
        self._groups.update((member.id, group) for member in members)
        return group

    def _meet(self, one: Branch, other: Branch) -> bool:
        """Say whether the fan-out that parted two branches can bring both to the node that the first stands before."""
        for mine, its in zip(self._line(one.scope), self._line(other.scope), strict=False):
            if mine != its:
                return self._leads(mine, one.node) and self._leads(its, one.node)
        return True

    def _line(self, scope: int) -> list[int]:
        if scope not in self._lines:
            self._lines[scope] = self._tree.lineage(scope)
        return self._lines[scope]

    def _leads(self, scope_id: int, place: str) -> bool:
        scope, topology = self._scopes[scope_id], self._topology
        # The graph may have been changed while the walk was put away: then any branch may meet any other.
        is_changed = not topology.nodes.keys() >= {scope.source, scope.start}
        return is_changed or place in topology.within(scope.source, scope.start)


def _age(branch: Branch) -> int:
    return branch.id
