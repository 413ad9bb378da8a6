"""One TCP connection, and all that are open: what each waits for, how long it may, and which goes first.

aiohttp bounds the sizes of what it parses, but not how long a sender may take. So each connection has one deadline
at a time, by what it waits for; while the daemon itself is at work on an answer there is none. Laws:
- a connection that waits is cut when its time is over, however many bytes it dripped meanwhile;
- the head of a request is at most 64 KiB;
- of a body that nobody reads at most 256 KiB are taken, for at most `linger_seconds`;
- a connection whose request has arrived whole and is being answered is never cut to make room.

Relies on aiohttp's public `web.RequestHandler`: that it is an asyncio protocol whose callbacks may be extended, that
`handle_error` makes the answer to what cannot be parsed, and that `log_exception` is where it complains.
"""

from __future__ import annotations

import asyncio
import logging
import math
from enum import Enum
from http import HTTPStatus
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.http import HttpProcessingError

from hive_daemon.http.answers import RequestRefused, bare_answer, json_answer
from hive_daemon.http.limits import ListenerLimits

logger = logging.getLogger(__name__)

MAX_HEAD = 65_536
MAX_UNREAD = 262_144
RETRY_SECONDS = 5

_FAULTS_OF_SENDERS = (
    HttpProcessingError,
    web.RequestPayloadError,
    web.PayloadAccessError,
    OSError,  # with it ConnectionError, and TimeoutError: `BodyCut`
)


class Phase(Enum):
    """What a connection waits for."""

    FIRST = "the first byte"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    ANSWER = "the daemon's answer"
    LINGER = "the end of a body that nobody reads"
    IDLE = "the next request"


class BodyCut(TimeoutError):
    """The rest of the body will not be waited for. What is read of it raises this."""

    # aiohttp drains what is left of a body after the answer, and takes a TimeoutError as the end of it.

    def __init__(self, refusal: RequestRefused) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class Connections:
    """All open connections of a listener, and in which order those that wait began to."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}
        self._none_open = asyncio.Event()
        self._none_open.set()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """Whether one more is one too many."""
        return len(self._open) >= self._most

    def add(self, connection: Connection) -> None:
        """Count a connection from now on."""
        self._open.add(connection)
        self._none_open.clear()

    def remove(self, connection: Connection) -> None:
        """Count a connection no more."""
        self._waiting.pop(connection, None)
        self._open.discard(connection)
        if not self._open:
            self._none_open.set()

    def waits(self, connection: Connection) -> None:
        """Note that a connection waits for its peer from now on."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = None

    def answers(self, connection: Connection) -> None:
        """Note that a connection waits for the daemon."""
        self._waiting.pop(connection, None)

    def make_room(self) -> bool:
        """Cut the connection that waits longest; say whether there was one."""
        oldest = next(iter(self._waiting), None)
        if oldest is None:
            return False
        del self._waiting[oldest]
        oldest.cut()
        return True

    def stop(self) -> None:
        """Close what waits; what is being answered is closed when it was."""
        for connection in tuple(self._open):
            connection.stop()

    def cut(self) -> None:
        """Close everything at once."""
        for connection in tuple(self._open):
            connection.cut()

    async def wait_closed(self) -> None:
        """Return when no connection is open."""
        await self._none_open.wait()


