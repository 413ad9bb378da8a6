"""Why an execution is where it is: from its row, its events and what holds it, to a story. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hive_daemon.insight.evidence import Evidence, because, cut_off_at, newest
from hive_daemon.insight.happenings import at, colon, data_of, sentence
from hive_daemon.insight.story import Cause, Daemon, Link, Story, moment, span
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import ExecutionRow
from hive_daemon.storage.waiting import read

_S = ExecutionStatus
_CODES = {
    "timeout": Cause.TIMED_OUT,
    "dead_end": Cause.DEAD_END,
    "budget_exceeded": Cause.BUDGET,
}
_MODEL_CODES = ("model", "model_unavailable", "model_rejected")
_KEPT_STEPS = 12


@dataclass(frozen=True, slots=True)
class _End:
    """The last link of a chain."""

    cause: Cause
    answer: str
    remedy: str = ""


def tell_execution(evidence: Evidence) -> Story:
    """Say why an execution is where it is."""
    row = evidence.row
    end = _TELLERS[row.status](evidence)
    links = (*evidence.origin, _accepted(evidence), *_steps(evidence))
    return Story("execution", row.execution_id, end.cause, end.answer, links, end.remedy)


def in_short(row: ExecutionRow) -> str:
    """Say in half a sentence where an execution of a chain is."""
    what = f"{row.execution_id} of {row.agent}/{row.stream_id}"
    error = f": {row.error}" if row.error else ""
    return f"{what} is {row.status.replace('_', ' ')}{error}"


# --- what happened ------------------------------------------------------------------------------


def _accepted(evidence: Evidence) -> Link:
    row = evidence.row
    again = ", going on in a session" if row.ordinal > 1 and not row.is_joined else ""
    beside = f", beside what session {row.session_id} does" if row.is_joined else ""
    return Link(
        f"{row.execution_id} of {row.agent}/{row.stream_id} was accepted, from {row.source}{again}{beside}",
        row.created_at,
    )


def _steps(evidence: Evidence) -> tuple[Link, ...]:
    """Return what its events tell, at most so many of the newest."""
    told = [
        Link(text, event.timestamp)
        for event in evidence.events
        if (text := sentence(event, data_of(event)))
    ]
    if evidence.exits:
        name = evidence.row.execution_id
        told += [Link(note.told_of(name), note.at) for note in evidence.exits]
        told.sort(key=lambda link: link.at or 0.0)
    if len(told) <= _KEPT_STEPS:
        return tuple(told)
    left_out = len(told) - _KEPT_STEPS
    return (told[0], Link(f"… {left_out} more …"), *told[-(_KEPT_STEPS - 1) :])


# --- where it is --------------------------------------------------------------------------------


def _queued(evidence: Evidence) -> _End:
    row = evidence.row
    waits = f"{row.execution_id} waits to run"
    for_how_long = f", for {span(evidence.now - row.updated_at)}"
    if evidence.daemon is not Daemon.RUNNING:
        return _End(*_unattended(evidence, waits))
    if evidence.trouble:
        return _End(
            Cause.DEGRADED,
            f"{waits}{for_how_long}: its agent {row.agent} does not run: {evidence.trouble}",
            "hive agents list",
        )
    if evidence.explained is None or not evidence.explained.holds:
        return _End(Cause.TURN, f"{waits}{for_how_long}: it is the next one", "hive queue list")
    by, told = evidence.explained.holds[0]
    others = [f"{other}: {why}" for other, why in evidence.explained.holds[1:]]
    besides = f"; besides, {'; '.join(others)}" if others else ""
    return _End(
        Cause(by.value),
        f"{waits}{for_how_long}: {told}{besides}",
        f"hive queue explain {row.execution_id}",
    )


def _unattended(evidence: Evidence, waits: str) -> tuple[Cause, str, str]:
    if evidence.daemon is Daemon.DRAINING:
        return (
            Cause.DRAINING,
            f"{waits}: the daemon is draining and begins nothing; it runs after the next start",
            "hive health",
        )
    return (
        Cause.DAEMON_DOWN,
        f"{waits}: the daemon is not running; it runs after the next start",
        "systemctl start hive-agent",
    )


def _running(evidence: Evidence) -> _End:
    row = evidence.row
    name = row.execution_id
    if evidence.daemon is Daemon.DOWN:
        return _End(
            Cause.DAEMON_DOWN,
            f"the daemon ended while {name} ran{cut_off_at(evidence)}{because(evidence)}; it goes on after the last "
            "node that was completed when the daemon starts again",
            "systemctl start hive-agent",
        )
    if row.cancel_reason is not None:
        return _End(
            Cause.STOPPING,
            f"{name} is being cancelled ({_reason(row)}) and stops when the work of its node has really returned",
            f"hive executions show {name}",
        )
    node, since = _node_at_work(evidence)
    runs = f"{name} runs{at(node)}, for {span(evidence.now - since)}"
    last = newest(evidence, "node_stalled", "node_retry", "node_started", "node_completed")
    if last is not None and last.type == "node_stalled":
        told = f"{runs}, and makes no progress: {data_of(last).get('reason')}"
        return _End(Cause.STALLED, told, f"hive sessions tail {row.session_id}")
    if last is not None and last.type == "node_retry":
        data = data_of(last)
        told = (
            f"{runs}, and tries again{_when(last.timestamp + (data.get('delay_seconds') or 0.0), evidence.now)} "
            f"({data.get('retry_count')} of {data.get('max_retries')}): {data.get('error')}"
        )
        return _End(Cause.RETRYING, told, f"hive sessions tail {row.session_id}")
    reborn = newest(evidence, "execution_resurrected")
    if reborn is not None:
        data = data_of(reborn)
        told = f"{runs}; it went on{at(data.get('resume_from'))} because {data.get('error')}"
        return _End(Cause.RESURRECTED, f"{told}{because(evidence)}")
    if row.attempts > 1:
        ended = "once" if row.attempts == 2 else f"{row.attempts - 1} times"
        told = f"{runs}; it began this node anew because the process ended {ended} while it ran"
        return _End(Cause.RESURRECTED, f"{told}{because(evidence)}")
    return _End(Cause.AT_WORK, runs, f"hive sessions tail -f {row.session_id}")


def _when(at: float, now: float) -> str:
    """Say of a moment to come when it is; nothing of one that is past."""
    return f" at {moment(at)}, in {span(at - now)}" if at > now else ""


def _node_at_work(evidence: Evidence) -> tuple[str | None, float]:
    """Return the node that is, or was last, at work, and since when as far as that is durable."""
    row = evidence.row
    began = newest(evidence, "node_started")
    if began is not None and evidence.node in (None, began.node_id):
        return began.node_id, began.timestamp
    since = row.started_at if row.started_at is not None else row.created_at
    return evidence.node or row.node_id, since


def _paused(evidence: Evidence) -> _End:
    row = evidence.row
    told = newest(evidence, "execution_paused", "budget_exceeded")
    reason = data_of(told).get("reason") if told is not None else None
    is_budget = row.error_code == "budget_exceeded" or _paused_by_budget(evidence)
    why = f": {row.error or reason}" if (row.error or reason) else ""
    return _End(
        Cause.BUDGET if is_budget else Cause.PAUSED,
        f"{row.execution_id} is paused{at(_waits_at(row))}, since {moment(row.updated_at)}{why}",
        "hive budget status" if is_budget else f"hive sessions resume {row.session_id}",
    )


def _paused_by_budget(evidence: Evidence) -> bool:
    """Say whether a budget was exceeded after it began to run last."""
    last = newest(evidence, "budget_exceeded", "execution_resumed", "execution_started")
    return last is not None and last.type == "budget_exceeded"


def _waits_at(row: ExecutionRow) -> str | None:
    awaited = read(row.waiting)
    return awaited[0].node_id if awaited else row.node_id


def _waiting_input(evidence: Evidence) -> _End:
    row = evidence.row
    awaited = read(row.waiting)
    question = awaited[0].question if awaited else ""
    others = len(awaited) - 1
    more = f" ({others} more of its branches wait too)" if others > 0 else ""
    return _End(
        Cause.WAITING_INPUT,
        f"{row.execution_id} waits for a person{at(_waits_at(row))}, since {moment(row.updated_at)}"
        f"{colon(question)}{more}",
        f"hive sessions input {row.session_id} -",
    )


def _waiting_approval(evidence: Evidence) -> _End:
    row = evidence.row
    awaited = read(row.waiting)
    question = awaited[0].question if awaited else ""
    return _End(
        Cause.WAITING_APPROVAL,
        f"{row.execution_id} waits until a person approves a tool call{at(_waits_at(row))}, "
        f"since {moment(row.updated_at)}{colon(question)}",
        f"hive approvals show {row.execution_id}",
    )


def _interrupted(evidence: Evidence) -> _End:
    row = evidence.row
    told = newest(evidence, "execution_paused")
    reason = data_of(told).get("reason") if told is not None else row.error
    when = "now" if evidence.daemon is Daemon.RUNNING else "when the daemon starts again"
    return _End(
        Cause.INTERRUPTED,
        f"{row.execution_id} was put away{at(row.node_id)}{colon(reason)}; it goes on by itself {when}",
        "" if evidence.daemon is Daemon.RUNNING else "systemctl start hive-agent",
    )


def _completed(evidence: Evidence) -> _End:
    row = evidence.row
    took = ""
    if row.started_at is not None and row.ended_at is not None:
        took = f" after {span(row.ended_at - row.started_at)}"
    reborn = newest(evidence, "execution_resurrected")
    if reborn is None:
        steps = "1 step" if row.steps == 1 else f"{row.steps} steps"
        told = f"{row.execution_id} reached its end{took}, in {steps}"
        return _End(Cause.COMPLETED, told, f"hive executions show {row.execution_id}")
    data = data_of(reborn)
    return _End(
        Cause.RESURRECTED,
        f"{row.execution_id} reached its end{took}, though {data.get('error')}: it went on"
        f"{at(data.get('resume_from'))}",
        f"hive executions show {row.execution_id}",
    )


_OPTIONS_AGAIN = {
    "input_needed": " --input FILE",
    "graph_changed": " --accept-changed-graph",
}
"""Without what a failed session only fails again, by its error code."""


def _failed(evidence: Evidence) -> _End:
    row = evidence.row
    options = _OPTIONS_AGAIN.get(row.error_code, "")
    again = f"hive sessions resume {row.session_id}{options}"
    error = row.error or "no error was kept"
    known = _CODES.get(row.error_code)
    if known is not None:
        remedy = "hive budget status" if known is Cause.BUDGET else again
        return _End(known, f"{row.execution_id} failed{at(row.node_id)}: {error}", remedy)
    call = newest(evidence, "llm_call_failed")
    node = _failed_node(evidence)
    if call is not None and (row.error_code in _MODEL_CODES or node == call.node_id):
        data = data_of(call)
        told = (
            f"{row.execution_id} failed{at(call.node_id)}: model {data.get('model')} did not do its work "
            f"({data.get('failure')}): {data.get('error')}"
        )
        return _End(Cause.MODEL_FAILED, told, again)
    if node is None:
        return _End(Cause.FAILED, f"{row.execution_id} failed: {error}", again)
    tries = sum(e.type == "node_retry" and e.node_id == node for e in evidence.events)
    after = f" after {tries + 1} attempts" if tries else ""
    return _End(
        Cause.FAILED_NODE, f"{row.execution_id} failed: node {node} failed{after}: {error}", again
    )


def _failed_node(evidence: Evidence) -> str | None:
    for event in reversed(evidence.events):
        if event.type == "node_completed" and not data_of(event).get("success"):
            return event.node_id
    return None


def _reason(row: ExecutionRow) -> str:
    """Return why an execution was cancelled, and by whom where a person gave a reason."""
    reason = row.cancel_reason or row.error or "no reason was given"
    return reason if row.cancelled_by in reason else f"{reason}, ordered by {row.cancelled_by}"


def _cancelled(evidence: Evidence) -> _End:
    row = evidence.row
    reason = _reason(row)
    node, _ = _node_at_work(evidence)
    ran = "before it began" if row.started_at is None else f"while it was{at(node) or ' at work'}"
    if row.error_code == "queue_timeout":
        told = f"{row.execution_id} was cancelled before it began: {reason}"
        return _End(
            Cause.QUEUE_TIMEOUT, told, f"hive queue list --entry-point {row.agent}/{row.stream_id}"
        )
    return _End(
        Cause.CANCELLED,
        f"{row.execution_id} was cancelled {ran}: {reason}",
        f"hive sessions resume {row.session_id}",
    )


def _recovery_exhausted(evidence: Evidence) -> _End:
    row = evidence.row
    reason = row.error or "the daemon ended too often while it ran"
    return _End(
        Cause.RECOVERY_EXHAUSTED,
        f"{row.execution_id} is not tried again{cut_off_at(evidence)}: {reason}{because(evidence)}",
        f"hive sessions resume {row.session_id}",
    )


_TELLERS: dict[ExecutionStatus, Callable[[Evidence], _End]] = {
    _S.QUEUED: _queued,
    _S.RUNNING: _running,
    _S.PAUSED: _paused,
    _S.WAITING_INPUT: _waiting_input,
    _S.WAITING_APPROVAL: _waiting_approval,
    _S.INTERRUPTED: _interrupted,
    _S.COMPLETED: _completed,
    _S.FAILED: _failed,
    _S.CANCELLED: _cancelled,
    _S.RECOVERY_EXHAUSTED: _recovery_exhausted,
}
