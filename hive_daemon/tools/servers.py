"""The MCP servers of an agent, running: started together, watched one by one, stopped together.

Loading an agent starts nothing. Whoever runs the agent enters `ToolServers` around its run:

    async with ToolServers(registry):
        ...

Then the tools of the servers are in the registry, those of a server that is away unavailable. A server that fails never
makes the start fail, and no run of the agent waits for one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.observability.trace_context import reset_trace_context, set_trace_context
from hive_daemon.tasks import Scope, to_thread
from hive_daemon.tools.mcp_config import McpServer, read_mcp_config
from hive_daemon.tools.mcp_link import ServerLink, target_of
from hive_daemon.tools.mcp_process import STOP_SECONDS
from hive_daemon.tools.mcp_tools import entries_of
from hive_daemon.tools.mcp_values import ServerSettings, ServerState, ServerView, ToolView
from hive_daemon.tools.registry import OwnedExecutor, ToolRegistry

logger = logging.getLogger(__name__)

DEFAULTS = ServerSettings()


class ToolServers:
    """The servers that a registry declares, and their tools in it.

    Laws: `start` returns within `settle_seconds` and raises nothing of a server's; after `stop` none of their processes
    is left; both may be called again. What is logged of them names the agent.
    """

    def __init__(
        self,
        registry: ToolRegistry,
        settings: ServerSettings = DEFAULTS,
        *,
        clock: Clock = SYSTEM_CLOCK,
        agent: str = "",
    ) -> None:
        self._told = {"agent": agent} if agent else {}
        self._registry = registry
        self._settings = settings
        self._clock = clock
        self._links: list[ServerLink] = []
        self._scope = Scope("mcp servers")

    async def start(self) -> None:
        """Start the declared servers, and wait a little for their tools."""
        if self._links:
            return
        self._links = [
            ServerLink(server, self._settings, self._clock, self._changed)
            for server in self._registry.mcp_servers
        ]
        started = [link for link in self._links if link.state is not ServerState.DISABLED]
        token = set_trace_context(**self._told)
        for link in started:
            self._scope.spawn(link.server.name, link.run())
        reset_trace_context(token)
        await self.settled(self._settings.settle_seconds)

    async def settled(self, seconds: float) -> bool:
        """Wait until every server is ready or degraded; say whether that came in time."""
        try:
            async with asyncio.timeout(seconds):
                for link in self._links:
                    await link.settled.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Stop the servers; what came of their processes is gone afterwards."""
        late = await self._scope.close(STOP_SECONDS + 1.0)
        if late:
            logger.warning("tool servers did not stop in time", extra={**self._told, "tasks": late})
        self._links = []

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await asyncio.shield(self.stop())
            raise
        return self

    async def __aexit__(self, *_failure: object) -> None:
        await asyncio.shield(self.stop())

    def views(self) -> list[ServerView]:
        """Return how the servers are; those of an agent that does not run are stopped."""
        if self._links:
            return [_view(link, self._registry) for link in self._links]
        return [_idle_view(server) for server in self._registry.mcp_servers]

    def _changed(self, changed: ServerLink) -> None:
        # All of them: a name that one server drops may be another's.
        for link in self._links:
            held = self._registry.take_from_server(link.server.name, entries_of(link))
            if held and link is changed and link.state is ServerState.READY:
                told = {"server": link.server.name, "tools": held}
                logger.warning("tools of a server have the names of others", extra=told)
        self._registry.explain_expected(_why_missing(self._links))


def servers_of(
    executor: object, settings: ServerSettings = DEFAULTS, *, agent: str = ""
) -> ToolServers | None:
    """Return the servers behind what runs an agent's tools, to be started with the agent; None if there are none."""
    if isinstance(executor, OwnedExecutor) and executor.registry.mcp_servers:
        return ToolServers(executor.registry, settings, agent=agent)
    return None


async def probe(
    servers: Sequence[McpServer],
    settings: ServerSettings = DEFAULTS,
    *,
    clock: Clock = SYSTEM_CLOCK,
) -> list[ServerView]:
    """Start servers, ask for their tools, stop them again; return how each was then, ready or degraded."""
    registry = ToolRegistry(clock=clock)
    registry.note_servers(servers)
    running = ToolServers(registry, settings, clock=clock)
    async with running:
        longest = [server.connect_seconds or settings.connect_seconds for server in servers]
        await running.settled(max(longest, default=0.0) + STOP_SECONDS)
        return running.views()


async def probe_file(
    path: Path, names: Iterable[str] = (), settings: ServerSettings = DEFAULTS
) -> list[ServerView]:
    """Probe the servers of a `mcp_servers.json`, all of them unless names are given. Raises ConfigError."""
    servers = await to_thread(read_mcp_config, path)
    wanted = set(names) or {server.name for server in servers}
    return await probe([server for server in servers if server.name in wanted], settings)


def _why_missing(links: Iterable[ServerLink]) -> str:
    """Say why a tool that nodes ask for is not there: no server offers it, or one that might is away."""
    away = [link.trouble for link in links if link.trouble]
    if away:
        return "; ".join(away)
    names = ", ".join(link.server.name for link in links)
    return f"none of the MCP servers offers it ({names})"


def _view(link: ServerLink, registry: ToolRegistry) -> ServerView:
    name = link.server.name
    tools = [
        ToolView(
            tool.name,
            tool.description,
            registry.server_of(tool.name) == name,
            not link.server.offers(tool.name),
        )
        for tool in link.tools
    ]
    return ServerView(
        name,
        str(link.server.transport),
        target_of(link.server),
        link.state,
        link.reason,
        tuple(tools),
        link.starts,
        link.retries_in_seconds,
    )


def _idle_view(server: McpServer) -> ServerView:
    state = ServerState.DISABLED if server.is_disabled else ServerState.STOPPED
    return ServerView(server.name, str(server.transport), target_of(server), state)
