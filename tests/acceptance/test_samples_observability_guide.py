"""Every sample of the observability guide, in the form needed to run, through the `framework` alias.

| sample of the guide | tests |
|---|---|
| EventBus Architecture | `test_a_bus_tells_its_subscribers` |
| Event Types: Execution Lifecycle | `test_the_lifecycle_of_executions_is_told` |
| Event Types: Node Execution | `test_the_progress_of_nodes_is_told` |
| Event Types: LLM Streaming (text) | `test_what_a_model_writes_is_streamed` |
| Event Types: LLM Streaming (tools) | `test_the_use_of_tools_is_told` |
| Event Types: Client I/O | `test_what_clients_see_and_are_asked_is_told` |
| Event Types: Health & Diagnostics | `test_trouble_is_told` |
| Event Filtering (four subscriptions) | `test_events_are_filtered_by_stream_node_execution_and_graph` |
| Waiting for Events | `test_one_waits_for_an_event_or_gives_up` |
| Event History | `test_the_past_can_be_asked_for` |
| Event Debugging | `test_every_event_is_written_to_a_file_on_request` |
| Runtime Logs: L1 | `test_the_summary_of_a_run_is_read` |
| Runtime Logs: L2 | `test_the_details_of_nodes_are_read` |
| Runtime Logs: L3 | `test_the_tool_calls_are_read` |
| Trace Context Propagation, Example JSON log | `test_logs_carry_the_trace_context` |
| Worker Health Monitoring | `test_the_judge_is_added_as_shown_and_looks_at_once` |
| Health Patterns: Stalls, Escalation Tickets | `test_a_stall_is_escalated_to_a_listener` |
| Health Patterns: Doom Loops | `test_a_doom_loop_is_escalated` |
| Health Patterns: Excessive Retries | `test_excessive_retries_are_escalated` |
| Stream Health Metrics | `test_a_stream_tells_its_health` |
| Best Practices: Error Resilience | `test_a_handler_that_fails_disturbs_nobody` |

Filled in: the agent (scripted model, one tool), the ids of its executions, the handlers that the guide only names, a
temporary directory, and a clock of the test's own where the guide waits for minutes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hive_daemon.framework_alias import installed
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.values import Tool
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import (
    GOAL,
    SECONDS,
    Heard,
    Turnstile,
    function,
    graph_of,
    model,
    services_at,
)

READ = Tool("read", "Reads a file.", {"properties": {"filePath": {"type": "string"}}})
SCRIPT = {
    "nodes": {
        "plan": [
            {
                "reasoning": "Where was it?",
                "text": "I will read the file and then answer.",
                "tool_calls": [{"name": "read", "input": {"filePath": "/home/user/file.txt"}}],
            },
            {"text": "It is all there.", "set_output": {"answer": "the file says so"}},
        ],
        "greet": [{"text": "Good morning, what can I do?"}],
    }
}


def read(use) -> str:
    if "missing" in str(use.input):
        raise FileNotFoundError("File not found /path/to/missing.txt")
    return f"content of {use.input['filePath']} " * 20


@pytest.fixture(autouse=True)
def _alias():
    with installed():
        yield


@asynccontextmanager
async def running(path, graph, *entry_points, script=SCRIPT, **given):
    """Run an agent as an embedded program does."""
    from framework.runtime.agent_runtime import AgentRuntime
    from framework.runtime.execution_stream import EntryPointSpec

    if "placement" not in given:
        given["storage_path"] = path
    runtime = AgentRuntime(
        graph=graph,
        goal=GOAL,
        llm=ScriptedProvider(script),
        **{"tools": [READ], "tool_executor": read, **given},
    )
    for spec in entry_points or (EntryPointSpec(id="webhook"),):
        runtime.register_entry_point(spec)
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.stop(0.0)


def planning(**fields):
    return graph_of(model("plan", tools=["read"], **fields))


class Seen:
    """A handler that remembers."""

    def __init__(self):
        self.events = []

    async def __call__(self, event):
        self.events.append(event)

    @property
    def kinds(self):
        return [event.type.value for event in self.events]


# --- events -------------------------------------------------------------------------------------


async def test_a_bus_tells_its_subscribers(capsys):
    from framework.runtime.event_bus import AgentEvent, EventBus, EventType

    bus = EventBus(max_history=1000, max_concurrent_handlers=10)

    async def on_execution_complete(event: AgentEvent):
        print(f"Execution {event.execution_id} completed")
        print(f" Stream: {event.stream_id}")
        print(f" Output: {event.data.get('output')}")

    sub_id = bus.subscribe(
        event_types=[EventType.EXECUTION_COMPLETED],
        handler=on_execution_complete,
    )
    await bus.publish(
        AgentEvent(
            type=EventType.EXECUTION_COMPLETED,
            stream_id="webhook",
            execution_id="exec_123",
            data={"result": "success"},
        )
    )
    bus.unsubscribe(sub_id)
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["Execution exec_123 completed", " Stream: webhook", " Output: None"]


async def test_the_lifecycle_of_executions_is_told(tmp_path):
    from framework.runtime.event_bus import EventType

    async def flaky(ctx) -> str:
        if ctx.answer is None and not broken:
            broken.append(ctx.execution_id)
            raise ConnectionError("the line is bad")
        return "fine"

    broken: list[str] = []
    track_execution_lifecycle = Seen()
    graph = graph_of(
        function("ask", lambda ctx: None, outputs=()).model_copy(
            update={"node_type": "human_input", "function": None, "output_keys": ["said"]}
        ),
        function("work", flaky, max_retries=1),
        edges=[("ask", "work")],
    )
    from framework.runtime.execution_stream import EntryPointSpec

    async with running(
        tmp_path, graph, EntryPointSpec(id="webhook", max_resurrections=1)
    ) as runtime:
        bus = runtime.event_bus
        bus.subscribe(
            event_types=[
                EventType.EXECUTION_STARTED,
                EventType.EXECUTION_COMPLETED,
                EventType.EXECUTION_FAILED,
                EventType.EXECUTION_PAUSED,
                EventType.EXECUTION_RESUMED,
                EventType.EXECUTION_RESURRECTED,  # Auto-restart after failure
            ],
            handler=track_execution_lifecycle,
        )
        heard = Heard.of(runtime)
        await runtime.trigger("webhook", {})
        await heard.until(EventType.EXECUTION_PAUSED)
        await runtime.inject_input("ask", "go on")
        await heard.until(EventType.EXECUTION_COMPLETED)
    assert track_execution_lifecycle.kinds == [
        "execution_started",
        "execution_paused",
        "execution_resumed",
        "execution_resurrected",
        "execution_completed",
    ]


async def test_the_progress_of_nodes_is_told(tmp_path):
    from framework.runtime.event_bus import EventType

    track_node_progress = Seen()
    async with running(tmp_path, planning()) as runtime:
        runtime.event_bus.subscribe(
            event_types=[
                EventType.NODE_LOOP_STARTED,
                EventType.NODE_LOOP_ITERATION,
                EventType.NODE_LOOP_COMPLETED,
                EventType.NODE_ACTION_PLAN,  # Agent's plan for the node
            ],
            handler=track_node_progress,
        )
        await runtime.trigger_and_wait("webhook", {}, timeout=SECONDS)
    assert [kind for kind in track_node_progress.kinds if kind != "node_action_plan"] == [
        "node_loop_started",
        "node_loop_iteration",
        "node_loop_completed",
    ]
    assert {event.node_id for event in track_node_progress.events} == {"plan"}


async def test_what_a_model_writes_is_streamed(tmp_path, capsys):
    from framework.runtime.event_bus import AgentEvent, EventType

    async def stream_llm_output(event: AgentEvent):
        if event.type == EventType.LLM_TEXT_DELTA:
            print(event.data["content"], end="", flush=True)
        elif event.type == EventType.LLM_TURN_COMPLETE:
            print(
                f"\n[Model: {event.data['model']}, "
                f"Tokens: {event.data['input_tokens']} + {event.data['output_tokens']}]"
            )

    thoughts = Seen()
    async with running(tmp_path, planning()) as runtime:
        bus = runtime.event_bus
        bus.subscribe(
            event_types=[
                EventType.LLM_TEXT_DELTA,
                EventType.LLM_REASONING_DELTA,  # Thinking process (o1 models)
                EventType.LLM_TURN_COMPLETE,
            ],
            handler=stream_llm_output,
        )
        bus.subscribe([EventType.LLM_REASONING_DELTA], thoughts)
        await runtime.trigger_and_wait("webhook", {}, timeout=SECONDS)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "I will read the file and then answer."
    assert shown[1].startswith("[Model: scripted, Tokens: ")
    assert shown[2] == "It is all there."
    assert "".join(event.data["content"] for event in thoughts.events) == "Where was it?"


async def test_the_use_of_tools_is_told(tmp_path, capsys):
    from framework.runtime.event_bus import AgentEvent, EventType

    async def monitor_tools(event: AgentEvent):
        if event.type == EventType.TOOL_CALL_STARTED:
            print(f"Tool: {event.data['tool_name']}")
            print(f" Input: {event.data['tool_input']}")
        elif event.type == EventType.TOOL_CALL_COMPLETED:
            print(f" Result: {event.data['result'][:100]}...")
            if event.data.get("is_error"):
                print(" ERROR: Tool failed")

    script = {
        "nodes": {
            "plan": [
                SCRIPT["nodes"]["plan"][0],
                {"tool_calls": [{"name": "read", "input": {"filePath": "missing"}}]},
                SCRIPT["nodes"]["plan"][1],
            ]
        }
    }
    async with running(tmp_path, planning(), script=script) as runtime:
        runtime.event_bus.subscribe(
            event_types=[
                EventType.TOOL_CALL_STARTED,
                EventType.TOOL_CALL_COMPLETED,
            ],
            handler=monitor_tools,
        )
        await runtime.trigger_and_wait("webhook", {}, timeout=SECONDS)
    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == ["Tool: read", " Input: {'filePath': '/home/user/file.txt'}"]
    assert shown[2].startswith(" Result: content of /home/user/file.txt")
    assert shown.count(" ERROR: Tool failed") == 1


async def test_what_clients_see_and_are_asked_is_told(tmp_path):
    from framework.runtime.event_bus import EventType

    track_client_interaction = Seen()
    graph = graph_of(model("greet", client_facing=True))
    async with running(tmp_path, graph) as runtime:
        runtime.event_bus.subscribe(
            event_types=[
                EventType.CLIENT_OUTPUT_DELTA,  # Streaming output to user
                EventType.CLIENT_INPUT_REQUESTED,  # Waiting for user input
            ],
            handler=track_client_interaction,
        )
        await runtime.trigger_and_wait("webhook", {}, timeout=SECONDS)
    assert track_client_interaction.kinds[-1] == "client_input_requested"
    written = "".join(e.data["content"] for e in track_client_interaction.events[:-1])
    assert written == "Good morning, what can I do?"


async def test_trouble_is_told(tmp_path):
    from framework.runtime.event_bus import EventType

    handle_health_issues = Seen()
    again = {"tool_calls": [{"name": "read", "input": {"filePath": "missing"}}], "repeat": True}
    script = {"nodes": {"plan": [again], "muse": [{"text": "Hm.", "repeat": True}]}}
    from framework.runtime.execution_stream import EntryPointSpec

    graph = graph_of(model("plan", tools=["read"]), model("muse"))
    entry_points = [EntryPointSpec(id="loops"), EntryPointSpec(id="stalls", entry_node="muse")]
    async with running(tmp_path, graph, *entry_points, script=script) as runtime:
        runtime.event_bus.subscribe(
            event_types=[
                EventType.NODE_STALLED,  # No progress for N seconds
                EventType.NODE_TOOL_DOOM_LOOP,  # Repeated failed tool calls
                EventType.CONSTRAINT_VIOLATION,  # Goal constraint broken
                EventType.JUDGE_VERDICT,  # Quality judge feedback
            ],
            handler=handle_health_issues,
        )
        await runtime.trigger_and_wait("loops", {}, timeout=SECONDS)
        await runtime.trigger_and_wait("stalls", {}, timeout=SECONDS)
        runtime.outcome_aggregator.record_constraint_violation("no-harm", "something broke")
    assert {"node_stalled", "node_tool_doom_loop", "judge_verdict", "constraint_violation"} == set(
        handle_health_issues.kinds
    )


async def test_events_are_filtered_by_stream_node_execution_and_graph(tmp_path):
    from framework.runtime.event_bus import EventType
    from framework.runtime.execution_stream import EntryPointSpec

    async def fail() -> None:
        raise ValueError("broken")

    handlers = [Seen() for _ in range(4)]
    handle_webhook_failures, monitor_critical_node, stream_execution_output = handlers[:3]
    handle_worker_failures = handlers[3]
    graph = graph_of(
        model("critical-operation"), function("fail", fail, max_retries=1), model("other")
    )
    script = {"default": [{"text": "Done.", "set_output": {"answer": "yes"}}]}
    entry_points = [
        EntryPointSpec(id="webhook", entry_node="fail"),
        EntryPointSpec(id="api", entry_node="critical-operation"),
        EntryPointSpec(id="else", entry_node="other"),
    ]
    async with running(tmp_path, graph, *entry_points, script=script) as runtime:
        bus = runtime.event_bus
        worker = graph_of(function("fail", fail, max_retries=1), id="worker-graph")
        await runtime.add_graph("worker", worker, GOAL, {"run": EntryPointSpec(id="run")})
        # Only errors from specific stream
        bus.subscribe(
            event_types=[EventType.EXECUTION_FAILED],
            filter_stream="webhook",
            handler=handle_webhook_failures,
        )
        # Only events from specific node
        bus.subscribe(
            event_types=[EventType.NODE_LOOP_ITERATION],
            filter_node="critical-operation",
            handler=monitor_critical_node,
        )
        # Only events from specific execution
        state = {"resume_session_id": "session_20260302_090000_0000abcd"}
        bus.subscribe(
            event_types=[EventType.LLM_TEXT_DELTA],
            filter_execution="session_20260302_090000_0000abcd",
            handler=stream_execution_output,
        )
        # Only events from specific graph (multi-graph sessions)
        bus.subscribe(
            event_types=[EventType.EXECUTION_FAILED],
            filter_graph="worker",
            handler=handle_worker_failures,
        )
        for entry_point in ("webhook", "api", "else", "worker::run"):
            await runtime.trigger_and_wait(entry_point, {}, timeout=SECONDS)
        await runtime.trigger_and_wait("else", {}, timeout=SECONDS, session_state=state)
    assert {event.execution_id for event in stream_execution_output.events} == {
        state["resume_session_id"]
    }
    assert [[(e.type.value, e.stream_id) for e in seen.events] for seen in handlers] == [
        [("execution_failed", "webhook")],
        [("node_loop_iteration", "api")],
        [("llm_text_delta", "else"), ("llm_text_delta", "else")],
        [("execution_failed", "worker::run")],
    ]


async def test_one_waits_for_an_event_or_gives_up(tmp_path, capsys):
    from framework.runtime.event_bus import EventType

    async with running(tmp_path, planning()) as runtime:
        bus = runtime.event_bus
        for execution_id, seconds in (
            (await runtime.trigger("webhook", {}), 300.0),
            ("exec_123", 0.01),
        ):
            event = await bus.wait_for(
                event_type=EventType.EXECUTION_COMPLETED,
                execution_id=execution_id,
                timeout=seconds,
            )
            if event:
                print(f"Completed: {event.data['output']}")
            else:
                print("Timeout waiting for completion")
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["Completed: {'answer': 'the file says so'}", "Timeout waiting for completion"]


async def test_the_past_can_be_asked_for(tmp_path, capsys):
    from framework.runtime.event_bus import EventType

    async def fail() -> None:
        raise ValueError("broken beyond repair")

    async with running(tmp_path, graph_of(function("fail", fail, max_retries=1))) as runtime:
        bus = runtime.event_bus
        execution_id = await runtime.trigger("webhook", {})
        await runtime.wait_for_completion(execution_id, SECONDS)
        # Get recent failures
        failures = bus.get_history(
            event_type=EventType.EXECUTION_FAILED,
            limit=10,
        )
        for event in failures:
            print(f"{event.timestamp}: {event.data['error']}")
        # Get all events from an execution
        exec_events = bus.get_history(
            execution_id=execution_id,
            limit=1000,
        )
    assert "broken beyond repair" in capsys.readouterr().out
    assert [event.type.value for event in exec_events][::-1] == [
        "execution_started",
        "node_started",
        "node_completed",
        "execution_failed",
    ]


async def test_every_event_is_written_to_a_file_on_request(tmp_path, monkeypatch):
    events = tmp_path / "events"
    monkeypatch.setenv("HIVE_DEBUG_EVENTS", str(events))
    async with running(tmp_path / "state", planning()) as runtime:
        runtime.event_bus.subscribe(["llm_text_delta"], Seen())
        await runtime.trigger_and_wait("webhook", {}, timeout=SECONDS)
        await runtime.event_bus.emit("custom", "primary", note="a program's own")
    [file] = events.glob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    shown = {line["type"]: line for line in lines}
    delta, call = shown["llm_text_delta"], shown["tool_call_started"]
    assert set(delta) >= {"stream_id", "node_id", "execution_id", "data", "timestamp", "graph_id"}
    assert delta["data"].keys() >= {"content", "snapshot"}
    assert call["data"]["tool_name"] == "read"
    assert call["data"]["tool_input"] == {"filePath": "/home/user/file.txt"}
    assert call["data"]["tool_use_id"]
    assert shown["custom"]["data"] == {"note": "a program's own"}


# --- logs ---------------------------------------------------------------------------------------


@pytest.fixture
async def logged(tmp_path, monkeypatch):
    """A run that ended, in ./storage; its session's id."""
    monkeypatch.chdir(tmp_path)
    async with running(Path("./storage"), planning()) as runtime:
        execution_id = await runtime.trigger("webhook", {})
        await runtime.wait_for_completion(execution_id, SECONDS)
    return execution_id


