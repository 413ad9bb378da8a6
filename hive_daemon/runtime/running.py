"""What is open while a runtime runs, and the order in which it opens and closes."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hive_daemon.budgets.rules import Budgets
from hive_daemon.budgets.written import Unpriced
from hive_daemon.graph.topology import EVENT_KEY
from hive_daemon.runtime.event_log import EventLog
from hive_daemon.runtime.events import LIVE, AgentEvent, EventType
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.graph_host import GraphHost
from hive_daemon.runtime.hub import STOPS
from hive_daemon.runtime.notices import Notices
from hive_daemon.runtime.opened_services import open_services
from hive_daemon.runtime.routing import EventRouter
from hive_daemon.runtime.runtime_config import Placement
from hive_daemon.runtime.services import Services, ServiceSettings, begin_work, take_over
from hive_daemon.runtime.spawning import EventSpawner
from hive_daemon.runtime.timers import RuntimeTimers, TimerDesk
from hive_daemon.runtime.triggers.zones import read_zone
from hive_daemon.tasks import to_thread
from hive_daemon.tools.servers import ToolServers, servers_of

if TYPE_CHECKING:
    from hive_daemon.runtime.agent_runtime import AgentRuntime
    from hive_daemon.runtime.webhook_server import WebhookServer

logger = logging.getLogger(__name__)

INTERRUPT_SECONDS = 3.5
"""How long cancelled work may take to return; the daemon's stop allows a little more, for what is left to write."""


@dataclass(slots=True)
class Running:
    """The open parts of one runtime."""

    runtime: AgentRuntime
    services: Services
    spawner: EventSpawner
    timers: RuntimeTimers
    notices: Notices
    webhooks: WebhookServer | None = None
    servers: ToolServers | None = None

    # --- graphs -----------------------------------------------------------------------------

    async def open_streams(self, host: GraphHost) -> None:
        """Make the streams of a graph and let them be claimed for."""
        for stream in host.open_streams(self.services, self.spawner):
            await stream.start()
            self._tell(EventType.STREAM_STARTED, stream, host)

    async def close_streams(self, hosts: Iterable[GraphHost]) -> None:
        """Put away what graphs run, all at the same time, and let go of their streams. Idempotent."""
        closing = list(hosts)
        streams = [(host, stream) for host in closing for stream in host.streams.values()]
        for _, stream in streams:
            stream.close()
            stream.hurry()
        alive = await asyncio.gather(*(s.interrupt(INTERRUPT_SECONDS) for _, s in streams))
        stubborn = [name for names in alive for name in names]
        if stubborn:
            logger.error("tasks did not stop in time", extra={"tasks": stubborn})
        await self.services.hub.flush()
        for host, stream in streams:
            self.services.dispatcher.forget(stream.lane)
            self._tell(EventType.STREAM_STOPPED, stream, host)
        for host in closing:
            host.forget_streams()

    async def mount(self, host: GraphHost) -> None:
        """Bring a further graph to life: streams, events, timers; all or nothing."""
        await self.runtime.state_manager.load([host.stream_name(name) for name in host.specs])
        try:
            await self.open_streams(host)
            self.route(self.runtime.hosts)
            await self.timers.add(host)
        except BaseException:
            await self.unmount(host)
            raise

    async def unmount(self, host: GraphHost) -> None:
        """Take a graph out: timers, events, and what it runs is put away."""
        await self.timers.remove(host)
        self.route(other for other in self.runtime.hosts if other is not host)
        await self.close_streams([host])

    def route(self, hosts: Iterable[GraphHost]) -> None:
        """Let events reach the event entry points of these graphs."""
        routes = [route for host in hosts for route in host.routes()]
        self.spawner.router = EventRouter(routes)
        self.runtime.outside.open(self.spawner.router)

    def _tell(self, kind: EventType, stream: ExecutionStream, host: GraphHost) -> None:
        data = {"entry_point": stream.setup.spec.id}
        self.runtime.event_bus.deliver(
            AgentEvent(
                kind,
                stream.stream_id,
                data=data,
                graph_id=host.graph_id,
                agent=self.runtime.agent,
            )
        )

    # --- events -----------------------------------------------------------------------------

    def heard(self, event: AgentEvent) -> None:
        """Take an event of this agent's executions: goal progress, results, subscribers."""
        host = self.runtime.get_graph_registration(event.graph_id or "")
        if host is not None:
            host.outcomes.take(event)
        if event.type in STOPS:
            stream = None if host is None else host.stream_named(event.stream_id)
            if stream is not None:
                stream.published(event)
        self.runtime.event_bus.deliver(event)

    def wants_live(self) -> bool:
        """Say whether a subscriber of the bus listens to live events."""
        return any(self.runtime.event_bus.wants(kind) for kind in LIVE)

    # --- the end ----------------------------------------------------------------------------

    async def drain(self, seconds: float) -> None:
        """Let executions end for a while, then put the rest away and let everybody hear of it.

        Triggers and webhooks are answered all the while, with a refusal that says when to come again.
        """
        await self.timers.stop()
        self.runtime.outside.close()
        streams = [stream for host in self.runtime.hosts for stream in host.streams.values()]
        for stream in streams:
            stream.close()
        await asyncio.gather(*(stream.drain(seconds) for stream in streams))
        await self.close()

    async def close(self) -> None:
        """Put away what still runs. Idempotent."""
        await self.close_streams(self.runtime.hosts)
        await self.runtime.event_bus.drain(INTERRUPT_SECONDS)


