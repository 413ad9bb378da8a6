"""Notices: what kept an execution from beginning, and incidents, made durable although no execution owns them.

Guarantees: whoever tells one never waits; it is published once it is durable, with its number, in the order of all
events; if the store refuses it, it is published all the same, without a number, and the refusal is logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from hive_daemon.errors import HiveError
from hive_daemon.runtime.encoding import show
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.storage.event_values import Notice
from hive_daemon.storage.ports import NoticeBoard

logger = logging.getLogger(__name__)

NOTICES = frozenset(
    {
        EventType.TRIGGER_SKIPPED,
        EventType.TRIGGER_SUPPRESSED,
        EventType.TIMER_PAUSED,
        EventType.TIMER_RESUMED,
        EventType.TIMER_DONE,
        EventType.INCIDENT_OPENED,
        EventType.INCIDENT_RESOLVED,
    }
)
"""The types that are made durable as notices."""


class Notices:
    """Tells of what did not begin. `publish` is where other events, and those that the store refuses, go."""

    def __init__(self, board: NoticeBoard, publish: Callable[[AgentEvent], None]) -> None:
        self._board = board
        self._publish = publish

    def tell(self, event: AgentEvent) -> None:
        """Make an event durable if it is a notice; publish any other at once."""
        if event.type not in NOTICES:
            self._publish(event)
            return
        posted = asyncio.ensure_future(self._board.post(_notice(event)))
        posted.add_done_callback(partial(self._posted, event))

    def _posted(self, event: AgentEvent, posted: asyncio.Future[None]) -> None:
        error = None if posted.cancelled() else posted.exception()
        if error is None:
            return
        logger.warning(
            "a notice could not be made durable",
            extra={
                "event_type": event.type.value,
                "stream_id": event.stream_id,
                "error": str(error),
            },
        )
        if isinstance(error, HiveError):
            self._publish(event)


def _notice(event: AgentEvent) -> Notice:
    return Notice(
        type=event.type.value,
        timestamp=event.timestamp.timestamp(),
        agent=event.agent or "",
        graph_id=event.graph_id or "",
        stream_id=event.stream_id,
        data=show(event.data),
        node_id=event.node_id,
        correlation_id=event.correlation_id or "",
        causation=event.causation,
    )
