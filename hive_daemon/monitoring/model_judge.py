"""The health judge with a model: it is asked to explain a suspicion, and only then.

The same look as that of `monitoring.judge`, free and by fixed thresholds, comes first. While it finds nothing new no
model is called, however long that is. It needs the tools of `register_worker_monitoring_tools` among those of its
runtime:

    register_worker_monitoring_tools(registry, bus, storage_path)
    runtime = AgentRuntime(…, tools=list(registry.get_tools().values()), tool_executor=registry.get_executor())
    await runtime.add_graph(
        "judge", model_judge_graph, judge_goal, {"health_check": HEALTH_JUDGE_ENTRY_POINT}
    )
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hive_daemon.graph.edge import EdgeCondition, EdgeSpec, GraphSpec
from hive_daemon.graph.node import NodeContext, NodeSpec
from hive_daemon.monitoring.judge import GOAL_ID, GRAPH_ID, NODE_ID, look

EXPLAIN_ID = "explain"
SUSPICION = "health_suspicion"

_PROMPT = f"""You watch over a worker: another agent that runs beside you. It was found not to get on: {SUSPICION} holds
one draft of an escalation ticket for each execution that is in trouble, made by fixed rules.

For each draft:
1. Call get_worker_health_summary with its worker_session_id.
2. Call emit_escalation_ticket once, with the draft as it is, except for judge_reasoning and suggested_action: there
   explain in two sentences what the evidence means and what to do. Keep the severity; you may raise it.
Then set health_verdict to one sentence."""


async def suspect(
    ctx: NodeContext, health_watch: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Look at what runs; set `health_suspicion` to the tickets that are to be explained, None for none."""
    seen = await look(ctx, health_watch or {})
    drafts = [ticket.model_dump() for ticket in seen.tickets]
    return {SUSPICION: drafts or None, "health_watch": seen.watched}


suspect_node = NodeSpec(
    id=NODE_ID,
    name="Health judge",
    description="Looks at what runs, by fixed thresholds.",
    node_type="function",
    function=suspect,
    output_keys=[SUSPICION, "health_watch"],
    nullable_output_keys=[SUSPICION],
    max_node_visits=0,
    max_retries=1,
    timeout_seconds=60.0,
)

model_judge_node = NodeSpec(
    id=EXPLAIN_ID,
    name="Health judge",
    description="Explains what was found, and escalates it.",
    node_type="event_loop",
    input_keys=[SUSPICION],
    output_keys=["health_verdict"],
    nullable_output_keys=["health_verdict"],
    tools=["get_worker_health_summary", "emit_escalation_ticket"],
    system_prompt=_PROMPT,
    max_node_visits=0,
)

model_judge_graph = GraphSpec(
    id=GRAPH_ID,
    goal_id=GOAL_ID,
    entry_node=NODE_ID,
    nodes=[suspect_node, model_judge_node],
    edges=[
        EdgeSpec(
            id="suspicion",
            source=NODE_ID,
            target=EXPLAIN_ID,
            condition=EdgeCondition.CONDITIONAL,
            condition_expr=f"{SUSPICION} is not None",
        )
    ],
    conversation_mode="continuous",
    loop_config={"max_iterations": 10, "max_tool_calls_per_turn": 3, "max_history_tokens": 16000},
    description="Watches over the other executions of its agent, and lets a model explain what is wrong.",
)
