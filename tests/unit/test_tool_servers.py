"""MCP servers, as far as none is needed: what they are started with, when they are tried again, how they are shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_daemon.errors import ConfigError
from hive_daemon.llm.values import Tool, ToolUse
from hive_daemon.tools.calling import RegisteredTool
from hive_daemon.tools.mcp_config import McpServer, McpTransport
from hive_daemon.tools.mcp_launch import address_of, launch_of
from hive_daemon.tools.mcp_link import reason_of, target_of
from hive_daemon.tools.mcp_streams import MESSAGES_AT_ONCE, MESSAGES_PER_SECOND, Pace
from hive_daemon.tools.mcp_values import ServerRefused, ServerSettings, ServerState
from hive_daemon.tools.registry import ToolRegistry
from hive_daemon.tools.servers import ToolServers, servers_of
from tests.fakes.clock import FakeClock

ENVIRON = {
    "PATH": "/bin",
    "LC_ALL": "C",
    "OPENAI_API_KEY": "sk-very-secret",
    "BASH_FUNC": "() { :; }",
    "LC_FUNCTION": "() { :; }",
    "EMPTY": "",
}


def stdio(**keys) -> McpServer:
    return McpServer("files", McpTransport.STDIO, **{"command": "run", **keys})


# --- starting -----------------------------------------------------------------------------------


def test_a_server_is_started_with_the_allowed_variables_only():
    launch = launch_of(stdio(), ENVIRON)
    assert launch.environment == {"PATH": "/bin", "LC_ALL": "C"}


def test_the_operator_may_allow_further_variables():
    assert "OPENAI_API_KEY" in launch_of(stdio(), ENVIRON, ("OPENAI_*",)).environment


def test_what_is_declared_goes_before_what_is_inherited():
    assert launch_of(stdio(env={"PATH": "/own"}), ENVIRON).environment["PATH"] == "/own"


def test_variables_are_filled_in_with_their_defaults():
    server = stdio(
        args=("${PATH}/x", "${NONE:-fallback}", "${EMPTY:-empty}", "$PATH"),
        env={"KEY": "${OPENAI_API_KEY}"},
    )
    launch = launch_of(server, ENVIRON)
    assert launch.command == ("run", "/bin/x", "fallback", "empty", "$PATH")
    assert launch.environment["KEY"] == "sk-very-secret"


def test_every_variable_that_is_not_set_is_named():
    with pytest.raises(ConfigError) as caught:
        launch_of(stdio(args=("${A}",), env={"KEY": "${B}"}), ENVIRON)
    assert caught.value.problems == (
        "command: the variable A is not set",
        "env: the variable B is not set",
    )


def test_an_address_and_its_headers_are_filled_in():
    server = McpServer("web", McpTransport.HTTP, url="http://${HOST:-h}/", headers={"K": "${PATH}"})
    assert address_of(server, ENVIRON) == ("http://h/", {"K": "/bin"})


def test_a_target_shows_neither_a_query_nor_a_secret():
    server = McpServer("web", McpTransport.HTTP, url="https://h/mcp?api_key=abc")
    assert target_of(server) == "https://h/mcp"
    assert "sk-live" not in target_of(stdio(args=("--token=sk-live-abcdefghijklmnop0123456789",)))


# --- trying again -------------------------------------------------------------------------------


def test_the_pause_between_tries_doubles_up_to_its_longest():
    settings = ServerSettings(first_retry_seconds=1, longest_retry_seconds=60)
    pauses = [settings.retry_seconds(failures) for failures in range(1, 9)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


@given(st.integers(1, 10**9))
def test_no_pause_is_longer_than_the_longest(failures):
    assert 0 < ServerSettings().retry_seconds(failures) <= 60


def test_a_reason_is_the_innermost_one():
    inner = ExceptionGroup("b", [ServerRefused("it is closed")])
    assert reason_of(ExceptionGroup("a", [inner])) == "it is closed"
    assert reason_of(ValueError("x")) == "ValueError: x"
    assert reason_of(ValueError()) == "ValueError"


async def test_messages_are_taken_in_at_a_pace():
    clock = FakeClock()
    pace, began = Pace(clock), clock.monotonic()
    for _ in range(int(MESSAGES_AT_ONCE)):
        await pace.step()
    assert clock.slept == []
    for _ in range(int(MESSAGES_PER_SECOND)):
        await pace.step()
    assert clock.monotonic() - began == pytest.approx(1.0)


# --- without a server ---------------------------------------------------------------------------


def test_an_executor_without_servers_has_nothing_to_start():
    registry = ToolRegistry()
    assert servers_of(registry.get_executor()) is None
    assert servers_of(print) is None
    registry.register_mcp_server({"name": "a", "command": "x"})
    assert servers_of(registry.get_executor()) is not None


def test_servers_that_do_not_run_are_shown_as_stopped():
    registry = ToolRegistry()
    registry.register_mcp_server({"name": "a", "command": "x", "args": ["-y"]})
    registry.register_mcp_server({"name": "b", "url": "http://h/", "enabled": False})
    views = ToolServers(registry).views()
    assert [(view.target, view.state) for view in views] == [
        ("x -y", ServerState.STOPPED),
        ("http://h/", ServerState.DISABLED),
    ]
    assert json.dumps([view.to_json() for view in views])


async def test_an_agent_without_servers_starts_without_waiting():
    async with ToolServers(ToolRegistry()) as servers:
        assert servers.views() == []


def test_nothing_of_the_sdk_is_imported_before_a_server_is_connected_to():
    source = (
        "import sys, hive_daemon.tools.servers, hive_daemon.runner.runner\n"
        "print([name for name in ('mcp', 'httpx2', 'anyio') if name in sys.modules])"
    )
    assert _printed(source) == "[]"


def test_without_the_sdk_a_server_is_degraded_and_says_what_to_install():
    source = """
