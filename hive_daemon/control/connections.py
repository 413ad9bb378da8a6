"""The connections of the control socket: how many, how long they may be silent, what they are told when it is too much.

aiohttp bounds the sizes of what it parses, but not how long a client may take nor how many there are. Laws: a client
that sends half a request is cut after ten seconds; when all places are taken, one that waits gives way, and if all
are being answered the new one is told to come back; what is not HTTP is answered as any other mistake.

Relies on aiohttp's public `web.RequestHandler`: that it is an asyncio protocol whose callbacks may be extended, that
`handle_error` makes the answer to what cannot be parsed, and that `log_exception` is where it complains.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from hive_daemon.control.errors import error_answer
from hive_daemon.control.peers import Peer, peer_of
from hive_daemon.errors import Denied, InvalidInput, Refused

logger = logging.getLogger(__name__)

HEAD_SECONDS = 10.0
"""From the connection to the end of the first request's head."""

IDLE_SECONDS = 30.0
LINGER_SECONDS = 2.0
MOST_CONNECTIONS = 512
LEAST_CONNECTIONS = 16

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def connection_limit() -> int:
    """Return how many clients there may be: at most a quarter of the descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, max(LEAST_CONNECTIONS, soft // 4))


class Door(web.Server):
    """aiohttp's server, which makes our connections and knows how many there are."""

    def __init__(self, handler: Handler, most: int) -> None:
        super().__init__(self._serve)
        self._handler = handler
        self._most = most

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
            access_log=None,
        )

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = connection_of(request)
        connection.is_busy = True
        try:
            return await self._handler(request)
        finally:
            connection.is_busy = False

    def has_room_for(self, newcomer: Connection) -> bool:
        """Say whether a connection may stay; if need be one that waits for its client gives way."""
        if len(self.connections) <= self._most:
            return True
        for other in self.connections:
            if other is not newcomer and isinstance(other, Connection) and not other.is_busy:
                other.force_close()
                return True
        return False


class Connection(web.RequestHandler):
    """One client. `gone` is done once it has left."""

    __slots__ = ("_door", "_head_timer", "gone", "is_busy", "peer")

    def __init__(self, door: Door, **options: Any) -> None:
        super().__init__(door, **options)
        self._door = door
        self._head_timer: asyncio.TimerHandle | None = None
        self.is_busy = False
        self.peer: Peer | None = None
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        try:
            self.peer = peer_of(transport.get_extra_info("socket"))
        except OSError:
            logger.debug("a client was gone before it could be asked who it is")
        if not self._door.has_room_for(self):
            self._turn_away()
            return
        loop = asyncio.get_running_loop()
        self._head_timer = loop.call_later(HEAD_SECONDS, self._cut_unless_busy)

    def _turn_away(self) -> None:
        logger.warning("a control client was turned away: all connections are in use")
        refusal = error_answer(Refused("all connections are in use", hint="try again in a moment"))
        if self.transport is not None:
            self.transport.write(_as_bytes(refusal))
        self.force_close()

    def _cut_unless_busy(self) -> None:
        self._head_timer = None
        if not self.is_busy:
            self.force_close()

    def begin(self) -> None:
        """Note that a request has come."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wake up whoever works for a client that has left."""
        if self._head_timer is not None:
            self._head_timer.cancel()
        if not self.gone.done():
            self.gone.set_result(None)
        super().connection_lost(exc)

    def who(self) -> Peer:
        """Return who is at the other end. Raises Denied if that is not known."""
        if self.peer is None:
            raise Denied("it is not known who asks")
        return self.peer

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what cannot be parsed, without repeating it."""
        if request.writer.output_size > 0:
            raise ConnectionError("a part of an answer was sent already")
        logger.debug("what came is not HTTP", extra={"reason": type(exc).__name__})
        refusal = error_answer(
            InvalidInput(
                "this is not a valid HTTP/1.1 request", hint="send one request in HTTP/1.1"
            )
        )
        refusal.force_close()
        return refusal

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Note what aiohttp complains of: only clients that misbehave, faults of our own are told elsewhere."""
        logger.debug("a control request broke off", exc_info=kw.get("exc_info"))


def connection_of(request: web.BaseRequest) -> Connection:
    """Return the connection that a request came on."""
    protocol = request.protocol
    if not isinstance(protocol, Connection):
        raise TypeError("the control socket makes no other connections")
    return protocol


def _as_bytes(answer: web.Response) -> bytes:
    """Write a whole answer for a connection on which no request was read."""
    body = answer.body if isinstance(answer.body, bytes) else b""
    lines = [
        f"HTTP/1.1 {answer.status} {answer.reason}",
        *(f"{name}: {value}" for name, value in answer.headers.items()),
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
