"""Answers: JSON with a status, nothing about versions, paths or causes.

`RequestRefused` is how code that reads a request says no; the listener turns it into an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from aiohttp import web

from hive_daemon.errors import HiveError

SERVER = "hive"
"""What the `Server` header says: no version."""


class RequestRefused(HiveError):
    """The request is refused."""

    code = "request_refused"

    def __init__(
        self, status: HTTPStatus, message: str, *, closes: bool = True, retry_after: int = 0
    ) -> None:
        super().__init__(message)
        self.status = status
        self.closes = closes
        self.retry_after = retry_after

    def answer(self) -> web.Response:
        """Return the answer that says so. `closes` ends the connection: what follows on it was not read."""
        answer = json_answer(
            self.status, {"error": str(self)}, retry_after=self.retry_after or None
        )
        if self.closes:
            answer.force_close()
        return answer


def json_answer(
    status: int, content: Mapping[str, object], *, retry_after: int | None = None
) -> web.Response:
    """Return an answer with a JSON body. `retry_after` is in seconds."""
    headers = {"Server": SERVER, "Cache-Control": "no-store"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return web.Response(
        status=status,
        body=orjson.dumps(content),
        content_type="application/json",
        headers=headers,
    )


def bare_answer(status: HTTPStatus, *, retry_after: int | None = None) -> bytes:
    """Return a whole answer as bytes, for a connection on which no request was read; it says `close`."""
    body = orjson.dumps({"error": status.phrase})
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Server: {SERVER}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    if retry_after is not None:
        lines.append(f"Retry-After: {retry_after}")
    return "\r\n".join([*lines, "", ""]).encode() + body
