"""Events as lines for people; text that a model is writing runs on as it comes."""

from __future__ import annotations

from typing import TextIO

from hive_cli.durations import time_of_day
from hive_cli.render import Json, escape, is_coloured, one_line, painted

DELTAS = frozenset({"llm_text_delta", "client_output_delta"})
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


class Narrator:
    """Tells events to a person, one line each.

    `names_origin` puts the entry point before the node, for events of many executions.
    """

    def __init__(self, stream: TextIO, *, names_origin: bool = False) -> None:
        self._stream = stream
        self._names_origin = names_origin
        self._is_mid_line = False

    def tell(self, event: Json) -> None:
        """Write one event."""
        if event.get("type") in DELTAS:
            self._run_on(str((event.get("data") or {}).get("content", "")))
        else:
            self._line(event)
        self._stream.flush()

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