async def test_the_summary_of_a_run_is_read(logged, capsys):
    from framework.runtime.runtime_log_store import RuntimeLogStore

    log_store = RuntimeLogStore(base_path=Path("./storage"))
    # Read summary
    summary = await log_store.load_summary(logged)
    print(f"Run: {summary.run_id}")
    print(f"Status: {summary.status}")
    print(f"Started: {summary.started_at}")
    print(f"Duration: {summary.duration_seconds}s")
    print(f"Nodes executed: {len(summary.nodes_executed)}")
    print(f"Needs attention: {summary.needs_attention}")
    # Query runs
    runs = await log_store.list_runs(status="failed", limit=10)
    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == [f"Run: {logged}", "Status: completed"]
    assert shown[4:] == ["Nodes executed: 1", "Needs attention: False"]
    assert runs == []
    assert [run.run_id for run in await log_store.list_runs(status="completed")] == [logged]


async def test_the_details_of_nodes_are_read(logged, capsys):
    from framework.runtime.runtime_log_store import RuntimeLogStore

    log_store = RuntimeLogStore(base_path=Path("./storage"))
    details = await log_store.load_details(logged)
    for node in details.nodes:
        print(f"Node: {node.node_id}")
        print(f" Iterations: {node.iterations}")
        print(f" Duration: {node.duration_seconds}s")
        print(f" Result: {node.result}")
        print(f" LLM calls: {node.llm_call_count}")
        print(f" Tool calls: {node.tool_call_count}")
    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == ["Node: plan", " Iterations: 1"]
    assert shown[3:] == [" Result: success", " LLM calls: 3", " Tool calls: 1"]


