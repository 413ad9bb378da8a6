"""The connection to the daemon: HTTP/1.1 over its Unix socket.

Guarantees: every answer is a JSON object or a `Failure`; a daemon that is starting is given `patience` seconds; a
request is repeated only where repeating it changes nothing, which holds for all of them, since each POST that
starts work carries an idempotency key.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import urlencode

from hive_cli.durations import monotonic, pause
from hive_cli.failures import Failure, usage
from hive_cli.http1 import Connection, NotHttp, Response
from hive_cli.render import Json
from hive_daemon.control import wire
from hive_daemon.control.wire import ErrorCode, Message, Route

ANSWER_SECONDS = 30.0
STARTING_SECONDS = 2.0
"""How long a daemon may take to come up before a command gives up."""

SILENCE_SECONDS = wire.KEEPALIVE_SECONDS * 3.0
"""An event stream without a line for so long is dead."""

_LOOK_AGAIN_SECONDS = 0.05
_MAX_SOCKET_PATH = 107

T = TypeVar("T")

Query = Mapping[str, str | int | float | Sequence[str]]


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the daemon."""

    method: str
    path: str
    query: Query = field(default_factory=dict)
    body: Json | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    answer_seconds: float = ANSWER_SECONDS

    @property
    def target(self) -> str:
        """The path with its query."""
        return f"{self.path}?{urlencode(self.query, doseq=True)}" if self.query else self.path


