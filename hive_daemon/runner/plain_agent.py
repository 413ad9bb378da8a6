"""An agent whose graph a program brings itself: the folder gives its tools only."""

from __future__ import annotations

from pathlib import Path

from hive_daemon.errors import AgentLoadError
from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.goal import Goal
from hive_daemon.runner.entry_points import declared_in, with_default
from hive_daemon.runner.findings import Findings
from hive_daemon.runner.folder_tools import FILE, note_servers
from hive_daemon.runner.loaded_agent import AgentForm, LoadedAgent
from hive_daemon.runner.trust import distrust
from hive_daemon.tools.registry import ToolRegistry


def plain_agent(path: Path, graph: GraphSpec, goal: Goal) -> LoadedAgent:
    """Put an agent together from a graph, a goal, and the tools of a folder, which need not exist.

    Raises AgentLoadError, and what `tools.py` raises.
    """
    folder = path.expanduser().absolute()
    tools = ToolRegistry()
    findings = Findings()
    if folder.is_dir():
        findings.problems.extend(distrust(folder))
        if not findings.problems:
            tools.discover_from_module(folder / FILE)
            note_servers(tools, folder, findings)
    if findings.problems:
        raise AgentLoadError(findings.problems, source=str(folder))
    return LoadedAgent(
        name=folder.name,
        path=folder,
        form=AgentForm.MODULE,
        graph=graph,
        goal=goal,
        entry_points=with_default(declared_in(graph), graph),
        tools=tools,
        node_registry={},
    )
