"""The nodes."""

from framework.graph import NodeSpec

fetch_node = NodeSpec(
    id="fetch-mails",
    name="Fetch mails",
    description="Fetch the mails since the last time.",
    node_type="event_loop",
    max_node_visits=0,
    input_keys=["rules"],
    output_keys=["mails_file"],
    system_prompt="Fetch the mails with bulk_fetch_mails, then set mails_file.",
    tools=["bulk_fetch_mails"],
)

sort_node = NodeSpec(
    id="sort-mails",
    name="Sort mails",
    description="Sort what was fetched.",
    node_type="event_loop",
    input_keys=["rules", "mails_file"],
    output_keys=["sorting"],
    nullable_output_keys=["note"],
    system_prompt="Sort the mails.",
    tools=[],
)

report_node = NodeSpec(
    id="report",
    name="Report",
    description="Count what was sorted.",
    node_type="function",
    function="tools:report",
    input_keys=["sorting"],
    output_keys=["report"],
)

__all__ = ["fetch_node", "report_node", "sort_node"]
