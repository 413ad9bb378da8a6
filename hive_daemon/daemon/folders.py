"""The agent folders that hive.yaml names, checked together with what it lays over them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from hive_daemon.config.agent_model import AgentConfig
from hive_daemon.config.loaded import LoadedConfig
from hive_daemon.daemon.agents import own_model
from hive_daemon.daemon.budget_names import aimless_budgets
from hive_daemon.daemon.overlay import entry_points, remarks, written_faults
from hive_daemon.errors import ConfigError
from hive_daemon.runner.agent_check import FolderReport, inspect_folder
from hive_daemon.runner.loaded_agent import LoadedAgent


@dataclass(frozen=True, slots=True)
class CheckedAgent:
    """An agent of the configuration, what its check found, and the agent itself if its folder could be read."""

    item: AgentConfig
    report: FolderReport
    agent: LoadedAgent | None


def check_agents(loaded: LoadedConfig) -> tuple[list[FolderReport], list[str]]:
    """Check every agent of a configuration; return the reports, and what hive.yaml says that fits none of them.

    Code is executed: call it in a process of its own.
    """
    with checked_agents(loaded) as checked:
        aimless = aimless_budgets(loaded, [each.agent for each in checked])
        return [each.report for each in checked], aimless


@contextmanager
def checked_agents(loaded: LoadedConfig) -> Iterator[list[CheckedAgent]]:
    """Check every agent of a configuration as `check_agents` does; the agents are open while the context lasts."""
    items = loaded.config.agents
    inspected = [
        inspect_folder(item.path, settle=partial(own_model, loaded.config, item)) for item in items
    ]
    faults = written_faults(loaded, [agent for _, agent in inspected])
    checked = []
    for item, (report, agent), mistakes in zip(items, inspected, faults, strict=True):
        errors, warnings = (*report.errors, *mistakes), report.warnings
        if agent is not None:
            errors = (*errors, *(() if mistakes else _own_faults(agent, item)))
            warnings = (*warnings, *(() if errors else remarks(agent, item)))
        told = replace(report, name=item.agent_name, errors=errors, warnings=warnings)
        checked.append(CheckedAgent(item, told, agent))
    try:
        yield checked
    finally:
        for _, agent in inspected:
            if agent is not None:
                agent.close()


def _own_faults(agent: LoadedAgent, item: AgentConfig) -> tuple[str, ...]:
    """Return what the folder gets wrong about entry points that hive.yaml also names."""
    try:
        entry_points(agent, item)
    except ConfigError as error:
        return error.problems
    return ()
