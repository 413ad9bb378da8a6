"""`hive events`: what happens, over all agents."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hive_cli.failures import Failure
from hive_cli.follow import Follower, Source
from hive_cli.grammar import Hive, command, single
from hive_cli.narration import Narrator
from hive_cli.options import FollowFlag, Window
from hive_cli.render import write_line
from hive_daemon.control.wire import ErrorCode, Route, Until

app = single()


@command(app, "events")
def events(
    hive: Hive,
    window: Window,
    follow: FollowFlag = False,
    type: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Only these, or execution_*; may be repeated."),
    ] = None,
    entry_point: Annotated[
        list[str] | None,
        typer.Option("--entry-point", metavar="ADDRESS", help="Only of these; may be repeated."),
    ] = None,
) -> None:
    """Show the newest events of all agents; with -f go on as they come."""
    after, last = window.start()
    follower = Follower(
        hive.client,
        Source(
            Route.EVENTS.path(),
            Until.NEVER if follow else Until.CAUGHT_UP,
            {
                "live": "false",
                **({"type": type} if type else {}),
                **({"entry_point": entry_point} if entry_point else {}),
            },
            after,
            last,
        ),
    )
    narrator = Narrator(sys.stdout, names_origin=True)
    try:
        for event in follower.events():
            if hive.as_json:
                write_line(event)
            else:
                narrator.tell(event)
    except KeyboardInterrupt:
        raise Failure(ErrorCode.INTERRUPTED, "stopped", follower.hint()) from None
