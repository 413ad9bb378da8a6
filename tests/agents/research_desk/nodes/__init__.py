"""The nodes."""

from framework.graph import NodeSpec

intake_node = NodeSpec(
    id="intake",
    name="Intake",
    description="Find out what is to be researched.",
    node_type="event_loop",
    client_facing=True,
    max_node_visits=0,
    input_keys=["topic"],
    output_keys=["research_brief"],
    success_criteria="The brief names a question that can be answered.",
    skip_judge=True,
    system_prompt="PART: intake. Talk with the user until the question is clear, then set research_brief.",
    tools=[],
)

research_node = NodeSpec(
    id="research",
    name="Research",
    description="Look for sources and note what they say.",
    node_type="event_loop",
    max_node_visits=0,
    input_keys=["research_brief", "feedback"],
    output_keys=["findings", "sources", "gaps"],
    nullable_output_keys=["feedback", "gaps"],
    system_prompt="PART: research. Search, note what you find with note_finding, set findings and sources.",
    tools=["search_library", "note_finding"],
)

review_node = NodeSpec(
    id="review",
    name="Review",
    description="Show the findings to the user.",
    node_type="event_loop",
    client_facing=True,
    max_node_visits=0,
    input_keys=["findings", "sources", "gaps"],
    output_keys=["needs_more_research", "feedback"],
    nullable_output_keys=["feedback"],
    system_prompt="PART: review. Show the findings, ask whether they suffice, set needs_more_research.",
    tools=[],
)

report_node = NodeSpec(
    id="report",
    name="Report",
    description="Write the report.",
    node_type="event_loop",
    input_keys=["findings", "sources"],
    output_keys=["report_file"],
    system_prompt="PART: report. Write the report with write_report and set report_file.",
    tools=["write_report"],
)

__all__ = ["intake_node", "report_node", "research_node", "review_node"]