import asyncio, sys
sys.modules["mcp"] = None
from hive_daemon.tools.registry import ToolRegistry
from hive_daemon.tools.servers import ToolServers
async def main():
    registry = ToolRegistry()
    registry.register_mcp_server({"name": "a", "command": "x"})
    async with ToolServers(registry) as servers:
        print(servers.views()[0].reason)
asyncio.run(main())
"""
    assert _printed(source) == (
        "The MCP SDK is not installed: install hive-daemon with its extra `mcp`."
    )


def _printed(source: str) -> str:
    command = [sys.executable, "-c", source]
    root = Path(__file__).parents[2]
    found = subprocess.run(
        command, capture_output=True, text=True, cwd=root, timeout=60, check=True
    )
    return found.stdout.strip()


# --- tools of servers in the registry -----------------------------------------------------------


def entry(name: str, server: str, **keys) -> dict[str, RegisteredTool]:
    return {name: RegisteredTool(Tool(name, server), dict, server=server, **keys)}


@pytest.mark.parametrize("ready_first", ["a", "b"])
def test_of_two_servers_with_one_tool_the_one_declared_first_has_it(ready_first):
    registry = ToolRegistry()
    for name in ("a", "b"):
        registry.register_mcp_server({"name": name, "command": "x"})
    for name in sorted("ab", reverse=ready_first == "b"):
        registry.take_from_server(name, entry("look", name))
    assert registry.server_of("look") == "a"
    assert registry.take_from_server("b", entry("look", "b")) == ["look"]


def test_a_tool_that_a_server_drops_stays_and_says_so():
    registry = ToolRegistry()
    registry.take_from_server("a", entry("look", "a"))
    registry.take_from_server("a", {})
    assert registry.unavailable == {"look": "the MCP server a does not offer it any more"}
    with pytest.raises(ConnectionError, match="does not offer it any more"):
        registry.get_executor()(ToolUse("c", "look", {}))
    assert registry.take_from_server("b", entry("look", "b")) == []


def test_a_tool_of_the_agent_is_not_replaced_by_a_servers():
    registry = ToolRegistry()
    registry.register_function(lambda: "own", "look")
    assert registry.take_from_server("a", entry("look", "a")) == ["look"]
    assert registry.get_executor()(ToolUse("c", "look", {})).content == "own"
