"""Events as lines for people; text that a model is writing runs on as it comes."""

from __future__ import annotations

from typing import TextIO

from hive_cli.durations import time_of_day
from hive_cli.render import Json, escape, is_coloured, one_line, painted

DELTAS = frozenset({"llm_text_delta", "client_output_delta"})
BROKE_OFF = "(that broke off, it begins anew)"
_UNSAID = frozenset({"snapshot"})
_TYPE_WIDTH = 24
_COLOURS = {
    "failed": "red",
    "stalled": "red",
    "loop": "red",
    "completed": "green",
    "started": "cyan",
    "requested": "yellow",
    "paused": "yellow",
    "cancelled": "yellow",
}


Writer = tuple[object, object]
"""Whose text it is: an execution, and a node of it."""


class Narrator:
    """Tells events to a person, one line each.

    The text of one answer runs on, without a hole where pieces of it were lost on the way; another answer, or the same
    one anew, begins on a line of its own. `names_origin` puts the entry point before the node, for events of many
    executions.
    """

    def __init__(self, stream: TextIO, *, names_origin: bool = False) -> None:
        self._stream = stream
        self._names_origin = names_origin
        self._is_mid_line = False
        self._writing: Writer | None = None
        self._shown: dict[Writer, int] = {}
        """How many characters of a node's present answer stand on the screen."""

    def tell(self, event: Json) -> None:
        """Write one event."""
        writer = event.get("execution_id"), event.get("node_id")
        if event.get("type") in DELTAS:
            self._text(writer, event.get("data") or {})
        else:
            if event.get("seq") is not None:
                self._shown.pop(writer, None)
            self._line(event)
        self._stream.flush()

    def _text(self, writer: Writer, said: Json) -> None:
        content = str(said.get("content") or "")
        told = self._shown.get(writer, 0)
        # Without all that came before it, a piece continues what was told.
        whole = str(said["snapshot"]) if "snapshot" in said else None
        before = told if whole is None else len(whole) - len(content)
        is_first = before == 0 and whole is not None
        if writer != self._writing or is_first:
            self.close()
        self._writing = writer
        if said.get("is_reset"):
            self._run_on(f"{BROKE_OFF}\n")
        # Who comes amid an answer hears it from there on; what was shown and is not whole is made whole.
        shown = min(self._shown.get(writer, before), before)
        self._shown[writer] = before + len(content)
        self._run_on(content if whole is None else whole[shown:])

    def close(self) -> None:
        """End a line that text left open."""
        if self._is_mid_line:
            self._stream.write("\n")
            self._is_mid_line = False

    def _run_on(self, text: str) -> None:
        if text:
            self._stream.write(escape(text, keep="\n\t"))
            self._is_mid_line = not text.endswith("\n")

    def _line(self, event: Json) -> None:
        self.close()
        coloured = is_coloured(self._stream)
        kind = escape(event.get("type") or "?")
        parts = [
            painted(time_of_day(event.get("timestamp")), "dim", coloured),
            painted(kind.ljust(_TYPE_WIDTH), _COLOURS.get(kind.rpartition("_")[2], ""), coloured),
            *([escape(_origin(event))] if self._names_origin else []),
            *([escape(event["node_id"])] if event.get("node_id") else []),
            escape(_summary(event.get("data") or {})),
        ]
        self._stream.write("  ".join(parts).rstrip() + "\n")


def _origin(event: Json) -> str:
    return "/".join(str(event[key]) for key in ("agent", "stream_id") if event.get(key)) or "-"


def _summary(payload: Json) -> str:
    said = {key: value for key, value in payload.items() if key not in _UNSAID}
    return one_line(
        " ".join(
            f"{key}={one_line(value, 80)}" for key, value in said.items() if value not in (None, "")
        ),
        160,
    )
