"""Sending the traces of executions to a collector, each once it ended, from what the store has of it.

Guarantees: nothing waits for the collector; what it did not take is counted and said, and stays in the store, where
`hive trace` shows it. How far this process came is in the file `MARKER`: what ended before a crash and was not sent is
sent by the next one, and at most `PAGE` executions are sent twice.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import orjson

from hive_daemon.config.trace_keys import TracesConfig
from hive_daemon.control.trace_view import all_events
from hive_daemon.errors import ConfigError, HiveError, StorageError
from hive_daemon.observability.spans import Span, spans_of
from hive_daemon.runtime.events import ENDINGS, AgentEvent
from hive_daemon.runtime.services import Services
from hive_daemon.storage.files import read_file, replace_file
from hive_daemon.storage.values import EventFilter
from hive_daemon.tasks import to_thread

logger = logging.getLogger(__name__)

MARKER = "traces.json"
"""Names, in the state directory, the event up to which every execution that ended was sent, or told of as lost."""

PAGE = 100
FAREWELL_SECONDS = 3.0
"""How long the daemon waits at its end for what is still to be sent."""

_TYPES = tuple(sorted(ENDINGS))


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
        self._marker = services.settings.state_dir / MARKER
        self._sent_up_to = 0
        self._news = asyncio.Event()
        self._calm = asyncio.Event()
        self._calm.set()
        self.lost = 0

    async def begin(self) -> None:
        """Learn how far the last process came; where none sent anything, what ended before stays unsent."""
        newest = await self._services.store.executions.history(EventFilter(limit=1, newest=True))
        last = newest[0].seq if newest else 0
        noted = await to_thread(_read_marker, self._marker)
        # A marker from beyond the end is that of another store.
        self._sent_up_to = last if noted is None or noted > last else noted
        await self._note()
        self._wake()

    def heard(self, event: AgentEvent) -> None:
        """Take note of an event of the hub."""
        if event.type in ENDINGS and event.seq is not None:
            self._wake()

    def _wake(self) -> None:
        self._calm.clear()
        self._news.set()

    async def run(self) -> None:
        """Send what ended, whenever something did, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self._send_all()
            if not self._news.is_set():
                self._calm.set()

    async def close(self) -> None:
        """Wait a moment for what is to be sent, then let go of the sink."""
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._calm.wait()
        except TimeoutError:
            logger.warning("traces are still to be sent: the next start goes on")
        await self._note()
        await to_thread(self._sink.close)

    async def _send_all(self) -> None:
        """Send what ended since, as the store has it."""
        store = self._services.store.executions
        try:
            while page := await store.history(
                EventFilter(after_seq=self._sent_up_to, types=_TYPES, limit=PAGE)
            ):
                for event in page:
                    await self._send(event.execution_id)
                    self._sent_up_to = event.seq
                await self._note()
        except StorageError as error:
            logger.warning("traces are sent later", extra={"error": str(error)})

    async def _note(self) -> None:
        try:
            await to_thread(replace_file, self._marker, orjson.dumps({"seq": self._sent_up_to}))
        except StorageError as error:
            logger.warning("how far traces were sent is not noted", extra={"error": str(error)})

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
    """Send the traces of what ends from now on, if a collector is named. Raises ConfigError.

    While none is named nothing is kept for later.
    """
    if traces.endpoint is None:
        await to_thread((services.settings.state_dir / MARKER).unlink, missing_ok=True)
        return
    sink = await to_thread(otlp_sink, traces.endpoint, services.node)
    export = TraceExport(services, sink, has_content=traces.content)
    await export.begin()
    stack.push_async_callback(export.close)
    token = services.hub.listen(export.heard)
    stack.callback(services.hub.unlisten, token)
    services.scope.spawn("traces", export.run())


def _read_marker(path: Path) -> int | None:
    try:
        return int(orjson.loads(read_file(path) or b"")["seq"])
    except (ValueError, KeyError, TypeError):
        return None


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