async def test_the_tool_calls_are_read(logged, capsys):
    from framework.runtime.runtime_log_store import RuntimeLogStore

    log_store = RuntimeLogStore(base_path=Path("./storage"))
    tool_logs = await log_store.load_tool_logs(logged)
    for step in tool_logs.steps:
        print(f"Step {step.step_number} @ {step.timestamp}")
        print(f" Node: {step.node_id}")
        print(f" Tool: {step.tool_name}")
        print(f" Input: {step.tool_input}")
        print(f" Result: {step.tool_result[:200]}...")
        if step.tool_error:
            print(f" ERROR: {step.tool_error}")
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("Step 1 @ 20")
    assert shown[1:3] == [" Node: plan", " Tool: read"]
    assert shown[4].startswith(" Result: content of")
    assert len(shown) == 5


TRACED = """
import asyncio
from hive_daemon.framework_alias import install
install()
from framework.observability import configure_logging, get_trace_context

# Configure structured logging
configure_logging(level="INFO", format="json")

import logging
logger = logging.getLogger("myapp")

async def work() -> str:
    logger.info("Processing request")  # Automatically includes trace_id, execution_id, etc.
    # Access context programmatically
    context = get_trace_context()
    print(f"Trace ID: {context.get('trace_id')}")
    print(f"Execution ID: {context.get('execution_id')}")
    return "done"

from framework.graph import GraphSpec, Goal, NodeSpec
from framework.runtime.agent_runtime import AgentRuntime
from framework.runtime.execution_stream import EntryPointSpec

node = NodeSpec(id="work", node_type="function", function=work, output_keys=["answer"])
runtime = AgentRuntime(
    graph=GraphSpec(id="support_agent", entry_node="work", nodes=[node]),
    goal=Goal(id="support-goal", name="Support"),
    storage_path="./storage",
)
runtime.register_entry_point(EntryPointSpec(id="webhook"))

async def main():
    await runtime.start()
    await runtime.trigger_and_wait("webhook", {}, timeout=20)
    await runtime.stop()

asyncio.run(main())
"""


