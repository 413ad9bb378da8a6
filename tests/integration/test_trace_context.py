"""One trace through everything: the loop, worker threads, children of tools, callbacks, and what is asked of others."""

import json
import logging
import os
import subprocess
import sys

import pytest

from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.values import Tool
from hive_daemon.observability import clear_trace_context, configure_logging
from hive_daemon.observability.logging import LineHandler
from hive_daemon.observability.trace_context import (
    INHERITED,
    TraceParent,
    adopt_trace_context,
    current_parent,
    get_trace_context,
    set_trace_context,
    trace_environment,
)
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import EventType
from tests.fakes.embedded import SECONDS, function, graph_of, model, running

logger = logging.getLogger("myapp")

CHILD = """
import logging
from hive_daemon.observability import configure_logging
configure_logging("INFO", "json")
logging.getLogger("myapp").info("from the child")
"""


@pytest.fixture(autouse=True)
def as_it_was():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if isinstance(handler, LineHandler):
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    clear_trace_context()


def fetch(use):
    """A tool that runs in a worker thread and starts a child."""
    logger.info("from the thread")
    ran = subprocess.run(
        [sys.executable, "-c", CHILD],
        env={**os.environ, **trace_environment()},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stderr.strip()


async def on_loop(ctx):
    logger.info("from the loop")
    return "seen"


async def on_event(event):
    logger.info("from the callback")


async def test_loop_thread_child_and_callback_write_the_same_trace_and_execution(tmp_path):
    configure_logging("INFO", "json", file=tmp_path / "log")
    script = {
        "nodes": {
            "ask": [
                {"tool_calls": [{"name": "fetch", "input": {}}]},
                {"set_output": {"answer": "done"}},
            ]
        }
    }
    graph = graph_of(
        function("look", on_loop, outputs=("seen",)),
        model("ask", tools=["fetch"]),
        edges=[("look", "ask")],
    )
    async with running(
        tmp_path / "state",
        graph,
        EntryPointSpec(id="go"),
        llm=ScriptedProvider(script),
        tools=[Tool("fetch", "Fetches.", {"properties": {}})],
        tool_executor=fetch,
    ) as runtime:
        runtime.subscribe_to_events([EventType.TOOL_CALL_COMPLETED], on_event)
        result = await runtime.trigger_and_wait("go", {}, timeout=SECONDS)
        assert result is not None
        assert result.success
        [call] = runtime.event_bus.get_history(EventType.TOOL_CALL_COMPLETED)
        await runtime.event_bus.drain()
    told = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    told.append(json.loads(call.data["result"]))
    where = {"from the loop", "from the thread", "from the child", "from the callback"}
    found = {one["message"]: one for one in told if one["message"] in where}
    assert set(found) == where
    assert len({one["trace_id"] for one in found.values()}) == 1
    assert {one["execution_id"] for one in found.values()} == {call.execution_id}
    assert found["from the child"]["span_id"] == found["from the thread"]["span_id"]
    assert found["from the thread"]["span_id"] != found["from the loop"]["span_id"]


async def test_a_line_of_an_execution_says_all_that_is_known_of_it(tmp_path):
    configure_logging("INFO", "json", file=tmp_path / "log")
    graph = graph_of(function("look", on_loop, outputs=("seen",)))
    async with running(tmp_path / "state", graph, EntryPointSpec(id="go")) as runtime:
        name = await runtime.trigger("go", {})
        await runtime.wait_for_completion(name, SECONDS)
    told = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    [line] = [one for one in told if one["message"] == "from the loop"]
    assert len(line.pop("trace_id")) == 32
    assert len(line.pop("span_id")) == 16
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "myapp",
        "message": "from the loop",
        "execution_id": name,
        "session_id": name,
        "run_id": name,
        "goal_id": "goal",
        "stream_id": "go",
        "agent_id": "agent",
        "node_id": "look",
    }


async def test_a_handler_of_an_event_of_no_execution_has_no_trace(tmp_path):
    heard = []

    async def listen(event):
        heard.append(get_trace_context())

    async with running(tmp_path, graph_of(function("look", on_loop, outputs=("seen",)))) as runtime:
        runtime.subscribe_to_events([EventType.CUSTOM], listen)
        set_trace_context(execution_id="of the program")
        await runtime.event_bus.emit_custom("stream", note="x")
    assert heard == [{}]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", True),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later", True),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", False),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", False),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", False),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", False),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", False),
        ("", False),
        ("x" * 100_000, False),
    ],
)
def test_a_traceparent_is_read_as_w3c_says(text, is_one):
    found = TraceParent.read(text)
    assert (found is not None) == is_one
    if found is not None:
        assert found == TraceParent("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
        assert TraceParent.read(str(found)) == found


def test_outside_an_execution_nothing_is_handed_on():
    clear_trace_context()
    assert trace_environment() == {}
    assert current_parent() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "x" * 5000, '{"trace_id": 7, "evil": "x"}'])
def test_a_damaged_context_of_a_parent_is_ignored(text):
    clear_trace_context()
    adopt_trace_context({INHERITED: text})
    assert get_trace_context() == {}
