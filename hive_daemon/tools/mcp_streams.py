"""The streams of the MCP SDK over a server's process, and the bounds that the SDK leaves to us, on both transports.

A message is at most `MOST_LINE_BYTES` long. Messages are taken in at `MESSAGES_PER_SECOND` at most, after a burst: what
a flooding server sends beyond that waits on its side.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Protocol, Self

import anyio
import httpx2
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from pydantic import ValidationError

from hive_daemon.clock import Clock
from hive_daemon.tools.mcp_process import MOST_LINE_BYTES, Overflow, ServerProcess

logger = logging.getLogger(__name__)

MESSAGES_PER_SECOND = 200.0
MESSAGES_AT_ONCE = 1000.0

Item = SessionMessage | Exception

_ENDS = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError)


class Source(Protocol):
    """Where messages come from. `receive` raises EndOfStream at the end."""

    async def receive(self) -> Item:
        """Return the next message."""

    async def aclose(self) -> None:
        """Let go of it."""


class Sink(Protocol):
    """Where messages go to."""

    async def send(self, item: SessionMessage, /) -> None:
        """Send a message."""

    async def aclose(self) -> None:
        """Let go of it."""

    async def __aenter__(self) -> Self:
        """Hold it."""

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        """Let go of it."""


class _Closing:
    """A stream that is closed when its context ends."""

    async def aclose(self) -> None:
        """Do nothing: what is behind it has another owner."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        await self.aclose()
        return None


class Pace:
    """How many messages may be taken in: so many at once, so many a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = MESSAGES_AT_ONCE
        self._seen = clock.monotonic()

    async def step(self) -> None:
        """Wait until a further message may be taken in."""
        now = self._clock.monotonic()
        gained = (now - self._seen) * MESSAGES_PER_SECOND
        self._left = min(MESSAGES_AT_ONCE, self._left + gained) - 1.0
        self._seen = now
        if self._left < 0.0:
            await self._clock.sleep(-self._left / MESSAGES_PER_SECOND)


class Paced(_Closing):
    """A source, read at a pace. `at_end` is called when nothing more comes from it."""

    def __init__(self, source: Source, pace: Pace, at_end: Callable[[], None]) -> None:
        self._source = source
        self._pace = pace
        self._at_end = at_end

    async def receive(self) -> Item:
        """Return the next message. Raises EndOfStream."""
        await self._pace.step()
        try:
            return await self._source.receive()
        except _ENDS:
            self._at_end()
            raise anyio.EndOfStream from None

    async def aclose(self) -> None:
        """Close the source."""
        await self._source.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class Streams:
    """A transport as the SDK wants it: a paced source and a sink."""

    def __init__(self, source: Paced, sink: Sink) -> None:
        self._pair = (source, sink)

    async def __aenter__(self) -> tuple[Paced, Sink]:
        return self._pair

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        for stream in self._pair:
            await stream.aclose()
        return None


class Lines(_Closing):
    """What a process writes, as messages; lines that are none are left out: many servers print to their output."""

    def __init__(self, process: ServerProcess) -> None:
        self._process = process

    async def receive(self) -> Item:
        """Return the next message. Raises EndOfStream, also where the process is at fault."""
        while True:
            line = await self._line()
            try:
                return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
            except ValidationError:
                logger.debug("tool server wrote a line that is no message")

    async def _line(self) -> bytes:
        try:
            line = await self._process.read_line()
        except Overflow as error:
            logger.warning("tool server is at fault", extra={"reason": str(error)})
            raise anyio.EndOfStream from error
        except OSError as error:
            raise anyio.EndOfStream from error
        if not line:
            raise anyio.EndOfStream
        return line


class Written(_Closing):
    """Messages, written to a process. `at_end` is called when it takes nothing any more."""

    def __init__(self, process: ServerProcess, at_end: Callable[[], None]) -> None:
        self._process = process
        self._at_end = at_end

    async def send(self, item: SessionMessage, /) -> None:
        """Write a message. Raises BrokenResourceError once the process takes nothing any more."""
        text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        try:
            await self._process.write_line(text.encode())
        except (OSError, RuntimeError) as error:
            self._at_end()
            raise anyio.BrokenResourceError from error


class _BoundedBody(httpx2.AsyncByteStream):
    """The body of an HTTP answer; past the longest message it is an error."""

    def __init__(self, body: httpx2.AsyncByteStream) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        taken = 0
        async for piece in self._body:
            taken += len(piece)
            if taken > MOST_LINE_BYTES:
                raise httpx2.ReadError(f"an answer of more than {MOST_LINE_BYTES // 1024**2} MiB")
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()


async def _bound(response: httpx2.Response) -> None:
    # An event stream may go on for ever: the SDK bounds its events one by one.
    is_events = response.headers.get("content-type", "").startswith("text/event-stream")
    if not is_events and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _BoundedBody(response.stream)


def http_client(headers: Mapping[str, str], connect_seconds: float) -> httpx2.AsyncClient:
    """Return the HTTP client of one connection: it follows no redirect, and bounds what it reads, not for how long."""
    return httpx2.AsyncClient(
        headers=dict(headers),
        timeout=httpx2.Timeout(connect_seconds, read=None),
        event_hooks={"response": [_bound]},
    )
