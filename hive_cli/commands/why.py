"""`hive why`: one chain of causes in plain words."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hive_cli.durations import absolute
from hive_cli.failures import usage
from hive_cli.grammar import Hive, command, single
from hive_cli.reading import read
from hive_cli.render import escape, is_coloured, painted, write, write_json
from hive_daemon.control.wire import Route

app = single()

AnyRef = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="An execution, sessions/ID, timers/NAME, a delivery, events/SEQ, an approval, a checkpoint.",
    ),
]
LONGEST_ID = 300


@command(app, "why")
def why(
    hive: Hive,
    id: AnyRef,
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="TIME",
            help="Of a timer: the instant at 09:00, 2026-03-02T09:00, 2h ago.",
        ),
    ] = "",
) -> None:
    """Say why a thing is as it is: from the ledger and the store, without a model."""
    story = read(hive, Route.WHY, {"at": at} if at else None, id=checked(id))
    if hive.as_json:
        write_json(story)
        return
    coloured = is_coloured(sys.stdout)
    write(painted(escape(str(story.get("answer"))), "bold", coloured))
    for link in story.get("chain") or ():
        when = absolute(link.get("at")) if link.get("at") else ""
        write(f"  {painted(when.ljust(19), 'dim', coloured)}  {escape(str(link.get('text')))}")
    if story.get("remedy"):
        write(f"next: {escape(story['remedy'])}")


def checked(id: str) -> str:
    """Return what may name a thing; raises Failure."""
    if id and len(id) <= LONGEST_ID:
        return id
    raise usage("this is no id", "give an execution, timers/NAME, events/SEQ, …; see `hive ps -a`")
