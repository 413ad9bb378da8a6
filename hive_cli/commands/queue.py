"""`hive queue`: what was accepted and has not begun."""

from __future__ import annotations

from typing import Annotated

import typer

from hive_cli.durations import relative
from hive_cli.failures import usage
from hive_cli.grammar import Hive, command, group
from hive_cli.options import (
    ExecutionRef,
    Page,
    given,
    reference,
)
from hive_cli.render import Cell, Json, note, write, write_json, write_table
from hive_daemon.control.wire import Route

app = group("List, explain, move and cancel what waits to run.")


@command(app, "list")
def list_queue(
    hive: Hive,
    page: Page,
    agent: Annotated[str, typer.Option("--agent", metavar="NAME", help="Only of this agent.")] = "",
    entry_point: Annotated[
        str, typer.Option("--entry-point", metavar="ADDRESS", help="Only of this entry point.")
    ] = "",
) -> None:
    """List what waits to run, in the order of running."""
    answer = hive.client.get(
        Route.QUEUE,
        page.query(agent=agent, entry_point=entry_point),
    )
    if hive.as_json:
        write_json(answer)
        return
    write_table(
        ("EXECUTION", "ENTRY POINT", "PLACE", "PRIORITY", "SOURCE", "KEY", "SINCE", "DUE"),
        [_row(queued) for queued in answer.get("items") or ()],
    )
    if answer.get("next_cursor"):
        note(f"there are more: --cursor {answer['next_cursor']}")


def _row(queued: Json) -> list[Cell]:
    return [
        *(str(queued.get(key)) for key in ("execution_id", "entry_point", "position")),
        *(str(queued.get(key)) for key in ("priority", "source")),
        str(queued.get("key") or "-"),
        relative(queued.get("created_at")),
        relative(queued.get("due_at")) if queued.get("due_at") else "-",
    ]


@command(app, "explain")
def explain(hive: Hive, execution: ExecutionRef) -> None:
    """Say why an execution waits, and what comes before it."""
    _show(hive, hive.client.get(Route.QUEUED, execution=reference(execution, "execution")))


@command(app, "move")
def move(
    hive: Hive,
    execution: ExecutionRef,
    front: Annotated[
        bool, typer.Option("--front", help="To the front: the next of its entry point.")
    ] = False,
) -> None:
    """Move what waits to the front of its entry point's queue."""
    if not front:
        raise usage("where to is missing", "say --front")
    path = Route.QUEUED_FRONT.path(execution=reference(execution, "execution"))
    _show(hive, hive.client.post(path, {}))


@command(app, "cancel")
def cancel(
    hive: Hive,
    execution: ExecutionRef,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for its record.")
    ] = "",
) -> None:
    """Cancel an execution that waits; one that runs already is left alone."""
    path = Route.QUEUED_CANCEL.path(execution=reference(execution, "execution"))
    answer = hive.client.post(path, given(reason=reason))
    if hive.as_json:
        write_json(answer)
    else:
        done = "cancelled" if answer.get("status") == "cancelled" else "cancelling"
        write(f"{done} {answer.get('execution_id')}")


def _show(hive: Hive, explanation: Json) -> None:
    if hive.as_json:
        write_json(explanation)
        return
    queued = explanation.get("queued") or {}
    ahead = explanation.get("ahead")
    write(f"{queued.get('execution_id')} of {queued.get('entry_point')}: {ahead} before it")
    for hold in explanation.get("holds") or ():
        write(f"  {hold.get('by')}: {hold.get('told')}")
