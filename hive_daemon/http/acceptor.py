"""The listening socket: one address, and as many connections as there are descriptors for.

Laws: no more connections are open than allowed, plus those of one burst that are just being closed; when all places are
taken the connection that waits longest gives way, and if all are being answered the new one is told to come back; a
lack of descriptors costs a second's rest, not a spinning loop.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from http import HTTPStatus

from hive_daemon.http.answers import bare_answer
from hive_daemon.http.connection import RETRY_SECONDS, Connection, Connections
from hive_daemon.http.limits import BACKLOG, BURST
from hive_daemon.tasks import Scope

logger = logging.getLogger(__name__)

REST_SECONDS = 1.0

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_FULL = bare_answer(HTTPStatus.SERVICE_UNAVAILABLE, retry_after=RETRY_SECONDS)


async def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens on the address; of a name with several, on the first IPv4 one, if there is one.

    Raises OSError with the system's errno and a sentence that names the address.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
    )
    family, kind, protocol, _, address = min(found, key=_is_not_ip4)
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setblocking(False)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        message = f"cannot listen on {host} port {port}: {error.strerror}"
        raise OSError(error.errno, message) from error
    return made


def _is_not_ip4(found: tuple[socket.AddressFamily, *tuple[object, ...]]) -> bool:
    return found[0] != socket.AF_INET


class Acceptor:
    """Takes connections from a listening socket, which it owns."""

    def __init__(
        self,
        listening: socket.socket,
        connections: Connections,
        make_connection: Callable[[], Connection],
    ) -> None:
        self.host, self.port = listening.getsockname()[:2]
        self._listening = listening
        self._connections = connections
        self._make_connection = make_connection
        self._loop = asyncio.get_running_loop()
        self._scope = Scope("connections")
        self._rest: asyncio.TimerHandle | None = None
        self._loop.add_reader(listening, self._accept)

    async def close(self) -> None:
        """Take no more connections."""
        if self._rest is not None:
            self._rest.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()
        await self._scope.drain(None)

    def _accept(self) -> None:
        for _ in range(BURST):
            try:
                accepted, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._take_a_rest(error)
                return
            accepted.setblocking(False)
            self._place(accepted)

    def _place(self, accepted: socket.socket) -> None:
        if self._connections.is_full:
            logger.warning("all connections are taken", extra={"open": len(self._connections)})
            if not self._connections.make_room():
                _turn_away(accepted)
                return
        connection = self._make_connection()
        self._connections.add(connection)
        self._scope.spawn("connect", self._connect(connection, accepted))

    async def _connect(self, connection: Connection, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError:
            # The peer is gone again.
            self._connections.remove(connection)
            accepted.close()

    def _take_a_rest(self, error: OSError) -> None:
        """Accept nothing for a second: the loop would only be told the same again, at once."""
        logger.error("connections cannot be accepted", extra={"reason": error.strerror})
        if error.errno in _EXHAUSTED:
            self._connections.make_room()
        self._loop.remove_reader(self._listening)
        self._rest = self._loop.call_later(
            REST_SECONDS, self._loop.add_reader, self._listening, self._accept
        )


def _turn_away(accepted: socket.socket) -> None:
    try:
        accepted.send(_FULL)
    except OSError:
        # It is closed either way.
        logger.debug("a connection was gone before it was turned away")
    finally:
        accepted.close()
