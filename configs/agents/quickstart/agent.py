"""Incident triage: read a service log, find out how bad it is, write a report.

    parse -> count -> route -+- critical, major -> evidence -+-> report
                             +- minor ----------------------+

A webhook at /webhooks/alerts starts the same graph; a timer looks at this machine every five minutes.
"""

from framework.graph import Constraint, EdgeCondition, EdgeSpec, Goal, NodeSpec, SuccessCriterion
from framework.graph.edge import AsyncEntryPointSpec
from framework.runtime.event_bus import EventType

goal = Goal(
    id="triage",
    name="Incident triage",
    description="Tell the engineer on call what is broken, since when, and where to look first.",
    success_criteria=[
        SuccessCriterion(
            id="report",
            description="A report names the severity and the service that fails most",
            metric="output_contains",
            target="Severity",
        )
    ],
    constraints=[
        Constraint(
            id="facts-only",
            description="Report only what the log shows",
            constraint_type="soft",
        )
    ],
)

nodes = [
    NodeSpec(
        id="parse",
        name="Read the log",
        description="Turn the text of a service log into entries",
        node_type="function",
        function="triage:parse",
        input_keys=["log", "event"],
        output_keys=["entries", "skipped_lines"],
    ),
    NodeSpec(
        id="count",
        name="Count",
        description="Count entries by level and service and judge the severity",
        node_type="function",
        function="triage:count",
        input_keys=["entries"],
        output_keys=["summary", "severity"],
    ),
    NodeSpec(
        id="route",
        name="Route by severity",
        node_type="router",
        route_on="severity",
        input_keys=["severity"],
        routes={"critical": "evidence", "major": "evidence", "default": "report"},
    ),
    NodeSpec(
        id="evidence",
        name="Gather evidence",
        description="Pick the lines that show what went wrong first",
        node_type="function",
        function="triage:evidence",
        input_keys=["entries", "summary"],
        output_keys=["evidence"],
    ),
    NodeSpec(
        id="report",
        name="Write the report",
        description="Write a short incident report for the engineer on call",
        node_type="event_loop",
        input_keys=["severity", "summary", "evidence"],
        output_keys=["report"],
        output_schema={"report": {"type": "string", "description": "the report, as Markdown"}},
        system_prompt=(
            "You are the engineer who writes the first report of an incident. Use only the figures and lines "
            "you are given. Say how severe it is, which service fails most and since when, and where to look "
            "first. Set the output `report` to the finished Markdown."
        ),
    ),
    NodeSpec(
        id="machine",
        name="Look at the machine",
        description="Report disk, memory and load of this machine",
        node_type="function",
        function="machine:look",
        output_keys=["machine"],
    ),
]

edges = [
    EdgeSpec(id="parsed", source="parse", target="count", condition=EdgeCondition.ON_SUCCESS),
    EdgeSpec(id="counted", source="count", target="route", condition=EdgeCondition.ON_SUCCESS),
    EdgeSpec(id="shown", source="evidence", target="report", condition=EdgeCondition.ON_SUCCESS),
]

entry_node = "parse"
terminal_nodes = ["report", "machine"]

async_entry_points = [
    AsyncEntryPointSpec(
        id="machine_health",
        name="Machine health, every five minutes",
        entry_node="machine",
        trigger_type="timer",
        trigger_config={"interval_minutes": 5},
        isolation_level="isolated",
    ),
    AsyncEntryPointSpec(
        id="alerts",
        name="Alerts by webhook",
        entry_node="parse",
        trigger_type="event",
        trigger_config={"event_types": [EventType.WEBHOOK_RECEIVED], "filter_stream": "alerts"},
        isolation_level="isolated",
    ),
]

webhook_routes = [{"source_id": "alerts", "path": "/webhooks/alerts", "methods": ["POST"]}]
