"""Incident triage: the agent of the quickstart."""

from .agent import async_entry_points, edges, entry_node, goal, nodes, terminal_nodes

__all__ = ["async_entry_points", "edges", "entry_node", "goal", "nodes", "terminal_nodes"]
