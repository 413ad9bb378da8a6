"""Goal and edges."""

from framework.graph.edge import EdgeCondition, EdgeSpec
from framework.graph.goal import Goal

from .nodes import confirm_node, draft_node, intake_node, load_node, send_node

goal = Goal(id="outreach", name="Outreach", description="Contacts get a mail somebody confirmed.")

nodes = [intake_node, load_node, draft_node, confirm_node, send_node]

edges = [
    EdgeSpec(id="i-l", source="intake", target="load", condition=EdgeCondition.ON_SUCCESS),
    EdgeSpec(id="l-d", source="load", target="draft", condition=EdgeCondition.ON_SUCCESS),
    EdgeSpec(id="d-c", source="draft", target="confirm", condition=EdgeCondition.ON_SUCCESS),
    EdgeSpec(
        id="c-s",
        source="confirm",
        target="send",
        condition=EdgeCondition.CONDITIONAL,
        condition_expr="batch_ready == True",
        priority=2,
    ),
    EdgeSpec(
        id="c-d",
        source="confirm",
        target="draft",
        condition=EdgeCondition.CONDITIONAL,
        condition_expr="restart == True",
        priority=-1,
    ),
]

entry_node = "intake"
terminal_nodes = ["send"]
loop_config = {"max_iterations": 25, "max_tool_calls_per_turn": 4}
conversation_mode = "continuous"
identity_prompt = "You write short, friendly mails."