@asynccontextmanager
async def open_running(
    runtime: AgentRuntime, placement: Placement | None
) -> AsyncIterator[Running]:
    """Open everything a runtime needs; all or nothing."""
    async with AsyncExitStack() as stack:
        services = (
            placement.services
            if placement is not None
            else await stack.enter_async_context(open_services(_settings(runtime)))
        )
        yield await _bring_up(runtime, services, stack)


async def _bring_up(runtime: AgentRuntime, services: Services, stack: AsyncExitStack) -> Running:
    if runtime.owns_services:
        _log_events(runtime, stack)
        await take_over(services)
    runtime.state_manager.attach(services.store.sessions, runtime.agent)
    spawner = EventSpawner(services.clock, runtime.stream_by_lane)
    notices = Notices(services.store.notices, runtime.event_bus.deliver)
    desk = TimerDesk(
        services=services,
        zone=read_zone(runtime.config.timezone),
        hosts=lambda: runtime.hosts,
        tell=notices.tell,
        is_draining=lambda: runtime.is_draining,
    )
    timers = RuntimeTimers(runtime.agent, desk)
    running = Running(runtime, services, spawner, timers, notices)
    token = services.hub.listen(running.heard, runtime.agent, running.wants_live)
    stack.callback(services.hub.unlisten, token)
    names = [host.stream_name(name) for host in runtime.hosts for name in host.specs]
    await runtime.state_manager.load(names)
    services.dispatcher.limit_agent(runtime.agent, runtime.config.max_concurrent_executions)
    running.servers = servers_of(runtime.tool_executor, agent=runtime.agent)
    if running.servers is not None:
        await stack.enter_async_context(running.servers)
    stack.push_async_callback(running.close)
    for host in runtime.hosts:
        await running.open_streams(host)
    stack.callback(runtime.outside.close)
    running.route(runtime.hosts)
    stack.push_async_callback(running.timers.stop)
    await _open_webhooks(running, stack)
    await running.timers.start()
    if runtime.owns_services:
        begin_work(services)
    return running


def _log_events(runtime: AgentRuntime, stack: AsyncExitStack) -> None:
    """Write every event to a file if HIVE_DEBUG_EVENTS asks for it."""
    log = EventLog.from_env(os.environ, Path.home())
    if log.is_on:
        stack.push_async_callback(to_thread, log.close)
        stack.callback(runtime.event_bus.watch(lambda event: log.write(event.to_dict())))


async def _open_webhooks(running: Running, stack: AsyncExitStack) -> None:
    runtime = running.runtime
    if not runtime.config.webhook_routes:
        return
    # Here: an agent without webhooks loads no HTTP server, which would be a fifth of what its start costs.
    from hive_daemon.runtime.webhook_route import route_of
    from hive_daemon.runtime.webhook_server import WebhookServer, WebhookServerConfig

    routes = [route_of(item) for item in runtime.config.webhook_routes]
    shared = runtime.shared_webhooks
    config = runtime.config
    server = shared or WebhookServer(
        runtime.event_bus,
        WebhookServerConfig(config.webhook_host, config.webhook_port),
        ledger=running.services.store.deliveries,
        clock=running.services.clock,
    )
    for route in routes:
        server.add_route(
            route,
            runtime.outside.deliver,
            ready=runtime.running,
            results=partial(_result_of, runtime),
        )
        stack.callback(server.remove_route, route.path)
    if shared is None:
        await server.start()
        stack.push_async_callback(server.stop)
        await server.recover()
    running.webhooks = server


async def _result_of(
    runtime: AgentRuntime, execution_id: str, seconds: float
) -> dict[str, object] | None:
    """Return what a webhook's sender is told of an execution, None if it has not ended in time."""
    result = await runtime.wait_for_completion(execution_id, seconds)
    if result is None:
        return None
    output = {key: value for key, value in result.output.items() if key != EVENT_KEY}
    return {"success": result.success, "output": output, "error": result.error}


def _settings(runtime: AgentRuntime) -> ServiceSettings:
    config = runtime.config
    return ServiceSettings(
        state_dir=runtime.directory,
        max_concurrent_executions=config.max_concurrent_executions,
        interactive_slots=config.interactive_slots,
        mirror=config.mirror,
        mirror_process=config.mirror_process,
        keep_checkpoints=runtime.checkpoint_config.keep,
        stall_seconds=config.stall_seconds,
        budgets=Budgets(allows_unpriced=config.unpriced == Unpriced.ALLOW),
        zone=read_zone(config.timezone),
    )
