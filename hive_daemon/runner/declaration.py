"""What an agent folder says, before it is checked: the same for both forms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hive_daemon.runner.loaded_agent import AgentAbout, ModelSettings
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig


@dataclass(frozen=True, slots=True)
class Declaration:
    """An agent as written. `graph` holds the fields of a GraphSpec; `where` names the file, for sentences.

    `goal` is None if it is not there, which is among the findings then: the rest is checked all the same.

    `at` is put before a key of the graph, in sentences: `graph` in agent.json, nothing in agent.py.
    """

    where: str
    goal: Any
    graph: Mapping[str, Any]
    at: str = ""
    entry_points: Any = ()
    node_registry: Mapping[str, Any] = field(default_factory=dict)
    about: AgentAbout = field(default_factory=AgentAbout)
    llm: ModelSettings = field(default_factory=ModelSettings)
    runtime_config: AgentRuntimeConfig | None = None
    webhook_routes: Any = ()
    skips_credential_check: bool = False


def graph_name(text: str) -> str:
    """Return the text as it may name a graph: with '-' for what an address cannot hold."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:64] or "agent"