def test_logs_carry_the_trace_context(tmp_path):
    (tmp_path / "program.py").write_text(TRACED)
    ran = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    printed = [line for line in ran.stdout.splitlines() if not line.startswith("{")]
    records = [
        json.loads(line) for line in (ran.stdout + ran.stderr).splitlines() if line.startswith("{")
    ]
    [record] = [record for record in records if record["message"] == "Processing request"]
    assert printed == [
        f"Trace ID: {record['trace_id']}",
        f"Execution ID: {record['execution_id']}",
    ]
    assert len(record["trace_id"]) == 32
    assert record["timestamp"].endswith("Z")
    assert record["run_id"]
    shown = {key: record[key] for key in ("level", "logger", "goal_id", "stream_id", "agent_id")}
    assert shown == {
        "level": "info",
        "logger": "myapp",
        "goal_id": "support-goal",
        "stream_id": "webhook",
        "agent_id": "support_agent",
    }


# --- the health judge ---------------------------------------------------------------------------


async def add_judge(worker_runtime):
    from framework.monitoring import HEALTH_JUDGE_ENTRY_POINT, judge_goal, judge_graph

    # Load health judge as secondary graph
    await worker_runtime.add_graph(
        graph_id="judge",
        graph=judge_graph,
        goal=judge_goal,
        entry_points={"health_check": HEALTH_JUDGE_ENTRY_POINT},
        storage_subpath="graphs/judge",
    )


