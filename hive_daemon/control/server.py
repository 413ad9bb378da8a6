"""The control API on the Unix socket: reads requests, answers them as docs/control-api.md says.

Guarantees: only admitted peers are answered, and none that comes from a web page; every request is answered in JSON or
as an event stream, whatever it holds; a request that was refused changed nothing; no client delays another.
"""

from __future__ import annotations

import asyncio
import logging
import re
from http import HTTPStatus

from aiohttp import HttpVersion11, web

from hive_daemon.control.body import Body
from hive_daemon.control.connections import Door, connection_limit, connection_of
from hive_daemon.control.context import Ask, Control, Endpoint
from hive_daemon.control.errors import Starting, TooLarge, error_answer, internal_error_answer
from hive_daemon.control.feed import Feed
from hive_daemon.control.host import Host, state_of
from hive_daemon.control.meter import Meter
from hive_daemon.control.once import Once
from hive_daemon.control.open_pages import OpenPages
from hive_daemon.control.peers import Admission
from hive_daemon.control.query import Query
from hive_daemon.control.session_views import SessionBook
from hive_daemon.control.socket import BACKLOG, BoundSocket, bind
from hive_daemon.control.table import ENDPOINTS, find_route
from hive_daemon.control.vitals import STARTING, Vitals
from hive_daemon.control.wire import BODY_LIMIT_BYTES, IDEMPOTENCY_HEADER, LAST_EVENT_HEADER
from hive_daemon.errors import Denied, Draining, HiveError, InvalidInput
from hive_daemon.observability.trace_context import TRACEPARENT_HEADER, continuing
from hive_daemon.runtime.lifecycle import RunState
from hive_daemon.tasks import to_thread

logger = logging.getLogger(__name__)

