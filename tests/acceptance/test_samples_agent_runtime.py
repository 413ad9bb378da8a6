"""Every sample of the two "Agent Runtime" documents, in the form needed to run, through the `framework` alias.

The later document (L) and the earlier one (E) show the same programs; where they differ the table says so.

| sample | in | test |
|---|---|---|
| AgentRunner: load and run | L E | `test_a_runner_loads_and_runs` |
| AgentRunner: resume from a paused session | L E | `test_a_paused_session_is_resumed_by_the_runner` |
| AgentRunner: lifecycle (start, stop, trigger, entry points) | L E | `test_the_lifecycle_of_a_runner` |
| … `get_goal_progress` | E | `test_the_lifecycle_of_a_runner` |
| AgentRunner: context manager | L E | `test_a_runner_is_a_context_manager` |
| AgentRunner: cleanup on an event loop | L E | `test_a_runner_cleans_up_from_a_loop` |
| AgentRunner: cleanup without one | L E | `test_a_runner_cleans_up_without_a_loop` |
| AgentRuntime: create with entry points | L E | `test_a_runtime_is_created_with_its_entry_points` |
| AgentRuntime: lifecycle | L E | `test_the_lifecycle_of_a_runtime` |
| AgentRuntime: trigger, trigger and wait | L E | `test_executions_are_triggered_and_waited_for` |
| AgentRuntime: trigger and wait with a session state | L E | `test_an_execution_is_resumed_from_its_session_state` |
| AgentRuntime: client-facing node I/O | L E | `test_input_reaches_the_node_that_asked` |
| AgentRuntime: subscribe and unsubscribe | L E | `test_output_for_people_is_heard_until_unsubscribed` |
| AgentRuntime: inspection | L E | `test_a_runtime_is_inspected` |
| … `SharedBufferManager` | L | `test_the_state_manager_has_both_names` |
| … `SharedStateManager` | E | `test_the_state_manager_has_both_names` |
| Session Resume | L E | `test_a_paused_session_is_resumed_by_the_runner` |
| Event Bus: the seven events | L E | `test_every_event_of_the_table_comes` |
| Topology: the default entry point | L E | `test_a_single_entry_agent_gets_a_default_entry_point` |
| Storage Layout | L E | `test_the_files_are_where_the_layout_says` |

Filled in: the agent folder, the graph, a scripted model with its tools, a home directory of the test's own. The prose
on the console of `AgentRunner` is held by `tests/integration/test_agent_runner.py`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hive_daemon.framework_alias import installed
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.values import Tool
from tests.fakes.embedded import GOAL, Heard, function, graph_of, model

STEPS = """
from framework.graph import Goal

def answer(query="nothing"):
    return f"{query}, {Goal.__name__}"

def publish_it(query, verdict):
    return f"{query}: {verdict}"
