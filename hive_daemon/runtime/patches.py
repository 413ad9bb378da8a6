"""Checkpoints as bytes: what a move changed, now and then everything, and putting it together again.

A checkpoint holds the walk and a patch: the memory writes and the nodes entered since the checkpoint before. When the
patches since the last full one outgrow it, the next is full again (a snapshot): so the bytes written follow what
changed, and what must be read to go on stays in proportion to what there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from hive_daemon.graph.journal import Move, Totals
from hive_daemon.graph.memory import Memory, Write
from hive_daemon.graph.walk_state import OutcomeKind, Phase, WalkState
from hive_daemon.runtime.encoding import dumps, loads, show
from hive_daemon.spending import Spending
from hive_daemon.storage.values import Checkpoint, CheckpointKind, Restore
from hive_daemon.storage.waiting import Awaited

SNAPSHOT_OVER = 8_192
"""Bytes of patches below which no snapshot is worth its while."""

_TOTALS = tuple(field.name for field in fields(Totals))
_PARKED = (OutcomeKind.PAUSED, OutcomeKind.WAITING_INPUT, OutcomeKind.WAITING_APPROVAL)


@dataclass(slots=True)
class PatchBook:
    """What was written so far, as far as it decides whether the next checkpoint is full."""

    path: list[str]
    graph_hash: str = ""
    since: int = 0
    last_full: int = 0

    def mark(self) -> tuple[int, int, int]:
        """Return where the book stands, for `back_to`."""
        return len(self.path), self.since, self.last_full

    def back_to(self, mark: tuple[int, int, int]) -> None:
        """Forget what was noted since `mark`: it was not written."""
        length, self.since, self.last_full = mark
        del self.path[length:]

    def checkpoint(self, move: Move, before: Move | None = None) -> Checkpoint:
        """Return a move, together with the one `before` it if that has no checkpoint of its own, as a checkpoint.

        Raises TypeError for memory that JSON cannot hold.
        """
        step = move.step
        writes, path = step.writes, step.path
        if before is not None:
            writes, path = (*before.step.writes, *writes), (*before.step.path, *path)
        self.path.extend(path)
        patch = _encode(writes, path)
        self.since += len(patch)
        is_full = self.since > max(SNAPSHOT_OVER, self.last_full)
        if is_full:
            patch = _encode(step.memory.writes(), self.path)
            self.since, self.last_full = 0, len(patch)
        walk = step.state.to_json()
        walk["totals"] = {name: getattr(move.totals, name) for name in _TOTALS}
        walk["graph_hash"] = self.graph_hash
        return Checkpoint(
            kind=_kind(move),
            walk=show(walk),
            patch=patch,
            is_snapshot=is_full,
            next_node=_next(move),
        )


@dataclass(frozen=True, slots=True)
class Restored:
    """An execution as it was at a checkpoint."""

    state: WalkState
    memory: Memory
    path: list[str]
    totals: Totals
    graph_hash: str
    full_size: int
    patched_size: int

    def book(self, graph_hash: str) -> PatchBook:
        """Return the book to write on in: it knows how much has to be read since the last full checkpoint."""
        return PatchBook([*self.path], graph_hash, self.patched_size, self.full_size)


def restored(kept: Restore) -> Restored:
    """Put an execution together again."""
    memory = Memory()
    path: list[str] = []
    for patch in kept.patches:
        content = loads(patch)
        memory = memory.apply(Write(*write) for write in content["writes"])
        path.extend(content["path"])
    walk: dict[str, Any] = loads(kept.walk)
    state = WalkState.from_json(walk)
    live = {scope.id for scope in state.scopes}
    full, *later = (len(patch) for patch in kept.patches)
    return Restored(
        state=state,
        memory=memory.apply((), live),
        path=path,
        totals=_totals(walk.get("totals", {})),
        graph_hash=walk.get("graph_hash", ""),
        full_size=full,
        patched_size=sum(later),
    )


def _totals(kept: Mapping[str, Any]) -> Totals:
    return Totals(**{**kept, **Spending.of(kept).to_json()})


def _encode(writes: Any, path: Any) -> bytes:
    return dumps({"writes": [list(write) for write in writes], "path": list(path)})


def _kind(move: Move) -> CheckpointKind:
    outcome = move.step.state.outcome
    if outcome is not None and outcome.kind in _PARKED:
        return CheckpointKind.PAUSE
    return CheckpointKind.NODE_START if move.node_id is None else CheckpointKind.NODE_COMPLETE


def _next(move: Move) -> str | None:
    for branch in move.step.state.branches:
        if branch.phase in (Phase.RUNNING, Phase.READY, Phase.WAITING):
            return branch.node
    return None


def waiting_at(state: WalkState) -> tuple[Awaited, ...]:
    """Return what a walk waits for, in branch order; nothing if it waits for nobody."""
    return tuple(
        Awaited(branch.parked.value, branch.node, branch.question, branch.options)
        for branch in state.branches
        if branch.phase is Phase.PARKED and branch.parked is not None
    )
