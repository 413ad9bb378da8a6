"""`hive logs`: what the daemon itself said, of one execution if you like."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hive_cli.durations import moment_of, time_of_day
from hive_cli.failures import Failure
from hive_cli.follow import Follower, Source
from hive_cli.grammar import Hive, command, single
from hive_cli.options import FollowFlag, reference, whole_number
from hive_cli.render import Json, escape, is_coloured, one_line, painted, write_line
from hive_daemon.control.wire import ErrorCode, Route, Until

app = single()

SHOWN_LINES = 50
"""How many lines are shown when nobody says."""

_HEAD = frozenset({"timestamp", "level", "logger", "message"})
_FOR_MACHINES = frozenset({"trace_id", "span_id", "run_id", "goal_id", "session_id"})
_BELOW = ("exception", "stack")
_COLOURS = {"critical": "red", "error": "red", "warning": "yellow", "info": "green"}
_VALUE_CHARS = 400


class LogFollower(Follower):
    """Reads the log to its end; a later reader begins by itself where the lines begin that are kept."""

    def hint(self, otherwise: str = "") -> str:
        """Say what else there is."""
        return f"{otherwise}; what it said before is in its log" if otherwise else ""


@command(app, "logs")
def logs(
    hive: Hive,
    follow: FollowFlag = False,
    last: Annotated[
        str, typer.Option("-n", metavar="N", help=f"The newest N; {SHOWN_LINES} if not given.")
    ] = "",
    execution: Annotated[
        str, typer.Option("--execution", metavar="ID", help="Only the lines of this execution.")
    ] = "",
    level: Annotated[
        str, typer.Option("--level", metavar="LEVEL", help="Only this and above, as warning.")
    ] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="From then on: 2h ago, or a time.")
    ] = "",
) -> None:
    """Show the newest lines of the daemon's log; with -f go on as they come."""
    query: dict[str, str | list[str]] = {}
    if execution:
        query["execution_id"] = reference(execution, "execution")
    if level:
        query["level"] = level.lower()
    if since:
        query["since"] = moment_of(since)
    shown = None if execution or since else SHOWN_LINES
    source = Source(
        Route.LOGS.path(),
        Until.NEVER if follow else Until.CAUGHT_UP,
        query,
        last=whole_number("-n", last) if last else shown,
    )
    try:
        for record in LogFollower(hive.client, source).events():
            _tell(record, hive.as_json)
    except KeyboardInterrupt:
        raise Failure(ErrorCode.INTERRUPTED, "stopped") from None


def _tell(record: Json, as_json: bool) -> None:
    if as_json:
        write_line(record)
        return
    coloured = is_coloured(sys.stdout)
    level = str(record.get("level", "?"))
    parts = [
        painted(time_of_day(record.get("timestamp")), "dim", coloured),
        painted(escape(level.upper().ljust(7)), _COLOURS.get(level, "dim"), coloured),
        escape(record.get("logger", "")),
        escape(record.get("message", "")),
        *(f"{escape(name)}={escape(_shown(value))}" for name, value in _fields(record)),
    ]
    below = "\n".join(str(record[name]) for name in _BELOW if record.get(name))
    rest = "".join(f"    | {escape(line)}\n" for line in below.splitlines())
    sys.stdout.write(" ".join(parts).rstrip() + f"\n{rest}")
    sys.stdout.flush()


def _fields(record: Json) -> list[tuple[str, object]]:
    unsaid = {*_HEAD, *_FOR_MACHINES, *_BELOW}
    return [(name, value) for name, value in record.items() if name not in unsaid]


def _shown(value: object) -> str:
    return one_line(value, _VALUE_CHARS)
