"""The agents of the daemon: each an AgentRuntime of its own, sharing the process's services.

All are read before any is started. A broken folder degrades its agent, with the reason, and the others run; a mistake
of hive.yaml itself starts none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from hive_daemon.config.agent_model import AgentConfig
from hive_daemon.config.checks import is_open_door
from hive_daemon.config.llm_options import call_options, fallback_choices, first_choice
from hive_daemon.config.loaded import LoadedConfig
from hive_daemon.config.model import HiveConfig
from hive_daemon.daemon.budget_names import aimless_budgets
from hive_daemon.daemon.overlay import (
    entry_points,
    remarks,
    secrets_of,
    webhook_routes,
    written_faults,
)
from hive_daemon.errors import ConfigError, HiveError
from hive_daemon.llm.factory import ModelChoice
from hive_daemon.llm.model_shelf import ModelShelf
from hive_daemon.monitoring.agent_watch import BY
from hive_daemon.observability.redaction import register_secret
from hive_daemon.runner.agent_loader import load_agent
from hive_daemon.runner.loaded_agent import LoadedAgent, ModelSettings
from hive_daemon.runtime.agent_runtime import AgentRuntime, AgentRuntimeConfig
from hive_daemon.runtime.runtime_config import Placement
from hive_daemon.runtime.services import Services
from hive_daemon.runtime.triggers.timer_source import TimerSource
from hive_daemon.runtime.webhook_route import route_of
from hive_daemon.runtime.webhook_server import WebhookServer
from hive_daemon.tasks import to_thread

logger = logging.getLogger(__name__)

_HINT = "correct the file and start again; `hived --check` says whether it is right"


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

    loaded: LoadedConfig
    services: Services
    webhooks: WebhookServer
    agents: dict[str, HostedAgent] = field(default_factory=dict)

    @property
    def config(self) -> HiveConfig:
        """The configuration in force."""
        return self.loaded.config

    async def open(self) -> None:
        """Load and start every agent; one that cannot be is degraded.

        Raises ConfigError with every mistake that hive.yaml makes about its agents; then none was started.
        """
        items = self.config.agents
        hosted = [HostedAgent(item.agent_name, item.path) for item in items]
        self.agents.update({agent.name: agent for agent in hosted})
        read = [await self._load(agent) for agent in hosted]
        faults = [fault for each in written_faults(self.loaded, read) for fault in each]
        if faults:
            raise ConfigError(faults, hint=_HINT, source=str(self.loaded.path or ""))
        for warning in aimless_budgets(self.loaded, read):
            logger.warning("configuration", extra={"warning": warning, "repeat_key": warning})
        for item, agent, folder in zip(items, hosted, read, strict=True):
            if folder is not None:
                await self._bring_up(item, agent, folder)

    async def _load(self, agent: HostedAgent) -> LoadedAgent | None:
        try:
            return await to_thread(load_agent, agent.path)
        except HiveError as error:
            _degrade(agent, error)
            return None

    async def _bring_up(self, item: AgentConfig, agent: HostedAgent, folder: LoadedAgent) -> None:
        try:
            agent.runtime = await self._start(item, agent, folder)
        except HiveError as error:
            _degrade(agent, error)
        else:
            agent.state = AgentState.READY

    async def _start(
        self, item: AgentConfig, agent: HostedAgent, loaded: LoadedAgent
    ) -> AgentRuntime:
        for warning in (*loaded.warnings, *remarks(loaded, item)):
            told = {"agent": agent.name, "warning": warning}
            logger.warning("agent warning", extra={**told, "repeat_key": f"{agent.name} {warning}"})
        routes = webhook_routes(loaded, item)
        for secret in secrets_of(loaded, routes):
            register_secret(secret)
        self._check_routes(routes, item)
        models = models_for(self.config, item, loaded)
        runtime = AgentRuntime(
            loaded.graph,
            loaded.goal,
            llm=models.own,
            models=models,
            tools=list(loaded.tools.get_tools().values()),
            tool_executor=loaded.tools.get_executor(),
            config=self._settings(routes, item),
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

    def _settings(self, routes: list[dict[str, Any]], item: AgentConfig) -> AgentRuntimeConfig:
        config = self.config
        return AgentRuntimeConfig(
            max_concurrent_executions=config.max_concurrent_executions,
            max_history=config.events.max_history,
            webhook_routes=routes,
            timezone=config.timezone,
            recovery_attempts=config.recovery.max_attempts,
            budgets=[each.written() for each in item.budgets or ()],
        )

    def _check_routes(self, routes: list[dict[str, Any]], item: AgentConfig) -> None:
        taken = {route.path for route in self.webhooks.routes}
        for route in routes:
            if route["path"] in taken:
                raise ConfigError(f"webhook path {route['path']!r} belongs to another agent")
            if is_open_door(
                self.config.http.listen,
                has_secret=not route_of(route).is_open,
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

    def pause_timers(self, name: str, reason: str) -> list[str]:
        """Pause the timers of an agent that are not paused; answer which."""
        source = self._timers_of(name)
        if source is None:
            return []
        running = [timer.timer_id for timer in source.timers.values() if not timer.is_paused]
        source.set_paused(running, True, by=BY, note=reason)
        return running

    def resume_timers(self, name: str, timer_ids: Iterable[str]) -> None:
        """Let timers of an agent go on, those that are still there."""
        source = self._timers_of(name)
        if source is not None:
            source.set_paused([each for each in timer_ids if each in source.timers], False, by=BY)

    def _timers_of(self, name: str) -> TimerSource | None:
        agent = self.agents.get(name)
        opened = agent.runtime.opened if agent is not None and agent.runtime is not None else None
        return opened.timers.source if opened is not None else None

    def get(self, name: str) -> HostedAgent | None:
        """Return an agent, or None."""
        return self.agents.get(name)


def _degrade(agent: HostedAgent, error: HiveError) -> None:
    agent.state, agent.reason = AgentState.DEGRADED, str(error)
    told = {"agent": agent.name, "reason": str(error), "repeat_key": agent.name}
    logger.error("agent is degraded", extra=told)


def models_for(config: HiveConfig, item: AgentConfig, loaded: LoadedAgent) -> ModelShelf:
    """Return the models of an agent, its own being what hive.yaml says for the agent, else what the folder names, else
    `llm.model`.

    The folder's own key and address go only to the service of the model that the folder names.
    """
    llm = config.llm
    own = own_model(config, item, loaded.llm)
    return ModelShelf(
        ModelChoice(own.model, own.api_key, own.api_base),
        fallbacks=fallback_choices(llm, item.fallbacks),
        also=(first_choice(llm),),
        base_dir=item.path,
        options={**call_options(llm), **own.options},
    )


def own_model(config: HiveConfig, item: AgentConfig, said: ModelSettings) -> ModelSettings:
    """Return the model of an agent whose folder says this, with its key and address."""
    if item.model is None and said.model:
        return said
    first = first_choice(config.llm, item.model)
    return ModelSettings(first.model, first.api_key, first.api_base)
