"""What an execution comes to when it stops: the status, the result that programs get, the fact that tells of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hive_daemon.errors import BudgetExceeded, ExecutionNotFound
from hive_daemon.graph.executor import ExecutionResult
from hive_daemon.graph.facts import (
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionPaused,
    Fact,
)
from hive_daemon.ids import session_of
from hive_daemon.runtime.encoding import clean, loads, show
from hive_daemon.runtime.execution import StopReason
from hive_daemon.runtime.resume_state import left_by
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import ExecutionRow

DEFAULT_INTERRUPTION = "the process is stopping"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How somebody outside, or a fault, ended an execution: the status, and what is said about it."""

    status: ExecutionStatus
    error: str
    code: str = ""

    @property
    def fact(self) -> Fact:
        """What is told of it."""
        match self.status:
            case ExecutionStatus.CANCELLED:
                return ExecutionCancelled(None, self.error)
            case ExecutionStatus.INTERRUPTED | ExecutionStatus.PAUSED:
                return ExecutionPaused(None, self.error, self.status.value)
        return ExecutionFailed(None, self.error, self.code)


def verdict_on(reason: StopReason, text: str) -> Verdict:
    """Return how a stop ends an execution whose work has returned."""
    match reason:
        case StopReason.CANCEL:
            return Verdict(ExecutionStatus.CANCELLED, text, "cancelled")
        case StopReason.TIMEOUT:
            return Verdict(ExecutionStatus.FAILED, text, "timeout")
        case StopReason.BUDGET:
            return Verdict(ExecutionStatus.PAUSED, text, BudgetExceeded.code)
        case StopReason.OUT_OF_BUDGET:
            return Verdict(ExecutionStatus.FAILED, text, BudgetExceeded.code)
    return Verdict(ExecutionStatus.INTERRUPTED, text or DEFAULT_INTERRUPTION)


def overrules(reason: StopReason, result: ExecutionResult, *, is_held: bool) -> bool:
    """Say whether a stop counts more than what the walk came to before it noticed.

    What is completed is completed. What was put away stays so when the process stops: that is all a drain wants.
    """
    if reason in (StopReason.NONE, StopReason.PAUSE):
        return False
    if result.status == ExecutionStatus.COMPLETED:
        return False
    if reason is StopReason.DRAIN:
        return is_held or result.status == ExecutionStatus.FAILED
    return True


def broken_off(result: ExecutionResult, verdict: Verdict) -> ExecutionResult:
    """Return the result of an execution that was ended at the place that `result` tells of.

    One that is parked for its budget is paused there.
    """
    if verdict.status is ExecutionStatus.PAUSED and result.paused_at is not None:
        return replace(
            result,
            success=True,
            status=verdict.status.value,
            error=clean(verdict.error),
            error_code=verdict.code,
        )
    state = dict(result.session_state)
    place = state.pop("paused_at", None)
    if place:
        state["resume_from"] = place
    return replace(
        result,
        success=False,
        error=clean(verdict.error),
        error_code=verdict.code,
        status=verdict.status.value,
        paused_at=None,
        execution_quality="failed",
        session_state=state,
    )


def last_fact(result: ExecutionResult, reason: str) -> Fact:
    """Return what is told of a walk that stopped by itself, or was paused for this reason."""
    match result.status:
        case ExecutionStatus.COMPLETED:
            return ExecutionCompleted(None, result.output)
        case ExecutionStatus.FAILED:
            return ExecutionFailed(None, result.error or "failed", result.error_code)
    return ExecutionPaused(result.paused_at, reason or result.status, result.status)


def stored_result(result: ExecutionResult) -> bytes:
    """Return a result as the store keeps it: without the session state, which the checkpoints hold."""
    packed = result.to_dict()
    del packed["session_state"]
    return show(packed)


def read_result(data: bytes) -> ExecutionResult:
    """Read what `stored_result` wrote."""
    return ExecutionResult.from_dict(loads(data))


def result_of(row: ExecutionRow) -> ExecutionResult:
    """Return the result of an execution as its row tells it; its session state names the session, no more."""
    if row.result is not None and _tells_of(row):
        result = read_result(row.result)
    else:
        result = ExecutionResult(
            success=row.status.is_parked,
            error=row.error,
            error_code=row.error_code,
            status=row.status.value,
            paused_at=row.node_id if row.status.is_parked else None,
            steps_executed=row.steps,
            execution_quality="clean" if row.status.is_parked else "failed",
            execution_id=row.execution_id,
            session_id=row.session_id,
        )
    result.session_state = {
        "memory": dict(result.output),
        "execution_path": list(result.path),
        "node_visit_counts": dict(result.node_visit_counts),
        "resume_session_id": row.session_id,
        "execution_id": row.execution_id,
    }
    return result


def unfinished(execution_id: str, *, is_running: bool) -> ExecutionResult:
    """Return what there is to say of an execution that neither ended nor was put away before the runtime stopped."""
    status = ExecutionStatus.RUNNING if is_running else ExecutionStatus.QUEUED
    session_id = session_of(execution_id)
    return ExecutionResult(
        success=False,
        error=f"the runtime stopped while this was {status}: it goes on when the runtime starts again",
        status=status.value,
        execution_quality="failed",
        session_state={"resume_session_id": session_id, "execution_id": execution_id},
        execution_id=execution_id,
        session_id=session_id,
    )


async def result_from(store: Store, row: ExecutionRow) -> ExecutionResult:
    """Return the result of an execution that stopped, with a session state that is enough to go on from."""
    result = result_of(row)
    if row.status is ExecutionStatus.COMPLETED:
        return result
    try:
        state = (await left_by(store, row)).whole
    except ExecutionNotFound:
        # Somebody pruned it meanwhile: what the row says is all there is.
        return result
    if row.status.is_parked:
        place = state.pop("resume_from", None)
        state["paused_at"] = result.paused_at or place
    result.session_state = {**result.session_state, **state}
    return result


def _tells_of(row: ExecutionRow) -> bool:
    """Say whether the result that a row holds is that of its present status, not of an earlier stop."""
    kept: dict[str, Any] = loads(row.result or b"{}")
    return bool(kept.get("status") == row.status.value)
