"""Every event that an execution tells of itself, by a real cause, with who it is of: graph, stream, node, execution."""

import asyncio

import pytest

from hive_daemon.graph.edge import EdgeSpec
from hive_daemon.graph.facts import ConstraintViolation, EscalationRequested, NodeActionPlan
from hive_daemon.graph.goal import Constraint, Goal
from hive_daemon.graph.node import NodeResult, NodeSpec
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.values import Tool
from hive_daemon.runtime.agent_runtime import create_agent_runtime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import EventType
from tests.fakes.embedded import SECONDS, Heard, function, graph_of, model

OF_THE_WHOLE = {
    "execution_started",
    "execution_completed",
    "execution_failed",
    "execution_cancelled",
    "execution_paused",
    "execution_resumed",
    "execution_resurrected",
}
"""Events that may have no node: they are about the execution."""

DATA = {"properties": {}}


class Broken:
    """A tool that is always the same."""

    def __call__(self, use):
        return "again"


class Flaky:
    """A node that works at its second attempt."""

    def __init__(self):
        self.runs = 0

    async def execute(self, ctx):
        self.runs += 1
        return NodeResult(self.runs > 1, {"answer": "x"}, error="not yet", retryable=True)


class Teller:
    """A node of a program's own that tells what it means to do, and what it found."""

    async def execute(self, ctx):
        await ctx.recorder.record(
            NodeActionPlan(ctx.node_id, "look first"),
            ConstraintViolation(ctx.node_id, "cheap", "it cost much"),
            EscalationRequested(ctx.node_id, "no access"),
        )
        return NodeResult(True, {"answer": "x"})


def edge(source, target, condition="on_success", **fields):
    return EdgeSpec(
        id=f"{source}-{target}", source=source, target=target, condition=condition, **fields
    )


def looping():
    """A node that goes back to itself until it has been visited as often as it may be."""
    graph = graph_of(
        function("again", lambda: {"answer": "x"}, max_node_visits=2), edges=[("again", "again")]
    )
    return graph, {}


def branching():
    """Two branches, one of which fails."""
    graph = graph_of(
        function("begin", lambda: {"seen": 1}, outputs=("seen",)),
        function("good", lambda: {"a": 1}, outputs=("a",)),
        function("bad", _fails, outputs=("b",), max_retries=1),
        edges=[("begin", "good"), ("begin", "bad")],
    )
    return graph, {}


def _fails():
    raise ValueError("broken")


def conditional():
    """An edge whose expression cannot be evaluated."""
    graph = graph_of(
        function("begin", lambda: {"seen": "much"}, outputs=("seen",)),
        function("end", lambda: {"answer": "x"}),
    )
    wrong = edge("begin", "end", "conditional", condition_expr="seen > 3")
    return graph.model_copy(update={"edges": [wrong]}), {}


def thinking():
    """A model that thinks, calls a tool, talks, and sets its output."""
    turns = [
        {
            "reasoning": "Where was it?",
            "text": "I look.",
            "tool_calls": [{"name": "look", "input": {}}],
        },
        {"text": "There it is.", "set_output": {"answer": "here"}},
    ]
    return graph_of(model("ask", tools=["look"]), function("end", lambda: {"b": 1}, outputs=("b",)),
                    edges=[("ask", "end")]), {"nodes": {"ask": turns}}  # fmt: skip


def repeating():
    """A model that calls the same tool for the same result again and again."""
    same = {"tool_calls": [{"name": "look", "input": {}}], "repeat": True}
    return graph_of(model("ask", tools=["look"])), {"nodes": {"ask": [same]}}


def refused():
    """A model that cannot be called."""
    return graph_of(model("ask")), {"nodes": {"ask": [{"error": {"kind": "auth"}}]}}


def facing():
    """A model that talks to a person and asks for an answer."""
    turns = [{"text": "Good morning, what can I do?"}]
    return graph_of(model("greet", client_facing=True)), {"nodes": {"greet": turns}}


def asking():
    """A node that a person answers."""
    ask = NodeSpec(id="ask", node_type="human_input", description="?", output_keys=["said"])
    return graph_of(ask), {}


