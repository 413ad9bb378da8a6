"""One TCP listener: aiohttp's parser and answers, with the limits that it leaves to us.

Guarantees: every request is answered in JSON or its connection is closed; time, bytes and connections are bounded
(`ListenerLimits`); an answer says nothing about versions, paths or causes; one request cannot fill the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from ipaddress import ip_address

from aiohttp import HttpVersion10, HttpVersion11, StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage

from hive_daemon.http.acceptor import Acceptor, bind
from hive_daemon.http.answers import SERVER, RequestRefused, json_answer
from hive_daemon.http.connection import Connection, Connections, connection_of
from hive_daemon.http.limits import ListenerLimits

__all__ = ["Handler", "Listener", "ListenerLimits", "json_answer"]

logger = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

STOP_SECONDS = 10.0
LAST_SECONDS = 0.1


class Listener:
    """Listens on one address and hands every request to one handler.

    The handler may raise RequestRefused. An answer that it sends itself, in pieces, must carry its own `Server` header.
    """

    def __init__(self, host: str, port: int, limits: ListenerLimits | None = None) -> None:
        self._host = host
        self._port = port
        self._limits = limits or ListenerLimits()
        self._connections = Connections(self._limits.connections)
        self._acceptor: Acceptor | None = None
        self._server: _Server | None = None

    @property
    def port(self) -> int | None:
        """The port it really listens on, None when it does not."""
        return self._acceptor.port if self._acceptor else None

    @property
    def address(self) -> tuple[str, int] | None:
        """The numeric address it really listens on, None when it does not."""
        return (self._acceptor.host, self._acceptor.port) if self._acceptor else None

    @property
    def is_loopback(self) -> bool:
        """Whether it listens, and only this machine can reach it."""
        return self._acceptor is not None and ip_address(self._acceptor.host).is_loopback

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def start(self, handler: Handler) -> None:
        """Listen. Raises OSError; its errno is EADDRINUSE if the address is taken."""
        listening = await bind(self._host, self._port)
        self._server = _Server(handler, self._connections, self._limits)
        self._acceptor = Acceptor(listening, self._connections, self._server)

    async def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """Listen no more, let requests that are being answered end within the grace, close everything.

        A request that has not arrived whole is answered 503, or its connection is closed.
        """
        acceptor, self._acceptor = self._acceptor, None
        server, self._server = self._server, None
        if acceptor is None or server is None:
            return
        await acceptor.close()
        self._connections.stop()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._connections.wait_closed()
        except TimeoutError:
            logger.warning("requests were cut off", extra={"open": len(self._connections)})
        finally:
            await server.shutdown(LAST_SECONDS)
            self._connections.cut()
        await self._connections.wait_closed()


class _Server(web.Server):
    """aiohttp's server, which makes our connections and calls the handler within bounds."""

    def __init__(self, handler: Handler, connections: Connections, limits: ListenerLimits) -> None:
        super().__init__(self._serve, request_factory=self._begin)
        self._handler = handler
        self._table = connections
        self._limits = limits

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        limits = self._limits
        return Connection(
            self,
            self._table,
            limits,
            # Ours come first; should one be missed, this is the end.
            keepalive_timeout=limits.idle_seconds + limits.head_seconds,
            lingering_time=limits.linger_seconds,
            auto_decompress=False,
            access_log=None,
        )

    def _begin(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        connection_of(protocol).begin_request(payload)
        return web.BaseRequest(
            message,
            payload,
            protocol,
            writer,
            task,
            asyncio.get_running_loop(),
            client_max_size=self._limits.max_body,
        )

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            answer = await self._answer(request)
        finally:
            connection_of(request.protocol).end_request()
        if not answer.prepared:
            answer.headers.setdefault("Server", SERVER)
        return answer

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            _check_framing(request)
            return await self._handler(request)
        except RequestRefused as refusal:
            return refusal.answer()
        except ConnectionError:
            raise
        except Exception:
            logger.exception("a request failed", extra={"method": request.method})
            return json_answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "Internal error"})


def _check_framing(request: web.BaseRequest) -> None:
    """Refuse what aiohttp lets pass although another reader may see other requests in it.

    Source: RFC 9112, section 6.1. Raises RequestRefused.
    """
    coding = request.headers.get("Transfer-Encoding")
    if request.version < HttpVersion10 or (
        coding is not None and (coding.lower() != "chunked" or request.version < HttpVersion11)
    ):
        raise RequestRefused(HTTPStatus.BAD_REQUEST, HTTPStatus.BAD_REQUEST.phrase)
