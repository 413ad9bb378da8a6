"""What can be said of a loaded agent: a description of it, and whether it can be run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hive_daemon.runner.loaded_agent import LoadedAgent, ModelSettings
from hive_daemon.runner.model_needs import missing_keys


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """An agent in short; the lists hold plain values."""

    name: str
    description: str
    goal_name: str
    goal_description: str
    node_count: int
    edge_count: int
    nodes: list[dict[str, Any]]
    edges: list[dict[str, Any]]
    entry_node: str
    terminal_nodes: list[str]
    success_criteria: list[dict[str, Any]]
    constraints: list[dict[str, Any]]
    required_tools: list[str]
    has_tools_module: bool
    async_entry_points: list[dict[str, Any]]

    @property
    def is_multi_entry_point(self) -> bool:
        """Whether something beside a call may begin its executions."""
        return bool(self.async_entry_points)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def of(cls, agent: LoadedAgent) -> AgentInfo:
        """Describe a loaded agent."""
        graph, goal = agent.graph, agent.goal
        return cls(
            name=agent.about.name or agent.name,
            description=agent.about.description or graph.description,
            goal_name=goal.name,
            goal_description=goal.description,
            node_count=len(graph.nodes),
            edge_count=len(graph.edges),
            nodes=[
                each.model_dump(
                    include={"id", "name", "description", "node_type", "input_keys", "output_keys"}
                )
                for each in graph.nodes
            ],
            edges=[
                each.model_dump(mode="json", include={"id", "source", "target", "condition"})
                for each in graph.edges
            ],
            entry_node=graph.entry_node,
            terminal_nodes=list(graph.terminal_nodes),
            success_criteria=[each.model_dump(mode="json") for each in goal.success_criteria],
            constraints=[each.model_dump(mode="json") for each in goal.constraints],
            required_tools=sorted({name for node in graph.nodes for name in node.tools}),
            has_tools_module=(agent.path / "tools.py").is_file(),
            async_entry_points=[each.model_dump(mode="json") for each in graph.async_entry_points],
        )


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """Whether an agent can be run, and why not. `missing_credentials` are names of variables, never values."""

    valid: bool
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    missing_tools: list[str] = field(default_factory=list)
    missing_credentials: list[str] = field(default_factory=list)


def validate(
    agent: LoadedAgent,
    settings: ModelSettings,
    *,
    skips_key: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> ValidationResult:
    """Look at what loading leaves open: tools that nobody offers are errors, a missing key is a warning.

    Keys are looked for of every model that the agent, its nodes, entry points and fallbacks name.
    """
    errors = [
        f"nobody offers the tool {name!r} (nodes: {', '.join(nodes)})"
        for name, nodes in agent.missing_tools.items()
    ]
    warnings = list(agent.warnings)
    skips_key = skips_key or agent.skips_credential_check
    keyless = [] if skips_key else missing_keys(agent, settings, environ)
    warnings.extend(need.told() for need in keyless)
    return ValidationResult(
        valid=not errors,
        errors=errors,
        warnings=warnings,
        missing_tools=list(agent.missing_tools),
        missing_credentials=list(dict.fromkeys(need.variable for need in keyless)),
    )
