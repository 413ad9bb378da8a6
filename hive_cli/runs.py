"""One execution from the outside: waiting for it, showing it, telling how it ended."""

from __future__ import annotations

from dataclasses import replace

from hive_cli.client import Client, Request
from hive_cli.durations import absolute, brief, monotonic, relative
from hive_cli.failures import Failure, complain
from hive_cli.follow import ABSENCE_SECONDS
from hive_cli.grammar import Hive
from hive_cli.render import (
    Cell,
    Json,
    note,
    one_line,
    status_cell,
    to_json,
    write,
    write_facts,
    write_json,
)
from hive_daemon.control.wire import (
    WAIT_SECONDS_MAX,
    ErrorCode,
    ExitCode,
    Route,
    Status,
    run_exit_code,
)


def deadline_after(seconds: float | None) -> float | None:
    """Return the moment of the monotonic clock that is so many seconds ahead."""
    return None if seconds is None else monotonic() + seconds


def await_execution(client: Client, reference: str, deadline: float | None) -> Json:
    """Return the execution when it is settled, or as it is at the deadline. Raises Failure.

    A daemon that goes away meanwhile is given a minute to come back; that it is there at all is up to `client`.
    """
    execution = client.get(Route.EXECUTION, execution=reference)
    try:
        while not is_settled(execution):
            seconds = WAIT_SECONDS_MAX if deadline is None else deadline - monotonic()
            if seconds <= 0:
                break
            patient = replace(client, patience=min(seconds, ABSENCE_SECONDS))
            execution = patient.ask(_wait_request(execution, min(seconds, WAIT_SECONDS_MAX)))
    except KeyboardInterrupt:
        raise detached(execution) from None
    return execution


def _wait_request(execution: Json, seconds: float) -> Request:
    path = Route.EXECUTION.path(execution=str(execution.get("id")))
    return Request("GET", path, {"wait": round(seconds, 3)}, answer_seconds=seconds + 15)


def detached(execution: Json) -> Failure:
    """Make the failure of somebody who stops watching an execution."""
    return Failure(
        ErrorCode.INTERRUPTED,
        f"detached, {execution.get('id')} goes on",
        f"watch it again with `hive sessions tail -f {execution.get('session_id')}`",
    )


def is_settled(execution: Json) -> bool:
    """Say whether the execution stays as it is until somebody does something."""
    try:
        return Status(execution.get("status", "")).is_settled
    except ValueError:
        return True


def conclude(hive: Hive, execution: Json, waited: float | None = None) -> ExitCode:
    """Write the result of an execution and tell how it ended; return the exit code that says so.

    What one has come to that did not complete is no result. `waited` is how long the caller was ready to wait, for one
    that is not settled.
    """
    if hive.as_json:
        write_json(execution)
    elif execution.get("status") == Status.COMPLETED and execution.get("output") is not None:
        write(to_json(execution["output"]))
    return tell_outcome(execution, waited)


def tell_outcome(execution: Json, waited: float | None = None) -> ExitCode:
    """Say on stderr how an execution ended, or that it has not; return the exit code."""
    if not is_settled(execution):
        complain(
            f"{execution.get('id')} is still {execution.get('status')} after {brief(waited or 0)}",
            f"it goes on; wait again with `hive executions wait {execution.get('id')}`",
        )
        return ExitCode.TIMED_OUT
    code = run_exit_code(str(execution.get("status")), execution.get("error_code"))
    if code == ExitCode.OK:
        note(f"{execution.get('id')} completed in {brief(execution.get('duration_seconds') or 0)}")
    else:
        complain(*_bad_news(execution))
    return code


_OPTIONS_AGAIN = {
    "input_needed": " --input FILE",
    "graph_changed": " --accept-changed-graph",
}
"""Without what a failed session only fails again, by its error code."""


