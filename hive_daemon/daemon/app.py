"""The daemon, put together: what it opens in which order, what READY means, and how it ends.

Ready means: the store is open, what an earlier process left behind is taken up again, every agent runs or is degraded
with its reason, and the webhook port and the control socket listen. Stop is the reverse order.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from hive_daemon import __version__
from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.config.loaded import LoadedConfig
from hive_daemon.control.server import ControlServer
from hive_daemon.daemon.agents import AgentBook
from hive_daemon.daemon.shutdown import drain
from hive_daemon.daemon.signals import StopRequest, handled
from hive_daemon.daemon.systemd import Notifier
from hive_daemon.llm.litellm_provider import preload
from hive_daemon.observability.logging import reopen_logs
from hive_daemon.runtime.event_log import EventLog
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.lifecycle import RunState
from hive_daemon.runtime.opened_services import open_services
from hive_daemon.runtime.services import Services, ServiceSettings, begin_work, take_over
from hive_daemon.runtime.webhook_server import WebhookServer, WebhookServerConfig
from hive_daemon.storage.mirror_fold import MirrorMode
from hive_daemon.tasks import Scope, to_thread

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Daemon:
    """The running daemon, as its control API sees it."""

    loaded: LoadedConfig
    services: Services
    agents: AgentBook
    webhooks: WebhookServer
    stop: StopRequest
    clock: Clock = SYSTEM_CLOCK
    state: RunState = RunState.STARTING
    started_at: float = field(default_factory=SYSTEM_CLOCK.time)

    @property
    def status_line(self) -> str:
        """What the daemon does, in one line for the service manager."""
        counts = f"{self.running} running, {self.queued} queued"
        if self.state is RunState.DRAINING:
            return f"draining: {counts}"
        degraded = [agent.name for agent in self.agents.agents.values() if agent.reason]
        troubled = f", degraded: {', '.join(degraded)}" if degraded else ""
        return f"{counts}, {len(self.agents.agents)} agents{troubled}"

    @property
    def running(self) -> int:
        """How many executions run."""
        return sum(stream.get_active_count() for stream in self.streams)

    @property
    def queued(self) -> int:
        """How many executions wait for a slot."""
        return sum(stream.queued_count for stream in self.streams)

    @property
    def streams(self) -> list[ExecutionStream]:
        """The streams of all agents."""
        return [
            stream
            for agent in self.agents.agents.values()
            if agent.runtime is not None
            for host in agent.runtime.hosts
            for stream in host.streams.values()
        ]


async def serve(loaded: LoadedConfig, environ: Mapping[str, str]) -> None:
    """Run the daemon until it is asked to stop.

    Raises StateLocked, the storage errors, ConfigError, and OSError if the port or the socket is taken.
    """
    stop = StopRequest()
    notifier = Notifier(environ, os.getpid())
    scope = Scope("hived")
    async with AsyncExitStack() as stack:
        stack.callback(notifier.close)
        stack.enter_context(handled(stop, _reopen))
        stack.push_async_callback(scope.close)
        daemon = await _open(loaded, stop, stack)
        control = ControlServer(daemon)
        await control.start()
        stack.push_async_callback(control.stop)
        await _watch_events(daemon, environ, stack)
        if loaded.config.llm.preload:
            scope.spawn("preload", to_thread(preload))
        daemon.state = RunState.RUNNING
        scope.spawn("signs of life", notifier.feed(daemon.clock, lambda: daemon.status_line))
        notifier.ready()
        logger.info(
            "ready",
            extra={"version": __version__, "pid": os.getpid(), "socket": str(loaded.config.socket)},
        )
        await stop.drain.wait()
        daemon.state = RunState.DRAINING
        notifier.stopping()
        await drain(daemon, notifier)
    logger.info("stopped")


async def _open(loaded: LoadedConfig, stop: StopRequest, stack: AsyncExitStack) -> Daemon:
    config = loaded.config
    settings = ServiceSettings(
        state_dir=config.state_dir,
        max_concurrent_executions=config.max_concurrent_executions,
        mirror=MirrorMode(config.mirror.value),
        keep_checkpoints=config.checkpoints.keep,
    )
    services = await stack.enter_async_context(open_services(settings))
    await take_over(services)
    address = config.http.listen
    webhooks = WebhookServer(None, WebhookServerConfig(address.host, address.port))
    agents = AgentBook(config, services, webhooks)
    stack.push_async_callback(agents.drain, 0.0)
    await agents.open()
    await webhooks.start()
    stack.push_async_callback(webhooks.stop)
    begin_work(services)
    return Daemon(loaded, services, agents, webhooks, stop)


async def _watch_events(daemon: Daemon, environ: Mapping[str, str], stack: AsyncExitStack) -> None:
    """Write every event to a file if HIVE_DEBUG_EVENTS asks for it."""
    log = EventLog.from_env(environ, Path.home())
    if not log.is_on:
        return
    stack.push_async_callback(to_thread, log.close)
    token = daemon.services.hub.listen(lambda event: log.write(event.to_dict()), None)
    stack.callback(daemon.services.hub.unlisten, token)


def _reopen() -> None:
    reopen_logs()
    logger.info("logs reopened")
