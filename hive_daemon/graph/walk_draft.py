"""The inside of one move of the walk: state and memory thawed, changed by small moves, and frozen into a `Step`.

Nothing is decided here; `graph.walk`, `graph.walk_moves` and `graph.walk_settle` do that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hive_daemon.graph.facts import Fact
from hive_daemon.graph.memory import ROOT, Memory, Write
from hive_daemon.graph.merge import ScopeTree
from hive_daemon.graph.topology import Topology
from hive_daemon.graph.walk_state import (
    Branch,
    Command,
    Phase,
    Scope,
    Step,
    Stop,
    WalkState,
)

_BUSY = (Phase.RUNNING, Phase.DECIDING)


class Draft:
    """State and memory of a walk while one report is worked in. Branches stay in branch order."""

    __slots__ = (
        "_writes",
        "branches",
        "commands",
        "dropped",
        "facts",
        "failed_nodes",
        "is_reshaped",
        "memory",
        "next_id",
        "open_ends",
        "outcome",
        "path",
        "retries",
        "scopes",
        "stamp",
        "steps",
        "terminals",
        "topology",
        "visits",
    )

    def __init__(self, topology: Topology, state: WalkState, memory: Memory) -> None:
        self.topology = topology
        self.memory = memory
        self.branches = list(state.branches)
        self.scopes: dict[int, Scope] = {scope.id: scope for scope in state.scopes}
        self.visits = dict(state.visits)
        self.retries: Mapping[str, int] = state.retries
        self.failed_nodes = state.failed_nodes
        self.outcome = state.outcome
        self.steps = state.steps
        self.stamp = state.stamp
        self.next_id = state.next_id
        self.terminals = state.terminals
        self.open_ends = state.open_ends
        self.dropped = state.dropped
        self.commands: list[Command] = []
        self.facts: list[Fact] = []
        self.path: list[str] = []
        self.is_reshaped = False
        self._writes: list[Write] = []

    # --- branches ---------------------------------------------------------------------------

    def take_id(self) -> int:
        """Return a number not yet used for a branch or a scope of this walk."""
        self.next_id += 1
        return self.next_id - 1

    def put(self, branch: Branch) -> None:
        """Replace the branch of the same id."""
        self.replace(branch.id, branch)

    def remove(self, branch: Branch) -> None:
        """Take a branch out of the walk."""
        self.replace(branch.id)
        self.is_reshaped = True

    def replace(self, branch_id: int, *others: Branch) -> None:
        """Put other branches, in their order, where one was."""
        for place, branch in enumerate(self.branches):
            if branch.id == branch_id:
                self.branches[place : place + 1] = others
                return

    # --- memory -----------------------------------------------------------------------------

    def read(self, branch: Branch) -> dict[str, Any]:
        """Return what the branch sees."""
        return self.memory.read(self.tree.lineage(branch.scope) if self.scopes else ())

    def write(self, scope: int, values: Mapping[str, Any], *, is_handed: bool = False) -> None:
        """Write values into a scope, as one moment."""
        if not values:
            return
        if scope == ROOT:
            self.apply([Write(ROOT, key, value) for key, value in values.items()])
            return
        self.stamp += 1
        stamp = self.stamp
        self.apply(
            [Write(scope, key, value, stamp, scope, is_handed) for key, value in values.items()]
        )

    def apply(self, writes: Iterable[Write]) -> None:
        """Do writes as they are; they become part of the step's patch."""
        done = list(writes)
        self._writes.extend(done)
        self.memory = self.memory.apply(done)

    @property
    def tree(self) -> ScopeTree:
        """The scopes with what is written in them."""
        return ScopeTree(self.scopes, self.memory, self.stamp)

    def keep_scopes(self, scopes: dict[int, Scope]) -> None:
        """Let go of all other scopes."""
        self.scopes = scopes
        self.memory = self.memory.apply((), scopes)

    # --- the end of the move ----------------------------------------------------------------

    def freeze(self) -> Step:
        """Return the move as a value. After an outcome nothing is started, and what runs is stopped."""
        commands: list[Command] = self.commands
        if self.outcome is not None:
            commands = [Stop(branch.id) for branch in self.branches if branch.phase in _BUSY]
        state = WalkState(
            tuple(self.branches),
            tuple(self.scopes.values()),
            self.visits,
            self.retries,
            self.failed_nodes,
            self.steps,
            self.stamp,
            self.next_id,
            self.terminals,
            self.open_ends,
            self.dropped,
            self.outcome,
        )
        return Step(
            state,
            self.memory,
            tuple(commands),
            tuple(self.facts),
            tuple(self._writes),
            tuple(self.path),
        )
