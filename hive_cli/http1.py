"""HTTP/1.1 as the client of a Unix socket needs it: one request, one answer, whole or as it comes.

Source: RFC 9112. Not `http.client`, because that imports `email` and `ssl`, a sixth of the time that `hive stats` may
take. Guarantees: an answer that was cut short raises, it never looks complete; a header cannot be forged by a value.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BufferedReader
from types import TracebackType
from typing import Self

_LINE_LIMIT = 65_536
_MAX_HEADERS = 200
_PIECE = 65_536


class NotHttp(Exception):
    """What answers does not speak HTTP/1.1."""


class BrokenOff(ConnectionError):
    """The connection ended before the answer did."""


class Response:
    """The answer to a request; its body can be read once."""

    def __init__(self, status: int, headers: Mapping[str, str], reader: BufferedReader) -> None:
        self.status = status
        self.headers = headers
        self._reader = reader

    def read(self) -> bytes:
        """Return the whole body. Raises NotHttp, BrokenOff, OSError."""
        return b"".join(self.pieces())

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of the body as they come, with their ends; a last line without one is left out."""
        rest = b""
        for piece in self.pieces():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line + b"\n"

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes."""
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return self._chunks()
        if "content-length" in self.headers:
            return iter((_exactly(self._reader, _number(self.headers["content-length"], 10)),))
        return iter(lambda: self._reader.read1(_PIECE), b"")

    def _chunks(self) -> Iterator[bytes]:
        while size := _number(
            _line(self._reader).partition(b";")[0].decode("ascii", "replace"), 16
        ):
            yield _exactly(self._reader, size)
            _line(self._reader)
        _headers(self._reader)


class Connection:
    """A connection to the socket at `path`, for one request."""

    def __init__(self, path: str, seconds: float) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(seconds)
        self._reader = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.close()
        self._socket.close()

    def connect(self) -> None:
        """Connect. Raises OSError."""
        self._socket.connect(self.path)

    def wait_at_most(self, seconds: float) -> None:
        """Let whatever comes next take no longer than this, or raise TimeoutError."""
        self._socket.settimeout(seconds)

    def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        """Send a request and return the head of its answer. Raises NotHttp, BrokenOff, OSError, ValueError."""
        length = {} if body is None else {"Content-Length": str(len(body))}
        fields = {"Host": "hived", "Connection": "close", **headers, **length}
        head = [
            f"{method} {target} HTTP/1.1",
            *(f"{name}: {value}" for name, value in fields.items()),
        ]
        if any("\r" in line or "\n" in line for line in head):
            raise ValueError("a header must not contain a line break")
        # A server may refuse a request before it has read all of it: its answer says why.
        with suppress(BrokenPipeError):
            self._socket.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + (body or b""))
        return self._response()

    def _response(self) -> Response:
        status = 100
        while status < 200:
            status = _status(_line(self._reader))
            headers = _headers(self._reader)
        return Response(status, headers, self._reader)


def _status(line: bytes) -> int:
    version, _, rest = line.decode("latin-1").partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/1.") or not code.isdecimal() or len(code) < 3:
        raise NotHttp
    return int(code)


def _headers(reader: BufferedReader) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(_MAX_HEADERS):
        line = _line(reader).decode("latin-1").strip()
        if not line:
            return headers
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    raise NotHttp


def _line(reader: BufferedReader) -> bytes:
    line = reader.readline(_LINE_LIMIT)
    if not line.endswith(b"\n"):
        raise NotHttp if len(line) == _LINE_LIMIT else BrokenOff
    return line


def _exactly(reader: BufferedReader, count: int) -> bytes:
    content = reader.read(count)
    if len(content) < count:
        raise BrokenOff
    return content


def _number(text: str, base: int) -> int:
    digits = text.strip()
    if not digits.isascii() or not digits.isalnum():
        raise NotHttp
    try:
        return int(digits, base)
    except ValueError:
        raise NotHttp from None
