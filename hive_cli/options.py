"""Arguments and options that several commands share, and the checks of their text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from hive_cli.failures import usage
from hive_daemon.control.wire import is_reference

ExecutionRef = Annotated[
    str,
    typer.Argument(metavar="ID", help="An execution: its id, the beginning of it, or `latest`."),
]
SessionRef = Annotated[
    str, typer.Argument(metavar="ID", help="A session: its id, the beginning of it, or `latest`.")
]
InputOption = Annotated[
    str, typer.Option("--input", metavar="FILE|-", help="A JSON object; - reads standard input.")
]
StatusOption = Annotated[
    list[str] | None,
    typer.Option("--status", metavar="STATUS", help="Only these; may be repeated."),
]
FollowFlag = Annotated[bool, typer.Option("-f", "--follow", help="Go on as events come.")]

SHOWN_EVENTS = 50
"""How many stored events are shown when nobody says."""


def given(**values: str | list[str] | None) -> dict[str, str | list[str]]:
    """Return what was given of these options: those that are not empty.

    >>> given(agent="ops", status=None, route="")
    {'agent': 'ops'}
    """
    return {name: value for name, value in values.items() if value}


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a long list."""

    limit: Annotated[str, typer.Option("--limit", metavar="N", help="At most so many.")] = "50"
    cursor: Annotated[
        str, typer.Option("--cursor", metavar="TEXT", help="Go on where the last page ended.")
    ] = ""

    def query(self, **filters: str | list[str] | None) -> dict[str, str | int | list[str]]:
        """Return the page as the daemon's lists take it, with the filters that were given; raises Failure."""
        limit = whole_number("--limit", self.limit)
        return {"limit": limit, **given(cursor=self.cursor, **filters)}


@dataclass(frozen=True, slots=True)
class Window:
    """Which stored events to begin with."""

    last: Annotated[
        str,
        typer.Option(
            "-n", metavar="N", help=f"The newest N stored events; {SHOWN_EVENTS} if not given."
        ),
    ] = ""
    from_seq: Annotated[
        str, typer.Option("--from-seq", metavar="N", help="From the event with this seq on.")
    ] = ""

    def start(self) -> tuple[int | None, int | None]:
        """Return (after, last) of the stream's beginning; raises Failure."""
        if self.from_seq and self.last:
            raise usage("-n and --from-seq exclude each other", "say where to begin once")
        if self.from_seq:
            return max(whole_number("--from-seq", self.from_seq) - 1, 0), None
        return None, whole_number("-n", self.last) if self.last else SHOWN_EVENTS


def whole_number(option: str, text: str) -> int:
    """Read a number of an option; raises Failure."""
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise usage(f'{option}: "{text}" is not a whole number', "write it in digits, from 0 on")
    return int(text)


def reference(text: str, noun: str) -> str:
    """Return what names a session or an execution; raises Failure when it cannot name one."""
    if is_reference(text):
        return text
    raise usage(
        f'"{text}" is not the id of {"an" if noun[0] in "aeiou" else "a"} {noun}',
        f"list them with `hive {noun}s list`, or say latest",
    )
