"""Making the model loops of a graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hive_daemon.clock import Clock
from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.event_loop_node import EventLoopNode
from hive_daemon.graph.loop_config import LoopConfig, loop_config
from hive_daemon.graph.node import NodeProtocol, NodeSpec


def loop_maker(graph: GraphSpec, clock: Clock) -> Callable[[NodeSpec], NodeProtocol]:
    """Return what makes the loop of each event_loop node of a graph, with the limits of its `loop_config`.

    Raises ConfigError for values that do not fit. Whether nodes share one conversation the context says
    (`continuous_mode`, from the graph's `conversation_mode`).
    """
    alone = loop_config(graph.loop_config)
    with_people = loop_config(graph.loop_config, is_client_facing=True)
    return partial(_make, alone, with_people, clock)


def _make(alone: LoopConfig, with_people: LoopConfig, clock: Clock, spec: NodeSpec) -> NodeProtocol:
    config = with_people if spec.client_facing else alone
    return EventLoopNode(config=config, clock=clock)
