"""`/v1/logs`: what the daemon itself said."""

from __future__ import annotations

import logging
from enum import StrEnum

from aiohttp import web

from hive_daemon.control.answers import HEADERS
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.log_tail import LogSource, LogTail
from hive_daemon.control.references import find_execution
from hive_daemon.control.streams import MOST_LAST, MOST_SEQ, Reader, read_event_id, read_moment
from hive_daemon.control.tail import Ends
from hive_daemon.control.wire import Until
from hive_daemon.errors import InvalidInput
from hive_daemon.observability.log_ring import LogChoice, log_ring

PARAMETERS = ("after", "last", "since", "until", "level", "execution_id")


class LogLevel(StrEnum):
    """How urgent a line is at least."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


async def stream_logs(control: Control, ask: Ask) -> web.StreamResponse:
    """Stream the newest lines of the daemon's log, and those that come."""
    source = await _source(control, ask)
    response = web.StreamResponse(headers=HEADERS)
    response.content_type = "text/event-stream"
    await response.prepare(ask.request)
    ends = Ends(control.closing, ask.connection.gone)
    await LogTail(log_ring(), source, ends, Reader(ask.request, response)).run()
    return response


async def _source(control: Control, ask: Ask) -> LogSource:
    query, execution_id = ask.query, ""
    reference = query.one("execution_id")
    if reference is not None:
        execution_id = (await find_execution(control.store.executions, reference)).execution_id
    until = query.choice("until", Until.NEVER)
    if until is Until.SETTLED:
        raise InvalidInput(
            "until=settled is for the events of one session", hint="caught_up or never"
        )
    level = query.choice("level", LogLevel.DEBUG)
    after = query.whole("after", 0, MOST_SEQ)
    return LogSource(
        LogChoice(
            execution_id,
            logging.NOTSET
            if query.one("level") is None
            else logging.getLevelNamesMapping()[level.upper()],
            read_moment(query.one("since")),
        ),
        read_event_id(ask.last_event_id) if ask.last_event_id else after or 0,
        query.whole("last", 0, MOST_LAST),
        until,
    )
