"""`hive top`: what the executions that have not ended do at this moment, again and again."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hive_cli.commands.ps import Wanted, clear
from hive_cli.durations import parse_duration, pause
from hive_cli.failures import usage
from hive_cli.grammar import Hive, command, single
from hive_cli.options import whole_number
from hive_cli.process_tables import show_top
from hive_cli.render import Json, write, write_line
from hive_daemon.control.wire import Route

app = single()

SHORTEST_SECONDS = 0.2


@command(app, "top")
def top(
    hive: Hive,
    wanted: Wanted,
    every: Annotated[
        str, typer.Option("--every", metavar="DURATION", help="How often; 2s if not given.")
    ] = "2s",
    times: Annotated[
        str, typer.Option("-n", metavar="N", help="So many pictures; until Ctrl-C if not given.")
    ] = "",
) -> None:
    """Show live what runs: node, model, tokens a second, cost, and what it waits for."""
    seconds = parse_duration(every)
    if seconds < SHORTEST_SECONDS:
        raise usage(f"--every: {every} is too often", f"{SHORTEST_SECONDS:g} s is the shortest")
    left = whole_number("-n", times) if times else None
    while left is None or left > 0:
        answer = hive.client.get(Route.PS, {"sort": "-rate", **wanted.query()})
        _show(hive, answer)
        sys.stdout.flush()
        left = None if left is None else left - 1
        if left != 0:
            pause(seconds)


def _show(hive: Hive, answer: Json) -> None:
    if hive.as_json:
        write_line(answer)
        return
    lines = answer.get("items") or []
    clear(True)
    write(_summary(lines))
    show_top(lines)


def _summary(lines: list[Json]) -> str:
    by_status: dict[str, int] = {}
    for line in lines:
        status = str(line.get("status"))
        by_status[status] = by_status.get(status, 0) + 1
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in by_status.items())
    rates = sum(line.get("tokens_per_second") or 0 for line in lines)
    costs = [line.get("cost_usd") for line in lines]
    cost = "?" if None in costs else f"${sum(cost or 0 for cost in costs):.4f}"
    return f"{counts or 'nothing runs'}; {rates:.1f} tokens/s; {cost} so far"