class Unreachable(Failure):
    """There is no daemon, or it is still starting: asking again may help."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(ErrorCode.UNREACHABLE, message, hint)


class AnswerLost(Unreachable):
    """The daemon went away after it was asked: nobody knows whether it did what it was asked."""


class AnswerLate(AnswerLost):
    """The daemon was asked and stays silent: asking once more would only add to its load."""


@dataclass(frozen=True, slots=True)
class Client:
    """Asks the daemon. `socket_path` is where it listens, None to look in the usual places."""

    socket_path: str | None = None
    patience: float = STARTING_SECONDS

    def get(self, route: Route, query: Query | None = None, **names: str) -> Json:
        """Ask for something. Raises Failure."""
        return self.ask(Request(route.method, route.path(**names), query or {}))

    def post(self, path: str, body: Json, *, key: str = "") -> Json:
        """Ask to do something; `key` makes it safe to ask twice. Raises Failure."""
        headers = {**({wire.IDEMPOTENCY_HEADER: key} if key else {}), **_trace()}
        return self.ask(Request("POST", path, body=body, headers=headers))

    def all(self, route: Route, wanted: Query | None = None) -> Json:
        """Return every page of a list as one. Raises Failure."""
        query = {**(wanted or {}), "limit": wire.PAGE_SIZE_MAX}
        page = self.get(route, query)
        items = list(page.get("items", ()))
        while cursor := page.get("next_cursor"):
            page = self.get(route, {**query, "cursor": str(cursor)})
            items += page.get("items", ())
        return {"items": items, "next_cursor": None}

    def ask(self, request: Request) -> Json:
        """Send a request and return its answer, whatever its status unless it is an error. Raises Failure."""
        return self._patiently(self._ask_once, request)

    def stream(self, request: Request, deadline: float | None = None) -> Iterator[Message]:
        """Follow an event stream until it ends or breaks off. Raises Failure, TimeoutError at the deadline."""
        request = replace(request, answer_seconds=SILENCE_SECONDS)
        connection, response = self._patiently(self._open_stream, request)
        reader = wire.MessageReader()
        with connection:
            lines = response.lines()
            while line := _next_line(connection, lines, deadline):
                message = reader.feed(line)
                if message is not None:
                    yield message

    def _patiently(self, attempt: Callable[[Request], T], request: Request) -> T:
        """Try until it works, but no longer than `patience` seconds after it first did not."""
        give_up: float | None = None
        worst: Unreachable | None = None
        while True:
            try:
                return attempt(request)
            except AnswerLate:
                raise
            except Unreachable as error:
                worst = worst if isinstance(worst, AnswerLost) else error
            now = monotonic()
            give_up = now + self.patience if give_up is None else give_up
            if now >= give_up:
                raise worst
            pause(_LOOK_AGAIN_SECONDS)

    def _ask_once(self, request: Request) -> Json:
        with self._connection(request) as connection:
            response = _exchange(connection, request)
            return _document(_content(response, request), response.status)

    def _open_stream(self, request: Request) -> tuple[Connection, Response]:
        connection = self._connection(request)
        try:
            response = _exchange(connection, request)
            if response.status < 300:
                return connection, response
            _document(_content(response, request), response.status)
            raise Failure(ErrorCode.ERROR, f"hived answered {response.status} to {request.path}")
        except BaseException:
            connection.__exit__(None, None, None)
            raise

    def _connection(self, request: Request) -> Connection:
        return Connection(self._find_socket(), request.answer_seconds)

    def _find_socket(self) -> str:
        paths = [self.socket_path] if self.socket_path else wire.sockets_to_try(os.environ)
        for path in paths:
            if os.path.exists(path):
                return _checked(path)
        raise Unreachable(
            f"hived is not running: there is no socket at {', '.join(paths)}", _START_IT
        )


_START_IT = "start it with `systemctl start hive-agent` or `hived`; another socket: --socket PATH"


def _trace() -> dict[str, str]:
    """Return the header of the trace that this program was started in, if it was: what it begins belongs to it."""
    text = os.environ.get("TRACEPARENT", "").strip()
    return {"traceparent": text} if re.fullmatch(r"[0-9a-f-]{55}", text) else {}


def _checked(path: str) -> str:
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        raise usage(
            f"the socket path {path} is longer than the {_MAX_SOCKET_PATH} bytes that a socket allows",
            "use a shorter path, or a symbolic link to its directory",
        )
    return path


def _exchange(connection: Connection, request: Request) -> Response:
    body = None if request.body is None else json.dumps(request.body).encode()
    headers = {**request.headers, **({"Content-Type": "application/json"} if body else {})}
    _connect(connection)
    try:
        return connection.ask(request.method, request.target, headers, body)
    except TimeoutError as error:
        raise AnswerLate(
            f"hived did not answer {request.path} within {request.answer_seconds:g} s",
            "it may be overloaded or stuck: look at its log",
        ) from error
    except OSError as error:
        raise _lost(request) from error
    except NotHttp as error:
        raise _not_hived(f"what listens on {connection.path}") from error


def _connect(connection: Connection) -> None:
    try:
        connection.connect()
    except PermissionError as error:
        raise Failure(
            ErrorCode.DENIED,
            f"you may not use the socket {connection.path}",
            f"ask for membership in the group that owns it: ls -l {connection.path}",
        ) from error
    except BlockingIOError as error:
        raise Unreachable(
            f"hived takes no more connections on {connection.path}", "ask again in a moment"
        ) from error
    except OSError as error:
        raise Unreachable(
            f"hived is not running: nothing listens on {connection.path}", _START_IT
        ) from error


def _content(response: Response, request: Request) -> bytes:
    try:
        return response.read()
    except OSError as error:
        raise _lost(request) from error
    except NotHttp as error:
        raise _not_hived("what answers") from error


def _lost(request: Request) -> AnswerLost:
    return AnswerLost(
        f"hived went away before it answered {request.path}",
        "ask again in a moment"
        if request.method == "GET"
        else "look with `hive executions list` before you repeat it",
    )


def _not_hived(what: str) -> Failure:
    return Failure(
        ErrorCode.UNREACHABLE,
        f"{what} is not hived",
        "name the daemon's socket with --socket PATH or HIVE_SOCKET",
    )


def _next_line(connection: Connection, lines: Iterator[bytes], deadline: float | None) -> bytes:
    """Return the next line of a stream; empty when it ended, broke off or fell silent."""
    seconds = SILENCE_SECONDS if deadline is None else deadline - monotonic()
    if seconds <= 0:
        raise TimeoutError
    connection.wait_at_most(min(seconds, SILENCE_SECONDS))
    try:
        return next(lines, b"")
    except (OSError, NotHttp):
        if deadline is not None and monotonic() >= deadline:
            raise TimeoutError from None
        return b""


def _document(content: bytes, status: int) -> Json:
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise _not_hived(f"what answers with HTTP {status} and no JSON object")
    error = document.get("error")
    if status >= 400 and isinstance(error, dict):
        raise _failure(error, status)
    return document


def _failure(error: Json, status: int) -> Failure:
    code, message = str(error.get("code", "")), str(error.get("message", ""))
    hint = str(error.get("hint") or "")
    if code == ErrorCode.STARTING:
        return Unreachable(message or "hived is still starting", hint)
    candidates = [str(candidate) for candidate in error.get("candidates") or ()]
    return Failure(code, message, hint, http_status=status, candidates=candidates)
