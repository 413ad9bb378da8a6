"""`hive executions`: the runs."""

from __future__ import annotations

from typing import Annotated

import typer

from hive_cli.durations import parse_duration, relative
from hive_cli.grammar import Hive, command, group
from hive_cli.options import (
    ExecutionRef,
    Page,
    StatusOption,
    given,
    reference,
)
from hive_cli.render import Cell, Json, note, status_cell, write, write_json, write_table
from hive_cli.runs import await_execution, conclude, deadline_after, show_execution, took
from hive_daemon.control.wire import ExitCode, Route

app = group("List, show, await and cancel executions.")


@command(app, "list")
def list_executions(
    hive: Hive,
    page: Page,
    status: StatusOption = None,
    entry_point: Annotated[
        str, typer.Option("--entry-point", metavar="ADDRESS", help="Only of this entry point.")
    ] = "",
) -> None:
    """List executions, the newest first."""
    answer = hive.client.get(
        Route.EXECUTIONS,
        page.query(status=status, entry_point=entry_point),
    )
    if hive.as_json:
        write_json(answer)
        return
    write_table(
        ("EXECUTION", "ENTRY POINT", "STATUS", "NODE", "CREATED", "TOOK", "WHY"),
        [_row(execution) for execution in answer.get("items") or ()],
    )
    if answer.get("next_cursor"):
        note(f"there are more: --cursor {answer['next_cursor']}")


def _row(execution: Json) -> list[Cell]:
    waiting = execution.get("waiting") or {}
    return [
        str(execution.get("id")),
        str(execution.get("entry_point")),
        status_cell(execution.get("status")),
        str(execution.get("current_node") or "-"),
        relative(execution.get("created_at")),
        took(execution) or "-",
        str(execution.get("error") or waiting.get("question") or "-"),
    ]


@command(app, "show")
def show(hive: Hive, execution: ExecutionRef) -> None:
    """Show an execution: where it is, how it got there, what came of it."""
    answer = hive.client.get(Route.EXECUTION, execution=reference(execution, "execution"))
    if hive.as_json:
        write_json(answer)
    else:
        show_execution(answer)


@command(app, "wait")
def wait(
    hive: Hive,
    execution: ExecutionRef,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="Give up after 90s, 5m, 1h30m.")
    ] = "",
) -> ExitCode:
    """Wait until an execution is settled, write its output, end with its exit code."""
    seconds = parse_duration(timeout) if timeout else None
    answer = await_execution(
        hive.client, reference(execution, "execution"), deadline_after(seconds)
    )
    return conclude(hive, answer, seconds)


@command(app, "cancel")
def cancel(
    hive: Hive,
    execution: ExecutionRef,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for its record.")
    ] = "",
) -> None:
    """Cancel an execution; it ends when its present step has really stopped."""
    path = Route.CANCEL.path(execution=reference(execution, "execution"))
    answer = hive.client.post(path, given(reason=reason))
    if hive.as_json:
        write_json(answer)
    else:
        done = "cancelled" if answer.get("status") == "cancelled" else "cancelling"
        write(f"{done} {answer.get('execution_id')}")
