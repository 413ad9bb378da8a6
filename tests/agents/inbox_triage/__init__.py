"""Sorts a mailbox every five minutes."""

from .agent import InboxTriage, default_agent, edges, goal, nodes
from .config import default_config, metadata

__all__ = ["InboxTriage", "default_agent", "default_config", "edges", "goal", "metadata", "nodes"]
