"""Watches vendors: a branch that is not always taken, and a loop that waits for the next question."""

from .agent import edges, goal, nodes

__all__ = ["edges", "goal", "nodes"]
