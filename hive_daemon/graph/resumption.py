"""Where an execution begins: at the entry, where it was put away, or where a caller's session state says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hive_daemon.errors import GraphChanged, InvalidInput
from hive_daemon.graph.input_policy import INPUT_NEEDED, spoken
from hive_daemon.graph.memory import ROOT, Memory, Write
from hive_daemon.graph.topology import Topology
from hive_daemon.graph.walk import begin, resume
from hive_daemon.graph.walk_state import Branch, Outcome, OutcomeKind, Phase, Step, WalkState

ACCEPTS_CHANGE = "accept_changed_graph"
"""The key of a session state whose truth lets it go on in a graph that was changed."""


def first_step(
    topology: Topology,
    inputs: Mapping[str, Any],
    session_state: Mapping[str, Any],
    entry: str | None = None,
) -> Step:
    """Return the first step of an execution that a caller starts with a session state.

    Without one it begins at `entry` (default: the graph's). The exact walk is used when the state holds it; otherwise
    a pause node named by `paused_at` goes on after that node, and any other node named by it, or by `resume_from`, is
    where it begins. Raises InvalidInput, GraphChanged.
    """
    _check_shapes(session_state)
    memory = session_state.get("memory") or session_state.get("data_buffer") or {}
    walk = session_state.get("walk")
    if walk is not None:
        return _from_walk(topology, walk, session_state, inputs)
    values = {**memory, **inputs}
    paused_at = session_state.get("paused_at")
    if isinstance(paused_at, str) and paused_at in topology.nodes:
        before = _as_far_as(session_state)
        if paused_at not in topology.pausing:
            return begin(topology, paused_at, values, before=before)
        known = Memory().apply(_writes(memory))
        step = resume_here(topology, _parked_at(paused_at, before), known, inputs)
        return _with_writes(step, _writes(memory))
    if session_state.get("resume_from"):
        start = topology.graph.get_entry_point(dict(session_state))
        return begin(topology, start, values, before=_as_far_as(session_state))
    return begin(topology, entry or topology.graph.entry_node, values)


def resume_here(
    topology: Topology, state: WalkState, memory: Memory, inputs: Mapping[str, Any]
) -> Step:
    """Go on with a walk that was put away, `inputs` being what somebody answers or adds."""
    answers = answers_in(state, inputs)
    added = added_by(topology, inputs, answers)
    return resume(topology, state, memory, inputs=added, answers=answers)


def added_by(
    topology: Topology, inputs: Mapping[str, Any], answers: Mapping[str, str]
) -> dict[str, Any]:
    """Return what a resume's input adds to memory: all but words for a node, under an id that no key has."""
    return {
        key: value
        for key, value in inputs.items()
        if key not in answers or key in topology.declared
    }


def answers_in(state: WalkState, inputs: Mapping[str, Any]) -> dict[str, str]:
    """Return what a resume's input answers, by node.

    An input that names waiting nodes answers those; any other answers the first question in branch order, since one
    person's words are no answer to another question. A node that failed because nobody was asked waits, too.
    """
    asking = asking_nodes(state)
    if not inputs or not asking:
        return {}
    named = {node: spoken(inputs[node]) for node in asking if node in inputs}
    return named or {asking[0]: answer_text(inputs)}


def asking_nodes(state: WalkState) -> list[str]:
    """Return the nodes that a person may answer, in branch order."""
    has_failed = state.outcome is not None and state.outcome.kind is OutcomeKind.FAILED
    return [
        branch.node
        for branch in state.branches
        if (branch.phase is Phase.PARKED and branch.parked is not OutcomeKind.PAUSED)
        or (has_failed and branch.phase is Phase.FAILED and branch.code == INPUT_NEEDED)
    ]


def answer_text(inputs: Mapping[str, Any]) -> str:
    """Return what a person said, out of a resume's input: its `input` or only value, else all of it."""
    for key in ("input", "answer", "response", "content"):
        if isinstance(inputs.get(key), str):
            return str(inputs[key])
    if len(inputs) == 1:
        return spoken(next(iter(inputs.values())))
    return "\n".join(f"{key}: {spoken(value)}" for key, value in inputs.items())


def check_graph(
    topology: Topology, state: WalkState, graph_hash: str, *, accepts_change: bool = False
) -> None:
    """Raise GraphChanged if the walk was put away in a graph of another hash and nobody accepts that.

    A walk that stands at a node which is gone is refused in any case; one without a hash is of an older making.
    """
    standing = {branch.node for branch in state.branches if branch.phase is not Phase.ENDED}
    gone = sorted(standing - topology.nodes.keys())
    if gone:
        raise GraphChanged(
            f"the walk stands at {', '.join(gone)}, which the graph does not have any more",
            hint="bring the node back, or trigger the entry point anew",
        )
    if graph_hash not in ("", topology.graph_hash) and not accepts_change:
        raise GraphChanged(
            f"the graph is {topology.graph_hash} now, the checkpoint is of {graph_hash}",
            hint="bring the old graph back, or accept this one first, with --accept-changed-graph "
            "of `hive sessions resume` or `hive run`",
        )


def check_state(topology: Topology, session_state: Mapping[str, Any]) -> None:
    """Raise GraphChanged if the walk of a session state was put away in another graph; see `check_graph`.

    Raises InvalidInput for a walk that cannot be read.
    """
    walk = session_state.get("walk")
    if walk is not None:
        _check_shapes(session_state)
        _checked_walk(topology, walk, session_state)


_SHAPES: dict[str, type] = {
    "memory": Mapping,
    "data_buffer": Mapping,
    "walk": Mapping,
    "node_visit_counts": Mapping,
    "execution_path": Sequence,
    "branch_writes": Sequence,
}


def _check_shapes(session_state: Mapping[str, Any]) -> None:
    """Raise InvalidInput for a part of a session state that is no such thing at all."""
    for key, shape in _SHAPES.items():
        value = session_state.get(key)
        if value is not None and (not isinstance(value, shape) or isinstance(value, str)):
            name = "an object" if shape is Mapping else "a list"
            raise InvalidInput(f"session_state.{key} must be {name}, not {type(value).__name__}")


def _from_walk(
    topology: Topology,
    walk: Mapping[str, Any],
    session_state: Mapping[str, Any],
    inputs: Mapping[str, Any],
) -> Step:
    memory = session_state.get("memory") or {}
    state = _asking_anew(_checked_walk(topology, walk, session_state), inputs)
    try:
        branches = [Write(*write) for write in session_state.get("branch_writes") or ()]
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"session_state.branch_writes cannot be read: {error!r}") from error
    writes = [*_writes(memory), *branches]
    step = resume_here(topology, state, Memory().apply(writes), inputs)
    return _with_writes(step, writes)


