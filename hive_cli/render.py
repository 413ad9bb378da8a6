"""What people and pipes get to see: plain aligned tables, facts, JSON.

Guarantees: nothing that came from the daemon moves the cursor, changes a colour or forges a line: control
characters, line separators and direction marks are shown as escapes. Colours only on a terminal, never with NO_COLOR.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

Json = dict[str, Any]
"""A document of the control API; commands show it, they do not decode it."""

Cell = str | tuple[str, str]
"""Text, or text and the colour to paint it in."""

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
_GAP = "  "
_MAX_CELL = 200


_UNSAFE = (
    "[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb"
    "\\ud800-\\udfff\\U000e0000-\\U000e007f]"
)
"""What can act on a terminal or hide from its reader: controls, separators, direction marks, half characters."""


def escape(text: object, keep: str = "") -> str:
    r"""Return the text with every unsafe character written as an escape; those in `keep` stay.

    >>> escape("a\x1b[2J")
    'a\\x1b[2J'
    """
    shown = str(text)
    if shown.isascii() and shown.isprintable():
        return shown
    parts = re.split(f"({_UNSAFE})", shown)
    parts[1::2] = [part if part in keep else _escaped(part) for part in parts[1::2]]
    return "".join(parts)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def is_coloured(stream: TextIO) -> bool:
    """Say whether colours are welcome on this stream."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, colour: str, coloured: bool) -> str:
    """Return the text in a colour, if colours are welcome and the colour has a name."""
    if not coloured or colour not in _COLOURS:
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def width(text: str) -> int:
    """Return how many columns the text takes on a terminal."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0
        if unicodedata.combining(character)
        else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def to_json(document: object, *, indent: int | None = 2) -> str:
    """Write strict JSON that is safe to show: unsafe characters are written as JSON escapes."""
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    if text.isascii() and "\x7f" not in text:
        return text
    parts = re.split(f"({_UNSAFE})", text)
    parts[1::2] = [part if part == "\n" else json.dumps(part)[1:-1] for part in parts[1::2]]
    return "".join(parts).replace("\x7f", "\\u007f")


def write(text: str) -> None:
    """Write lines to stdout."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Tell a person something beside the result, on stderr."""
    sys.stderr.write(painted(escape(text), "dim", is_coloured(sys.stderr)) + "\n")


def write_json(document: object) -> None:
    """Write a document to stdout."""
    write(to_json(document))


def write_line(document: object) -> None:
    """Write a document on one line and let the reader have it at once."""
    write(to_json(document, indent=None))
    sys.stdout.flush()


def write_table(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write an aligned table; on a terminal the last column is cut at its edge."""
    coloured = is_coloured(sys.stdout)
    shown = [[(name, "dim") for name in header], *([_cell(cell) for cell in row] for row in rows)]
    widths = [max(width(row[column][0]) for row in shown) for column in range(len(header))]
    room = _columns() - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1)
    for row in shown:
        row[-1] = (_cut(row[-1][0], room), row[-1][1])
        cells = [
            painted(text, colour, coloured) + " " * (room - width(text))
            for (text, colour), room in zip(row, widths, strict=True)
        ]
        write(_GAP.join(cells).rstrip())


def write_facts(facts: Iterable[tuple[str, Cell]]) -> None:
    """Write names and values, one pair per line; a pair without a value is left out."""
    shown = [(name, _cell(value)) for name, value in facts]
    pairs = [(name, value) for name, value in shown if value[0]]
    coloured = is_coloured(sys.stdout)
    room = max((len(name) for name, _ in pairs), default=0)
    for name, (text, colour) in pairs:
        label = painted(name.ljust(room), "dim", coloured)
        write(f"{label}{_GAP}{painted(text, colour, coloured)}")


def one_line(value: object, limit: int = 120) -> str:
    """Write a value on one line of at most `limit` characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _cut(" ".join(text.split()), limit)


def size(count: object) -> str:
    """Write a number of bytes for people.

    >>> size(12_900_000)
    '12.3 MiB'
    """
    amount = float(count) if isinstance(count, int | float) else 0.0
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def status_cell(status: object) -> Cell:
    """Paint a status: green is well, yellow wants somebody, red went wrong."""
    text = str(status)
    return (text, _STATUS_COLOURS.get(text, ""))


_STATUS_COLOURS = {
    **dict.fromkeys(("completed", "ok", "ready", "fired"), "green"),
    **dict.fromkeys(("running", "queued", "loading"), "cyan"),
    **dict.fromkeys(("failed", "recovery_exhausted", "failing", "missed"), "red"),
    **dict.fromkeys(
        ("paused", "waiting_input", "waiting_approval", "interrupted", "cancelled", "degraded",
         "starting", "draining"),
        "yellow",
    ),
}  # fmt: skip


def _cell(cell: Cell) -> tuple[str, str]:
    text, colour = (cell, "") if isinstance(cell, str) else cell
    return _cut(escape(text), _MAX_CELL), colour


def _cut(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    return text[: max(room - 1, 0)] + "…"


def _columns() -> int:
    return max(shutil.get_terminal_size().columns, 40) if sys.stdout.isatty() else 10_000
