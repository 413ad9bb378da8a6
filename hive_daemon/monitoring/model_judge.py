"""The health judge as a model: for those who would rather have a model weigh the evidence.

It needs the tools of `register_worker_monitoring_tools` among those of its runtime:

    register_worker_monitoring_tools(registry, bus, storage_path)
    runtime = AgentRuntime(…, tools=list(registry.get_tools().values()), tool_executor=registry.get_executor())
    await runtime.add_graph(
        "judge", model_judge_graph, judge_goal, {"health_check": HEALTH_JUDGE_ENTRY_POINT}
    )
"""

from __future__ import annotations

from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.node import NodeSpec
from hive_daemon.monitoring.health import (
    CRITICAL_VERDICTS,
    HIGH_VERDICTS,
    MEDIUM_VERDICTS,
    STALL_MINUTES,
    WARNING_VERDICTS,
)
from hive_daemon.monitoring.judge import GOAL_ID, GRAPH_ID, NODE_ID

_PROMPT = f"""You watch over a worker: another agent that runs beside you. You are asked every two minutes.

1. Call get_worker_health_summary.
2. Compare it with what you saw before. An unchanged total_steps on two looks means that nothing is done.
   steps_since_last_accept below {WARNING_VERDICTS} is healthy, below {MEDIUM_VERDICTS} a warning;
   from {MEDIUM_VERDICTS} on it is degraded: escalate if the same error comes again and again;
   from {CRITICAL_VERDICTS} on, or with stall_minutes from {STALL_MINUTES:g} on, it is critical: escalate.
   On your first look escalate a stall only.
3. To escalate, call emit_escalation_ticket once. Severity: medium from {MEDIUM_VERDICTS} verdicts on, high from
   {HIGH_VERDICTS} on or in a loop, critical from {CRITICAL_VERDICTS} on or when it stalls. Do not report the same
   trouble again while it does not get worse.
4. Set health_verdict to one sentence."""

model_judge_node = NodeSpec(
    id=NODE_ID,
    name="Health judge",
    description="Looks at how the worker gets on and escalates what does not.",
    node_type="event_loop",
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
    terminal_nodes=[NODE_ID],
    nodes=[model_judge_node],
    conversation_mode="continuous",
    loop_config={"max_iterations": 10, "max_tool_calls_per_turn": 3, "max_history_tokens": 16000},
    description="Watches over the other executions of its agent, with a model.",
)
