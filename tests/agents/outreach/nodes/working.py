"""The nodes that work alone."""

from framework.graph.node import NodeSpec

load_node = NodeSpec(
    id="load",
    name="Load",
    description="Load the contacts.",
    node_type="event_loop",
    input_keys=["campaign"],
    output_keys=["contacts_file", "contact_count"],
    output_schema={"contact_count": {"type": "integer"}},
    system_prompt="PART: load. Call load_contacts, set contacts_file and contact_count.",
    tools=["load_contacts"],
)

draft_node = NodeSpec(
    id="draft",
    name="Draft",
    description="Write a draft.",
    node_type="event_loop",
    max_node_visits=3,
    input_keys=["campaign", "contacts_file"],
    output_keys=["draft"],
    system_prompt="PART: draft. Write the draft and set it.",
)

send_node = NodeSpec(
    id="send",
    name="Send",
    description="Put the mails out.",
    node_type="function",
    function="outreach.sending:put_out",
    input_keys=["draft", "contact_count"],
    output_keys=["sent"],
)