def _bad_news(execution: Json) -> tuple[str, str]:
    """Return the sentence and the hint for an execution that did not complete."""
    id, session, status = (execution.get(key) for key in ("id", "session_id", "status"))
    waiting = execution.get("waiting") or {}
    at = f" at node {execution['current_node']}" if execution.get("current_node") else ""
    error = f": {one_line(str(execution['error']), 300)}" if execution.get("error") else ""
    is_spent = execution.get("error_code") == ErrorCode.BUDGET_EXCEEDED
    budget = "see when it begins anew with `hive budget status`, then " if is_spent else ""
    if status == Status.WAITING_INPUT:
        options = waiting.get("options") or ()
        choice = f" ({' / '.join(map(str, options))})" if options else ""
        asks = one_line(str(waiting.get("question") or "asks for input"))
        return (
            f"{id} waits{at}: {asks}{choice}",
            f"answer with `hive sessions input {session} -{_named(waiting)}`",
        )
    if status == Status.WAITING_APPROVAL:
        asks = one_line(str(waiting.get("question") or "asks for approval"))
        return (
            f"{id} waits{at}: {asks}",
            f"look with `hive approvals show {id}`, then `hive approvals approve {id}` or `reject`",
        )
    if status == Status.PAUSED:
        return f"{id} is paused{at}{error}", f"{budget}go on with `hive sessions resume {session}`"
    options = _OPTIONS_AGAIN.get(str(execution.get("error_code")), "")
    return (
        f"{id} {str(status).replace('_', ' ')}{at}{error}",
        f"{budget or f'see `hive sessions tail {session}`, '}try again with `hive sessions resume {session}{options}`",
    )


def _named(waiting: Json) -> str:
    """Return the option that says which node is answered, where several ask."""
    nodes = waiting.get("nodes") or ()
    return f" --node {waiting.get('node_id')}" if len(nodes) > 1 else ""


def _asked_besides(waiting: Json) -> str:
    """Return what further branches ask."""
    others = (waiting.get("nodes") or ())[1:]
    return "; ".join(f"{one['node_id']}: {one['question'] or one['kind']}" for one in others)


def show_execution(execution: Json) -> None:
    """Write an execution for a person."""
    waiting = execution.get("waiting") or {}
    write_facts(
        [
            ("execution", str(execution.get("id"))),
            ("session", str(execution.get("session_id"))),
            ("entry point", str(execution.get("entry_point"))),
            ("status", status_cell(execution.get("status"))),
            ("node", str(execution.get("current_node") or "")),
            ("asks", str(waiting.get("question") or "")),
            ("options", ", ".join(map(str, waiting.get("options") or ()))),
            ("asks, too", one_line(_asked_besides(waiting))),
            ("error", _error(execution)),
            ("cancelled by", str(execution.get("cancelled_by") or "")),
            ("source", _source(execution)),
            (
                "created",
                f"{absolute(execution.get('created_at'))}, {relative(execution.get('created_at'))}",
            ),
            ("took", took(execution)),
            ("steps", _steps(execution)),
            ("tokens", tokens(execution)),
            ("cost", cost(execution)),
            ("path", " > ".join(map(str, execution.get("path") or ()))),
            ("input", one_line(execution.get("input") or {}, 400)),
            (
                "output",
                "" if execution.get("output") is None else one_line(execution["output"], 2000),
            ),
        ]
    )


def took(execution: Json) -> str:
    """Write how long an execution ran, empty when it has not."""
    seconds = execution.get("duration_seconds")
    return "" if seconds is None else brief(seconds)


def tokens(counted: Json) -> str:
    """Write what went to models and came back, empty where nothing did."""
    taken, given = counted.get("input_tokens") or 0, counted.get("output_tokens") or 0
    if not taken and not given:
        return ""
    cached, thought = counted.get("cached_tokens"), counted.get("reasoning_tokens")
    of_in = f" ({cached} cached)" if cached else ""
    of_out = f" ({thought} reasoning)" if thought else ""
    return f"{taken} in{of_in}, {given} out{of_out}"


def cost(counted: Json) -> str:
    """Write what the model calls cost, empty where there were none."""
    if not tokens(counted):
        return ""
    dollars = counted.get("cost_usd")
    return "unknown" if dollars is None else f"${dollars:.6f}".rstrip("0").rstrip(".")


def _error(execution: Json) -> Cell:
    error, code = execution.get("error"), execution.get("error_code")
    return ("".join([str(error or ""), f" ({code})" if code else ""]), "red")


def _source(execution: Json) -> str:
    chain = execution.get("causation") or ()
    return " < ".join([str(execution.get("source")), *map(str, reversed(chain))])


def _steps(execution: Json) -> str:
    attempts = execution.get("attempts") or 0
    again = f", attempt {attempts} at the present one" if attempts > 1 else ""
    return f"{execution.get('steps')}{again}"