@asynccontextmanager
async def watched(path, graph):
    """A worker with a judge, on a clock of the test's own."""
    clock = FakeClock(auto=False)
    async with (
        services_at(path, clock) as (_, placement),
        running(path, graph, placement=placement) as runtime,
    ):
        yield clock, runtime, Heard.of(runtime)


async def look(clock, heard, count, minutes=2):
    """Let the judge look for the `count`th time, after so many minutes."""
    from framework.runtime.event_bus import EventType

    await clock.advance(minutes * 60)
    await heard.until(EventType.EXECUTION_COMPLETED, "judge::health_check", count=count)


def tickets(heard):
    from framework.runtime.event_bus import EventType

    return [e.data["ticket"] for e in heard.found(EventType.WORKER_ESCALATION_TICKET)]


async def test_the_judge_is_added_as_shown_and_looks_at_once(tmp_path):
    from framework.runtime.event_bus import EventType

    gate = Turnstile()
    async with running(tmp_path, graph_of(function("work", gate.enter))) as worker_runtime:
        heard = Heard.of(worker_runtime)
        execution_id = await worker_runtime.trigger("webhook", {})
        await gate.until(1)
        await add_judge(worker_runtime)
        look = await heard.until(EventType.EXECUTION_COMPLETED, "judge::health_check")
        await gate.let_through()
        in_seconds = worker_runtime.get_timer_next_fire_in("judge::health_check")
        in_seconds = in_seconds or worker_runtime.get_timer_next_fire_in("health_check")
    [worker] = look.data["output"]["health_verdict"]["workers"]
    assert (worker["execution_id"], worker["status"]) == (execution_id, "healthy")
    assert in_seconds is not None
    assert 60 < in_seconds <= 120
    assert (tmp_path / "graphs" / "judge" / "sessions").is_dir()


