"""An agent whose model calls the tools of a server and the built-in ones, in a real run."""

from __future__ import annotations

from typing import Any

import pytest

from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.node import NodeSpec
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.tools.mcp_values import ServerSettings, ServerState
from tests.fakes.mcp_world import DEADLINE, World, ours, tiny

GOAL = Goal(id="g", name="g", description="Use the tools.")


def turns(*calls: tuple[str, dict[str, Any]]) -> ScriptedProvider:
    """A model that makes one call after the other and then puts the last result into `answer`."""
    script: list[dict[str, Any]] = [
        {"tool_calls": [{"name": name, "input": given}]} for name, given in calls
    ]
    script.append({"set_output": {"answer": "{{ $last }}"}})
    return ScriptedProvider({"nodes": {"work": script}})


async def run(world: World, tmp_path, *calls: tuple[str, dict[str, Any]]):
    wanted = [name for name, _ in calls]
    node = NodeSpec(
        id="work", name="Work", node_type="event_loop", output_keys=["answer"], tools=wanted
    )
    graph = GraphSpec(id="agent", entry_node="work", terminal_nodes=["work"], nodes=[node])
    runtime = AgentRuntime(
        graph,
        GOAL,
        tmp_path,
        llm=turns(*calls),
        tools=list(world.registry.equip(wanted)),
        tool_executor=world.registry.get_executor(),
    )
    runtime.register_entry_point(EntryPointSpec(id="default", entry_node="work"))
    await runtime.start()
    try:
        return await runtime.trigger_and_wait("default", {}, timeout=DEADLINE)
    finally:
        await runtime.stop()


async def test_a_model_calls_a_server_and_reads_what_it_wrote_with_a_built_in_tool(tmp_path):
    async with World(ours()) as world:
        result = await run(
            world,
            tmp_path,
            ("save_note", {"name": "n.txt", "text": "from the server"}),
            ("load_data", {"filename": "n.txt"}),
        )
    assert result.success, result.error
    (note,) = (tmp_path / "sessions").glob("*/data/n.txt")
    assert note.read_text() == "from the server"
    assert "from the server" in str(result.output["answer"])


async def test_a_server_hears_the_key_of_the_call(tmp_path):
    async with World(ours()) as world:
        result = await run(world, tmp_path, ("call_key", {}))
    assert str(result.output["answer"]).startswith("session_")
    assert ":work:" in str(result.output["answer"])


async def test_a_run_goes_on_without_a_server_that_is_away(tmp_path):
    slow = ServerSettings(first_retry_seconds=600, longest_retry_seconds=600)
    async with World(tiny(), settings=slow) as world:
        with pytest.raises(ConnectionError):
            await world.call("crash")
        await world.until(ServerState.DEGRADED)
        result = await run(world, tmp_path, ("ok", {}))
    assert result.success
    assert "the MCP server tiny is degraded: its process ended with code 3" in str(result.output)
