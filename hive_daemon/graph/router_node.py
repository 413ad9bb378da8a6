"""Nodes that run no code of the program's own: a router, and a question to a person."""

from __future__ import annotations

from dataclasses import dataclass

from hive_daemon.graph.choice import route, route_key, route_word
from hive_daemon.graph.node import NodeContext, NodeResult, Waiting


@dataclass(frozen=True, slots=True)
class RouterNode:
    """Sends the walk by a value: `routes` maps the value of `route_on` to a node, `default` catches the rest."""

    async def execute(self, ctx: NodeContext) -> NodeResult:
        """Look the value up. A value without a route, and no default, is a failure."""
        spec, values = ctx.node_spec, ctx.input_data
        key, word, target = route_key(spec), route_word(spec, values), route(spec, values)
        if target is None:
            known = ", ".join(spec.routes) or "none"
            error = f"no route for {key} = {word!r} and no default (routes: {known})"
            return NodeResult(False, error=error, error_type="no_route", retryable=False)
        return NodeResult(True, next_node=target, route_reason=f"{key} = {word}")


@dataclass(frozen=True, slots=True)
class HumanInputNode:
    """Asks a person: parks with its description as the question; the answer fills the first output key."""

    async def execute(self, ctx: NodeContext) -> NodeResult:
        """Wait for the answer, or take it."""
        spec = ctx.node_spec
        if ctx.answer is None:
            return NodeResult(True, waiting=Waiting(spec.description or spec.label))
        keys = [*spec.output_keys, *spec.nullable_output_keys]
        return NodeResult(True, {keys[0]: ctx.answer} if keys else {})