def _asking_anew(state: WalkState, inputs: Mapping[str, Any]) -> WalkState:
    """Let nodes that wait for an approval run again, unless somebody answers them.

    A decision is about one call of one execution; a further execution asks about its own.
    """
    answered = answers_in(state, inputs)
    branches = tuple(
        replace(branch, phase=Phase.RUNNING, parked=None, question="", options=())
        if branch.parked is OutcomeKind.WAITING_APPROVAL and branch.node not in answered
        else branch
        # What a visit cost so far is on the bill of the execution before.
        for branch in (replace(each, earlier=None) for each in state.branches)
    )
    return replace(state, branches=branches)


def _checked_walk(
    topology: Topology, walk: Mapping[str, Any], session_state: Mapping[str, Any]
) -> WalkState:
    try:
        state = WalkState.from_json(walk)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"session_state.walk cannot be read: {error!r}") from error
    check_graph(
        topology,
        state,
        str(session_state.get("graph_hash") or ""),
        accepts_change=bool(session_state.get(ACCEPTS_CHANGE)),
    )
    return state


def _as_far_as(session_state: Mapping[str, Any]) -> WalkState:
    """Return how far an execution had come, as far as a session state without its walk says so."""
    visits = session_state.get("node_visit_counts") or {}
    return WalkState(
        visits={str(node): count for node, count in visits.items() if isinstance(count, int)},
        steps=len(session_state.get("execution_path") or ()),
    )


def _parked_at(node: str, before: WalkState) -> WalkState:
    visit = before.visits.get(node, 1)
    parked = Branch(1, node, phase=Phase.PARKED, visit=visit, parked=OutcomeKind.PAUSED)
    outcome = Outcome(OutcomeKind.PAUSED, node)
    return replace(before, branches=(parked,), next_id=2, outcome=outcome)


def _writes(memory: Mapping[str, Any]) -> list[Write]:
    return [Write(ROOT, key, value) for key, value in memory.items()]


def _with_writes(step: Step, brought: list[Write]) -> Step:
    """Put what the caller brought in front of what the step wrote, so that the first commit holds everything."""
    return replace(step, writes=(*brought, *step.writes))
