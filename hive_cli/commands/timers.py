"""`hive timers`: what fires by itself."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from hive_cli.durations import parse_duration
from hive_cli.failures import usage
from hive_cli.grammar import Hive, command, group
from hive_cli.options import (
    Page,
    given,
    whole_number,
)
from hive_cli.render import Json, note, write, write_json
from hive_cli.timer_tables import (
    show_backfill,
    show_fires,
    show_history,
    show_simulation,
    show_timer,
    show_timers,
)
from hive_daemon.control.wire import Route, is_address

app = group("List, explain, pause, resume, run and simulate timers.")

TimerRef = Annotated[
    str, typer.Argument(metavar="ID", help="A timer: agent/entry_point, or bare if unambiguous.")
]
Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Timers; all of them if none is named."),
]
All = Annotated[bool, typer.Option("--all", help="All of them, as without any ID.")]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, for whoever looks later.")]


@command(app, "list")
def list_timers(hive: Hive) -> None:
    """List the timers: when each fires next, what it did last, and why it did not."""
    answer = hive.client.all(Route.TIMERS)
    write_json(answer) if hive.as_json else show_timers(answer)


@command(app, "describe")
def describe(hive: Hive, timer: TimerRef) -> None:
    """Show everything about a timer: its rules, what comes next, what became of the last instants."""
    answer = hive.client.get(Route.TIMER, timer=_timer(timer))
    write_json(answer) if hive.as_json else show_timer(answer)


@command(app, "next")
def list_next(
    hive: Hive,
    timer: TimerRef,
    many: Annotated[str, typer.Option("-n", metavar="N", help="How many; 10 if not given.")] = "10",
) -> None:
    """List when a timer fires next, paused or not."""
    query = {"n": whole_number("-n", many)}
    answer = hive.client.get(Route.TIMER_NEXT, query, timer=_timer(timer))
    write_json(answer) if hive.as_json else show_fires(answer.get("items") or [])


@command(app, "history")
def history(
    hive: Hive,
    timer: TimerRef,
    page: Page,
    outcome: Annotated[
        list[str] | None,
        typer.Option("--outcome", metavar="OUTCOME", help="Only these; may be repeated."),
    ] = None,
) -> None:
    """List what became of a timer's due instants, the newest first."""
    query = page.query(outcome=outcome)
    answer = hive.client.get(Route.TIMER_HISTORY, query, timer=_timer(timer))
    if hive.as_json:
        write_json(answer)
        return
    show_history(answer.get("items") or [])
    if answer.get("next_cursor"):
        note(f"there are more: --cursor {answer['next_cursor']}")


@command(app, "pause")
def pause(
    hive: Hive,
    ids: Ids = None,
    everything: All = False,
    note_text: Note = "",
    seconds: Annotated[
        str,
        typer.Option("--for", metavar="DURATION", help="Resume by itself after 90s, 5m, 1h30m."),
    ] = "",
) -> None:
    """Pause timers; it holds until they are resumed, over restarts too."""
    body = _selection(ids, everything, note_text)
    if seconds:
        parse_duration(seconds)
        body["for"] = seconds
    _show(hive, hive.client.post(Route.TIMERS_PAUSE.path(), body))


@command(app, "resume")
def resume(
    hive: Hive,
    ids: Ids = None,
    everything: All = False,
    note_text: Note = "",
    catch_up: Annotated[
        bool,
        typer.Option("--catch-up", help="Run what `catchup` allows of what the pause passed over."),
    ] = False,
) -> None:
    """Let paused timers fire again, from their next instant on."""
    body = _selection(ids, everything, note_text)
    if catch_up:
        body["catch_up"] = True
    _show(hive, hive.client.post(Route.TIMERS_RESUME.path(), body))


@command(app, "trigger")
def trigger(hive: Hive, timer: TimerRef) -> None:
    """Start the execution of a timer now, paused or not, and write its id."""
    path = Route.TIMER_TRIGGER.path(timer=_timer(timer))
    answer = hive.client.post(path, {}, key=os.urandom(16).hex())
    if hive.as_json:
        write_json(answer)
        return
    write(str(answer.get("execution_id")))
    if sys.stderr.isatty():
        session = answer.get("session_id")
        note(f"{answer.get('status')}; watch it with `hive sessions tail -f {session}`")


@command(app, "backfill")
def backfill(
    hive: Hive,
    timer: TimerRef,
    start: Annotated[
        str,
        typer.Option(
            "--start", metavar="TIME", help="From then on: 2026-03-02T09:00, in the timer's zone."
        ),
    ] = "",
    end: Annotated[
        str, typer.Option("--end", metavar="TIME", help="Up to then; up to now if not given.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would run.")] = False,
) -> None:
    """Run the instants of a span that have not fired, the oldest first."""
    if not start:
        raise usage("--start is missing", "say from when on: --start 2026-03-02T09:00")
    body: Json = given(start=start, end=end)
    if dry_run:
        body["dry_run"] = True
    answer = hive.client.post(Route.TIMER_BACKFILL.path(timer=_timer(timer)), body)
    write_json(answer) if hive.as_json else show_backfill(answer)


@command(app, "simulate")
def simulate(
    hive: Hive,
    days: Annotated[
        str, typer.Option("--days", metavar="N", help="How far ahead; 14 if not given.")
    ] = "14",
) -> None:
    """Show every fire of the days to come, the changes of the clock, and what begins together."""
    answer = hive.client.get(Route.TIMERS_SIMULATE, {"days": whole_number("--days", days)})
    write_json(answer) if hive.as_json else show_simulation(answer)


def _timer(text: str) -> str:
    if is_address(text):
        return text
    raise usage(f'"{text}" is not a timer\'s id', "list them with `hive timers list`")


def _selection(ids: list[str] | None, everything: bool, note_text: str) -> Json:
    if ids and everything:
        raise usage("--all means every timer, and others are named", "say one or the other")
    named = [_timer(id) for id in ids or ()]
    return given(ids=named, note=note_text)


def _show(hive: Hive, answer: Json) -> None:
    write_json(answer) if hive.as_json else show_timers(answer)
