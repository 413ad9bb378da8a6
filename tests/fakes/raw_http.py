"""A raw HTTP/1.1 client: it sends exactly the bytes it is given, and waits on the socket, never on a clock.

async with await RawClient.open(port) as client:
    await client.send(request("POST", "/hook", b"{}"))
    answer = await client.answer()
    assert (answer.status, answer.json) == (202, {"status": "accepted", "execution_ids": []})
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

Headers = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def signature(body: bytes, secret: str | bytes) -> str:
    """Sign as GitHub does."""
    key = secret.encode() if isinstance(secret, str) else secret
    return "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()


def request(
    method: str = "POST",
    target: str | bytes = "/hook",
    body: bytes = b"",
    headers: Headers = (),
    *,
    length: int | None = None,
) -> bytes:
    """Write a request; `length` overrides the Content-Length, -1 leaves it out."""
    aim = target.encode() if isinstance(target, str) else target
    lines = [method.encode() + b" " + aim + b" HTTP/1.1", b"Host: hive.test"]
    if length != -1:
        lines.append(b"Content-Length: %d" % (len(body) if length is None else length))
    for name, value in headers:
        lines.append(
            name.encode() + b": " + (value if isinstance(value, bytes) else value.encode())
        )
    return b"\r\n".join([*lines, b"", body])


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.is_broken = False

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1") -> Self:
        return cls(*await asyncio.open_connection(host, port))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    @property
    def socket(self) -> Any:
        return self._writer.get_extra_info("socket")

    def finish(self) -> None:
        """Say that nothing more will be sent."""
        self._writer.write_eof()

    async def send(self, data: bytes) -> None:
        """Send bytes; those that the server no longer wants are lost."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            self.is_broken = True

    async def head(self) -> str:
        """Return the head of the next answer, as it was written."""
        return (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")

    async def answer(self) -> RawAnswer | None:
        """Return the next answer, None when the server closed the connection instead."""
        try:
            first, *lines = (await self.head()).split("\r\n")[:-2]
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines)
            }
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return RawAnswer(int(first.split()[1]), headers, body)

    async def answers(self) -> list[RawAnswer]:
        """Return every answer until the server closes the connection."""
        answers = []
        while (answer := await self.answer()) is not None:
            answers.append(answer)
        return answers

    async def closed(self) -> bytes:
        """Return what comes until the server closes the connection."""
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""


async def ask(port: int, data: bytes) -> RawAnswer | None:
    """Send bytes on a connection of their own and return the first answer, None for none."""
    async with await RawClient.open(port) as client:
        await client.send(data)
        return await client.answer()
