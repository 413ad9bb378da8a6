"""Asks for a text and has it reviewed."""

from .agent import edges, goal, nodes

__all__ = ["edges", "goal", "nodes"]
