"""Text that is being written: which piece of it continues which, and who was told all that came before.

A piece carries the whole text so far (`snapshot`). Sent with each piece it costs the square of the text, so a reader is
sent it only with the first piece of a text that it is told, and with the first one after a gap.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.hub import STOPS

TEXTS = frozenset({EventType.LLM_TEXT_DELTA, EventType.CLIENT_OUTPUT_DELTA})

Writer = tuple[str | None, str | None]
"""Whose text it is: an execution, and a node of it."""


@dataclass(slots=True, eq=False)
class RunningText:
    """One answer, while it is written. `chars` of it were told, to each of `readers` in that stretch of its reading."""

    chars: int = 0
    readers: dict[object, int] = field(default_factory=dict)


class RunningTexts:
    """The answers that are being written just now; they are forgotten with the next durable event of their node."""

    def __init__(self) -> None:
        self._texts: dict[Writer, RunningText] = {}

    def text_of(self, event: AgentEvent) -> RunningText | None:
        """Return the text that an event is a piece of, None if it is of none that could be whole."""
        if event.type not in TEXTS:
            if self._texts and event.seq is not None:
                self._forget(event)
            return None
        whole = event.data.get("snapshot")
        if not isinstance(whole, str):
            return None
        before = len(whole) - len(event.data.get("content", ""))
        writer = event.execution_id, event.node_id
        text = self._texts.get(writer)
        if text is None or before == 0 or before != text.chars:
            text = self._texts[writer] = RunningText()
        text.chars = len(whole)
        return text

    def _forget(self, event: AgentEvent) -> None:
        self._texts.pop((event.execution_id, event.node_id), None)
        if event.type in STOPS:
            for writer in [one for one in self._texts if one[0] == event.execution_id]:
                del self._texts[writer]


def without_snapshot(event: AgentEvent) -> AgentEvent:
    """Return a piece of text without all that came before it."""
    return replace(
        event, data={key: value for key, value in event.data.items() if key != "snapshot"}
    )
