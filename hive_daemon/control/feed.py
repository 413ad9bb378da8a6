"""What happens, for those who watch: every event of the hub, encoded at most once, in bounded boxes.

Laws: nothing here waits for a reader; a box never holds more than its bounds; a durable event that finds no room is not
lost, its box is merely behind, and the store has it; a live event that finds no room is gone, and counted; of a text
that is being written a box is given each piece once, and the whole so far only with its first piece and after a gap.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from hive_daemon.clock import iso_z
from hive_daemon.control.running_text import RunningText, RunningTexts, without_snapshot
from hive_daemon.control.selection import Selection
from hive_daemon.observability.strict_json import json_shape, strict_json
from hive_daemon.runtime.events import ENDINGS, AgentEvent, EventType, chain_of, status_told
from hive_daemon.runtime.hub import STOPS, Hub
from hive_daemon.spending import NO_CALLS, Spending
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import StoredEvent

BOX_BYTES = 524_288
BOX_MESSAGES = 1_024


class Line(NamedTuple):
    """One message of an event stream, ready to be sent. `seq` is None for a live event."""

    seq: int | None
    content: bytes
    is_stop: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a box takes."""

    selection: Selection
    has_live: bool = True

    def takes(self, event: AgentEvent) -> bool:
        """Say whether an event belongs into the box."""
        return (self.has_live or event.seq is not None) and self.selection.matches(event)


class Box:
    """What a watcher has not fetched yet.

    `told` is the last durable event that was published, wanted or not. Once `is_behind`, the box takes nothing until
    `clear`: what it missed is in the store. `stretch` counts how often what it held was forgotten unread.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.told = 0
        self.is_behind = False
        self.stretch = 0
        self._lines: deque[Line] = deque()
        self._size = 0
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def put(self, line: Line) -> bool:
        """Put a message in; say False if it is a live one and there is no room."""
        if self.is_behind:
            return line.seq is not None
        if len(self._lines) >= BOX_MESSAGES or self._size + len(line.content) > BOX_BYTES:
            if line.seq is None:
                return False
            self.is_behind = True
        else:
            self._lines.append(line)
            self._size += len(line.content)
        self._tell()
        return True

    def _tell(self) -> None:
        if not self._news.done():
            self._news.set_result(None)

    def news(self) -> asyncio.Future[None]:
        """Return what is done once there is something to fetch, or the box is behind."""
        if self._news.done() and not self._lines and not self.is_behind:
            self._news = asyncio.get_running_loop().create_future()
        return self._news

    def take(self) -> list[Line]:
        """Fetch everything."""
        lines = list(self._lines)
        self._empty()
        return lines

    def clear(self) -> None:
        """Begin anew: empty, and not behind."""
        self._empty()
        self.is_behind = False
        self.stretch += 1

    def _empty(self) -> None:
        self._lines.clear()
        self._size = 0


class Feed:
    """Listens to the hub for all watchers together. `dropped` counts live events that found no room."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._boxes: dict[Box, None] = {}
        self._token = 0
        self._texts = RunningTexts()
        self.dropped = 0
        self.ended: Counter[ExecutionStatus] = Counter()
        """Executions that have ended since the feed was opened."""

        self.calls = 0
        """Model calls since then, and what they came to."""
        self.spending = NO_CALLS

    def open(self) -> None:
        """Begin to listen."""
        self._token = self._hub.listen(self._tell)

    def close(self) -> None:
        """Listen no more."""
        self._hub.unlisten(self._token)

    @contextmanager
    def watched(self, wanted: Wanted, keys: Sequence[str]) -> Iterator[Box]:
        """Give a box that is filled while the context lasts. `keys` name what is watched live."""
        box = Box(wanted)
        self._boxes[box] = None
        for key in keys:
            self._hub.watch(key)
        try:
            yield box
        finally:
            del self._boxes[box]
            for key in keys:
                self._hub.unwatch(key)

    def _tell(self, event: AgentEvent) -> None:
        if event.type is EventType.LLM_TURN_COMPLETE:
            self.calls += 1
            self.spending = self.spending.plus(Spending.of(event.data))
        if event.type in ENDINGS:
            self.ended[status_told(event)] += 1
        text = self._texts.text_of(event)
        if text is not None:
            self._tell_text(event, text)
            return
        line: Line | None = None
        for box in self._boxes:
            if event.seq is not None:
                box.told = event.seq
            if not box.wanted.takes(event):
                continue
            line = line or line_of(event)
            if not box.put(line):
                self.dropped += 1

    def _tell_text(self, event: AgentEvent, text: RunningText) -> None:
        """Give a piece of a text to each box, with what came before it only to those that were not given that."""
        whole: Line | None = None
        piece: Line | None = None
        for box in self._boxes:
            if not box.wanted.takes(event):
                continue
            if text.readers.get(box) == box.stretch:
                line = piece = piece or line_of(without_snapshot(event))
            else:
                line = whole = whole or line_of(event)
            if box.put(line):
                text.readers[box] = box.stretch
            else:
                text.readers.pop(box, None)
                self.dropped += 1


def line_of(event: AgentEvent) -> Line:
    """Encode an event that happens."""
    shape = event.to_dict()
    try:
        data = orjson.dumps(shape)
    except TypeError:
        # What nodes show may be anything; what is stored was written as JSON before.
        data = strict_json(json_shape(shape)).encode()
    return Line(event.seq, _message(event.type, data, event.seq), event.type in STOPS)


def stored_line(event: StoredEvent) -> Line:
    """Encode a durable event; its data is taken over as it is stored."""
    data = orjson.dumps(
        {
            "seq": event.seq,
            "execution_seq": event.execution_seq or None,
            "type": event.type,
            "timestamp": iso_z(event.timestamp),
            "agent": event.agent,
            "graph_id": event.graph_id or None,
            "stream_id": event.stream_id,
            "node_id": event.node_id,
            "execution_id": event.execution_id or None,
            "session_id": event.session_id or None,
            "correlation_id": event.correlation_id or None,
            "causation": chain_of(event),
            "data": orjson.Fragment(event.data),
        }
    )
    return Line(event.seq, _message(event.type, data, event.seq))


def _message(kind: str, data: bytes, seq: int | None) -> bytes:
    """Write a message as `wire.Message` does, from data that is one line already."""
    head = b"" if seq is None else b"id: %d\n" % seq
    return b"%sevent: %s\ndata: %s\n\n" % (head, kind.encode(), data)
