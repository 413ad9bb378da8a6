"""The agents of the daemon: each an AgentRuntime of its own, sharing the process's services. A broken one is degraded,
with its reason; the others run."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from hive_daemon.config.checks import is_open_door
from hive_daemon.config.model import AgentConfig, EntryPointConfig, HiveConfig
from hive_daemon.errors import ConfigError, HiveError
from hive_daemon.llm.factory import make_provider
from hive_daemon.llm.provider import LLMProvider
from hive_daemon.runner.agent_loader import LoadedAgent, load_agent
from hive_daemon.runtime.agent_runtime import AgentRuntime, AgentRuntimeConfig
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.graph_host import trigger_problems
from hive_daemon.runtime.runtime_config import Placement
from hive_daemon.runtime.services import Services
from hive_daemon.runtime.webhook_server import WebhookServer
from hive_daemon.tasks import to_thread

logger = logging.getLogger(__name__)


class AgentState(StrEnum):
    """How an agent is."""

    LOADING = "loading"
    READY = "ready"
    DEGRADED = "degraded"


@dataclass(slots=True)
class HostedAgent:
    """One agent of the daemon."""

    name: str
    path: Path
    state: AgentState = AgentState.LOADING
    reason: str = ""
    runtime: AgentRuntime | None = None


@dataclass(slots=True)
class AgentBook:
    """All agents of the daemon, by name."""

    config: HiveConfig
    services: Services
    webhooks: WebhookServer
    agents: dict[str, HostedAgent] = field(default_factory=dict)

    async def open(self) -> None:
        """Load and start every agent; one that cannot be is degraded."""
        for item in self.config.agents:
            agent = HostedAgent(item.agent_name, item.path)
            self.agents[agent.name] = agent
            try:
                agent.runtime = await self._start(item, agent)
            except HiveError as error:
                agent.state, agent.reason = AgentState.DEGRADED, str(error)
                logger.error("agent is degraded", extra={"agent": agent.name, "reason": str(error)})
            else:
                agent.state = AgentState.READY

    async def _start(self, item: AgentConfig, agent: HostedAgent) -> AgentRuntime:
        loaded = await to_thread(load_agent, item.path)
        for warning in loaded.warnings:
            logger.warning("agent warning", extra={"agent": agent.name, "warning": warning})
        routes = webhook_routes(loaded, item)
        self._check_routes(routes, item)
        runtime = AgentRuntime(
            loaded.graph,
            loaded.goal,
            llm=provider_for(self.config, item, loaded),
            tools=list(loaded.tools.get_tools().values()),
            tool_executor=loaded.tools.get_executor(),
            config=self._settings(routes),
            graph_id=loaded.graph.id,
            node_registry=loaded.node_registry,
            placement=Placement(
                self.services,
                agent.name,
                self.services.settings.state_dir / "agents" / agent.name,
                self.webhooks,
            ),
        )
        runtime.intro_message = loaded.intro_message
        for spec in entry_points(loaded, item):
            runtime.register_entry_point(spec)
        await runtime.start()
        return runtime

    def _settings(self, routes: list[dict[str, Any]]) -> AgentRuntimeConfig:
        config = self.config
        return AgentRuntimeConfig(
            max_concurrent_executions=config.max_concurrent_executions,
            max_history=config.events.max_history,
            webhook_routes=routes,
            timezone=config.timezone,
            recovery_attempts=config.recovery.max_attempts,
        )

    def _check_routes(self, routes: list[dict[str, Any]], item: AgentConfig) -> None:
        taken = {route.path for route in self.webhooks.routes}
        for route in routes:
            if route["path"] in taken:
                raise ConfigError(f"webhook path {route['path']!r} belongs to another agent")
            if is_open_door(
                self.config.http.listen,
                has_secret=bool(route.get("secret")),
                allow_insecure=bool(route.get("allow_insecure")),
            ):
                raise ConfigError(
                    f"webhook path {route['path']!r} has no secret and {self.config.http.listen} is "
                    "not a loopback address",
                    hint="give it a secret, or write allow_insecure: true",
                )

    async def drain(self, seconds: float) -> None:
        """Stop every agent, all at the same time."""
        running = [agent.runtime for agent in self.agents.values() if agent.runtime is not None]
        await asyncio.gather(*(runtime.stop(seconds) for runtime in running))

    def get(self, name: str) -> HostedAgent | None:
        """Return an agent, or None."""
        return self.agents.get(name)


def entry_points(loaded: LoadedAgent, item: AgentConfig) -> list[EntryPointSpec]:
    """Return the entry points of an agent: what the folder declares, with what hive.yaml says on top.

    Raises ConfigError with every problem.
    """
    found = {spec.id: spec for spec in loaded.entry_points}
    problems: list[str] = []
    for name, written in item.entry_points.items():
        base = found.get(name) or EntryPointSpec(id=name)
        spec = merged(base, written)
        if written.enabled is False:
            found.pop(name, None)
            continue
        problems.extend([*spec.problems(), *trigger_problems(spec)])
        found[name] = spec
    if problems:
        raise ConfigError(problems)
    return list(found.values())


def merged(base: EntryPointSpec, written: EntryPointConfig) -> EntryPointSpec:
    """Return an entry point with what hive.yaml says; `trigger_config` is merged key by key, null removes a key."""
    overrides: dict[str, Any] = {}
    for key in (
        "trigger_type",
        "entry_node",
        "isolation_level",
        "max_concurrent",
        "priority",
        "session",
        "timeout",
    ):
        value = getattr(written, key)
        if value is not None:
            overrides[key] = value.value if hasattr(value, "value") else value
    if written.trigger_config is not None:
        both = {**base.trigger_config, **written.trigger_config}
        overrides["trigger_config"] = {k: v for k, v in both.items() if v is not None}
    if written.recovery is not None and written.recovery.max_attempts is not None:
        overrides["recovery_attempts"] = written.recovery.max_attempts
    return base.merged(overrides)


def webhook_routes(loaded: LoadedAgent, item: AgentConfig) -> list[dict[str, Any]]:
    """Return the webhook routes of an agent: the folder's, and hive.yaml's on top, by path."""
    found: dict[str, dict[str, Any]] = {
        str(route["path"]): dict(route) for route in loaded.webhook_routes
    }
    for written in item.webhook_routes:
        found[written.path] = {
            "source_id": written.source_id,
            "path": written.path,
            "methods": [method.value for method in written.methods],
            "secret": written.secret.get_secret_value() if written.secret else None,
            "allow_insecure": written.allow_insecure,
        }
    return list(found.values())


def provider_for(config: HiveConfig, item: AgentConfig, loaded: LoadedAgent) -> LLMProvider:
    """Return the model of an agent: what hive.yaml says for the agent, else what the folder names, else `llm.model`.

    The folder's own key and address go only with the model that the folder names.
    """
    llm, own = config.llm, loaded.llm
    if item.model is None and loaded.model:
        return make_provider(
            loaded.model,
            api_key=own.api_key,
            api_base=own.api_base,
            base_dir=item.path,
            **{"total_timeout": llm.timeout_seconds, **own.options},
        )
    return make_provider(
        item.model or llm.model,
        api_key=llm.api_key.get_secret_value() if llm.api_key else None,
        api_base=llm.api_base,
        base_dir=item.path,
        total_timeout=llm.timeout_seconds,
    )
