"""Budgets of entry points that are not there: what hive.yaml limits by name, held against the agents that were read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from hive_daemon.budgets.written import BudgetKeys
from hive_daemon.config.agent_model import AgentConfig
from hive_daemon.config.loaded import LoadedConfig
from hive_daemon.config.tree import KeyPath
from hive_daemon.daemon.overlay import entry_points
from hive_daemon.errors import ConfigError
from hive_daemon.runner.loaded_agent import LoadedAgent

_KIND = "entry_point"


def aimless_budgets(loaded: LoadedConfig, agents: Sequence[LoadedAgent | None]) -> list[str]:
    """Return a sentence for each budget of an entry point that no agent has.

    `agents` are the folders of the configuration in its order, None for one that could not be read: of what that may
    have nothing is told. An agent that is not there at all is told of when hive.yaml is read.
    """
    items = loaded.config.agents
    known = {
        item.agent_name: _names(item, agent) for item, agent in zip(items, agents, strict=True)
    }
    found = []
    for path, budget, place in _budgets(loaded):
        kind, _, name = (budget.scope or "").partition(":")
        if kind != _KIND or not name:
            continue
        remedy = _remedy(name if "/" in name or not place else f"{place}/{name}", known)
        if remedy:
            text = f'"{budget.scope}" limits nothing: {remedy}'
            found.append(loaded.sentence(path, text))
    return found


def _names(item: AgentConfig, agent: LoadedAgent | None) -> list[str] | None:
    """Return the entry points of an agent, None if nobody can tell."""
    try:
        return None if agent is None else [spec.id for spec in entry_points(agent, item)]
    except ConfigError:
        return None


def _budgets(loaded: LoadedConfig) -> Iterator[tuple[KeyPath, BudgetKeys, str]]:
    """Yield the budgets that may name an entry point, each with its key and the agent that it stands at."""
    for n, budget in enumerate(loaded.config.budgets):
        yield ("budgets", n, "scope"), budget, ""
    for at, item in enumerate(loaded.config.agents):
        for n, budget in enumerate(item.budgets or ()):
            yield ("agents", at, "budgets", n, "scope"), budget, item.agent_name


def _remedy(name: str, known: Mapping[str, list[str] | None]) -> str:
    """Return what to do about the name of an entry point; empty if it is there, or may be."""
    if "::" in name:
        # Of a graph that a program adds while it runs.
        return ""
    agent, slash, _ = name.rpartition("/")
    asked = {agent: known.get(agent)} if slash else known
    if any(names is None for names in asked.values()):
        return ""
    there = [
        f"{agent}/{each}" if slash else each
        for agent, names in asked.items()
        for each in names or ()
    ]
    if name in there:
        return ""
    close = get_close_matches(name, there, n=1)
    return f"did you mean {close[0]}?" if close else "no entry point is called so"
