"""`hive timers`: what fires by itself."""

from __future__ import annotations

from typing import Annotated

import typer

from hive_cli.durations import relative
from hive_cli.failures import usage
from hive_cli.grammar import Hive, command, group
from hive_cli.render import Cell, Json, write_json, write_table
from hive_daemon.control.wire import Route, is_address

app = group("List, pause and resume timers.")

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Timers; all of them if none is named."),
]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, for whoever looks later.")]


@command(app, "list")
def list_timers(hive: Hive) -> None:
    """List the timers: when each fires next, what it did last, and why it did not."""
    _show(hive, hive.client.all(Route.TIMERS))


@command(app, "pause")
def pause(hive: Hive, ids: Ids = None, note: Note = "") -> None:
    """Pause timers; it holds until they are resumed, over restarts too."""
    _show(hive, hive.client.post(Route.TIMERS_PAUSE.path(), _selection(ids, note)))


@command(app, "resume")
def resume(hive: Hive, ids: Ids = None, note: Note = "") -> None:
    """Let paused timers fire again, from their next instant on."""
    _show(hive, hive.client.post(Route.TIMERS_RESUME.path(), _selection(ids, note)))


def _selection(ids: list[str] | None, note: str) -> Json:
    for id in ids or ():
        if not is_address(id):
            raise usage(f'"{id}" is not a timer\'s id', "list them with `hive timers list`")
    return {**({"ids": ids} if ids else {}), **({"note": note} if note else {})}


def _show(hive: Hive, answer: Json) -> None:
    if hive.as_json:
        write_json(answer)
        return
    write_table(
        ("TIMER", "SCHEDULE", "NEXT", "LAST", "FIRED", "SKIPPED", "MISSED", "STATE"),
        [_row(timer) for timer in answer.get("items") or ()],
    )


def _row(timer: Json) -> list[Cell]:
    return [
        str(timer.get("id")),
        str(timer.get("schedule")),
        relative(timer.get("next_at")),
        relative(timer.get("last_at")),
        *(str(timer.get(key)) for key in ("fired", "skipped", "missed")),
        _state(timer),
    ]


def _state(timer: Json) -> Cell:
    paused = timer.get("paused")
    if paused:
        note = f": {paused['note']}" if paused.get("note") else ""
        return (f"paused by {paused.get('by')} {relative(paused.get('at'))}{note}", "yellow")
    outcome, reason = timer.get("last_outcome") or "waiting", timer.get("last_reason")
    colour = {"missed": "red", "failed": "red"}.get(outcome, "")
    return (f"{outcome}: {reason}" if reason else outcome, colour)
