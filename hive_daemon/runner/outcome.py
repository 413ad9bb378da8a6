"""How a run in the foreground is told: the document, the sentence and the hint, the exit code. Pure."""

from __future__ import annotations

from typing import Any

from hive_daemon.control.views import Walked, current_node, execution_view, waiting_view
from hive_daemon.control.wire import ExitCode, run_exit_code
from hive_daemon.runner.foreground import Ended, Stop
from hive_daemon.runtime.encoding import loads
from hive_daemon.spending import Spending
from hive_daemon.status import ExecutionStatus

_CODES = {Stop.SIGNAL: ExitCode.INTERRUPTED, Stop.TIMEOUT: ExitCode.TIMED_OUT}


def exit_code_of(ended: Ended) -> ExitCode:
    """Return what the shell is told; what completed counts as completed, whoever tried to break it off."""
    row = ended.row
    if row is not None and row.status == ExecutionStatus.COMPLETED:
        return ExitCode.OK
    if ended.stop is not Stop.NONE or row is None:
        return _CODES.get(ended.stop, ExitCode.FAILED)
    return run_exit_code(row.status, row.error_code)


def document_of(ended: Ended) -> dict[str, Any] | None:
    """Return the execution as the control API shows it; None if none was begun."""
    row, result = ended.row, ended.result
    if row is None:
        return None
    walked = Walked()
    if result is not None:
        walked = Walked(tuple(result.path), result.output, Spending.of(result.to_dict()))
    return {**execution_view(row, walked, ended.now), "input": loads(row.input)}


_OPTIONS_AGAIN = {
    "input_needed": " --set input=TEXT",
    "graph_changed": " --accept-changed-graph",
}
"""Without what a failed session only fails again, by its error code."""


def told(ended: Ended, command: str) -> tuple[str, str]:
    """Return a sentence for people, and a hint, which may be empty. `command` is how to go on, without its session."""
    row = ended.row
    if row is None:
        return f"nothing was begun: {ended.stop or 'no execution'}", ""
    name = row.execution_id
    if row.status == ExecutionStatus.COMPLETED:
        seconds = (row.ended_at or ended.now) - (row.started_at or row.created_at)
        return f"{name} completed in {max(seconds, 0.0):.3g} s", ""
    go_on = f"{command} --resume {row.session_id}"
    node = current_node(row, Walked()) or _left_at(ended)
    at = f" at node {node}" if node else ""
    waiting = waiting_view(row)
    if row.status == ExecutionStatus.WAITING_INPUT and waiting is not None:
        options = " / ".join(waiting["options"])
        asks = f"{waiting['question'] or 'asks for input'}{f' ({options})' if options else ''}"
        return f"{name} waits{at}: {asks}", f"answer with `{go_on} --set input=TEXT`"
    if ended.stop is not Stop.NONE:
        return f"{name} {ended.stop}{at}", f"go on with `{go_on}`"
    if row.status in (ExecutionStatus.PAUSED, ExecutionStatus.WAITING_APPROVAL):
        if row.status == ExecutionStatus.PAUSED:
            return f"{name} is paused{at}", f"go on with `{go_on}`"
        asks = (waiting and waiting["question"]) or "asks for approval"
        which = (ended.approvals or ("latest",))[0]
        ways = f"`{go_on} --approve {which}` or `{go_on} --reject {which} --message WHY`"
        return (
            f"{name} waits{at}: {asks}",
            f"decide at a terminal, with `{go_on}`; elsewhere with {ways}",
        )
    error = f": {row.error}" if row.error else ""
    options = _OPTIONS_AGAIN.get(row.error_code, "")
    return f"{name} {row.status.replace('_', ' ')}{at}{error}", f"try again with `{go_on}{options}`"


def _left_at(ended: Ended) -> str | None:
    """Return the node that a run was broken off at."""
    place = ended.result.session_state.get("resume_from") if ended.result is not None else None
    return place if isinstance(place, str) else None
