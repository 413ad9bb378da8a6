"""A draft, a question to a person, and a loop until the answer is yes."""

from framework.graph import EdgeCondition, EdgeSpec, Goal, NodeSpec
from framework.graph.node import NodeResult
from review_desk.config import default_config

goal = Goal(id="review-desk", name="Review desk", description="A text that somebody approved.")

nodes = [
    NodeSpec(id="draft", name="Draft", description="Write.", node_type="event_loop"),
    NodeSpec(
        id="review",
        name="Review",
        description="Is this good?",
        node_type="human_input",
        input_keys=["draft"],
        output_keys=["answer"],
    ),
    NodeSpec(
        id="publish",
        name="Publish",
        description="Publish.",
        node_type="function",
        function="agent:publish",
        input_keys=["draft", "answer"],
        output_keys=["published"],
    ),
]

edges = [
    EdgeSpec(id="d-r", source="draft", target="review", condition=EdgeCondition.ON_SUCCESS),
    EdgeSpec(
        id="r-p",
        source="review",
        target="publish",
        condition=EdgeCondition.CONDITIONAL,
        condition_expr="answer == 'yes'",
        priority=2,
    ),
    EdgeSpec(
        id="r-d",
        source="review",
        target="draft",
        condition=EdgeCondition.CONDITIONAL,
        condition_expr="answer != 'yes'",
        priority=-1,
    ),
]

terminal_nodes = ["publish"]
max_tokens = default_config.max_tokens


class Draft:
    """A node of the folder's own."""

    async def execute(self, ctx):
        topic = ctx.input_data.get("topic", "nothing")
        return NodeResult(success=True, output={"draft": f"{topic}, draft {ctx.visit}"})


node_registry = {"draft": Draft()}


def publish(draft, answer):
    return f"{draft} ({answer})"
