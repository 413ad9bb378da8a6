"""Timers as people read them: each time as the clock of the timer's own zone shows it, with its offset from UTC."""

from __future__ import annotations

from datetime import datetime

from hive_cli.durations import brief, relative
from hive_cli.render import Cell, Json, note, one_line, status_cell, write, write_facts, write_table

_COLOURS = {"fired": "green", "missed": "red", "failed": "red"}


def zoned(local: object) -> str:
    """Write a local time with its weekday and its offset; a dash for no time at all.

    >>> zoned("2026-03-29T03:00:00+02:00")
    'Sun 2026-03-29 03:00:00 +02:00'
    """
    if not isinstance(local, str):
        return "-"
    try:
        moment = datetime.fromisoformat(local)
    except ValueError:
        return local
    return f"{moment:%a %Y-%m-%d %H:%M:%S} {moment.isoformat()[-6:]}"


def show_timers(timers: Json) -> None:
    """Write a list of timers."""
    write_table(
        ("TIMER", "SCHEDULE", "NEXT", "LAST", "FIRED", "SKIPPED", "MISSED", "STATE"),
        [_timer_row(timer) for timer in timers.get("items") or ()],
    )


def _timer_row(timer: Json) -> list[Cell]:
    next_at = timer.get("next_at")
    then = f"{zoned(timer.get('next_local'))} ({relative(next_at)})" if next_at else "-"
    return [
        str(timer.get("id")),
        str(timer.get("schedule")),
        then,
        relative(timer.get("last_at")),
        *(str(timer.get(key)) for key in ("fired", "skipped", "missed")),
        _state(timer),
    ]


def _state(timer: Json) -> Cell:
    paused = timer.get("paused")
    if paused:
        words = f": {paused['note']}" if paused.get("note") else ""
        until = f", resumes {relative(paused['until'])}" if paused.get("until") else ""
        return (
            f"paused by {paused.get('by')} {relative(paused.get('at'))}{until}{words}",
            "yellow",
        )
    if timer.get("remaining") == 0:
        return ("done: none of its remaining_actions is left", "dim")
    if timer.get("is_over"):
        return ("done: its schedule is over", "dim")
    outcome, reason = timer.get("last_outcome"), timer.get("last_reason")
    if not outcome:
        return ("waiting", "")
    # What became of the last instant may be over by now, as a pause: it must not read as what is.
    colour = {"missed": "red", "failed": "red"}.get(outcome, "")
    return (f"last {outcome}: {reason}" if reason else f"last {outcome}", colour)


def show_timer(shown: Json) -> None:
    """Write everything about one timer."""
    timer = shown.get("timer") or {}
    limit, remaining = shown.get("pause_on_failure"), timer.get("remaining")
    late = shown.get("catchup_window_seconds") or 0
    write_facts(
        [
            ("timer", str(timer.get("id"))),
            ("note", str(timer.get("note") or "")),
            ("schedule", str(timer.get("schedule"))),
            ("zone", str(timer.get("zone"))),
            ("state", _state(timer)),
            ("next", _moment(timer, "next")),
            ("last", _moment(timer, "last")),
            ("counted", _counted(timer)),
            ("failures", f"{timer.get('failures')} in a row; {limit or 'none'} would pause it"),
            ("remaining", "" if remaining is None else str(remaining)),
            ("overlap", str(shown.get("overlap"))),
            ("idle gate", _idle_gate(shown.get("trigger_config") or {})),
            ("catch-up", f"{shown.get('catchup')}, at most {brief(late)} late"),
            ("executions", f"{shown.get('running')} running, {shown.get('queued')} queued"),
        ]
    )
    write("\nnext, as if it were not paused" if timer.get("paused") else "\nnext")
    show_fires(shown.get("next") or [])
    write("\nhistory")
    show_history(shown.get("history") or [])


def _idle_gate(written: Json) -> str:
    seconds = written.get("idle_timeout_seconds")
    return f"skips while its graph was active in the last {brief(seconds)}" if seconds else ""


def _moment(timer: Json, which: str) -> str:
    if not timer.get(f"{which}_at"):
        return "-"
    return f"{zoned(timer.get(f'{which}_local'))}, {relative(timer[f'{which}_at'])}"


def _counted(timer: Json) -> str:
    return ", ".join(f"{timer.get(key)} {key}" for key in ("fired", "skipped", "missed"))


def show_fires(fires: list[Json], *, with_timer: bool = False) -> None:
    """Write fires to come."""
    write_table(
        (*(("TIMER",) if with_timer else ()), "BEGINS", "IN", "UTC", ""),
        [
            [
                *([str(fire.get("timer"))] if with_timer else []),
                zoned(fire.get("local")),
                relative(fire.get("begins_at")).removeprefix("in "),
                str(fire.get("begins_at")).partition(".")[0] + "Z",
                ("the clock is changed that day", "yellow") if fire.get("is_change_day") else "",
            ]
            for fire in fires
        ],
    )


def show_history(rows: list[Json]) -> None:
    """Write what became of due instants."""
    write_table(
        ("SCHEDULED FOR", "OUTCOME", "LATE BY", "EXECUTION", "ENDED", "REASON"),
        [
            [
                zoned(row.get("local")),
                (str(row.get("outcome")), _COLOURS.get(str(row.get("outcome")), "yellow")),
                brief(row["late_by"]) if row.get("late_by") else "-",
                str(row.get("execution_id") or "-"),
                status_cell(row["ended"]) if row.get("ended") else "-",
                one_line(row["reason"]) if row.get("reason") else "-",
            ]
            for row in rows
        ],
    )


def show_backfill(done: Json) -> None:
    """Write what a backfill did, or would do."""
    instants, is_dry = done.get("instants") or [], bool(done.get("dry_run"))
    write_table(
        ("SCHEDULED FOR", "EXECUTION", ""),
        [
            [zoned(one.get("local")), str(one.get("execution_id") or "-"), _ran(one, is_dry)]
            for one in instants
        ],
    )
    fresh = sum(
        not one.get("execution_id") if is_dry else bool(one.get("began")) for one in instants
    )
    note(f"{fresh} of {len(instants)} instants {'would run' if is_dry else 'run now'}")


def _ran(one: Json, is_dry: bool) -> Cell:
    if is_dry:
        return ("fired before", "dim") if one.get("execution_id") else ("would run", "green")
    return ("begun", "green") if one.get("began") else ("fired before", "dim")


def show_simulation(seen: Json) -> None:
    """Write every fire to come, the changes of the clock, and what begins together."""
    show_fires(seen.get("fires") or [], with_timer=True)
    if seen.get("left_out"):
        note(f"{seen['left_out']} further fires are left out: ask for fewer days")
    changes = seen.get("clock_changes") or []
    if changes:
        write("\nclock changes")
        write_table(
            ("ZONE", "FROM THEN ON THE CLOCK SHOWS"),
            [[str(change.get("zone")), zoned(change.get("local"))] for change in changes],
        )
    collisions = seen.get("collisions") or []
    if collisions:
        write("\nbegin in the same minute")
        write_table(
            ("UTC", "COUNT", "TIMERS"),
            [
                [
                    str(one.get("at")).partition(".")[0] + "Z",
                    str(one.get("count")),
                    " ".join(one.get("timers") or ()),
                ]
                for one in collisions
            ],
        )
    if seen.get("collisions_left_out"):
        note(f"{seen['collisions_left_out']} further collisions are left out: ask for fewer days")
    if seen.get("paused"):
        note(f"paused now, and shown as if they were not: {', '.join(seen['paused'])}")
