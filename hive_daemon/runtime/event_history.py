"""What the event bus remembers of the past: bounded, newest first when asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from hive_daemon.runtime.events import LIVE, AgentEvent, EventFilter, EventType

LIVE_KEPT = 100
"""Live events that are remembered: each carries the whole text so far, so they have a smaller place of their own."""


class EventHistory:
    """The last `most` events, and of live ones the last 100; counts of all that ever were."""

    def __init__(self, most: int) -> None:
        self._events: deque[tuple[int, AgentEvent]] = deque(maxlen=most)
        self._live: deque[tuple[int, AgentEvent]] = deque(maxlen=min(most, LIVE_KEPT))
        self._counts: dict[EventType, int] = {}
        self.total = 0

    def __len__(self) -> int:
        return len(self._events) + len(self._live)

    def add(self, event: AgentEvent) -> None:
        """Remember an event."""
        kind = event.type
        self.total += 1
        self._counts[kind] = self._counts.get(kind, 0) + 1
        (self._live if kind in LIVE else self._events).append((self.total, event))

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
