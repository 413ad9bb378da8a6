"""Researches a topic with somebody: intake, research, review, and again until nothing is missing."""

from .agent import ResearchDesk, default_agent, edges, goal, nodes
from .config import default_config, metadata

__version__ = "1.0.0"

__all__ = [
    "ResearchDesk",
    "default_agent",
    "default_config",
    "edges",
    "goal",
    "metadata",
    "nodes",
]
