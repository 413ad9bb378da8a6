"""Event streams: what is stored, then what happens, each durable event once and in order.

A tail watches before it reads, so nothing falls between. It reads the store up to its end, then sends what came into
its box meanwhile, dropping what it has sent. When the box is behind it reads the store again: a slow reader costs what
it reads, loses nothing durable, and delays nobody. One that takes nothing for half a minute is sent away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from hive_daemon.control.answers import Json
from hive_daemon.control.feed import Box, Feed, Line, Wanted, stored_line
from hive_daemon.control.selection import Selection
from hive_daemon.control.wire import (
    KEEPALIVE,
    KEEPALIVE_SECONDS,
    EndReason,
    Message,
    StreamEvent,
    Until,
)
from hive_daemon.storage.ports import ExecutionStore
from hive_daemon.storage.values import MAX_PAGE, EventFilter, StoredEvent

PIECE_BYTES = 65_536
QUIET_SECONDS = KEEPALIVE_SECONDS * 0.8
"""A line is sent after so long a silence: early enough for the promise, also when the loop is busy."""


_MICROSECOND = 0.000_001
"""Times are shown cut to it, so one that is copied from an event may be that much off."""

READ_AT_ONCE = 200
"""Stored events that are in memory at the same time, for each stream."""


class Lagged(Exception):
    """The reader takes nothing."""


class Outlet(Protocol):
    """The way to the reader."""

    async def send(self, content: bytes) -> None:
        """Send, and wait while the reader is slow. Raises Lagged, ConnectionError."""

    def leave(self, content: bytes) -> None:
        """Send a last word without waiting, to a reader that may never take it, and close."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a stream begins: after the event `after`, else with the `last` newest, none of them before `since` (wall
    seconds); with the first where nothing is said.
    """

    after: int | None = None
    last: int | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """What a stream shows and when it ends. `settled` answers the execution that settled, once nothing goes on."""

    wanted: Wanted
    start: Start = Start()
    until: Until = Until.NEVER
    watched: Sequence[str] = ()
    settled: Callable[[], Awaitable[Json | None]] | None = None


@dataclass(frozen=True, slots=True)
class Ends:
    """What ends a stream from outside: the daemon stops, or the reader has left."""

    closing: asyncio.Future[None]
    gone: asyncio.Future[None]

    @property
    def are_near(self) -> bool:
        """Whether one of them has come."""
        return self.closing.done() or self.gone.done()


@dataclass(slots=True)
class Tail:
    """One event stream."""

    store: ExecutionStore
    feed: Feed
    source: Source
    ends: Ends
    out: Outlet
    seq: int = 0
    """The last durable event that this stream covers."""
    _piece: list[bytes] = field(default_factory=list)
    _piece_size: int = 0

    async def run(self) -> None:
        """Send the stream to its end. Raises ConnectionError if the reader has left."""
        with self.feed.watched(self.source.wanted, self.source.watched) as box:
            try:
                # The head of the answer, and a sign that the stream is open.
                await self.out.send(KEEPALIVE)
                self.seq = await first_seq(self.store, self.source)
                if not await self._catch_up(box):
                    await self.out.send(self._end(EndReason.STOPPING))
                    return
                await self.out.send(_word(StreamEvent.CAUGHT_UP, {"seq": self.seq}))
                await self._follow(box)
            except Lagged:
                self.out.leave(self._end(EndReason.LAGGED))

    # --- what is stored ---------------------------------------------------------------------

    async def _catch_up(self, box: Box) -> bool:
        """Send everything stored, up to a moment after which the box has missed nothing.

        Say False if the stream had to be ended before that.
        """
        while True:
            box.clear()
            covered = await last_seq(self.store)
            async for events in stored_after(self.store, self.source.wanted.selection, self.seq):
                for event in events:
                    await self._add(stored_line(event))
                await self._flush()
                if self.ends.are_near:
                    return False
            self.seq = max(self.seq, covered)
            if not box.is_behind:
                return True

    # --- what happens -----------------------------------------------------------------------

    async def _follow(self, box: Box) -> None:
        """Send what happens until the stream ends."""
        if self.source.until is Until.CAUGHT_UP:
            await self.out.send(self._end(EndReason.CAUGHT_UP))
            return
        may_be_settled = self.source.until is Until.SETTLED
        while not self.ends.are_near:
            if may_be_settled and await self._end_if_settled(box):
                return
            may_be_settled = await self._send_news(box)
        await self.out.send(self._end(EndReason.STOPPING))

    async def _send_news(self, box: Box) -> bool:
        """Wait for news and send it, or a sign of life; say whether an execution may have settled."""
        waiting = (box.news(), self.ends.closing, self.ends.gone)
        done, _ = await asyncio.wait(
            waiting, timeout=QUIET_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            await self.out.send(KEEPALIVE)
            return self.source.until is Until.SETTLED
        if box.is_behind:
            await self._catch_up(box)
            return self.source.until is Until.SETTLED
        told, lines = box.told, box.take()
        for line in lines:
            await self._add(line)
        await self._flush()
        self.seq = max(self.seq, told)
        return self.source.until is Until.SETTLED and any(line.is_stop for line in lines)

    async def _end_if_settled(self, box: Box) -> bool:
        settled = self.source.settled
        execution = await settled() if settled is not None else None
        if execution is None:
            return False
        # What it committed last may not have been published yet.
        if await self._catch_up(box):
            await self.out.send(self._end(EndReason.SETTLED, execution))
        else:
            await self.out.send(self._end(EndReason.STOPPING))
        return True

    # --- sending ----------------------------------------------------------------------------

    async def _add(self, line: Line) -> None:
        """Send a message with the next piece, unless it was sent before."""
        if line.seq is not None:
            if line.seq <= self.seq:
                return
            self.seq = line.seq
        self._piece.append(line.content)
        self._piece_size += len(line.content)
        if self._piece_size >= PIECE_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        if self._piece:
            content = b"".join(self._piece)
            self._piece.clear()
            self._piece_size = 0
            await self.out.send(content)

    def _end(self, reason: EndReason, execution: Json | None = None) -> bytes:
        return _word(StreamEvent.END, {"reason": reason, "seq": self.seq, "execution": execution})


def _word(kind: StreamEvent, data: Json) -> bytes:
    return Message(str(kind), orjson.dumps(data).decode()).encode()


# --- reading the store --------------------------------------------------------------------------


async def stored_after(
    store: ExecutionStore, selection: Selection, seq: int
) -> AsyncIterator[list[StoredEvent]]:
    """Yield the stored events after `seq` that match, page by page, to the end."""
    while True:
        page = await store.history(selection.stored(seq, limit=READ_AT_ONCE))
        yield [event for event in page if selection.is_exact or selection.matches(event)]
        if len(page) < READ_AT_ONCE:
            return
        seq = page[-1].seq


async def last_seq(store: ExecutionStore) -> int:
    """Return the number of the last durable event, 0 if there is none."""
    newest = await store.history(EventFilter(limit=1, newest=True))
    return newest[-1].seq if newest else 0


async def first_seq(store: ExecutionStore, source: Source) -> int:
    """Return the number of the event after which a stream begins."""
    start, selection = source.start, source.wanted.selection
    if start.after is not None:
        return start.after
    floor = 0 if start.since is None else await _seq_before(store, start.since)
    if start.last is None:
        return floor
    if start.last == 0:
        return await last_seq(store)
    if start.last <= MAX_PAGE and selection.is_exact:
        page = await store.history(selection.stored(floor, limit=start.last, newest=True))
        return page[0].seq - 1 if len(page) == start.last else floor
    return await _seq_before_newest(store, selection, start.last, floor)


async def _seq_before(store: ExecutionStore, since: float) -> int:
    """Return the number of the last event before a time: events are numbered as time passes, so halving finds it."""
    low, high = 0, await last_seq(store)
    while low < high:
        middle = (low + high) // 2
        page = await store.history(EventFilter(after_seq=middle, limit=1))
        if page and page[0].timestamp < since - _MICROSECOND:
            low = page[0].seq
        else:
            high = middle
    return low


async def _seq_before_newest(
    store: ExecutionStore, selection: Selection, count: int, floor: int
) -> int:
    """Return the number of the event before the newest `count` that match, of those after `floor`.

    The store is read in ever longer stretches from its end, since nobody knows how far back they lie.
    """
    newest = await last_seq(store)
    reach = count
    while True:
        after = max(newest - reach, floor)
        found: list[int] = []
        async for events in stored_after(store, selection, after):
            found.extend(event.seq for event in events if event.seq <= newest)
        if len(found) >= count:
            return found[-count] - 1
        if after == floor:
            return floor
        reach *= 4
