"""`hive events`: what happens, over all agents."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated

import typer

from hive_cli.durations import moment_of
from hive_cli.failures import Failure, usage
from hive_cli.follow import Follower, Source
from hive_cli.grammar import Hive, command, single
from hive_cli.narration import Narrator
from hive_cli.options import FollowFlag, Window
from hive_cli.render import write_line
from hive_daemon.control.wire import ErrorCode, Route, Until

app = single()

FILTERS = {
    "type": "type",
    "agent": "agent",
    "graph": "graph_id",
    "stream": "stream_id",
    "node": "node_id",
    "session": "session_id",
    "execution": "execution_id",
    "entry_point": "entry_point",
    "correlation": "correlation_id",
}
"""The keys of `--filter`, and what each is called in the daemon's answers."""


@command(app, "events")
def events(
    hive: Hive,
    window: Window,
    follow: FollowFlag = False,
    since: Annotated[
        str,
        typer.Option("--since", metavar="TIME", help="From then on: 2h ago, or a time."),
    ] = "",
    filter: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="KEY=VALUE",
            help=f"Only these ({', '.join(FILTERS)}); may be repeated: any of one key, all keys.",
        ),
    ] = None,
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
    wanted = [*(filter or ()), *(f"type={item}" for item in type or ())]
    wanted += [f"entry_point={item}" for item in entry_point or ()]
    query: dict[str, str | list[str]] = {"live": "false", **chosen(wanted)}
    after, last = window.start()
    if since:
        if window.from_seq:
            raise usage("--since and --from-seq exclude each other", "say where to begin once")
        query["since"] = moment_of(since)
        last = last if window.last else None
    source = Source(
        Route.EVENTS.path(), Until.NEVER if follow else Until.CAUGHT_UP, query, after, last
    )
    _tell(hive, Follower(hive.client, source))


def _tell(hive: Hive, follower: Follower) -> None:
    narrator = Narrator(sys.stdout, names_origin=True)
    try:
        for event in follower.events():
            if hive.as_json:
                write_line(event)
            else:
                narrator.tell(event)
    except KeyboardInterrupt:
        raise Failure(ErrorCode.INTERRUPTED, "stopped", follower.hint()) from None


def chosen(filters: Iterable[str]) -> dict[str, list[str]]:
    """Read `KEY=VALUE` texts as query parameters; raises Failure for an unknown key, with the nearest one."""
    found: dict[str, list[str]] = {}
    for text in filters:
        key, equals, value = text.partition("=")
        if not equals or not value:
            raise usage(f'--filter: "{text}" is not KEY=VALUE', "write it as type=execution_failed")
        if key not in FILTERS:
            near = get_close_matches(key, FILTERS, n=1)
            raise usage(
                f'--filter: events have no "{key}"',
                f"did you mean {near[0]}?" if near else f"choose by {', '.join(FILTERS)}",
            )
        found.setdefault(FILTERS[key], []).append(value)
    return found
