"""What the event bus remembers of the past: bounded, newest first when asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from hive_daemon.runtime.events import LIVE, AgentEvent, EventFilter, EventType

LIVE_KEPT = 100
"""Live events that are remembered: they come by the hundred, so they have a smaller place of their own."""

Writer = tuple[EventType, str | None, str | None]
"""Whose text it is: an execution, and a node of it."""


class EventHistory:
    """The last `most` events, and of live ones the last 100; counts of all that ever were.

    Of the pieces of one text that is being written the newest keeps the whole so far (`snapshot`), those before it do
    not: what is remembered of a text is about twice as long as it is.
    """

    def __init__(self, most: int) -> None:
        self._events: deque[tuple[int, AgentEvent]] = deque(maxlen=most)
        self._live: deque[tuple[int, AgentEvent]] = deque(maxlen=min(most, LIVE_KEPT))
        self._whole: dict[Writer, int] = {}
        """By whose text it is, the number of the event that has the whole of it."""
        self._counts: dict[EventType, int] = {}
        self.total = 0

    def __len__(self) -> int:
        return len(self._events) + len(self._live)

    def add(self, event: AgentEvent) -> None:
        """Remember an event."""
        kind = event.type
        self.total += 1
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if kind not in LIVE:
            self._events.append((self.total, event))
            return
        if "snapshot" in event.data:
            self._shorten(event)
        self._live.append((self.total, event))

    def _shorten(self, event: AgentEvent) -> None:
        """Take the whole text out of the piece that `event` continues, if that is remembered."""
        writer: Writer = event.type, event.execution_id, event.node_id
        number = self._whole.get(writer, 0)
        oldest = self._live[0][0] if self._live else self.total
        if event.data["snapshot"] != event.data.get("content") and number >= oldest:
            place = next(n for n, kept in enumerate(self._live) if kept[0] == number)
            was = self._live[place][1]
            data = {key: value for key, value in was.data.items() if key != "snapshot"}
            self._live[place] = (number, replace(was, data=data))
        if len(self._whole) > LIVE_KEPT:
            self._whole = {key: n for key, n in self._whole.items() if n >= oldest}
        self._whole[writer] = self.total

    @property
    def counts(self) -> dict[str, int]:
        """How many events of each type there were."""
        return {kind.value: n for kind, n in self._counts.items()}

    def find(self, wanted: EventFilter, limit: int) -> list[AgentEvent]:
        """Return the last events that match, newest first."""
        found: list[AgentEvent] = []
        if limit > 0:
            for event in self._newest_first(wanted.types):
                if wanted.matches(event):
                    found.append(event)
                    if len(found) == limit:
                        break
        return found

    def _newest_first(self, types: Iterable[EventType]) -> Iterator[AgentEvent]:
        kinds = frozenset(types)
        if kinds and kinds <= LIVE:
            kept: Iterable[tuple[int, AgentEvent]] = reversed(self._live)
        elif not self._live or (kinds and not kinds & LIVE):
            kept = reversed(self._events)
        else:
            kept = sorted((*self._events, *self._live), key=_number, reverse=True)
        return (event for _, event in kept)


def _number(kept: tuple[int, AgentEvent]) -> int:
    return kept[0]