"""

MY_AGENT = {
    "nodes": [
        {
            "id": "start",
            "name": "Start",
            "node_type": "function",
            "function": "steps:answer",
            "input_keys": ["query"],
            "output_keys": ["answer"],
        }
    ],
    "entry_node": "start",
    "edges": [],
}
REVIEWED_AGENT = {
    "nodes": [
        {
            "id": "review-node",
            "name": "Review",
            "client_facing": True,
            "system_prompt": "Ask for a review.",
            "input_keys": ["query"],
            "output_keys": ["verdict"],
        },
        {
            "id": "publish",
            "name": "Publish",
            "node_type": "function",
            "function": "steps:publish_it",
            "input_keys": ["query", "verdict"],
            "output_keys": ["published"],
        },
    ],
    "entry_node": "review-node",
    "terminal_nodes": ["publish"],
    "edges": [
        {
            "id": "r-p",
            "source": "review-node",
            "target": "publish",
            "condition": "on_success",
        }
    ],
}
REVIEW_SCRIPT = {
    "nodes": {
        "review-node": [
            {"tool_calls": [{"name": "ask_user", "input": {"question": "Is it good?"}}]},
            {"set_output": {"verdict": "{{ $last }}"}},
        ]
    }
}
CHAT_SCRIPT = {
    "nodes": {
        "chat": [
            {
                "text": "Hello!",
                "tool_calls": [
                    {"name": "look_up", "input": {"what": "{{ query }}"}},
                ],
            },
            {"tool_calls": [{"name": "ask_user", "input": {"question": "Anything else?"}}]},
            {"set_output": {"answer": "{{ $last }}"}},
        ]
    }
}


@pytest.fixture(autouse=True)
def _alias():
    with installed():
        yield


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name in ("HIVE_MODEL", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def folder(graph, script=None, place="exports/my_agent"):
    path = Path(place)
    path.mkdir(parents=True)
    agent = {
        "agent": {"id": "my_agent", "name": "My agent"},
        "graph": {"id": "my_agent", "goal_id": "goal", **graph},
        "goal": {"id": "goal", "name": "Goal", "description": "Answer."},
    }
    (path / "agent.json").write_text(json.dumps(agent))
    (path / "steps.py").write_text(STEPS)
    if script is not None:
        (path / "script.json").write_text(json.dumps(script))


# --- AgentRunner --------------------------------------------------------------------------------


async def test_a_runner_loads_and_runs():
    folder(MY_AGENT)
    from framework.runner import AgentRunner

    runner = AgentRunner.load("exports/my_agent", model="anthropic/claude-sonnet-4-20250514")
    result = await runner.run({"query": "hello"})
    assert (result.success, result.output["answer"]) == (True, "hello, Goal")
    await runner.cleanup_async()


async def test_a_paused_session_is_resumed_by_the_runner(tmp_path):
    folder(REVIEWED_AGENT, REVIEW_SCRIPT)
    from framework.runner import AgentRunner

    async with AgentRunner.load("exports/my_agent", model="scripted:script.json") as runner:
        result = await runner.run({"query": "start task"})
        assert result.paused_at == "review-node"
        assert result.session_state["paused_at"] == "review-node"
        assert result.session_state["memory"]["query"] == "start task"

        result = await runner.run({"input": "approved"}, session_state=result.session_state)
        assert (result.success, result.paused_at) == (True, None)
        assert result.output["published"] == "start task: approved"
    sessions = tmp_path / "home" / ".hive" / "agents" / "my_agent" / "sessions"
    assert [path.name for path in sessions.iterdir()] == [result.session_id]


async def test_the_lifecycle_of_a_runner():
    folder(MY_AGENT)
    from framework.runner import AgentRunner

    runner = AgentRunner.load("exports/my_agent")
    await runner.start()
    assert runner.is_running
    await runner.stop()
    assert not runner.is_running
    exec_id = await runner.trigger("default", {})
    result = await runner.runtime.wait_for_completion(exec_id)
    assert result.success
    progress = await runner.get_goal_progress()
    assert "overall_progress" in progress
    entry_points = runner.get_entry_points()
    assert [each.id for each in entry_points] == ["default"]
    await runner.cleanup_async()


async def test_a_runner_is_a_context_manager():
    folder(MY_AGENT)
    from framework.runner import AgentRunner

    async with AgentRunner.load("exports/my_agent") as runner:
        result = await runner.run({"query": "hello"})
    assert result.success
    assert not runner.is_running


async def test_a_runner_cleans_up_from_a_loop():
    folder(MY_AGENT)
    from framework.runner import AgentRunner

    runner = AgentRunner.load("exports/my_agent")
    await runner.start()
    runner.cleanup()
    await runner.cleanup_async()
    assert not runner.is_running


def test_a_runner_cleans_up_without_a_loop():
    folder(MY_AGENT)
    from framework.runner import AgentRunner

    runner = AgentRunner.load("exports/my_agent")
    runner.cleanup()
    assert not runner.is_running


# --- AgentRuntime -------------------------------------------------------------------------------


async def say_hello(query: str = "nobody") -> str:
    return f"hello, {query}"


@pytest.fixture
async def make(tmp_path):
    """Makes runtimes as the documents show it, and stops them afterwards."""
    runtimes = []
    tools = [Tool("look_up", "Looks something up.", {"properties": {"what": {}}})]

    def tool_executor(use):
        return f"all about {use.input['what']}"

    def made(graph, script=None):
        from framework.graph.checkpoint_config import CheckpointConfig
        from framework.runtime.agent_runtime import create_agent_runtime
        from framework.runtime.execution_stream import EntryPointSpec

        runtime = create_agent_runtime(
            graph=graph,
            goal=GOAL,
            storage_path=Path("~/.hive/agents/my_agent"),
            entry_points=[
                EntryPointSpec(
                    id="default",
                    name="Default",
                    entry_node=graph.entry_node,
                    trigger_type="manual",
                ),
            ],
            llm=ScriptedProvider(script),
            tools=tools,
            tool_executor=tool_executor,
            checkpoint_config=CheckpointConfig(),
        )
        runtimes.append(runtime)
        return runtime

    yield made
    for runtime in runtimes:
        await runtime.stop(0.0)


def greeter():
    return graph_of(function("start", say_hello))


def chat():
    return graph_of(
        model("chat", client_facing=True, input_keys=["query"], tools=["look_up"]), id="chats"
    )


async def test_a_runtime_is_created_with_its_entry_points(make, tmp_path):
    from framework.runtime.agent_runtime import AgentRuntime

    runtime = make(greeter())
    assert isinstance(runtime, AgentRuntime)
    assert [each.id for each in runtime.get_entry_points()] == ["default"]
    await runtime.start()
    assert (tmp_path / "home" / ".hive" / "agents" / "my_agent" / "hive.db").exists()


async def test_the_lifecycle_of_a_runtime(make):
    runtime = make(greeter())
    await runtime.start()
    assert runtime.is_running
    await runtime.stop()
    assert not runtime.is_running


async def test_executions_are_triggered_and_waited_for(make):
    runtime = make(greeter())
    await runtime.start()
    exec_id = await runtime.trigger("default", {"query": "hello"})
    first = await runtime.wait_for_completion(exec_id)
    result = await runtime.trigger_and_wait("default", {"query": "hello"})
    assert first.output["answer"] == result.output["answer"] == "hello, hello"
    assert first.session_id != result.session_id


async def test_an_execution_is_resumed_from_its_session_state(make):
    graph = graph_of(
        function("first", say_hello),
        function("second", say_bye, ["answer"], ["bye"]),
        edges=[("first", "second")],
        pause_nodes=["first"],
    )
    runtime = make(graph)
    await runtime.start()
    paused = await runtime.trigger_and_wait("default", {"query": "you"})
    assert (paused.success, paused.paused_at) == (True, "first")
    state = paused.session_state
    result = await runtime.trigger_and_wait("default", {}, session_state=state)
    assert (result.output["bye"], result.path) == ("hello, you, bye", ["first", "second"])
    assert result.session_id == paused.session_id


async def say_bye(answer: str) -> str:
    return f"{answer}, bye"


async def test_input_reaches_the_node_that_asked(make):
    from framework.runtime.event_bus import EventType

    runtime = make(chat(), CHAT_SCRIPT)
    heard = Heard.of(runtime)
    await runtime.start()
    exec_id = await runtime.trigger("default", {"query": "bees"})
    parked = await runtime.wait_for_completion(exec_id)
    assert (parked.paused_at, parked.status) == ("chat", "waiting_input")
    asked = await heard.until(EventType.CLIENT_INPUT_REQUESTED, node_id="chat")
    assert asked.data["prompt"] == "Anything else?"
    assert await runtime.inject_input(node_id="chat", content="user response")
    result = await runtime.wait_for_completion(exec_id)
    assert (result.success, result.output["answer"]) == (True, "user response")


async def test_output_for_people_is_heard_until_unsubscribed(make):
    from framework.runtime.event_bus import EventType

    runtime = make(chat(), CHAT_SCRIPT)
    said = []

    async def my_handler(event):
        said.append(event.data["content"])

    sub_id = runtime.subscribe_to_events(
        event_types=[EventType.CLIENT_OUTPUT_DELTA],
        handler=my_handler,
    )
    await runtime.start()
    await runtime.trigger_and_wait("default", {"query": "bees"})
    await runtime.event_bus.drain(5.0)
    assert "".join(said) == "Hello!"
    runtime.unsubscribe_from_events(sub_id)
    said.clear()
    await runtime.trigger_and_wait("default", {"query": "bees"})
    await runtime.event_bus.drain(5.0)
    assert said == []


async def test_a_runtime_is_inspected(make):
    from framework.runtime.event_bus import EventBus
    from framework.runtime.shared_state import SharedStateManager

    runtime = make(greeter())
    assert runtime.is_running is False
    await runtime.start()
    assert runtime.is_running is True
    assert isinstance(runtime.event_bus, EventBus)
    assert isinstance(runtime.state_manager, SharedStateManager)
    stats = runtime.get_stats()
    assert (stats["running"], stats["active_executions"]) == (True, 0)


def test_the_state_manager_has_both_names():
    from framework.runtime.shared_state import SharedBufferManager, SharedStateManager

    assert SharedBufferManager is SharedStateManager


async def test_every_event_of_the_table_comes(make):
    from framework.runtime.event_bus import EventType

    runtime = make(chat(), CHAT_SCRIPT)
    wanted = [
        EventType.NODE_STARTED,
        EventType.NODE_COMPLETED,
        EventType.TOOL_CALL_STARTED,
        EventType.TOOL_CALL_COMPLETED,
        EventType.CLIENT_OUTPUT_DELTA,
        EventType.CLIENT_INPUT_REQUESTED,
        EventType.EXECUTION_COMPLETED,
    ]
    heard = Heard.of(runtime, wanted)
    await runtime.start()
    waiting = await runtime.trigger_and_wait("default", {"query": "bees"})
    await runtime.trigger_and_wait("default", {"input": "no"}, session_state=waiting.session_state)
    await heard.until(EventType.EXECUTION_COMPLETED)
    assert {event.type for event in heard.events} == set(wanted)
    started = heard.found(EventType.TOOL_CALL_STARTED, node_id="chat")
    assert started[0].data["tool_name"] == "look_up"


async def test_a_single_entry_agent_gets_a_default_entry_point(tmp_path):
    from framework.runtime.agent_runtime import AgentRuntime

    runtime = AgentRuntime(graph=greeter(), goal=GOAL, storage_path=tmp_path / "storage")
    await runtime.start()
    assert (await runtime.trigger_and_wait("default")).success
    await runtime.stop()


async def test_the_files_are_where_the_layout_says(make, tmp_path):
    runtime = make(chat(), CHAT_SCRIPT)
    await runtime.start()
    waiting = await runtime.trigger_and_wait("default", {"query": "bees"})
    result = await runtime.trigger_and_wait(
        "default", {"input": "no"}, session_state=waiting.session_state
    )
    session = tmp_path / "home/.hive/agents/my_agent/sessions" / result.session_id
    for name in ("state.json", "logs/summary.json", "logs/details.jsonl", "logs/tool_logs.jsonl"):
        assert (session / name).is_file(), name
    assert list((session / "checkpoints").glob("cp_*.json"))
    state = json.loads((session / "state.json").read_text())
    assert (state["status"], state["memory"]["answer"]) == ("completed", "no")


# --- the table ----------------------------------------------------------------------------------


def test_the_table_names_every_test():
    named = set(re.findall(r"`(test_\w+)`", __doc__))
    written = {name for name in globals() if name.startswith("test_")}
    assert named == written - {"test_the_table_names_every_test"}
