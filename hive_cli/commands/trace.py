"""`hive trace`: what an execution did when, as a waterfall; no collector is needed, nor a daemon."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from hive_cli.durations import absolute, brief
from hive_cli.grammar import Hive, command, single
from hive_cli.options import ExecutionRef, reference
from hive_cli.reading import read
from hive_cli.render import Json, escape, is_coloured, note, painted, write, write_json
from hive_daemon.control.wire import Route

app = single()

BAR_COLUMNS = 40
_NAME_COLUMNS = 44
_COLOURS = {"invoke_agent": "bold", "chat": "cyan", "execute_tool": "yellow", "wait": "dim"}


@command(app, "trace")
def trace(hive: Hive, execution: ExecutionRef) -> None:
    """Draw what an execution did when: its nodes, model calls, tool calls and waits."""
    document = read(hive, Route.TRACE, execution=reference(execution, "execution"))
    if hive.as_json:
        write_json(document)
        return
    for line in waterfall(document, is_coloured(sys.stdout)):
        write(line)
    if document.get("left_out"):
        note(f"{document['left_out']} more spans are left out")


@dataclass(frozen=True, slots=True)
class _Scale:
    """How moments become columns."""

    start: float
    seconds: float

    def bar(self, span: Json) -> str:
        """Return a bar from the beginning of a span to its end; one that goes on ends in an arrow."""
        begin = _at(span["started_at"]) - self.start
        took = span.get("duration_seconds")
        end = self.seconds if took is None else begin + took
        first = min(max(int(begin / self.seconds * BAR_COLUMNS), 0), BAR_COLUMNS - 1)
        last = min(max(round(end / self.seconds * BAR_COLUMNS), first + 1), BAR_COLUMNS)
        drawn = "#" * (last - first)
        drawn = drawn if took is not None else f"{drawn[:-1]}>"
        return f"{' ' * first}{drawn}".ljust(BAR_COLUMNS)


def waterfall(document: Json, coloured: bool) -> Iterator[str]:
    """Yield the lines of the drawing: one per span, below what it belongs to, with its time on a common scale."""
    spans = document.get("spans") or []
    yield escape(
        f"{document.get('execution_id')}  {document.get('status')}  trace {document.get('trace_id')}"
    )
    if not spans:
        return
    start = min(_at(span["started_at"]) for span in spans)
    ends = [_at(span["ended_at"]) for span in spans if span.get("ended_at")]
    scale = _Scale(start, max(max(ends, default=start) - start, 1e-6))
    yield f"began {absolute(spans[0]['started_at'])}, the scale is {brief(scale.seconds)}"
    for depth, span in _nested(spans):
        name = f"{'  ' * depth}{span.get('name')}"
        kind = str(span.get("kind"))
        took = span.get("duration_seconds")
        told = "…" if took is None else brief(took)
        error = f"  {escape(span['error'])}" if span.get("error") else ""
        yield " ".join(
            [
                painted(_fitted(escape(name)), _COLOURS.get(kind, ""), coloured),
                painted(f"|{scale.bar(span)}|", "red" if span.get("error") else "", coloured),
                f"{told:>7}{_tokens(span)}{error}",
            ]
        ).rstrip()


def _nested(spans: list[Json]) -> Iterator[tuple[int, Json]]:
    """Yield each span after the one that it belongs to, with its depth."""
    ids = {span["span_id"] for span in spans}
    below: dict[str, list[Json]] = {}
    for span in spans:
        parent = str(span.get("parent_id"))
        below.setdefault(parent if parent in ids else "", []).append(span)
    stack = [(0, span) for span in reversed(below.get("", []))]
    while stack:
        depth, span = stack.pop()
        yield depth, span
        children = below.get(span["span_id"], [])
        stack.extend((depth + 1, child) for child in reversed(children))


def _tokens(span: Json) -> str:
    said = span.get("attributes") or {}
    taken, given = (said.get(f"gen_ai.usage.{way}_tokens") for way in ("input", "output"))
    cost = said.get("hive.cost_usd")
    tokens = f"  {taken or 0}+{given or 0} tokens" if taken or given else ""
    return f"{tokens}  ${cost:.4f}" if isinstance(cost, float) and cost else tokens


def _fitted(name: str) -> str:
    cut = name if len(name) <= _NAME_COLUMNS else f"{name[: _NAME_COLUMNS - 1]}…"
    return cut.ljust(_NAME_COLUMNS)


def _at(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