class Connection(web.RequestHandler):
    """One connection: aiohttp's protocol, with deadlines."""

    __slots__ = (
        "_connections",
        "_deadline",
        "_limits",
        "_payload",
        "_phase",
        "_read",
        "_time",
        "_timer",
        "_timer_at",
        "_wire",
    )

    def __init__(
        self, server: web.Server, connections: Connections, limits: ListenerLimits, **options: Any
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, **options)
        self._connections = connections
        self._limits = limits
        self._time = loop.time
        self._phase = Phase.FIRST
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._payload: StreamReader | None = None
        self._read = 0
        self._wire: asyncio.Transport | None = None

    # --- the peer ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wire = self.transport
        self._wait(Phase.FIRST, self._limits.head_seconds)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wait for nothing any more."""
        self._wire = None
        self._connections.remove(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, within what the phase allows."""
        if data and self._phase is not Phase.ANSWER and self._phase is not Phase.BODY:
            self._heard(len(data))
        super().data_received(data)
        if self._read > MAX_HEAD and self._phase is Phase.HEAD:
            # These may be bytes of a body. The request that they belong to is begun before this is called.
            asyncio.get_running_loop().call_soon(self._look_at_head)

    def _heard(self, size: int) -> None:
        if self._phase is Phase.LINGER:
            self._read += size
            if self._read > MAX_UNREAD:
                self.force_close()
            return
        if self._phase is Phase.IDLE:
            self._wait(Phase.HEAD, self._limits.head_seconds)
        self._phase = Phase.HEAD
        self._read += size

    def _look_at_head(self) -> None:
        if self._phase is Phase.HEAD:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    # --- the request ------------------------------------------------------------------------

    def begin_request(self, payload: StreamReader) -> None:
        """Note that the head of a request is complete and its answer is begun."""
        self._payload = payload
        if payload.is_eof():
            self._answer()
        else:
            self._wait(Phase.BODY, self._limits.body_seconds)
            payload.on_eof(self._body_ended)

    def allow_body(self, seconds: float) -> None:
        """Let the body take so long, counted from the end of the head, in place of `body_seconds`."""
        if self._phase is not Phase.BODY:
            return
        self._deadline += seconds - self._limits.body_seconds
        if self._deadline < self._timer_at:
            self._arm()

    def _body_ended(self) -> None:
        if self._phase is Phase.BODY:
            self._answer()
        elif self._phase is Phase.LINGER:
            self._wait(Phase.IDLE, self._limits.idle_seconds)

    def end_request(self) -> None:
        """Note that the answer is there, and about to be sent."""
        if self._phase is Phase.BODY:
            self._wait(Phase.LINGER, self._limits.linger_seconds)
        elif self._phase is Phase.ANSWER:
            self._wait(Phase.IDLE, self._limits.idle_seconds)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what cannot be parsed, without telling why: the reason would repeat the sender's bytes."""
        self.end_request()
        if request.writer.output_size > 0:
            raise ConnectionError("a part of an answer was sent already")
        _note("a request could not be read", exc)
        answer = json_answer(status, {"error": HTTPStatus(status).phrase})
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Note what aiohttp complains of."""
        _note("a request was broken off", kw.get("exc_info"))

    # --- the deadline -----------------------------------------------------------------------

    def _answer(self) -> None:
        self._phase = Phase.ANSWER
        self._deadline = math.inf
        self._connections.answers(self)

    def _wait(self, phase: Phase, seconds: float) -> None:
        if self._wire is None:
            return
        self._phase = phase
        self._read = 0
        self._connections.waits(self)
        self._deadline = self._time() + seconds
        if self._timer is None or self._deadline < self._timer_at:
            self._arm()

    def _arm(self) -> None:
        # One timer is left running over many requests; it looks at the deadline when it goes off.
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = asyncio.get_running_loop().call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._time() >= self._deadline:
            self._expire()
        elif self._deadline < math.inf:
            self._arm()

    def _expire(self) -> None:
        self._deadline = math.inf
        if self._phase is Phase.HEAD:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif self._phase is Phase.BODY:
            self._cut_body(HTTPStatus.REQUEST_TIMEOUT, "The request took too long", 0)
        else:
            self.cut()

    # --- the end ----------------------------------------------------------------------------

    def stop(self) -> None:
        """Close it, when the request that is being answered has been; what has not arrived is not waited for."""
        if self._phase is Phase.BODY:
            self._cut_body(HTTPStatus.SERVICE_UNAVAILABLE, "The server is stopping", RETRY_SECONDS)
        if self._phase in (Phase.BODY, Phase.ANSWER):
            self.close()
        else:
            self.force_close()

    def cut(self) -> None:
        """Close it at once, whatever has not been sent."""
        if self._payload is not None:
            self._payload.set_exception(ConnectionAbortedError("the connection was cut"))
        self.force_close()
        if self._wire is not None:
            self._wire.abort()

    def _cut_body(self, status: HTTPStatus, message: str, retry_after: int) -> None:
        if self._payload is not None:
            refusal = RequestRefused(status, message, retry_after=retry_after)
            self._payload.set_exception(BodyCut(refusal))

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer a request whose head never came; if even that cannot be sent, the connection is cut."""
        wire = self._wire
        if wire is not None and not wire.is_closing():
            wire.write(bare_answer(status))
        self.force_close()
        self._wait(Phase.LINGER, self._limits.linger_seconds)


def connection_of(protocol: web.RequestHandler) -> Connection:
    """Return the connection that a request came on. Raises TypeError for one of another server."""
    if not isinstance(protocol, Connection):
        raise TypeError("the listener makes no other connections")
    return protocol


def _note(message: str, error: BaseException | None) -> None:
    """Log a fault: of a sender for debugging only, so that nobody can fill the log; of ours as an error."""
    if isinstance(error, _FAULTS_OF_SENDERS):
        logger.debug(message, extra={"reason": type(error).__name__})
    else:
        logger.error(message, exc_info=error)
