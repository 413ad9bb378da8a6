"""The daemon, put together: what it opens in which order, what READY means, and how it ends.

Ready means: the store is open, what an earlier process left behind is taken up again, every agent runs or is degraded
with its reason, and the webhook port and the control socket listen. Stop is the reverse order.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hive_daemon import __version__
from hive_daemon.budgets.rules import Budgets
from hive_daemon.budgets.written import Unpriced, read_rules
from hive_daemon.clock import SYSTEM_CLOCK, Clock, iso_z
from hive_daemon.config.loaded import LoadedConfig
from hive_daemon.config.model import HttpConfig
from hive_daemon.control.open_pages import OpenPages
from hive_daemon.control.server import ControlServer
from hive_daemon.daemon.agents import AgentBook
from hive_daemon.daemon.alert_sinks import alert_rules, thresholds_of
from hive_daemon.daemon.last_words import LastWords
from hive_daemon.daemon.loop_watch import LoopWatch, leave
from hive_daemon.daemon.shutdown import Deadline, drain
from hive_daemon.daemon.signals import StopRequest, handled
from hive_daemon.daemon.systemd import Notifier
from hive_daemon.daemon.trace_export import send_traces
from hive_daemon.errors import ConfigError, HiveError
from hive_daemon.llm.connections import close_connections
from hive_daemon.llm.litellm_provider import preload
from hive_daemon.monitoring.agent_watch import AgentWatch
from hive_daemon.monitoring.incident_desk import IncidentDesk
from hive_daemon.monitoring.vigil import keep_vigil
from hive_daemon.observability.logging import reopen_logs
from hive_daemon.runtime.event_log import EventLog
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.lifecycle import RunState
from hive_daemon.runtime.opened_services import open_services
from hive_daemon.runtime.services import Services, ServiceSettings, begin_work, take_over
from hive_daemon.runtime.triggers.zones import read_zone
from hive_daemon.runtime.webhook_server import WebhookServer, WebhookServerConfig
from hive_daemon.storage.exits import untold_exits
from hive_daemon.storage.mirror_fold import MirrorMode
from hive_daemon.tasks import Scope, to_thread

logger = logging.getLogger(__name__)

WEBHOOK_STOP_SECONDS = 1.0
"""How long deliveries that are being answered may take when the webhook port closes."""


@dataclass(slots=True)
class Daemon:
    """The running daemon, as its control API sees it."""

    loaded: LoadedConfig
    services: Services
    agents: AgentBook
    webhooks: WebhookServer
    stop: StopRequest
    fortunes: AgentWatch
    incidents: IncidentDesk
    loop_watch: LoopWatch
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
    def lag(self) -> float:
        """The longest that the event loop was late in the last minute, in seconds."""
        return self.loop_watch.lag

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


async def serve(loaded: LoadedConfig, environ: Mapping[str, str], deadline: Deadline) -> None:
    """Run the daemon until it is asked to stop; from then on `deadline` runs.

    Raises StateLocked, the storage errors, ConfigError, and OSError if the port or the socket is taken.
    """
    stop = StopRequest()
    notifier = Notifier(environ, os.getpid())
    scope = Scope("hived")
    async with AsyncExitStack() as stack:
        stack.callback(notifier.close)
        stack.enter_context(handled(stop, _reopen))
        stack.push_async_callback(scope.close)
        daemon = await _started(loaded, environ, stop, scope, stack)
        if daemon is not None:
            await _run(daemon, notifier, scope, deadline)
    logger.info("stopped")


async def _started(
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    stop: StopRequest,
    scope: Scope,
    stack: AsyncExitStack,
) -> Daemon | None:
    """Open everything; None if the daemon is asked to stop before it is ready."""
    starting = asyncio.current_task()
    assert starting is not None
    watching = scope.spawn("stop while starting", _cancel_when_asked(stop, starting))
    try:
        daemon = await _open(loaded, stop, stack)
        await _watch_events(daemon, environ, stack)
        await send_traces(daemon.services, loaded.config.traces, stack)
    except asyncio.CancelledError:
        if not stop.drain.is_set():
            raise
        starting.uncancel()
        logger.info("stopped before it was ready")
        return None
    finally:
        watching.cancel()
    begin_work(daemon.services)
    return daemon


async def _cancel_when_asked(stop: StopRequest, starting: asyncio.Task[None]) -> None:
    await stop.drain.wait()
    starting.cancel()


async def _run(daemon: Daemon, notifier: Notifier, scope: Scope, deadline: Deadline) -> None:
    config = daemon.loaded.config
    if config.llm.preload:
        scope.spawn("preload", preload())
    daemon.state = RunState.RUNNING
    scope.spawn("signs of life", notifier.feed(daemon.clock, lambda: daemon.status_line))
    notifier.ready()
    logger.info(
        "ready",
        extra={"version": __version__, "pid": os.getpid(), "socket": str(config.socket)},
    )
    await daemon.stop.drain.wait()
    daemon.state = RunState.DRAINING
    daemon.webhooks.refuse()
    notifier.stopping()
    await drain(daemon, notifier, deadline)


async def _open(loaded: LoadedConfig, stop: StopRequest, stack: AsyncExitStack) -> Daemon:
    """Open everything and listen; no node runs before that has worked."""
    config = loaded.config
    settings = ServiceSettings(
        state_dir=config.state_dir,
        max_concurrent_executions=config.max_concurrent_executions,
        interactive_slots=config.interactive_slots,
        mirror=MirrorMode(config.mirror.value),
        mirror_process=True,
        keep_checkpoints=config.checkpoints.keep,
        stall_seconds=config.health.stall_seconds,
        budgets=Budgets(read_rules(config.budgets), config.unpriced is Unpriced.ALLOW),
        zone=read_zone(config.timezone),
        health=thresholds_of(config.health),
    )
    stack.push_async_callback(close_connections)
    services = await stack.enter_async_context(open_services(settings))
    await to_thread(_tell_exits, config.state_dir)
    rules = alert_rules(config.alerts, services.clock)
    vigil = await stack.enter_async_context(keep_vigil(services, rules, config.health.failures))
    await take_over(services)
    address = config.http.listen
    webhooks = WebhookServer(
        None,
        WebhookServerConfig(address.host, address.port),
        ledger=services.store.deliveries,
        clock=services.clock,
    )
    agents = AgentBook(loaded, services, webhooks)
    fortunes = AgentWatch(agents.pause_timers, agents.resume_timers, vigil.watchman)
    stack.callback(services.hub.unlisten, services.hub.listen(fortunes.tell))
    words = LastWords(config.state_dir, lambda: services.stalls.followed, services.clock)
    watch = LoopWatch(config.health.loop_blocked_seconds, on_blocked=partial(leave, words=words))
    watch.start()
    stack.callback(watch.stop)
    services.scope.spawn("loop watch", watch.beat())
    daemon = Daemon(loaded, services, agents, webhooks, stop, fortunes, vigil.desk, watch)
    control = ControlServer(daemon)
    await control.start()
    stack.push_async_callback(control.stop)
    _add_pages(webhooks, control.pages, config.http)
    stack.push_async_callback(agents.drain, 0.0)
    await agents.open()
    await webhooks.start()
    await webhooks.recover()
    stack.push_async_callback(webhooks.stop, WEBHOOK_STOP_SECONDS)
    return daemon


def _tell_exits(state_dir: Path) -> None:
    """Log why daemons before this one ended themselves, once."""
    try:
        untold = untold_exits(state_dir)
    except HiveError as error:
        logger.warning("how the daemon before ended is not known", extra={"error": str(error)})
        return
    for note in untold:
        ended_at = iso_z(note.at)
        told = {"why": note.sentence, "ended_at": ended_at, "exit_code": note.code}
        seen = {"stack": list(note.stack), "executions": [e.execution_id for e in note.at_work]}
        extra = {**told, **seen, "repeat_key": ended_at}
        logger.warning("the daemon before ended itself", extra=extra)


def _add_pages(webhooks: WebhookServer, pages: OpenPages, http: HttpConfig) -> None:
    """Let the TCP port show what hive.yaml wants shown there."""
    if http.health:
        webhooks.add_page("/livez", pages.livez)
        webhooks.add_page("/readyz", pages.readyz)
    if http.metrics:
        webhooks.add_page("/metrics", pages.metrics)


async def _watch_events(daemon: Daemon, environ: Mapping[str, str], stack: AsyncExitStack) -> None:
    """Write every event to a file if HIVE_DEBUG_EVENTS asks for it."""
    log = EventLog.from_env(environ, Path.home())
    if not log.is_on:
        return
    stack.push_async_callback(to_thread, log.close)
    token = daemon.services.hub.listen(lambda event: log.write(event.to_dict()), None)
    stack.callback(daemon.services.hub.unlisten, token)


def _reopen() -> None:
    try:
        reopen_logs()
    except ConfigError as error:
        logger.error("the log goes on in the file that it had", extra={"error": str(error)})
    else:
        logger.info("logs reopened")
