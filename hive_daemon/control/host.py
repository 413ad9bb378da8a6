"""What the control API needs of the daemon, which is above it in the house: described here, not imported."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from hive_daemon.config.loaded import LoadedConfig
from hive_daemon.monitoring.agent_watch import AgentWatch
from hive_daemon.monitoring.incident_desk import IncidentDesk
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.execution import Execution
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.lifecycle import RunState
from hive_daemon.runtime.services import Services
from hive_daemon.runtime.webhook_server import WebhookServer
from hive_daemon.storage.values import ExecutionRow


class Agent(Protocol):
    """One agent of the daemon. `runtime` is None while it loads and when it is degraded for `reason`."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def path(self) -> Path:
        """Its folder."""

    @property
    def state(self) -> str:
        """`loading`, `ready` or `degraded`."""

    @property
    def reason(self) -> str:
        """Why it is degraded, else empty."""

    @property
    def runtime(self) -> AgentRuntime | None:
        """Its runtime."""


class Agents(Protocol):
    """The agents of the daemon."""

    @property
    def agents(self) -> Mapping[str, Agent]:
        """All of them, by name."""


class Stop(Protocol):
    """The way to ask the daemon to stop."""

    @property
    def drain(self) -> asyncio.Event:
        """Set once somebody asked."""

    def ask(self, reason: str) -> None:
        """Ask to drain; asked again, to stop at once."""


class Host(Protocol):
    """The daemon, as its control API sees it. `state` says ready only when everything listens."""

    @property
    def loaded(self) -> LoadedConfig:
        """The configuration."""

    @property
    def services(self) -> Services:
        """What all agents share."""

    @property
    def agents(self) -> Agents:
        """The agents."""

    @property
    def webhooks(self) -> WebhookServer:
        """The TCP server, which listens when there is a webhook route."""

    @property
    def stop(self) -> Stop:
        """The way to ask it to stop."""

    @property
    def state(self) -> RunState:
        """Where it is in its life."""

    @property
    def lag(self) -> float:
        """The longest that the event loop was late of late, in seconds."""

    @property
    def fortunes(self) -> AgentWatch:
        """How its agents fare."""

    @property
    def incidents(self) -> IncidentDesk:
        """Who keeps the book of incidents."""

    @property
    def started_at(self) -> float:
        """When it started, in wall seconds."""


def stream_at(host: Host, row: ExecutionRow) -> ExecutionStream | None:
    """Return the stream that an execution belongs to, None if its agent does not run or has it no more."""
    agent = host.agents.agents.get(row.agent)
    runtime = agent.runtime if agent is not None else None
    return runtime.get_stream(row.stream_id) if runtime is not None else None


def at_work(host: Host, row: ExecutionRow) -> Execution | None:
    """Return an execution as it runs in this process, None if it does not."""
    stream = stream_at(host, row)
    return stream.get_context(row.execution_id) if stream is not None else None


def agents_of(host: Host) -> list[Agent]:
    """Return the agents of the daemon, by name."""
    return [agent for _, agent in sorted(host.agents.agents.items())]


def troubles_of(host: Host, agent: Agent) -> list[str]:
    """Return why an agent is degraded: it does not run, or the model service refuses its key. Empty if it is well."""
    return [why for why in (agent.reason, host.fortunes.of(agent.name).trouble) if why]


def condition_of(host: Host, agent: Agent) -> str:
    """Return how an agent is: `ready`, `degraded` or `loading`."""
    return "degraded" if troubles_of(host, agent) else str(agent.state)


def state_of(host: Host) -> RunState:
    """Return where the daemon is in its life; it drains from the moment somebody asked."""
    if host.state is RunState.RUNNING and host.stop.drain.is_set():
        return RunState.DRAINING
    return host.state
