"""A client of the control socket that hides nothing: whole answers as they came, event streams message by message."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hive_daemon.control.wire import Message, MessageReader

SECONDS = 20.0


@dataclass(frozen=True)
class Reply:
    """One whole answer."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        """The content as JSON."""
        return json.loads(self.content)

    @property
    def error(self) -> Any:
        """The error in it."""
        return self.json["error"]

    @property
    def code(self) -> str:
        """The code of the error in it."""
        return str(self.error["code"])


@dataclass
class Client:
    """Asks the daemon, one connection for each request."""

    path: Path
    headers: dict[str, str] = field(default_factory=dict)

    async def get(self, target: str, **headers: str) -> Reply:
        """Ask for something."""
        return await self.ask("GET", target, headers=headers)

    async def post(
        self, target: str, body: Any = None, *, key: str = "", headers: Any = None
    ) -> Reply:
        """Ask to do something."""
        keyed = {"Idempotency-Key": key} if key else {}
        return await self.ask("POST", target, body, {**keyed, **(headers or {})})

    async def ask(
        self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send one request; a body that is not bytes is written as JSON."""
        content = body if isinstance(body, bytes) else b"" if body is None else dumps(body)
        fields = {
            "Host": "hived",
            "Connection": "close",
            "Content-Length": str(len(content)),
            **self.headers,
            **(headers or {}),
        }
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        return await self.raw(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + content)

    async def raw(self, sent: bytes) -> Reply:
        """Send bytes and read one answer to the end of the connection."""
        async with asyncio.timeout(SECONDS), self.connected() as (reader, writer):
            await _write(writer, sent)
            return await read_reply(reader)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        try:
            yield reader, writer
        finally:
            writer.close()

    @asynccontextmanager
    async def stream(self, target: str, **headers: str) -> AsyncIterator[Stream]:
        """Open an event stream."""
        fields = "".join(
            f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()
        )
        async with self.connected() as (reader, writer):
            await _write(writer, f"GET {target} HTTP/1.1\r\nHost: hived\r\n{fields}\r\n".encode())
            async with asyncio.timeout(SECONDS):
                status, answered = await _head(reader)
            assert (status, answered["content-type"]) == (200, "text/event-stream"), status
            yield Stream(reader)

    async def messages(self, target: str, **headers: str) -> list[Message]:
        """Return all messages of a stream that ends by itself."""
        async with self.stream(target, **headers) as stream:
            return [message async for message in stream]


@dataclass
class Stream:
    """An open event stream; iterating gives its messages until it ends. `comments` are the lines that are none."""

    reader: asyncio.StreamReader
    comments: list[bytes] = field(default_factory=list)
    _parser: MessageReader = field(default_factory=MessageReader)
    _ready: deque[Message] = field(default_factory=deque)
    _rest: bytes = b""

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Message:
        while not self._ready:
            if not await self._take():
                raise StopAsyncIteration
        return self._ready.popleft()

    async def _take(self) -> bool:
        """Read one chunk; say False at the end."""
        size = int(await self.reader.readline() or b"0", 16)
        if not size:
            return False
        piece = await self.reader.readexactly(size)
        await self.reader.readline()
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b":"):
                self.comments.append(line)
            message = self._parser.feed(line)
            if message is not None:
                self._ready.append(message)
        return True

    async def until(self, event: str) -> list[Message]:
        """Return the messages up to the first of this type."""
        found: list[Message] = []
        async with asyncio.timeout(SECONDS):
            async for message in self:
                found.append(message)
                if message.event == event:
                    return found
        raise AssertionError(f"the stream ended without {event}: {found}")


async def becomes(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until something is so."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0)


def dumps(body: Any) -> bytes:
    """Write JSON."""
    return json.dumps(body).encode()


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """Read one answer."""
    status, headers = await _head(reader)
    length = headers.get("content-length")
    content = await reader.readexactly(int(length)) if length else await reader.read()
    return Reply(status, headers, content)


async def _write(writer: asyncio.StreamWriter, sent: bytes) -> None:
    """Send as much as the daemon takes: it may answer before it has read everything."""
    try:
        writer.write(sent)
        await writer.drain()
    except (BrokenPipeError, ConnectionResetError):
        return


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    pairs = (line.partition(":") for line in lines[1:] if line)
    return int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in pairs}
