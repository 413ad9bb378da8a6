"""An agent whose model calls the tools of a server and the built-in ones, in a real run."""

from __future__ import annotations

from typing import Any

from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.executor import ExecutionResult
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.node import NodeSpec
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.tools.mcp_values import ServerState
from hive_daemon.tools.registry import ToolRegistry
from tests.fakes.mcp_world import DEADLINE, gone, marked, new_mark, ours, tiny

GOAL = Goal(id="g", name="g", description="Use the tools.")


def turns(*calls: tuple[str, dict[str, Any]]) -> ScriptedProvider:
    """A model that makes one call after the other and then puts the last result into `answer`."""
    script: list[dict[str, Any]] = [
        {"tool_calls": [{"name": name, "input": given}]} for name, given in calls
    ]
    script.append({"set_output": {"answer": "{{ $last }}"}})
    return ScriptedProvider({"nodes": {"work": script}})


def program(registry: ToolRegistry, tmp_path, *calls: tuple[str, dict[str, Any]]) -> AgentRuntime:
    """A program's own runtime, whose model makes these calls. It starts the servers of the registry itself."""
    wanted = [name for name, _ in calls]
    node = NodeSpec(
        id="work", name="Work", node_type="event_loop", output_keys=["answer"], tools=wanted
    )
    graph = GraphSpec(id="agent", entry_node="work", terminal_nodes=["work"], nodes=[node])
    executor = registry.get_executor()
    return AgentRuntime(graph, GOAL, tmp_path, llm=turns(*calls), tool_executor=executor)


def declaring(*servers: dict[str, Any]) -> ToolRegistry:
    registry = ToolRegistry()
    for each in servers:
        registry.register_mcp_server(each)
    return registry


async def run(runtime: AgentRuntime) -> ExecutionResult:
    await runtime.start()
    try:
        return await runtime.trigger_and_wait("default", {}, timeout=DEADLINE)
    finally:
        await runtime.stop()


async def test_a_model_calls_a_server_and_reads_what_it_wrote_with_a_built_in_tool(tmp_path):
    calls = [
        ("save_note", {"name": "n.txt", "text": "from the server"}),
        ("load_data", {"filename": "n.txt"}),
    ]
    result = await run(program(declaring(ours()), tmp_path, *calls))
    assert result.success, result.error
    (note,) = (tmp_path / "sessions").glob("*/data/n.txt")
    assert note.read_text() == "from the server"
    assert "from the server" in str(result.output["answer"])


async def test_a_server_hears_the_key_of_the_call(tmp_path):
    result = await run(program(declaring(ours()), tmp_path, ("call_key", {})))
    assert str(result.output["answer"]).startswith("session_")
    assert ":work:" in str(result.output["answer"])


async def test_a_run_goes_on_without_a_server_that_is_away(tmp_path):
    away = {"name": "gone", "command": "no-such-command-of-hive"}
    result = await run(program(declaring(away), tmp_path, ("search", {})))
    assert result.success
    assert "the MCP server gone is degraded" in str(result.output)


async def test_servers_start_and_stop_with_the_runtime(tmp_path):
    mark = new_mark()
    runtime = program(declaring(tiny(mark=mark)), tmp_path, ("ok", {}))
    assert [view.state for view in runtime.tool_servers()] == [ServerState.STOPPED]
    assert marked(mark) == []
    await runtime.start()
    assert [view.state for view in runtime.tool_servers()] == [ServerState.READY]
    await runtime.stop()
    assert [view.state for view in runtime.tool_servers()] == [ServerState.STOPPED]
    assert await gone(mark) == []


async def test_a_graph_that_is_added_later_gets_its_tools_too(tmp_path):
    runtime = program(declaring(ours()), tmp_path, ("echo", {"text": "x"}))
    node = NodeSpec(id="work", node_type="event_loop", tools=["list_data_files", "call_key"])
    graph = GraphSpec(id="second", entry_node="work", terminal_nodes=["work"], nodes=[node])
    await runtime.add_graph("second", graph, GOAL, {})
    assert runtime.list_graphs() == ["primary", "second"]
