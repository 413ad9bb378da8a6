"""The agent folders that hive.yaml names, checked together with what it lays over them."""

from __future__ import annotations

from dataclasses import replace

from hive_daemon.config.loaded import LoadedConfig
from hive_daemon.config.model import AgentConfig
from hive_daemon.daemon.agents import entry_points, webhook_routes
from hive_daemon.errors import ConfigError
from hive_daemon.runner.agent_check import FolderReport, inspect_folder


def check_agents(loaded: LoadedConfig) -> list[FolderReport]:
    """Check every agent of a configuration. Code is executed: call it in a process of its own."""
    return [_check(item) for item in loaded.config.agents]


def _check(item: AgentConfig) -> FolderReport:
    report, agent = inspect_folder(item.path)
    errors = list(report.errors)
    if agent is not None:
        try:
            entry_points(agent, item)
            webhook_routes(agent, item)
        except ConfigError as error:
            errors.extend(error.problems)
        agent.close()
    return replace(report, name=item.agent_name, errors=tuple(errors))
