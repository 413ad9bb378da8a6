"""A layout as a Mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html). Pure."""

from __future__ import annotations

import re

from hive_daemon.graph.node import EVENT_LOOP, FUNCTION, HUMAN_INPUT, ROUTER
from hive_daemon.runner.layout import Layout, Stop

_SHAPES = {
    EVENT_LOOP: ("(", ")"),
    FUNCTION: ("[", "]"),
    ROUTER: ("{", "}"),
    HUMAN_INPUT: ("[/", "/]"),
}
_BEYOND_WORDS = re.compile(r"[^\w .,:/()'=-]")


def mermaid(layout: Layout) -> str:
    """Return the flowchart; nothing that a graph says is read as Mermaid."""
    names = {stop.id: f"n{number}" for number, stop in enumerate(layout.stops)}
    lines = ["flowchart TD"]
    lines += [f"    {names[stop.id]}{_box(stop)}" for stop in layout.stops]
    lines += [
        f'    {names[way.source]} -->|"{_quoted(way.label)}"| {names[way.target]}'
        for way in layout.ways
    ]
    return "\n".join(lines) + "\n"


def _box(stop: Stop) -> str:
    left, right = _SHAPES.get(stop.node_type, ("(", ")"))
    text = "<br>".join(map(_quoted, [stop.id, *stop.marks]))
    return f'{left}"{text}"{right}'


def _quoted(text: str) -> str:
    """Return the text with everything but words as character references."""
    return _BEYOND_WORDS.sub(lambda found: f"#{ord(found[0])};", text)
