"""How a claimed execution begins: fresh, where it was put away, or where an earlier process lost it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hive_daemon.graph.facts import (
    ClientInputReceived,
    ExecutionResumed,
    ExecutionResurrected,
    ExecutionStarted,
    Fact,
)
from hive_daemon.graph.healing import Cause
from hive_daemon.graph.journal import Totals
from hive_daemon.graph.resumption import (
    added_by,
    answers_in,
    asking_nodes,
    check_graph,
    first_step,
)
from hive_daemon.graph.walk import resume
from hive_daemon.graph.walk_state import OutcomeKind, Phase, Step, WalkState
from hive_daemon.runtime.encoding import loads
from hive_daemon.runtime.patches import PatchBook, Restored
from hive_daemon.runtime.resume_state import memory_left
from hive_daemon.runtime.session_state import Beginning
from hive_daemon.runtime.stream_setup import StreamSetup
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import Claim, InboxItem

logger = logging.getLogger(__name__)

_GOES_ON = ("walk", "paused_at", "resume_from")
"""What a session state holds that says where to go on; without any of it an execution begins anew."""

_REASONS = {
    ExecutionStatus.INTERRUPTED: "the daemon was stopped and started again",
    ExecutionStatus.WAITING_INPUT: "somebody answered",
    ExecutionStatus.WAITING_APPROVAL: "somebody decided",
}


@dataclass(frozen=True, slots=True)
class Opening:
    """The first step, what was spent before, and the book to write on in.

    `answered` are the ids of inbox items that the first step uses; `unanswered` are the items left for the nodes.
    """

    step: Step
    totals: Totals
    book: PatchBook
    answered: tuple[int, ...] = ()
    unanswered: tuple[InboxItem, ...] = ()

    @property
    def path(self) -> list[str]:
        """The nodes entered before this claim."""
        return list(self.book.path)


async def open_walk(
    store: Store, claim: Claim, setup: StreamSetup, kept: Restored | None
) -> Opening:
    """Return how a claimed execution begins; `kept` is where it stood, None if it has taken no step.

    Raises InvalidInput for a session state that cannot be read, GraphChanged if it may not go on in this graph.
    """
    if kept is not None:
        return _go_on(claim, kept, setup)
    beginning = Beginning.decode(claim.state)
    inputs = {**loads(claim.input), **beginning.said_at(claim.seq)}
    state = dict(beginning.session_state)
    takes_over = claim.carry_from is not None and setup.carries_memory
    if (beginning.carries_memory or takes_over) and "memory" not in state:
        state["memory"] = await memory_left(store, claim)
    step = first_step(setup.topology, inputs, state, setup.entry_node)
    goes_on = any(state.get(key) for key in _GOES_ON)
    facts: list[Fact] = [ExecutionStarted(None, inputs)]
    if goes_on:
        facts.append(ExecutionResumed(_place(step.state), "it goes on where another left off"))
    # What was walked before belongs to the first move: only what a move holds is kept.
    walked = [str(node) for node in state.get("execution_path") or ()] if goes_on else []
    first = replace(step, facts=(*facts, *step.facts), path=(*walked, *step.path))
    return Opening(first, Totals(), PatchBook([], setup.topology.graph_hash))


def _go_on(claim: Claim, kept: Restored, setup: StreamSetup) -> Opening:
    topology = setup.topology
    beginning = Beginning.decode(claim.state)
    accepts = beginning.accepted_graph == topology.graph_hash
    check_graph(topology, kept.state, kept.graph_hash, accepts_change=accepts)
    if kept.graph_hash not in ("", topology.graph_hash):
        logger.warning(
            "an execution goes on in a changed graph, as somebody accepted",
            extra={"before": kept.graph_hash, "now": topology.graph_hash},
        )
    inputs = beginning.said_at(claim.seq)
    answers, used = _answers(claim.inbox, kept.state, inputs)
    added = added_by(topology, inputs, answers)
    step = resume(topology, kept.state, kept.memory, inputs=added, answers=answers)
    facts = (
        *_how(claim, kept, setup.recovery_attempts, answers),
        *(ClientInputReceived(node) for node in answers),
    )
    return Opening(
        step=replace(step, facts=(*facts, *step.facts)),
        totals=kept.totals,
        book=kept.book(topology.graph_hash),
        answered=tuple(sorted(used)),
        unanswered=tuple(item for item in claim.inbox if item.id not in used),
    )


def _answers(
    inbox: tuple[InboxItem, ...], state: WalkState, inputs: Mapping[str, Any]
) -> tuple[dict[str, str], set[int]]:
    """Return what the waiting nodes are answered, and the inbox items that this uses.

    What was said to no node in particular answers the first question, never an approval. The input of a resume answers
    those that nobody else did.
    """
    asking = asking_nodes(state)
    approvals = {b.node for b in state.branches if b.parked is OutcomeKind.WAITING_APPROVAL}
    first = next((node for node in asking if node not in approvals), None)
    answers: dict[str, str] = {}
    used: set[int] = set()
    for node in asking:
        mine = (node, "") if node == first else (node,)
        said = [item for item in inbox if item.node_id in mine]
        if said:
            answers[node] = "\n".join(item.content for item in said)
            used.update(item.id for item in said)
    left = tuple(branch for branch in state.branches if branch.node not in answers)
    return {**answers_in(replace(state, branches=left), inputs), **answers}, used


def _how(claim: Claim, kept: Restored, most: int, answers: Mapping[str, str]) -> tuple[Fact, ...]:
    place = next(iter(answers), None) or _place(kept.state)
    if claim.was is ExecutionStatus.RUNNING:
        crashes = claim.attempts - 1
        return (
            ExecutionResurrected(
                None, crashes, most, "the process ended while it ran", place, cause=Cause.CRASH
            ),
        )
    return (ExecutionResumed(place, _REASONS.get(claim.was, "") if claim.was else ""),)


def _place(state: WalkState) -> str | None:
    return next(
        (branch.node for branch in state.branches if branch.phase is not Phase.FAILED), None
    )
