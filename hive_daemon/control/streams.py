"""Answering with an event stream: what the request asks for, and the way to the reader."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from aiohttp import HttpVersion11, web

from hive_daemon.control.answers import HEADERS, Json
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.feed import Wanted
from hive_daemon.control.query import Query, shown
from hive_daemon.control.selection import Selection
from hive_daemon.control.tail import Ends, Lagged, Source, Start, Tail
from hive_daemon.control.wire import LAST_EVENT_HEADER, Until
from hive_daemon.errors import InvalidInput

PARAMETERS = ("after", "last", "since", "until", "live")
MOST_SEQ = 10**18 - 1
MOST_LAST = 10_000

STALL_SECONDS = 30.0
"""A reader that takes nothing for so long is sent away."""

FAREWELL_SECONDS = 30.0
"""How long it may then take to read what is under way."""

Settled = Callable[[], Awaitable[Json | None]]


class Reader:
    """The way to a reader: waits for a slow one, gives up on one that stands still."""

    def __init__(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        self._transport = request.transport
        self._is_chunked = request.version >= HttpVersion11
        self._response = response

    async def send(self, content: bytes) -> None:
        """Send, and wait while the reader is slow. Raises Lagged, ConnectionError."""
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self._response.write(content)
        except TimeoutError:
            raise Lagged from None

    def leave(self, content: bytes) -> None:
        """Send a last word behind what the reader has not taken yet, and close once it has, or soon anyway."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._is_chunked:
            content = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
        transport.write(content)
        transport.close()
        asyncio.get_running_loop().call_later(FAREWELL_SECONDS, transport.abort)


async def answer_stream(
    control: Control,
    ask: Ask,
    selection: Selection,
    watched: tuple[str, ...],
    settled: Settled | None = None,
) -> web.StreamResponse:
    """Answer with the events of a selection, from where and until when the request says. Raises InvalidInput."""
    source = read_source(ask.query, ask.last_event_id, selection, watched, settled)
    response = web.StreamResponse(headers=HEADERS)
    response.content_type = "text/event-stream"
    await response.prepare(ask.request)
    tail = Tail(
        control.store.executions,
        control.feed,
        source,
        Ends(control.closing, ask.connection.gone),
        Reader(ask.request, response),
    )
    await tail.run()
    return response


def read_source(
    query: Query,
    last_event_id: str,
    selection: Selection,
    watched: tuple[str, ...] = (),
    settled: Settled | None = None,
) -> Source:
    """Return what a request for a stream asks for. Raises InvalidInput."""
    until = query.choice("until", Until.NEVER)
    if until is Until.SETTLED and settled is None:
        raise InvalidInput(
            "until=settled is for the events of one session",
            hint="ask for /v1/sessions/{session}/events",
        )
    has_live = query.flag("live", True) and selection.wants_live
    after = query.whole("after", 0, MOST_SEQ)
    last = query.whole("last", 0, MOST_LAST)
    since = read_moment(query.one("since"))
    if last_event_id:
        after = read_event_id(last_event_id)
    return Source(
        Wanted(selection, has_live),
        _start(after, since, last),
        until,
        watched if has_live else (),
        settled,
    )


def _start(after: int | None, since: float | None, last: int | None) -> Start:
    """Return where to begin: a number says it best."""
    return Start(after) if after is not None else Start(last=last, since=since)


def read_moment(text: str | None) -> float | None:
    """Read the time to begin at, as wall seconds. Raises InvalidInput for one that is none, or has no zone."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInput(
            f"the query parameter since is {shown(text)}",
            hint="it is a time with its zone, as 2026-03-02T09:00:00Z",
        )
    return moment.timestamp()


def read_event_id(text: str) -> int:
    """Read the header that says which event was seen last. Raises InvalidInput."""
    if not text.isascii() or not text.isdecimal() or int(text[:20]) > MOST_SEQ:
        raise InvalidInput(
            f"the header {LAST_EVENT_HEADER} is not the id of an event",
            hint="send back the last id: that the stream gave",
        )
    return int(text)