def constrained():
    """A node that breaks a constraint of the goal."""
    return graph_of(function("spend", lambda: {"cost": 100}, outputs=("cost",))), {}


def own(node):
    return graph_of(NodeSpec(id="own", node_type="function", output_keys=["answer"])), {"own": node}


STAGES = {
    looping: {"node_skipped", "edge_traversed"},
    branching: {"branch_failed", "execution_failed", "node_completed"},
    conditional: {"edge_error"},
    thinking: {
        "execution_started", "execution_completed", "node_started", "node_completed",
        "node_loop_started", "node_loop_iteration", "node_loop_completed", "edge_traversed",
        "llm_turn_complete", "llm_text_delta", "llm_reasoning_delta", "tool_call_started",
        "tool_call_completed", "output_key_set", "judge_verdict",
    },
    repeating: {"node_tool_doom_loop"},
    refused: {"llm_call_failed", "execution_failed"},
    facing: {"client_output_delta", "client_input_requested", "execution_paused"},
    asking: {"client_input_requested", "execution_paused"},
    constrained: {"constraint_violation"},
}  # fmt: skip
"""Graphs, and the events that they cause at least."""

GOAL = Goal(
    id="goal",
    name="Goal",
    constraints=[Constraint(id="cheap", description="Spend little.", check="cost < 10")],
)


async def staged(path, graph, script, *, nodes=None, answer=""):
    """Run a graph once, and answer what it asks; what was heard."""
    runtime = create_agent_runtime(
        graph,
        GOAL,
        path,
        [EntryPointSpec(id="go")],
        llm=ScriptedProvider(script),
        tools=[Tool("look", "Looks.", DATA)],
        tool_executor=Broken(),
        node_registry=nodes or {},
    )
    heard = Heard.of(runtime)
    await runtime.start()
    try:
        name = await runtime.trigger("go", {})
        await runtime.wait_for_completion(name, SECONDS)
        if answer:
            await runtime.inject_input("ask", answer)
            await heard.until(EventType.EXECUTION_COMPLETED)
        await runtime.event_bus.drain()
    finally:
        await runtime.stop(0.0)
    return name, heard.events


def check(name, events, expected):
    told = {event.type.value for event in events}
    assert expected <= told, expected - told
    for event in events:
        if event.type.value in expected:
            assert (event.graph_id, event.stream_id) == ("primary", "go"), event
            assert (event.execution_id, event.session_id) == (name, name), event
            assert event.node_id or event.type.value in OF_THE_WHOLE, event


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
async def test_what_an_execution_does_is_told_with_graph_stream_node_and_execution(tmp_path, stage):
    check(*await staged(tmp_path, *stage()), STAGES[stage])


async def test_a_further_attempt_is_told(tmp_path):
    graph, _ = own(None)
    told = await staged(tmp_path, graph, {}, nodes={"own": Flaky()})
    check(*told, {"node_retry", "execution_completed"})


async def test_what_a_node_tells_itself_is_told(tmp_path):
    graph, _ = own(None)
    told = await staged(tmp_path, graph, {}, nodes={"own": Teller()})
    check(*told, {"node_action_plan", "constraint_violation", "escalation_requested"})


async def test_an_answer_and_going_on_are_told(tmp_path):
    told = await staged(tmp_path, *asking(), answer="yes")
    check(*told, {"client_input_received", "execution_resumed", "execution_completed"})


async def test_a_cancellation_is_told(tmp_path):
    entered = asyncio.Event()

    async def hold(ctx):
        entered.set()
        await asyncio.Event().wait()

    runtime = create_agent_runtime(
        graph_of(function("hold", hold)), GOAL, tmp_path, [EntryPointSpec(id="go")]
    )
    heard = Heard.of(runtime)
    await runtime.start()
    try:
        name = await runtime.trigger("go", {})
        await asyncio.wait_for(entered.wait(), SECONDS)
        assert await runtime.cancel_execution("go", name)
        await heard.until(EventType.EXECUTION_CANCELLED)
    finally:
        await runtime.stop(0.0)
    check(name, heard.events, {"execution_cancelled"})
