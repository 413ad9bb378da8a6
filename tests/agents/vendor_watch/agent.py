"""Goal, nodes, edges; nodes are written beside each other in one file."""

from framework.graph import EdgeCondition, EdgeSpec, Goal, NodeSpec
from framework.graph.edge import AsyncEntryPointSpec

goal = Goal(
    id="vendor-watch",
    name="Vendor watch",
    description="Nothing that a vendor changes goes unnoticed.",
    success_criteria=[{"id": "seen", "description": "All changes are seen", "weight": 1.0}],
)

nodes = [
    NodeSpec(
        id="collect",
        name="Collect",
        description="Collect what the vendor published.",
        node_type="event_loop",
        input_keys=["vendor"],
        output_keys=["changes", "has_source_code", "next_page"],
        nullable_output_keys=["next_page"],
        max_node_visits=0,
        system_prompt="PART: collect. Page through fetch_changes, set changes and has_source_code.",
        tools=["fetch_changes"],
    ),
    NodeSpec(
        id="read-source",
        name="Read the source",
        description="Look at the source code, if there is any.",
        node_type="event_loop",
        input_keys=["changes"],
        output_keys=["code_notes"],
        nullable_output_keys=["code_notes"],
        system_prompt="PART: read-source. Say what changed in the code.",
        tools=[],
    ),
    NodeSpec(
        id="sum-up",
        name="Sum up",
        description="Write the digest.",
        node_type="event_loop",
        input_keys=["changes", "code_notes"],
        output_keys=["digest"],
        system_prompt="PART: sum-up. Write the digest and set it.",
        tools=["count_files"],
    ),
]

edges = [
    EdgeSpec(
        id="again",
        source="collect",
        target="collect",
        condition=EdgeCondition.CONDITIONAL,
        condition_expr="str(next_page).strip() not in ('', 'None', 'none')",
        priority=3,
    ),
    EdgeSpec(
        id="to-source",
        source="collect",
        target="read-source",
        condition=EdgeCondition.CONDITIONAL,
        condition_expr="str(has_source_code).lower() == 'true'",
        priority=2,
    ),
    EdgeSpec(
        id="past-source",
        source="collect",
        target="sum-up",
        condition=EdgeCondition.CONDITIONAL,
        condition_expr="str(has_source_code).lower() != 'true'",
        priority=-1,
    ),
    EdgeSpec(
        id="source-to-sum",
        source="read-source",
        target="sum-up",
        condition=EdgeCondition.ON_SUCCESS,
    ),
]

terminal_nodes = []
async_entry_points = [
    AsyncEntryPointSpec(
        id="weekly",
        name="Every Monday",
        entry_node="collect",
        trigger_type="timer",
        trigger_config={"cron": "0 8 * * 1", "run_immediately": False},
        isolation_level="isolated",
        max_concurrent=1,
    ),
    AsyncEntryPointSpec(
        id="poll",
        name="Every hour",
        entry_node="collect",
        trigger_type="timer",
        trigger_config={"interval_minutes": 60, "run_immediately": False},
        isolation_level="shared",
        max_concurrent=1,
    ),
]
conversation_mode = "isolated"
loop_config = {"max_iterations": 12}
