"""How a walk comes to rest between two reports: joins are released, nodes are entered, the end is noticed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hive_daemon.graph.choice import route
from hive_daemon.graph.facts import NodeSkipped, NodeStarted
from hive_daemon.graph.node import ROUTER
from hive_daemon.graph.walk_draft import Draft
from hive_daemon.graph.walk_joins import released
from hive_daemon.graph.walk_moves import go_to, leave
from hive_daemon.graph.walk_scopes import join, merge_ended, tidy
from hive_daemon.graph.walk_state import Branch, Outcome, OutcomeKind, Phase, Run, Step

_MOVING = (Phase.RUNNING, Phase.DECIDING, Phase.READY)
_ON_THE_WAY = (Phase.READY, Phase.WAITING)


def settle(draft: Draft, *, hold: bool) -> Step:
    """Enter every node that can be entered, then freeze. With `hold` nothing is started."""
    while draft.outcome is None and not hold:
        ready = _ready(draft)
        if not ready or draft.outcome is not None:
            break
        _enter_all(draft, ready)
    if hold:
        draft.commands.clear()
    on_the_way = any(branch.phase in _ON_THE_WAY for branch in draft.branches)
    if draft.outcome is None and not (hold and on_the_way):
        _conclude(draft)
    if draft.is_reshaped:
        tidy(draft)
    return draft.freeze()


def _ready(draft: Draft) -> list[Branch]:
    """Release what can be released and return the branches that stand before a node they may enter."""
    branches = draft.branches
    if len(branches) == 1:
        return branches[:] if branches[0].phase in _ON_THE_WAY else []
    for group in released(draft):
        if len(group) > 1:
            join(draft, group)
        else:
            draft.put(replace(group[0], phase=Phase.READY))
    return [branch for branch in draft.branches if branch.phase is Phase.READY]


def _enter_all(draft: Draft, ready: Iterable[Branch]) -> None:
    """Enter the nodes that branches stand before, unless that would be more steps than allowed."""
    limit = draft.topology.graph.max_steps
    branches = list(ready)
    if draft.steps + len(branches) > limit:
        node = branches[0].node
        error = f"the limit of {limit} steps (max_steps) is reached before {node!r}"
        draft.outcome = Outcome(OutcomeKind.FAILED, node, error, "max_steps")
        return
    for branch in branches:
        if draft.outcome is None:
            _enter(draft, branch)


def _enter(draft: Draft, branch: Branch) -> None:
    node = draft.topology.nodes[branch.node]
    draft.steps += 1
    seen = draft.visits.get(node.id, 0)
    if node.max_node_visits and seen >= node.max_node_visits:
        _skip(draft, branch, seen)
        return
    if seen and node.nullable_output_keys:
        known = draft.read(branch)
        stale = {key: None for key in node.nullable_output_keys if known.get(key) is not None}
        draft.write(branch.scope, stale)
    visit = draft.visits[node.id] = seen + 1
    draft.path.append(node.id)
    draft.put(Branch(branch.id, node.id, branch.scope, Phase.RUNNING, visit))
    draft.commands.append(Run(branch.id, node.id, visit))
    draft.facts.append(NodeStarted(node.id, node.node_type, visit))


def _skip(draft: Draft, branch: Branch, seen: int) -> None:
    """Go past a node that was visited often enough, as if it had succeeded with what memory holds."""
    node = draft.topology.nodes[branch.node]
    reason = f"max_node_visits {node.max_node_visits} is reached"
    draft.facts.append(NodeSkipped(node.id, reason, seen))
    values = draft.read(branch)
    target = route(node, values) if node.node_type == ROUTER else None
    if target is not None:
        go_to(draft, branch, target)
    else:
        leave(draft, branch, values)


def _conclude(draft: Draft) -> None:
    """If nothing can move any more, say how the walk stopped."""
    failed = parked = None
    for branch in draft.branches:
        if branch.phase in _MOVING:
            return
        if branch.phase is Phase.FAILED:
            failed = failed or branch
        elif branch.phase is Phase.PARKED:
            parked = parked or branch
    if failed is not None:
        draft.outcome = Outcome(OutcomeKind.FAILED, failed.node, failed.error, failed.code)
    elif parked is not None and parked.parked is not None:
        draft.outcome = Outcome(parked.parked, parked.node)
    elif draft.topology.terminal and not draft.terminals:
        error = "the walk ended without reaching a terminal node"
        draft.outcome = Outcome(OutcomeKind.FAILED, None, error, "dead_end")
    elif merge_ended(draft):
        draft.outcome = Outcome(OutcomeKind.COMPLETED)
