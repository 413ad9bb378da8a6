"""Sending the traces of executions to a collector, each once it ended, from what the store has of it.

Guarantees: nothing waits for the collector; at most `MOST_WAITING` executions wait to be sent; what could not be sent
is counted and said, and stays in the store, where `hive trace` shows it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import AsyncExitStack
from typing import Protocol

from hive_daemon.config.trace_keys import TracesConfig
from hive_daemon.control.trace_view import all_events
from hive_daemon.errors import ConfigError, HiveError
from hive_daemon.observability.spans import Span, spans_of
from hive_daemon.runtime.events import ENDINGS, AgentEvent
from hive_daemon.runtime.services import Services
from hive_daemon.tasks import to_thread

logger = logging.getLogger(__name__)

MOST_WAITING = 10_000
FAREWELL_SECONDS = 3.0
"""How long the daemon waits at its end for what is still to be sent."""


class Sink(Protocol):
    """Where spans go."""

    def send(self, trace_id: str, spans: list[Span]) -> bool:
        """Send the spans of one execution, blocking; say False if nobody took them."""

    def close(self) -> None:
        """Let go of it."""


class TraceExport:
    """Sends what ends to a sink, one execution after the other. `lost` counts those that were not sent."""

    def __init__(self, services: Services, sink: Sink, *, has_content: bool) -> None:
        self._services = services
        self._sink = sink
        self._has_content = has_content
        self._waiting: deque[str] = deque()
        self._news = asyncio.Event()
        self._calm = asyncio.Event()
        self._calm.set()
        self.lost = 0

    def heard(self, event: AgentEvent) -> None:
        """Take note of an event of the hub."""
        if event.type not in ENDINGS or event.execution_id is None:
            return
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._lose("too many wait to be sent")
        self._waiting.append(event.execution_id)
        self._calm.clear()
        self._news.set()

    async def run(self) -> None:
        """Send what ends, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                await self._send(self._waiting.popleft())
            self._calm.set()

    async def close(self) -> None:
        """Wait a moment for what is to be sent, then let go of the sink."""
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._calm.wait()
        except TimeoutError:
            logger.warning("traces were not sent", extra={"executions": len(self._waiting) + 1})
        await to_thread(self._sink.close)

    async def _send(self, execution_id: str) -> None:
        store = self._services.store.executions
        try:
            row = await store.load(execution_id)
            events = await all_events(store, execution_id)
        except HiveError as error:
            self._lose(str(error))
            return
        spans = await to_thread(spans_of, row, events, has_content=self._has_content)
        if row.trace_id and not await to_thread(self._sink.send, row.trace_id, spans):
            self._lose("the collector did not take it")

    def _lose(self, reason: str) -> None:
        self.lost += 1
        logger.warning("a trace was not sent", extra={"reason": reason, "lost": self.lost})


async def send_traces(services: Services, traces: TracesConfig, stack: AsyncExitStack) -> None:
    """Send the traces of what ends from now on, if a collector is named. Raises ConfigError."""
    if traces.endpoint is None:
        return
    sink = await to_thread(otlp_sink, traces.endpoint, services.node)
    export = TraceExport(services, sink, has_content=traces.content)
    stack.push_async_callback(export.close)
    token = services.hub.listen(export.heard)
    stack.callback(services.hub.unlisten, token)
    services.scope.spawn("traces", export.run())


def otlp_sink(endpoint: str, node: str) -> Sink:
    """Return the way to a collector. Raises ConfigError if the packages for it are not installed."""
    try:
        from hive_daemon.observability.tracing import OtlpSink
    except ImportError as error:
        raise ConfigError(
            f"traces.endpoint needs a package that is not installed: {error.name}",
            hint="install it: pip install 'hive-daemon[otel]'",
        ) from error
    return OtlpSink(endpoint, node)
