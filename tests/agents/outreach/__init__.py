"""Writes to contacts: a draft for each, which somebody confirms or sends back."""

from .agent import edges, goal, nodes
from .config import default_config, metadata

__all__ = ["default_config", "edges", "goal", "metadata", "nodes"]