async def test_a_stall_is_escalated_to_a_listener(tmp_path, capsys):
    from framework.runtime.event_bus import AgentEvent, EventType

    restarted = []

    async def restart_worker(session_id):
        restarted.append(session_id)

    async def handle_escalation(event: AgentEvent):
        ticket = event.data["ticket"]
        print(f"🚨 Worker escalation: {ticket['severity'].upper()}")
        print(f"Cause: {ticket['cause']}")
        print(f"Recommendation: {ticket['suggested_action']}")
        print(f"Evidence: {ticket['evidence_snippet'][:200]}...")
        if ticket["severity"] == "critical":
            # Auto-restart worker
            await restart_worker(ticket["worker_session_id"])

    gate = Turnstile()
    async with watched(tmp_path, graph_of(function("work", gate.enter))) as (clock, runtime, heard):
        runtime.event_bus.subscribe(
            event_types=[EventType.WORKER_ESCALATION_TICKET],
            handler=handle_escalation,
        )
        execution_id = await runtime.trigger("webhook", {})
        await gate.until(1)
        await add_judge(runtime)
        for count in range(1, 5):
            await look(clock, heard, count, minutes=0 if count == 1 else 2)
        await gate.let_through()
    assert restarted == [execution_id]
    [ticket] = tickets(heard)
    assert ticket["cause"] == "Worker stalled: no new iterations in 4.0 minutes"
    assert (ticket["severity"], ticket["stall_minutes"]) == ("critical", 4.0)
    assert capsys.readouterr().out.startswith("🚨 Worker escalation: CRITICAL\nCause: Worker st")