BODY_SECONDS = 30.0
STOP_SECONDS = 1.0
"""How long requests that are being answered may take when the control API stops: no stuck reader holds the stop up."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_KEY = re.compile(r"[!-~]{1,200}")
_FROM_WEB_PAGES = ("Origin", "Referer")


def control_over(host: Host, bound: BoundSocket) -> Control:
    """Return what routes are given: the daemon, and what the control API keeps beside it."""
    services = host.services
    return Control(
        host=host,
        feed=Feed(services.hub),
        sessions=SessionBook(host),
        once=Once(services.store.sessions, services.clock),
        vitals=Vitals(host, bound),
        meter=Meter(services.hub),
        closing=asyncio.get_running_loop().create_future(),
    )


class ControlServer:
    """Answers on the control socket while it is started. It needs the services; agents may come later."""

    def __init__(self, host: Host) -> None:
        self._host = host
        control = host.loaded.config.control
        self._admission = Admission.of(control.allow_uids, control.allow_gids)
        self._bound: BoundSocket | None = None
        self._control: Control | None = None
        self._door: Door | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises SocketTaken, an OSError whose errno is EADDRINUSE, and OSError."""
        bound = await to_thread(bind, self._host.loaded.config.socket)
        self._control = control = control_over(self._host, bound)
        door = Door(self._answer, connection_limit())
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_unix_server(door, sock=bound.socket, backlog=BACKLOG)
        except BaseException:
            bound.remove()
            bound.socket.close()
            raise
        control.feed.open()
        control.meter.open()
        self._bound, self._door = bound, door

    async def stop(self) -> None:
        """Listen no more; event streams and waits are told, other requests end within a few seconds."""
        server, door, control, bound = self._server, self._door, self._control, self._bound
        self._server = None
        if server is None or door is None or control is None or bound is None:
            return
        await to_thread(bound.remove)
        server.close()
        control.closing.set_result(None)
        door.pre_shutdown()
        await door.shutdown(STOP_SECONDS)
        control.feed.close()
        control.meter.close()

    @property
    def pages(self) -> OpenPages:
        """What the TCP port may show. Raises Starting before it listens."""
        if self._control is None:
            raise Starting("the daemon is starting")
        return OpenPages(self._control)

    # --- one request ------------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = connection_of(request)
        connection.begin()
        try:
            return await self._answer_admitted(request)
        except ConnectionError:
            raise
        except Exception as error:
            what = f"{request.method} {request.path}"
            if request.writer.output_size > 0:
                logger.error("an event stream broke off", extra={"request": what}, exc_info=error)
                raise ConnectionAbortedError("a part of the answer was sent already") from error
            if isinstance(error, HiveError):
                return self._refuse(request, error_answer(error))
            return self._refuse(request, internal_error_answer(error, what))

    @staticmethod
    def _refuse(request: web.BaseRequest, refusal: web.Response) -> web.Response:
        """Close the connection if what follows on it is the rest of a body that nobody reads."""
        if not request.content.is_eof() or refusal.status == HTTPStatus.FORBIDDEN:
            refusal.force_close()
        return refusal

    async def _answer_admitted(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = connection_of(request)
        peer = connection.who()
        self._admission.check(peer)
        _check_not_from_web_page(request)
        matched = find_route(request.method, request.rel_url.raw_path)
        endpoint, control = ENDPOINTS[matched.route], self._control
        if control is None:
            raise Starting("the daemon is starting")
        self._check_state(endpoint)
        query = Query(request.rel_url.query.items())
        query.check(endpoint.query)
        ask = Ask(
            request=request,
            connection=connection,
            peer=peer,
            names=matched.names,
            query=query,
            body=await _read_body(request, endpoint),
            key=_read_key(request) if endpoint.takes_key else "",
            last_event_id=request.headers.get(LAST_EVENT_HEADER, ""),
        )
        with continuing(request.headers.get(TRACEPARENT_HEADER, "")):
            return await endpoint.handler(control, ask)

    def _check_state(self, endpoint: Endpoint) -> None:
        if endpoint.is_always_open:
            return
        state = state_of(self._host)
        if state in STARTING:
            raise Starting("the daemon is starting", hint="ask again in a moment")
        if endpoint.starts_work and state is not RunState.RUNNING:
            raise Draining(
                "the daemon is stopping and takes no new work", hint="ask again when it is back"
            )


def _check_not_from_web_page(request: web.BaseRequest) -> None:
    """Refuse what a browser was talked into sending. Raises Denied."""
    for name in _FROM_WEB_PAGES:
        if name in request.headers:
            raise Denied(f"a request with the header {name} comes from a web page")


def _read_key(request: web.BaseRequest) -> str:
    given = request.headers.getall(IDEMPOTENCY_HEADER, [])
    if not given:
        return ""
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise InvalidInput(
            f"the header {IDEMPOTENCY_HEADER} is not valid",
            hint="send it once, with 1 to 200 visible ASCII characters",
        )
    return given[0]


async def _read_body(request: web.BaseRequest, endpoint: Endpoint) -> Body:
    """Read the body and its keys. Raises InvalidInput, TooLarge, ConnectionError."""
    body = Body.read(await _content(request))
    body.check(endpoint.keys)
    return body


async def _content(request: web.BaseRequest) -> bytes:
    if (request.content_length or 0) > BODY_LIMIT_BYTES:
        raise _too_large()
    content = request.content
    if content.is_eof() and content.at_eof():
        return b""
    await _invite(request)
    taken = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while not content.at_eof():
                taken += await content.readany()
                if len(taken) > BODY_LIMIT_BYTES:
                    raise _too_large()
    except TimeoutError:
        raise InvalidInput(f"the body did not come within {BODY_SECONDS:g} s") from None
    except web.RequestPayloadError:
        raise InvalidInput("the body is broken", hint="send one request in HTTP/1.1") from None
    return bytes(taken)


async def _invite(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send the body. Source: RFC 9110, section 10.1.1."""
    expects = request.headers.get("Expect", "").lower() == "100-continue"
    if expects and request.version >= HttpVersion11:
        await request.writer.write(_CONTINUE)
        # Or the answer that follows would be taken for the end of one that was begun.
        request.writer.output_size = 0


def _too_large() -> TooLarge:
    return TooLarge(
        f"the body is larger than {BODY_LIMIT_BYTES // 1024 // 1024} MiB",
        hint="put large things into a file, and its path into the input",
    )
