"""What is wrong or odd in a graph, as findings of its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hive_daemon.graph.edge import AsyncEntryPointSpec, GraphSpec
from hive_daemon.graph.validation import Severity, problems_of
from hive_daemon.runner.findings import Findings


def check_graph(
    graph: GraphSpec, registered: Mapping[str, Any], where: str, findings: Findings
) -> None:
    """Note what keeps the graph from running, and what looks wrong; entry points are checked elsewhere.

    `registered` are nodes of the folder's own, by id.
    """
    for problem in problems_of(_with_plain_entries(graph), registered):
        if problem.severity is Severity.ERROR:
            findings.add(where, str(problem))
        else:
            findings.warn(where, str(problem))


def _with_plain_entries(graph: GraphSpec) -> GraphSpec:
    """Return the graph with no more of its entry points than where they begin: nodes are reachable from there."""
    known = {node.id for node in graph.nodes}
    starts = dict.fromkeys(
        each.entry_node for each in graph.async_entry_points if each.entry_node in known
    )
    entries = [
        AsyncEntryPointSpec(id=f"entry-{at}", entry_node=node) for at, node in enumerate(starts)
    ]
    return graph.model_copy(update={"async_entry_points": entries})
