"""The walk over a graph: one pure function family that decides everything and performs nothing.

`begin` and `resume` start it, `advance` takes a report and answers with a `Step`: the new state, the new memory, the
commands to perform and the facts to record. Laws, each with a property test: every walk halts; a walk cut after any
step and resumed gives the path and the memory of the uncut one; merges do not depend on which branch finished first;
no step follows an outcome; a step costs no more at the end of a long walk than at its start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from hive_daemon.errors import IllegalMove
from hive_daemon.graph.choice import NodeEnd, after_decision, choose
from hive_daemon.graph.facts import ClientInputReceived, ClientInputRequested, NodeRetry
from hive_daemon.graph.input_policy import INPUT_NEEDED
from hive_daemon.graph.memory import ROOT, Memory, Write
from hive_daemon.graph.topology import Topology
from hive_daemon.graph.walk_draft import Draft
from hive_daemon.graph.walk_moves import fail, follow, go_to, leave
from hive_daemon.graph.walk_settle import settle
from hive_daemon.graph.walk_state import (
    PARKED_KINDS,
    Ask,
    Branch,
    EdgesDecided,
    NodeDone,
    NodeWaits,
    OutcomeKind,
    Phase,
    Report,
    Run,
    Step,
    WalkState,
)

MAX_BACKOFF_SECONDS = 60.0


def begin(
    topology: Topology,
    entry: str,
    inputs: Mapping[str, Any],
    *,
    hold: bool = False,
    before: WalkState | None = None,
) -> Step:
    """Start a walk at `entry` with `inputs` in memory; steps and visits count on from those of `before`."""
    state = WalkState()
    if before is not None:
        state = WalkState(visits=before.visits, steps=before.steps)
    draft = Draft(topology, state, Memory())
    draft.branches.append(Branch(draft.take_id(), entry))
    draft.write(ROOT, inputs)
    return settle(draft, hold=hold)


def advance(
    topology: Topology, state: WalkState, memory: Memory, report: Report, *, hold: bool = False
) -> Step:
    """Take a report in. With `hold` nothing is started any more: the state can be put away and resumed.

    Raises IllegalMove for a report that the walk does not wait for.
    """
    branch = _awaited(state, report)
    draft = Draft(topology, state, memory)
    match report:
        case NodeDone(success=True):
            _node_succeeded(draft, branch, report)
        case NodeDone():
            _node_failed(draft, branch, report)
        case NodeWaits():
            _park(draft, branch, report)
        case EdgesDecided():
            followed = frozenset(branch.matched) | report.chosen
            edges = after_decision(topology, branch.node, followed)
            follow(draft, branch, edges, _own_output(draft, branch))
    return settle(draft, hold=hold)


def resume(
    topology: Topology,
    state: WalkState,
    memory: Memory,
    *,
    inputs: Mapping[str, Any] | None = None,
    answers: Mapping[str, str] | None = None,
    hold: bool = False,
) -> Step:
    """Go on with a walk that was put away: after a pause, with an answer, or after a crash or a failure.

    What was running runs again, as the same visit and attempt, and what failed is tried anew, with its answer if it
    failed because nobody was asked. If the walk had stopped at a pause or a question, the branches parked at a pause go
    on after their nodes; a branch that waits for a person goes on only if `answers` has its node. `inputs` reach the
    memory of the branches that go on so; where none does, that of the whole execution. Raises IllegalMove for a walk
    that was completed.
    """
    stopped = state.outcome.kind if state.outcome is not None else None
    if stopped is OutcomeKind.COMPLETED:
        raise IllegalMove("a walk that was completed cannot be resumed")
    draft = Draft(topology, replace(state, outcome=None), memory)
    known = answers or {}
    freed = [
        branch
        for branch in state.branches
        if branch.phase is Phase.PARKED and _is_freed(branch, stopped, known)
    ]
    _tell(draft, [branch.scope for branch in freed], inputs or {})
    for branch in state.branches:
        if branch in freed:
            _unpark(draft, branch, known.get(branch.node))
        elif stopped is OutcomeKind.FAILED and branch.phase is Phase.FAILED:
            _try_anew(draft, branch, known.get(branch.node))
        elif branch.phase is Phase.RUNNING:
            _run_again(draft, branch)
        elif branch.phase is Phase.DECIDING:
            draft.commands.append(Ask(branch.id, branch.node, branch.asked))
    return settle(draft, hold=hold)


def _awaited(state: WalkState, report: Report) -> Branch:
    """Return the branch that a report is about."""
    phase = Phase.DECIDING if isinstance(report, EdgesDecided) else Phase.RUNNING
    if state.outcome is None:
        for branch in state.branches:
            if branch.id == report.branch and branch.phase is phase:
                return branch
    raise IllegalMove(f"the walk waits for no such report of branch {report.branch}")


# --- going on with what was put away ------------------------------------------------------------


def _is_freed(branch: Branch, stopped: OutcomeKind | None, answers: Mapping[str, str]) -> bool:
    """Say whether a parked branch goes on: its question is answered, or the walk had stopped at its pause."""
    if branch.parked is OutcomeKind.PAUSED:
        return stopped in PARKED_KINDS
    return branch.node in answers


def _tell(draft: Draft, scopes: Iterable[int], inputs: Mapping[str, Any]) -> None:
    """Write `inputs` where these scopes see them, as one write that all of them know."""
    told = list(scopes) or [ROOT]
    if not inputs or ROOT in told:
        draft.write(ROOT, inputs)
        return
    origin = draft.take_id()
    draft.stamp += 1
    for sid in told:
        scope = draft.scopes[sid]
        draft.scopes[sid] = replace(scope, absorbed=(*scope.absorbed, (origin, draft.stamp)))
        draft.apply([Write(sid, key, value, draft.stamp, origin) for key, value in inputs.items()])


def _unpark(draft: Draft, branch: Branch, answer: str | None) -> None:
    if branch.parked is not OutcomeKind.PAUSED:
        _answer(draft, branch, answer)
        return
    resume_node = draft.topology.graph.entry_points.get(f"{branch.node}_resume")
    target = resume_node or branch.next_node
    awake = Branch(branch.id, branch.node, branch.scope, Phase.RUNNING, branch.visit)
    if target is not None:
        go_to(draft, awake, target)
    else:
        leave(draft, awake, _own_output(draft, awake))


def _answer(draft: Draft, branch: Branch, answer: str | None) -> None:
    """Run a node again with the answer to its question."""
    _run_again(
        draft,
        Branch(
            branch.id,
            branch.node,
            branch.scope,
            Phase.RUNNING,
            branch.visit,
            branch.attempt,
            answer=answer,
            answers=branch.answers + 1,
            earlier=branch.earlier,
        ),
    )


def _try_anew(draft: Draft, branch: Branch, answer: str | None) -> None:
    """Give a node that failed for good all its attempts again; one that was never entered is entered."""
    fresh = replace(branch, phase=Phase.RUNNING, attempt=1, error=None, code="", earlier=None)
    if branch.code == INPUT_NEEDED and answer is not None:
        _answer(draft, fresh, answer)
    elif branch.visit:
        _run_again(draft, fresh)
    else:
        draft.put(replace(fresh, phase=Phase.READY))


def _run_again(draft: Draft, branch: Branch, delay_seconds: float = 0.0) -> None:
    draft.put(branch)
    draft.commands.append(
        Run(
            branch.id,
            branch.node,
            branch.visit,
            branch.attempt,
            delay_seconds,
            branch.answer,
            branch.answers,
            branch.earlier,
        )
    )


# --- working a report in ------------------------------------------------------------------------


def _node_succeeded(draft: Draft, branch: Branch, report: NodeDone) -> None:
    draft.write(branch.scope, report.writes)
    if branch.node in draft.topology.pausing:
        draft.put(
            Branch(
                branch.id,
                branch.node,
                branch.scope,
                Phase.PARKED,
                branch.visit,
                parked=OutcomeKind.PAUSED,
                next_node=report.next_node,
            )
        )
    elif report.next_node is not None:
        go_to(draft, branch, report.next_node)
    else:
        leave(draft, branch, report.output, report.ambient)


def _node_failed(draft: Draft, branch: Branch, report: NodeDone) -> None:
    topology = draft.topology
    attempts = topology.attempts(branch.node)
    if report.is_retryable and branch.attempt < attempts and _retries_on(draft, branch, report):
        _retry(draft, branch, report, attempts)
        return
    if branch.node not in draft.failed_nodes:
        draft.failed_nodes = (*draft.failed_nodes, branch.node)
    handler = choose(topology, NodeEnd(branch.node, False, {}), {})
    if handler.edges and not report.is_final:
        follow(draft, branch, handler.edges, {})
        return
    error, code = report.error or "the node failed", report.error_type or "node_failed"
    fail(draft, branch, error, code, is_final=report.is_final)


def _retries_on(draft: Draft, branch: Branch, report: NodeDone) -> bool:
    wanted = draft.topology.nodes[branch.node].retry_on
    return not wanted or report.error_type in wanted


def _retry(draft: Draft, branch: Branch, report: NodeDone, attempts: int) -> None:
    delay = min(2.0 ** (branch.attempt - 1), MAX_BACKOFF_SECONDS)
    count = draft.retries.get(branch.node, 0) + 1
    draft.retries = {**draft.retries, branch.node: count}
    _run_again(draft, replace(branch, attempt=branch.attempt + 1, earlier=None), delay)
    error = report.error or "the node failed"
    draft.facts.append(NodeRetry(branch.node, branch.attempt, attempts, error, delay))


def _park(draft: Draft, branch: Branch, report: NodeWaits) -> None:
    asked = ClientInputRequested(branch.node, report.question, report.options, report.kind)
    draft.facts.append(asked)
    earlier = report.cost if branch.earlier is None else branch.earlier.plus(report.cost)
    if report.answer is not None:
        draft.facts.append(ClientInputReceived(branch.node))
        _answer(draft, replace(branch, earlier=earlier), report.answer)
        return
    draft.put(
        Branch(
            branch.id,
            branch.node,
            branch.scope,
            Phase.PARKED,
            branch.visit,
            branch.attempt,
            parked=report.kind,
            question=report.question,
            options=report.options,
            answers=branch.answers,
            earlier=earlier,
        )
    )


def _own_output(draft: Draft, branch: Branch) -> dict[str, Any]:
    """What a node has written, read back from memory: for edges chosen after it was put away."""
    values = draft.read(branch)
    node = draft.topology.nodes[branch.node]
    keys = [*node.output_keys, *node.nullable_output_keys] if node.output_keys else values
    return {key: values[key] for key in keys if key in values}
