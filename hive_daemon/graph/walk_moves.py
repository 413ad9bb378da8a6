"""How a branch leaves a node: along one edge, along several (a fan-out), to its end, or into failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hive_daemon.graph.choice import NodeEnd, choose, map_inputs
from hive_daemon.graph.edge import BranchFailure, EdgeSpec
from hive_daemon.graph.facts import BranchFailed, EdgeTraversed
from hive_daemon.graph.memory import ROOT
from hive_daemon.graph.walk_draft import Draft
from hive_daemon.graph.walk_state import Ask, Branch, Outcome, OutcomeKind, Phase, Scope

_NOTHING: dict[str, Any] = {}


def leave(
    draft: Draft,
    branch: Branch,
    output: Mapping[str, Any],
    ambient: Mapping[str, Any] = _NOTHING,
) -> None:
    """Send the branch on from a node that succeeded: by its edges, if it is not the end."""
    topology = draft.topology
    if branch.node in topology.terminal:
        end(draft, branch, is_terminal=True)
        return
    choice = topology.sure[branch.node]
    if choice is None:
        ended = NodeEnd(branch.node, True, output)
        choice = choose(topology, ended, {**draft.read(branch), **ambient})
        draft.facts.extend(choice.faults)
    if choice.asked:
        matched = tuple(edge.id for edge in choice.edges)
        asked = tuple(edge.id for edge in choice.asked)
        draft.put(replace(branch, phase=Phase.DECIDING, matched=matched, asked=asked))
        draft.commands.append(Ask(branch.id, branch.node, asked))
        return
    follow(draft, branch, choice.edges, output)


def follow(
    draft: Draft, branch: Branch, edges: tuple[EdgeSpec, ...], output: Mapping[str, Any]
) -> None:
    """Send the branch along the chosen edges. Two edges to one target are one way, the first one's mapping first."""
    if not edges:
        _no_way_on(draft, branch)
        return
    if not draft.topology.graph.parallel_config.is_enabled:
        edges = edges[:1]
    memory = draft.read(branch) if any(edge.input_mapping for edge in edges) else _NOTHING
    targets: dict[str, dict[str, Any]] = {}
    for edge in edges:
        draft.facts.append(
            EdgeTraversed(edge.source, edge.source, edge.target, edge.condition.value, edge.id)
        )
        mapped = targets.setdefault(edge.target, {})
        for key, value in map_inputs(edge, output, memory).items():
            mapped.setdefault(key, value)
    if len(targets) == 1:
        ((target, mapped),) = targets.items()
        draft.write(branch.scope, mapped, is_handed=True)
        _arrive(draft, branch, target)
    else:
        _fork(draft, branch, targets)


def go_to(draft: Draft, branch: Branch, target: str) -> None:
    """Send the branch to a node that the node itself, or a pause, named."""
    if target not in draft.topology.nodes:
        error = f"node {branch.node!r} sends the walk to {target!r}, which is not in the graph"
        fail(draft, branch, error, "unknown_node")
        return
    draft.facts.append(EdgeTraversed(branch.node, branch.node, target, "next_node", ""))
    _arrive(draft, branch, target)


def end(draft: Draft, branch: Branch, *, is_terminal: bool) -> None:
    """End a branch in good order; what it wrote is merged when the walk ends."""
    if is_terminal:
        draft.terminals += 1
    else:
        draft.open_ends += 1
    if branch.scope == ROOT:
        draft.remove(branch)
    else:
        draft.put(Branch(branch.id, branch.node, branch.scope, Phase.ENDED))
        draft.is_reshaped = True


def fail(draft: Draft, branch: Branch, error: str, code: str, *, is_final: bool = False) -> None:
    """End a branch whose failure nobody handles, as the fan-out's policy says; the last one fails the walk.

    A failure that `is_final` fails it at once.
    """
    if branch.node not in draft.failed_nodes:
        draft.failed_nodes = (*draft.failed_nodes, branch.node)
    policy = draft.topology.graph.parallel_config.on_branch_failure
    if branch.scope != ROOT:
        draft.facts.append(BranchFailed(branch.node, error, policy))
    has_others = len(draft.branches) > 1 or draft.terminals or draft.open_ends
    if policy is BranchFailure.CONTINUE_OTHERS and has_others and not is_final:
        draft.dropped += 1
        draft.remove(branch)
        return
    draft.put(replace(branch, phase=Phase.FAILED, error=error, code=code))
    if is_final or policy is not BranchFailure.WAIT_ALL:
        draft.outcome = Outcome(OutcomeKind.FAILED, branch.node, error, code)


def _arrive(draft: Draft, branch: Branch, target: str) -> None:
    draft.put(Branch(branch.id, target, branch.scope, Phase.WAITING))


def _fork(draft: Draft, branch: Branch, targets: Mapping[str, Mapping[str, Any]]) -> None:
    children = []
    for target, mapped in targets.items():
        scope = draft.take_id()
        draft.scopes[scope] = Scope(scope, branch.scope, branch.node, target)
        draft.write(scope, mapped, is_handed=True)
        children.append(Branch(draft.take_id(), target, scope, Phase.WAITING))
    draft.replace(branch.id, *children)


def _no_way_on(draft: Draft, branch: Branch) -> None:
    """No edge matches: a node without ways out ends its branch, another is a dead end if the graph has ends."""
    if draft.topology.has_ways_out[branch.node] and draft.topology.terminal:
        error = f"no edge out of {branch.node!r} matches, and it is not a terminal node"
        fail(draft, branch, error, "dead_end")
    else:
        end(draft, branch, is_terminal=False)