async def escalated(path, paths):
    """Return the ticket for a worker whose model read these files in vain, was sent back each time, and goes on."""
    called, let_through = asyncio.Event(), asyncio.Event()

    async def tools(use):
        if use.name == "wait":
            called.set()
            return await let_through.wait()
        raise FileNotFoundError(f"File not found {use.input['filePath'].rstrip()}")

    turns = []
    for number, name in enumerate(paths):
        turns.append({"tool_calls": [{"name": "read", "input": {"filePath": name}}]})
        turns.append({"text": f"That was try number {number}, with {name!r}."})
    turns.append({"tool_calls": [{"name": "wait", "input": {}}]})
    graph = graph_of(model("plan", tools=["read", "wait"]), loop_config={"max_iterations": 60})
    clock = FakeClock(auto=False)
    async with (
        services_at(path, clock) as (_, placement),
        running(
            path,
            graph,
            placement=placement,
            script={"nodes": {"plan": turns}},
            tools=[READ, Tool("wait", "Waits.", {"properties": {}})],
            tool_executor=tools,
        ) as runtime,
    ):
        heard = Heard.of(runtime)
        await runtime.trigger("webhook", {})
        await asyncio.wait_for(called.wait(), SECONDS)
        await add_judge(runtime)
        await look(clock, heard, 1, minutes=0)
        at_first_sight = tickets(heard)
        await look(clock, heard, 2)
        let_through.set()
    assert at_first_sight == []
    [ticket] = tickets(heard)
    return ticket


