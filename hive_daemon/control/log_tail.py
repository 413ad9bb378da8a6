"""Following the daemon's own log: the lines that are kept, then those that come, each once and in order.

A reader that is slow misses the lines that gave way meanwhile, nothing else; one that takes nothing is sent away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import orjson

from hive_daemon.control.answers import Json
from hive_daemon.control.tail import PIECE_BYTES, QUIET_SECONDS, Ends, Lagged, Outlet
from hive_daemon.control.wire import KEEPALIVE, EndReason, Message, StreamEvent, Until
from hive_daemon.observability.log_ring import KeptLine, LogChoice, LogRing
from hive_daemon.tasks import to_thread

LOG_LINE = "log"
"""The `event:` of a line."""


@dataclass(frozen=True, slots=True)
class LogSource:
    """Which lines, where to begin, and when to end: after the line `after`, else with the `last` newest, else all."""

    choice: LogChoice
    after: int = 0
    last: int | None = None
    until: Until = Until.NEVER


@dataclass(slots=True)
class LogTail:
    """One reader of the log."""

    ring: LogRing
    source: LogSource
    ends: Ends
    out: Outlet
    seq: int = 0
    """The last line that this reader has passed."""

    async def run(self) -> None:
        """Send the lines to the end. Raises ConnectionError if the reader has left."""
        self.seq = self.source.after
        with self._heard() as news:
            try:
                await self.out.send(KEEPALIVE)
                await self._send(self.source.last)
                await self.out.send(_word(StreamEvent.CAUGHT_UP, {"seq": self.seq}))
                if self.source.until is not Until.NEVER:
                    await self.out.send(self._end(EndReason.CAUGHT_UP))
                    return
                await self._follow(news)
            except Lagged:
                self.out.leave(self._end(EndReason.LAGGED))

    async def _follow(self, news: asyncio.Event) -> None:
        while not self.ends.are_near:
            if not await self._come(news):
                await self.out.send(KEEPALIVE)
                continue
            news.clear()
            await self._send()
        await self.out.send(self._end(EndReason.STOPPING))

    async def _come(self, news: asyncio.Event) -> bool:
        """Wait for news or the end; say False when nothing came for a while."""
        waiting = asyncio.ensure_future(news.wait())
        try:
            done, _ = await asyncio.wait(
                (waiting, self.ends.closing, self.ends.gone),
                timeout=QUIET_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            waiting.cancel()
        return bool(done)

    async def _send(self, last: int | None = None) -> None:
        """Send the lines that were not sent yet, at most the `last` of those chosen."""
        lines = self.ring.after(self.seq)
        if not lines:
            return
        chosen = await to_thread(_chosen, self.source.choice, lines)
        if last is not None:
            chosen = chosen[len(chosen) - last :] if last < len(chosen) else chosen
        for piece in _pieces(chosen):
            await self.out.send(piece)
        self.seq = lines[-1].seq

    def _end(self, reason: EndReason) -> bytes:
        return _word(StreamEvent.END, {"reason": reason, "seq": self.seq, "execution": None})

    @contextmanager
    def _heard(self) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever a line was kept, in whatever thread."""
        news = asyncio.Event()
        tell = partial(asyncio.get_running_loop().call_soon_threadsafe, news.set)
        self.ring.listen(tell)
        try:
            yield news
        finally:
            self.ring.unlisten(tell)


def _chosen(choice: LogChoice, lines: list[KeptLine]) -> list[KeptLine]:
    return [line for line in lines if choice.takes(line.text)]


def _pieces(lines: list[KeptLine]) -> Iterator[bytes]:
    piece: list[bytes] = []
    size = 0
    for line in lines:
        message = Message(LOG_LINE, line.text, str(line.seq)).encode()
        piece.append(message)
        size += len(message)
        if size >= PIECE_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
    if piece:
        yield b"".join(piece)


def _word(kind: StreamEvent, data: Json) -> bytes:
    return Message(str(kind), orjson.dumps(data).decode()).encode()
