"""`hive budget`: what may be spent, what was, and what will be."""

from __future__ import annotations

from typing import Annotated

import typer

from hive_cli.durations import absolute
from hive_cli.grammar import Hive, command, group
from hive_cli.options import whole_number
from hive_cli.render import Cell, Json, note, write, write_json, write_table
from hive_daemon.control.wire import Route

app = group("Show how budgets stand, and what the timers will spend.")

_COLOURS = {"ok": "green", "warning": "yellow", "exceeded": "red"}


@command(app, "status")
def status(hive: Hive) -> None:
    """Show how every budget stands: what is spent, what calls in flight may still come to, and what is left."""
    answer = hive.client.get(Route.BUDGETS)
    if hive.as_json:
        write_json(answer)
        return
    if not answer.get("budgets"):
        write("There are no budgets.")
        note("write some in hive.yaml: docs/budgets.md")
        return
    standings = answer.get("standings") or []
    rows = [row for standing in standings for row in _rows(standing)]
    write_table(("BUDGET", "OF", "USED", "HELD", "LIMIT", "LEFT", "BEGINS ANEW", "STATE"), rows)
    known = {standing.get("id") for standing in standings}
    for rule in answer["budgets"]:
        if rule.get("id") not in known:
            note(f"{rule.get('id')}: nothing was spent yet")
    for standing in standings:
        _tell_unknown(standing)


def _rows(standing: Json) -> list[list[Cell]]:
    until = standing.get("until")
    return [
        [
            str(standing.get("id")),
            str(standing.get("subject")),
            *(_figure(measure, standing[key].get(measure)) for key in ("used", "held")),
            _figure(measure, limit),
            _figure(measure, standing["remaining"].get(measure)),
            absolute(until) if until else "-",
            _state(standing, measure),
        ]
        for measure, limit in standing["limits"].items()
    ]


def _state(standing: Json, measure: str) -> Cell:
    """Say how a limit stands; of a budget that has several, another one may be spent."""
    state = str(standing.get("state"))
    limit, used = standing["limits"][measure], standing["used"].get(measure) or 0
    if len(standing["limits"]) > 1 and used < limit:
        state = "warning" if used >= standing.get("warn_at", 1) * limit else "ok"
    return state, _COLOURS.get(state, "")


def _tell_unknown(standing: Json) -> None:
    lost = standing["lost"]
    if lost.get("tokens") or lost.get("requests"):
        note(
            f"{standing.get('id')}: {_figure('usd', lost.get('usd'))} and {lost.get('tokens')} tokens of it are calls "
            "that ended without telling what they came to; they count in full"
        )
    if standing.get("unpriced"):
        note(f"{standing.get('id')}: {standing['unpriced']} calls had no known price")


def _figure(measure: str, value: object) -> str:
    if not isinstance(value, int | float):
        return "?"
    if measure == "usd":
        return f"${value:.4f}"
    unit = measure.replace("_", " ")
    return f"{value:,.0f} {unit.removesuffix('s') if value == 1 else unit}"


@command(app, "forecast")
def forecast(
    hive: Hive,
    days: Annotated[
        str, typer.Option("--days", metavar="N", help="How far ahead; 30 if not given.")
    ] = "30",
) -> None:
    """Show what the timers will spend: their fires, times what an execution came to before."""
    answer = hive.client.get(Route.BUDGETS_FORECAST, {"days": whole_number("--days", days)})
    if hive.as_json:
        write_json(answer)
        return
    write_table(
        ("TIMER", "FIRES", "SEEN", "USUAL EACH", "HIGH EACH", "USUAL", "HIGH"),
        [_timer_row(timer) for timer in answer.get("timers") or ()],
    )
    timers = answer.get("timers") or []
    usual, high = (_together(timers, key) for key in ("usd_usual", "usd_high"))
    write(f"\nTogether {usual} if all goes as usual, {high} if every execution is a dear one.")
    unknown = [str(timer.get("timer")) for timer in timers if timer.get("usd_usual") is None]
    if unknown:
        note(f"what these cost is not known yet, they are left out: {', '.join(unknown)}")
    for budget in answer.get("budgets") or ():
        day, early = budget.get("exceeded_on_usual"), budget.get("exceeded_on_high")
        if day or early:
            end = f"on {day}" if day else f"not as usual, but on {early} if executions are dear"
            write(f"{budget.get('id')} ({_figure('usd', budget.get('usd'))}): reached {end}")


def _together(timers: list[Json], key: str) -> str:
    return _figure("usd", sum(timer.get(key) or 0.0 for timer in timers))


def _timer_row(timer: Json) -> list[Cell]:
    keys = ("usd_p50", "usd_p95", "usd_usual", "usd_high")
    return [
        str(timer.get("timer")),
        str(timer.get("fires")),
        str(timer.get("observed")),
        *(_figure("usd", timer.get(key)) for key in keys),
    ]
