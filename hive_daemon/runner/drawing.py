"""A layout drawn with characters: nodes and their ways as lines of text, the rails beside them. Pure.

Each way has a line of its own, so that it is plain where it begins; an arrow stands where rails come in.
"""

from __future__ import annotations

from collections import defaultdict
from enum import Flag, auto

from hive_daemon.runner.layout import Layout, Stop, Way


class _Arm(Flag):
    NONE = 0
    UP = auto()
    DOWN = auto()
    LEFT = auto()
    RIGHT = auto()


_ACROSS = _Arm.LEFT | _Arm.RIGHT
_ALONG = _Arm.UP | _Arm.DOWN
_CORNERS = {
    _Arm.NONE: " ",
    _ALONG: "│",
    _ACROSS: "─",
    _Arm.DOWN | _Arm.RIGHT: "╭",
    _Arm.UP | _Arm.RIGHT: "╰",
    _ALONG | _Arm.RIGHT: "├",
    _Arm.UP | _ACROSS: "┴",
    _Arm.DOWN | _ACROSS: "┬",
    _ALONG | _ACROSS: "┼",
}
_PLAIN = str.maketrans("│─╭╰├┴┬┼▶→", "|-++++++>>")


def drawn(layout: Layout, *, is_plain: bool = False) -> list[str]:
    """Return the drawing, line by line; `is_plain` keeps to ASCII."""
    arms = _arms(layout)
    lanes = max((rail.lane for rail in layout.rails), default=-1) + 1
    ends = {rail.end for rail in layout.rails}
    width = max((len(stop.id) for stop in layout.stops), default=0)
    found = []
    for number, line in enumerate(layout.lines):
        gutter = "".join(_cell(arms[number, lane]) for lane in reversed(range(lanes)))
        found.append(f"{gutter}{_text(line, number in ends, width)}".rstrip())
    return [line.translate(_PLAIN) for line in found] if is_plain else found


def _arms(layout: Layout) -> dict[tuple[int, int], _Arm]:
    """Return which arms the rails have in each cell, by line and lane."""
    arms: dict[tuple[int, int], _Arm] = defaultdict(lambda: _Arm.NONE)
    for rail in layout.rails:
        first, last = rail.span
        for line in range(first, last + 1):
            arms[line, rail.lane] |= _Arm.UP if line > first else _Arm.NONE
            arms[line, rail.lane] |= _Arm.DOWN if line < last else _Arm.NONE
        for line in {*rail.starts, rail.end}:
            arms[line, rail.lane] |= _Arm.RIGHT
            for lane in range(rail.lane):
                arms[line, lane] |= _ACROSS
    return arms


def _cell(arms: _Arm) -> str:
    return _CORNERS[arms] + ("─" if _Arm.RIGHT in arms else " ")


def _text(line: Stop | Way | None, is_entered: bool, width: int) -> str:
    match line:
        case Stop():
            marks = f"  {', '.join(line.marks)}" if line.marks else ""
            return f"{'▶' if is_entered else ' '} {line.id:{width}}  {line.node_type}{marks}"
        case Way():
            priority = f", priority {line.priority}" if line.priority else ""
            return f"─ {line.label}{priority} → {line.target}"
    return ""
