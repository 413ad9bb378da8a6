"""What a walk that stopped comes to, as programs and people see it: the result and the state to resume from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hive_daemon.graph.executor import ExecutionResult
from hive_daemon.graph.journal import Totals
from hive_daemon.graph.memory import ROOT
from hive_daemon.graph.walk_state import Outcome, OutcomeKind, Phase, Step, WalkState


@dataclass(frozen=True, slots=True)
class Standing:
    """What the performer knows beside the walk."""

    execution_id: str
    session_id: str
    totals: Totals
    path: tuple[str, ...]
    graph_hash: str = ""

    @property
    def names(self) -> dict[str, Any]:
        """What a session state says of itself; nothing without a session."""
        if not self.session_id:
            return {}
        return {"resume_session_id": self.session_id, "execution_id": self.execution_id}


def to_result(step: Step, standing: Standing) -> ExecutionResult:
    """Return the result of a walk that stopped at `step`; one without an outcome was held at a boundary."""
    state = step.state
    outcome = state.outcome or Outcome(OutcomeKind.PAUSED, place_of(state))
    failed = outcome.kind is OutcomeKind.FAILED
    memory = step.memory.read([ROOT])
    troubled = bool(state.failed_nodes or state.retries or state.dropped)
    totals = standing.totals
    parked = outcome.kind not in (OutcomeKind.COMPLETED, OutcomeKind.FAILED)
    return ExecutionResult(
        success=not failed,
        output=memory,
        error=outcome.error,
        steps_executed=state.steps,
        total_tokens=totals.input_tokens + totals.output_tokens,
        total_latency_ms=round(totals.latency_seconds * 1000),
        path=list(standing.path),
        paused_at=outcome.node if parked else None,
        session_state=session_state(step, standing, outcome, memory),
        total_retries=sum(state.retries.values()),
        nodes_with_failures=list(state.failed_nodes),
        retry_details=dict(state.retries),
        had_partial_failures=bool(state.dropped or (state.failed_nodes and not failed)),
        execution_quality="failed" if failed else "degraded" if troubled else "clean",
        node_visit_counts=dict(state.visits),
        status=outcome.kind.value,
        error_code=outcome.code,
        input_tokens=totals.input_tokens,
        cached_tokens=totals.cached_tokens,
        output_tokens=totals.output_tokens,
        reasoning_tokens=totals.reasoning_tokens,
        cost_usd=totals.cost_usd,
        execution_id=standing.execution_id,
        session_id=standing.session_id,
    )


def session_state(
    step: Step, standing: Standing, outcome: Outcome, memory: dict[str, Any]
) -> dict[str, Any]:
    """Return what is enough to go on from, in this process or another."""
    state: dict[str, Any] = {
        "memory": dict(memory),
        "execution_path": list(standing.path),
        "node_visit_counts": dict(step.state.visits),
        **standing.names,
    }
    if outcome.kind is OutcomeKind.COMPLETED:
        return state
    if outcome.kind is OutcomeKind.FAILED:
        state["resume_from"] = outcome.node
    else:
        state["paused_at"] = outcome.node
    state["walk"] = step.state.to_json()
    state["graph_hash"] = standing.graph_hash
    if step.memory.layers:
        state["branch_writes"] = [list(w) for w in step.memory.writes() if w.scope != ROOT]
    return state


def place_of(state: WalkState) -> str | None:
    """Return the node at which a walk stopped, or goes on."""
    if state.outcome is not None:
        return state.outcome.node
    for branch in state.branches:
        if branch.phase not in (Phase.FAILED, Phase.ENDED):
            return branch.node
    return None
