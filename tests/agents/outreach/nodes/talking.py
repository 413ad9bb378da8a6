"""The nodes that talk with somebody."""

from framework.graph.node import NodeSpec

intake_node = NodeSpec(
    id="intake",
    name="Intake",
    description="Ask which campaign this is.",
    node_type="event_loop",
    client_facing=True,
    output_keys=["campaign"],
    system_prompt="PART: intake. Ask for the campaign with ask_user, then set campaign.",
)

confirm_node = NodeSpec(
    id="confirm",
    name="Confirm",
    description="Have the draft confirmed.",
    node_type="event_loop",
    client_facing=True,
    max_node_visits=0,
    input_keys=["draft"],
    output_keys=["batch_ready", "restart"],
    nullable_output_keys=["batch_ready", "restart"],
    system_prompt="PART: confirm. Show the draft; set batch_ready or restart as the user says.",
)
