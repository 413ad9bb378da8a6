"""Where a walk stands: frozen, JSON-shaped values. This is what a checkpoint holds.

A *branch* is one position. Without a fan-out there is exactly one. Branches stand in the order of the edges that made
them; merges follow that order, never the order of finishing. Every branch writes into a *scope*; scopes form a tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from hive_daemon.graph.facts import Fact
from hive_daemon.graph.memory import ROOT, Memory, Write
from hive_daemon.graph.totals import NOTHING, Totals


class Phase(StrEnum):
    """What a branch is doing."""

    READY = "ready"
    """Stands before its node."""
    RUNNING = "running"
    """Its node runs, or waits for its next attempt."""
    WAITING = "waiting"
    """Stands before its node until no other branch can come there."""
    DECIDING = "deciding"
    """A model is asked which edges to follow."""
    PARKED = "parked"
    """Cannot go on before somebody outside says so."""
    FAILED = "failed"
    """Its node failed for good and nothing handles it."""
    ENDED = "ended"
    """It came to its end; what it wrote is merged when the walk ends."""


class OutcomeKind(StrEnum):
    """How a walk stopped."""

    COMPLETED = "completed"
    FAILED = "failed"
    PAUSED = "paused"
    WAITING_INPUT = "waiting_input"
    WAITING_APPROVAL = "waiting_approval"


PARKED_KINDS = frozenset(
    {OutcomeKind.PAUSED, OutcomeKind.WAITING_INPUT, OutcomeKind.WAITING_APPROVAL}
)
"""How a walk stops that somebody outside may go on with."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a walk stopped, where, and why. `code` names the kind of failure."""

    kind: OutcomeKind
    node: str | None = None
    error: str | None = None
    code: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope of a branch: a layer of memory, and where the branch came from.

    It was forked off at the node `source`, to begin at `start`, or it begins where branches of that fan-out met.
    `absorbed` are other scopes whose writes went into it, each with the moment until when.
    """

    id: int
    parent: int
    source: str = ""
    start: str = ""
    absorbed: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Branch:
    """One position.

    `matched` and `asked` are edge ids while DECIDING. `question`, `options` and `parked` tell why a branch is PARKED,
    `next_node` where its node sent it before it paused; `error` and `code` why it is FAILED. `answer` is the last of
    `answers` answers that its node got from a person; `earlier` is what the runs of this visit cost that each ended
    with a question.
    """

    id: int
    node: str
    scope: int = ROOT
    phase: Phase = Phase.READY
    visit: int = 0
    attempt: int = 1
    matched: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    parked: OutcomeKind | None = None
    question: str = ""
    options: tuple[str, ...] = ()
    next_node: str | None = None
    error: str | None = None
    code: str = ""
    answer: str | None = None
    answers: int = 0
    earlier: Totals | None = None


@dataclass(frozen=True, slots=True)
class WalkState:
    """The whole walk.

    `steps` counts node visits; `stamp` the moments at which branches wrote; `terminals` and `open_ends` the branches
    that ended at a terminal node and elsewhere; `dropped` those whose failure the others survived.
    """

    branches: tuple[Branch, ...] = ()
    scopes: tuple[Scope, ...] = ()
    visits: Mapping[str, int] = field(default_factory=dict)
    retries: Mapping[str, int] = field(default_factory=dict)
    failed_nodes: tuple[str, ...] = ()
    steps: int = 0
    stamp: int = 0
    next_id: int = 1
    terminals: int = 0
    open_ends: int = 0
    dropped: int = 0
    outcome: Outcome | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values; `from_json` is its inverse."""
        return {
            "branches": [_pack_branch(branch) for branch in self.branches],
            "scopes": [_pack_scope(scope) for scope in self.scopes],
            "visits": dict(self.visits),
            "retries": dict(self.retries),
            "failed_nodes": list(self.failed_nodes),
            "steps": self.steps,
            "stamp": self.stamp,
            "next_id": self.next_id,
            "ends": [self.terminals, self.open_ends, self.dropped],
            "outcome": _pack_outcome(self.outcome),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        terminals, open_ends, dropped = data["ends"]
        return cls(
            branches=tuple(_unpack_branch(item) for item in data["branches"]),
            scopes=tuple(_unpack_scope(item) for item in data["scopes"]),
            visits=dict(data["visits"]),
            retries=dict(data["retries"]),
            failed_nodes=tuple(data["failed_nodes"]),
            steps=data["steps"],
            stamp=data["stamp"],
            next_id=data["next_id"],
            terminals=terminals,
            open_ends=open_ends,
            dropped=dropped,
            outcome=_unpack_outcome(data["outcome"]),
        )

    def branch(self, branch_id: int) -> Branch:
        """Return the branch with this id. Raises KeyError."""
        for branch in self.branches:
            if branch.id == branch_id:
                return branch
        raise KeyError(branch_id)


_PLAIN_BRANCH = {
    f.name: f.default for f in fields(Branch) if f.name not in ("id", "node", "phase", "visit")
}


def _pack_branch(branch: Branch) -> dict[str, Any]:
    packed: dict[str, Any] = {
        "id": branch.id,
        "node": branch.node,
        "phase": branch.phase.value,
        "visit": branch.visit,
    }
    for name, plain in _PLAIN_BRANCH.items():
        value = getattr(branch, name)
        if value != plain:
            packed[name] = list(value) if isinstance(value, tuple) else value
    if branch.parked is not None:
        packed["parked"] = branch.parked.value
    if branch.earlier is not None:
        packed["earlier"] = asdict(branch.earlier)
    return packed


def _unpack_branch(packed: Mapping[str, Any]) -> Branch:
    values = dict(packed)
    for name in ("matched", "asked", "options"):
        if name in values:
            values[name] = tuple(values[name])
    values["phase"] = Phase(values["phase"])
    if values.get("parked") is not None:
        values["parked"] = OutcomeKind(values["parked"])
    if values.get("earlier") is not None:
        values["earlier"] = Totals(**values["earlier"])
    return Branch(**values)


def _pack_scope(scope: Scope) -> list[Any]:
    absorbed = [list(pair) for pair in scope.absorbed]
    return [scope.id, scope.parent, scope.source, scope.start, absorbed]


def _unpack_scope(packed: list[Any]) -> Scope:
    sid, parent, source, start, absorbed = packed
    pairs = tuple((origin, until) for origin, until in absorbed)
    return Scope(sid, parent, source, start, pairs)


def _pack_outcome(outcome: Outcome | None) -> list[Any] | None:
    if outcome is None:
        return None
    return [outcome.kind.value, outcome.node, outcome.error, outcome.code]


def _unpack_outcome(packed: list[Any] | None) -> Outcome | None:
    if packed is None:
        return None
    kind, node, error, code = packed
    return Outcome(OutcomeKind(kind), node, error, code)


# --- What the executor is told to do, and what it reports back ---------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """Run a node, after a delay if it is a further attempt.

    `answer` is the last answer that it waited for, the `answers`-th of this visit; `earlier` is what the visit cost
    before that.
    """

    branch: int
    node: str
    visit: int
    attempt: int = 1
    delay_seconds: float = 0.0
    answer: str | None = None
    answers: int = 0
    earlier: Totals | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the model which of these edges to follow."""

    branch: int
    node: str
    edges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """Cancel what runs for this branch."""

    branch: int


Command = Run | Ask | Stop


@dataclass(frozen=True, slots=True)
class NodeDone:
    """A node ended.

    `output` is what edges see, `writes` the part of it that memory keeps; `ambient` are shared values that edges see
    as if memory held them. A failure that `is_final` fails the walk, whatever edge or policy there is for failures.
    """

    branch: int
    success: bool
    output: Mapping[str, Any] = field(default_factory=dict)
    writes: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    error_type: str = ""
    next_node: str | None = None
    is_retryable: bool = True
    is_final: bool = False
    ambient: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeWaits:
    """A node cannot go on before a person answers; with an `answer` that was given beforehand it goes on at once.

    `cost` is what the run cost that ended with this question.
    """

    branch: int
    kind: OutcomeKind
    question: str
    options: tuple[str, ...] = ()
    answer: str | None = None
    cost: Totals = NOTHING


@dataclass(frozen=True, slots=True)
class EdgesDecided:
    """The model answered: these edges are to be followed."""

    branch: int
    chosen: frozenset[str]


Report = NodeDone | NodeWaits | EdgesDecided


@dataclass(frozen=True, slots=True)
class Step:
    """One move of the walk: the new state and memory, what to do next, and what to make durable."""

    state: WalkState
    memory: Memory
    commands: tuple[Command, ...] = ()
    facts: tuple[Fact, ...] = ()
    writes: tuple[Write, ...] = ()
    path: tuple[str, ...] = ()
