"""An agent as it was read from its folder: everything a runtime needs to run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.node import EVENT_LOOP, NodeSpec
from hive_daemon.private_package import PrivatePackage
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig
from hive_daemon.tools.registry import ToolRegistry


class AgentForm(StrEnum):
    """How a folder describes its agent."""

    MODULE = "module"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What the folder says of its model. `model` is empty when it leaves the choice to the machine.

    `options` go to the provider as they are.
    """

    model: str = ""
    api_key: str | None = field(default=None, repr=False)
    api_base: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgentAbout:
    """What the folder says of the agent, for people."""

    name: str = ""
    description: str = ""
    version: str = ""
    intro_message: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedAgent:
    """An agent folder, read and checked.

    `name` is the folder's. Functions of function nodes are callables already; `entry_points` holds one called
    `default`. `warnings` are sentences. `close` gives back what loading took.
    """

    name: str
    path: Path
    form: AgentForm
    graph: GraphSpec
    goal: Goal
    entry_points: tuple[EntryPointSpec, ...]
    tools: ToolRegistry
    node_registry: Mapping[str, Any]
    about: AgentAbout = field(default_factory=AgentAbout)
    llm: ModelSettings = field(default_factory=ModelSettings)
    runtime_config: AgentRuntimeConfig | None = None
    webhook_routes: tuple[Mapping[str, Any], ...] = ()
    skips_credential_check: bool = False
    warnings: tuple[str, ...] = ()
    package: PrivatePackage | None = None

    @property
    def model(self) -> str:
        """The model that the folder names, empty if it leaves the choice to the machine."""
        return self.llm.model

    @property
    def intro_message(self) -> str:
        """What the agent says first."""
        return self.about.intro_message

    @property
    def model_nodes(self) -> list[NodeSpec]:
        """The nodes that a model works for."""
        return [
            node
            for node in self.graph.nodes
            if node.node_type == EVENT_LOOP and node.id not in self.node_registry
        ]

    @property
    def missing_tools(self) -> dict[str, list[str]]:
        """The tools that nobody offers, with the nodes that ask for them."""
        found: dict[str, list[str]] = {}
        for node in self.graph.nodes:
            if node.id in self.node_registry:
                continue
            for name in node.tools:
                if not self.tools.has_tool(name):
                    found.setdefault(name, []).append(node.id)
        return found

    def close(self) -> None:
        """Forget the folder's modules. What runs goes on, but imports no more of them."""
        self.tools.cleanup()
        if self.package is not None:
            self.package.close()