async def test_a_doom_loop_is_escalated(tmp_path):
    same = ["/path/to/missing.txt" + " " * number for number in range(18)]
    ticket = await escalated(tmp_path, same)
    assert ticket["cause"] == "Doom loop: 18 consecutive RETRY verdicts, same error repeated"
    assert (ticket["severity"], ticket["steps_since_last_accept"]) == ("high", 18)
    assert "File not found /path/to/missing.txt" in ticket["evidence_snippet"]


async def test_excessive_retries_are_escalated(tmp_path):
    ticket = await escalated(tmp_path, [f"/path/to/{number}.txt" for number in range(12)])
    assert ticket["cause"] == "High retry rate: 12 consecutive non-ACCEPT verdicts"
    assert (ticket["severity"], ticket["steps_since_last_accept"]) == ("medium", 12)


# --- streams ------------------------------------------------------------------------------------


async def test_a_stream_tells_its_health(tmp_path, capsys):
    from framework.runtime.execution_stream import EntryPointSpec, ExecutionStream

    graph = graph_of(model("greet", client_facing=True))
    async with running(tmp_path, graph, EntryPointSpec(id="webhook", max_concurrent=5)) as runtime:
        execution_id = await runtime.trigger("webhook", {})
        await runtime.wait_for_completion(execution_id, SECONDS)

        stream: ExecutionStream = runtime._streams["webhook"]
        # Check if agent is idle
        idle_seconds = stream.agent_idle_seconds
        if idle_seconds > 300:
            print(f"Agent idle for {idle_seconds:.1f}s")
        # Check if waiting for user input
        if stream.is_awaiting_input:
            waiting = stream.get_waiting_nodes()
            print(f"Waiting for input at: {waiting}")
        # Get active execution count
        active_count = stream.get_active_count()
        print(f"Active executions: {active_count}")
        # Get detailed stats
        stats = stream.get_stats()
        print(f"Stream: {stats['stream_id']}")
        print(f" Running: {stats['running']}")
        print(f" Status: {stats['status_counts']}")
        print(f" Slots: {stats['available_slots']}/{stats['max_concurrent']}")
    shown = capsys.readouterr().out.splitlines()
    assert shown == [
        "Agent idle for infs",
        f"Waiting for input at: [{{'node_id': 'greet', 'execution_id': '{execution_id}'}}]",
        "Active executions: 0",
        "Stream: webhook",
        " Running: True",
        shown[5],
        " Slots: 5/5",
    ]
    assert "'waiting_input': 1" in shown[5]


async def test_a_handler_that_fails_disturbs_nobody(tmp_path, caplog):
    from framework.runtime.event_bus import EventType

    async def broken(event):
        raise RuntimeError("the handler is broken")

    after = Seen()
    async with running(tmp_path, planning()) as runtime:
        runtime.event_bus.subscribe([EventType.EXECUTION_COMPLETED], broken)
        runtime.event_bus.subscribe([EventType.EXECUTION_COMPLETED], after)
        with caplog.at_level(logging.ERROR):
            result = await runtime.trigger_and_wait("webhook", {}, timeout=SECONDS)
            await runtime.event_bus.drain()
    assert result.success
    assert after.kinds == ["execution_completed"]
    assert "the handler is broken" in caplog.text
