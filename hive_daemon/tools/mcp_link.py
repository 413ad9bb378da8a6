"""One MCP server of a running agent: connected, watched, and connected again when it fails.

`run` is the owner of the connection, for as long as its task lives. A failing server is degraded, with the reason; it
is tried again, later each time, and nothing else waits for it.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from hive_daemon.clock import Clock
from hive_daemon.errors import HiveError
from hive_daemon.observability.redaction import redactor
from hive_daemon.tasks import to_thread
from hive_daemon.tools.mcp_config import McpServer, McpTransport
from hive_daemon.tools.mcp_values import (
    Answer,
    OfferedTool,
    ServerSettings,
    ServerState,
    ServerUnavailable,
)

if TYPE_CHECKING:
    from hive_daemon.tools.mcp_client import Connection

logger = logging.getLogger(__name__)

_DOOR = "hive_daemon.tools.mcp_client"
_REASON_CHARS = 500


class SdkMissing(HiveError):
    """The MCP SDK is not installed: install hive-daemon with its extra `mcp`."""

    code = "mcp_missing"


class ServerLink:
    """A server, and how it is. `on_change` is called when its state, its reason or its tools changed."""

    def __init__(
        self,
        server: McpServer,
        settings: ServerSettings,
        clock: Clock,
        on_change: Callable[[ServerLink], None],
    ) -> None:
        self.server = server
        self.state = ServerState.DISABLED if server.is_disabled else ServerState.STOPPED
        self.reason = ""
        self.tools: tuple[OfferedTool, ...] = ()
        self.starts = 0
        self.settled = asyncio.Event()
        self._settings = settings
        self._clock = clock
        self._on_change = on_change
        self._connection: Connection | None = None
        self._failures = 0
        self._next_try: float | None = None
        if server.is_disabled:
            self.settled.set()

    @property
    def call_seconds(self) -> float:
        """How long one call may take."""
        return self.server.call_seconds or self._settings.call_seconds

    @property
    def retries_in_seconds(self) -> float | None:
        """How long until a degraded server is tried again."""
        if self._next_try is None:
            return None
        return max(0.0, self._next_try - self._clock.monotonic())

    @property
    def trouble(self) -> str:
        """Say why the server cannot be called; empty if it can."""
        if self.state is ServerState.READY:
            return ""
        why = f": {self.reason}" if self.reason else ""
        return f"the MCP server {self.server.name} is {self.state}{why}"

    async def run(self) -> None:
        """Keep the server connected until cancelled."""
        try:
            self._now(ServerState.STARTING)
            while True:
                began = self._clock.monotonic()
                reason = await self._hold()
                lasted = self._clock.monotonic() - began
                self._failures = (
                    1 if lasted >= self._settings.steady_seconds else self._failures + 1
                )
                await self._wait_degraded(reason)
        finally:
            self._next_try = None
            self._now(ServerState.STOPPED)

    async def call(self, name: str, inputs: dict[str, Any], call_key: str = "") -> Answer:
        """Call a tool. Raises ServerUnavailable, ServerRefused."""
        if self._connection is None:
            raise ServerUnavailable(self.trouble)
        return await self._connection.call(name, inputs, call_key)

    async def _hold(self) -> str:
        """Connect, attend to the connection until it breaks, and return why it did. A part of the first place where
        every exception is caught: nobody else would hear of it."""
        limit = self.server.connect_seconds or self._settings.connect_seconds
        watch = asyncio.timeout(limit)
        self.starts += 1
        try:
            door = await to_thread(_open_door)
            async with watch, door.connect(self.server, self._settings, self._clock) as connection:
                await self._attend(connection, watch, limit)
        except TimeoutError:
            if watch.expired():
                return f"it gave no list of its tools within {limit:g} s"
            return "it did not answer in time"
        except Exception as error:
            logger.debug("tool server failed", extra={"server": self.server.name}, exc_info=True)
            return reason_of(error)
        finally:
            self._connection = None
        return "it closed the connection"

    async def _attend(self, connection: Connection, watch: asyncio.Timeout, limit: float) -> None:
        """Ask for the tools, now and whenever there may be news of them, each time within the limit."""
        loop = asyncio.get_running_loop()
        while not connection.is_over:
            connection.news.clear()
            watch.reschedule(loop.time() + limit)
            tools = await connection.tools()
            watch.reschedule(None)
            self._connection = connection
            self._now(ServerState.READY, tools=tuple(tools))
            await connection.news.wait()

    async def _wait_degraded(self, reason: str) -> None:
        pause = self._settings.retry_seconds(self._failures)
        self._next_try = self._clock.monotonic() + pause
        self._now(ServerState.DEGRADED, reason)
        await self._clock.sleep(pause)
        self._next_try = None

    def _now(
        self, state: ServerState, reason: str = "", tools: tuple[OfferedTool, ...] | None = None
    ) -> None:
        """Take on a state and tell of it. The tools that a server had are known while it is away."""
        before = (self.state, self.reason, self.tools)
        self.state, self.reason = state, reason
        self.tools = self.tools if tools is None else tools
        if state in (ServerState.READY, ServerState.DEGRADED):
            self.settled.set()
        if (self.state, self.reason, self.tools) == before:
            return
        self._tell(before[0])
        self._on_change(self)

    def _tell(self, before: ServerState) -> None:
        told = {"server": self.server.name, "state": str(self.state), "tools": len(self.tools)}
        if self.state is ServerState.DEGRADED and before is not ServerState.DEGRADED:
            apart = f"{self.server.name} {self.reason}"
            extra = {**told, "reason": self.reason, "repeat_key": apart}
            logger.warning("tool server is degraded", extra=extra)
        elif self.state is ServerState.READY and before is not ServerState.READY:
            logger.info("tool server is ready", extra=told)


def target_of(server: McpServer) -> str:
    """Return what is started or called, for people: variables not filled in, secrets left out."""
    if server.transport is McpTransport.HTTP:
        return redactor().redact_text(server.url.partition("?")[0])
    return redactor().redact_text(" ".join((server.command, *server.args)))


def _open_door() -> Any:
    try:
        return importlib.import_module(_DOOR)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hive_daemon"):
            raise
        raise SdkMissing() from error


def reason_of(error: BaseException) -> str:
    """Return what a person is told of a failure: the innermost cause, with its kind unless it is one of ours."""
    first = next(_leaves(error))
    text = redactor().redact_head(str(first).strip(), _REASON_CHARS)
    if isinstance(first, HiveError | ServerUnavailable) and text:
        return text
    return f"{type(first).__name__}: {text}" if text else type(first).__name__


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for each in error.exceptions:
        yield from _leaves(each)
