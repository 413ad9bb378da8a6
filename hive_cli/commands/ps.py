"""`hive ps`: what goes on, a line for each execution."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from hive_cli.durations import pause
from hive_cli.grammar import Hive, command, single
from hive_cli.options import given
from hive_cli.process_tables import show_ps
from hive_cli.reading import read
from hive_cli.render import Json, note, write, write_json, write_line
from hive_daemon.control.wire import Route

app = single()

WATCH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which executions, and in which order."""

    everything: Annotated[bool, typer.Option("-a", "--all", help="Those that have ended, too.")] = (
        False
    )
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="KEY=VALUE",
            help="Only these; `*` at the end of VALUE; may be repeated.",
        ),
    ] = None
    sort: Annotated[
        str, typer.Option("--sort", metavar="KEY", help="By this; `-cost`: the dearest first.")
    ] = ""

    def query(self) -> dict[str, str | list[str]]:
        """Return it as the daemon takes it."""
        return given(all="true" if self.everything else "", filter=self.filters, sort=self.sort)


@command(app, "ps")
def ps(
    hive: Hive,
    wanted: Wanted,
    watch: Annotated[
        bool, typer.Option("--watch", help="Again every two seconds, until Ctrl-C.")
    ] = False,
) -> None:
    """List what runs, waits, or was put away; reads the store when the daemon is down."""
    while True:
        answer = read(hive, Route.PS, wanted.query())
        _show(hive, answer, watch)
        if not watch:
            return
        sys.stdout.flush()
        pause(WATCH_SECONDS)


def _show(hive: Hive, answer: Json, watch: bool) -> None:
    if hive.as_json:
        write_line(answer) if watch else write_json(answer)
        return
    clear(watch)
    show_ps(answer.get("items") or [])
    if answer.get("left_out"):
        note("there are more: narrow it with --filter")


def clear(again: bool) -> None:
    """Begin a new picture: a clean screen on a terminal, an empty line anywhere else."""
    if again and sys.stdout.isatty():
        sys.stdout.write("\x1b[H\x1b[2J")
    elif again:
        write("")
