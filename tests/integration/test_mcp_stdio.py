"""MCP servers as child processes: real processes, the real protocol."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from hive_daemon.llm.values import ToolResult
from hive_daemon.tools.context import reset_execution_context, set_execution_context
from hive_daemon.tools.mcp_values import ServerSettings, ServerState
from hive_daemon.tools.on_unknown import OnUnknown
from tests.fakes.mcp_world import DEADLINE, QUICK, World, gone, new_mark, ours, tiny

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world():
    """Our server, which starts slowly: one for all tests that do it no harm."""
    async with World(ours()) as world:
        yield world


@pytest.fixture
def data_dir(tmp_path):
    token = set_execution_context(data_dir=str(tmp_path / "data"), session_id="s")
    yield tmp_path / "data"
    reset_execution_context(token)


async def test_a_tool_of_a_server_is_called(world):
    assert await world.call("echo", text="hello") == ToolResult("call_1", "hello")
    assert world.view().state is ServerState.READY


async def test_the_model_is_told_what_the_server_says_of_its_tools(world):
    tool = world.registry.get_tools()["echo"]
    assert tool.description == "Say it again."
    assert tool.parameters["properties"]["text"]["type"] == "string"
    assert tool.parameters["required"] == ["text"]


async def test_a_tool_that_fails_is_an_error_in_the_servers_words(world):
    result = await world.call("fail", reason="no such page")
    assert result.is_error
    assert "no such page" in result.content


async def test_the_data_directory_is_filled_in_and_hidden_from_the_model(world, data_dir):
    assert "data_dir" not in world.registry.get_tools()["save_note"].parameters["properties"]
    await world.call("save_note", name="n.txt", text="kept")
    assert (data_dir / "n.txt").read_text() == "kept"


async def test_a_picture_is_kept_as_a_data_file(world, data_dir):
    result = await world.call("picture")
    (kept,) = data_dir.iterdir()
    assert kept.read_bytes() == b"\x89PNG"
    assert result.content == f"[image/png, 4 bytes: kept as the data file {kept.name}]"


async def test_what_a_server_calls_harmless_may_be_made_again_after_a_crash(world):
    executor = world.registry.get_executor()
    assert executor.on_unknown_of("echo") is OnUnknown.RETRY
    assert executor.on_unknown_of("save_note") is OnUnknown.FAIL


async def test_a_server_learns_which_call_it_is(world):
    from hive_daemon.tools.context import idempotency_key

    idempotency_key.set("session_1:node:1:0")
    assert (await world.call("call_key")).content == "session_1:node:1:0"


async def test_a_server_learns_which_trace_the_call_belongs_to(world):
    from hive_daemon.observability.trace_context import set_trace_context

    set_trace_context(trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7")
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert (await world.call("trace")).content == parent


async def test_a_server_gets_an_allow_listed_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-secret")
    monkeypatch.setenv("HTTP_THING", "allowed")
    monkeypatch.setenv("FROM_DAEMON", "value")
    settings = ServerSettings(settle_seconds=DEADLINE, inherited=("HTTP_*",))
    declared = ours(env={"OWN": "${FROM_DAEMON}", "PLAIN": "x"})
    async with World(declared, settings=settings) as world:
        names = (await world.call("environment")).content.split()
    assert "OPENAI_API_KEY" not in names
    assert "FROM_DAEMON" not in names
    assert {"OWN", "PLAIN", "HTTP_THING", "PATH"} <= set(names)


async def test_a_variable_that_is_not_set_degrades_the_server_with_its_name():
    async with World(ours(env={"KEY": "${NO_SUCH_VARIABLE_HERE}"})) as world:
        view = await world.until(ServerState.DEGRADED)
    assert view.reason == "ours: env: the variable NO_SUCH_VARIABLE_HERE is not set"


async def test_a_list_of_tools_that_changes_is_asked_for_again(world):
    await world.call("grow")
    async with asyncio.timeout(DEADLINE):
        while not world.registry.has_tool("grown"):
            await asyncio.sleep(0.005)
    assert (await world.call("grown", text="new")).content == "new"


async def test_only_included_tools_are_offered_and_none_that_are_excluded():
    async with World(tiny(include=["o*", "h*"], exclude=["hang"])) as world:
        assert world.registry.get_registered_names() == ["ok"]
        told = {tool.name: (tool.is_offered, tool.remark) for tool in world.view().tools}
    assert told == {"ok": (True, ""), "crash": (False, "excluded"), "hang": (False, "excluded")}


async def test_a_tool_of_the_agent_goes_before_a_servers():
    world = World(tiny())
    world.registry.register_function(lambda: "own", "ok", "own")
    async with world:
        assert (await world.call("ok")).content == "own"
        remarks = {tool.name: tool.remark for tool in world.view().tools}
    assert remarks == {"ok": "another one of this name counts", "crash": "", "hang": ""}


async def test_a_call_that_hangs_ends_in_its_time_and_the_server_goes_on():
    async with World(ours(timeout=0.2)) as world:
        result = await world.call("hang")
        assert result.content.startswith("hang gave no result within 0.2 s")
        await world.answers("on", "echo", text="on")
        assert world.view().starts == 1


async def test_a_server_that_crashes_amid_a_call_says_so_and_comes_back():
    async with World(tiny()) as world:
        with pytest.raises(ConnectionError, match="tiny ended during the call; it may still"):
            await world.call("crash")
        await world.until(ServerState.READY, starts=2)
        assert (await world.call("ok")).content == "ok"


async def test_while_a_server_is_away_its_tools_are_unavailable_and_say_why():
    slow = ServerSettings(first_retry_seconds=600, longest_retry_seconds=600)
    async with World(tiny(), settings=slow) as world:
        with pytest.raises(ConnectionError):
            await world.call("crash")
        view = await world.until(ServerState.DEGRADED)
        assert view.reason == "its process ended with code 3"
        assert 0 < (view.retries_in_seconds or 0) <= 600
        with pytest.raises(
            ConnectionError, match="the MCP server tiny is degraded: its process ended with"
        ):
            await world.call("ok")
        assert "ok" in world.registry.get_tools()


async def test_the_other_servers_go_on_while_one_is_away():
    async with World(tiny(name="good"), tiny("broken", name="bad", include=["none"])) as world:
        assert world.view("bad").state is ServerState.DEGRADED
        assert (await world.call("ok")).content == "ok"


async def test_what_a_server_said_at_its_end_is_its_reason_without_secrets():
    async with World(tiny("broken", env={"API_KEY": "hunter2hunter2"})) as world:
        view = await world.until(ServerState.DEGRADED)
    assert view.reason == "its process ended with code 9: no key, no service: [redacted]"


async def test_a_command_that_does_not_exist_is_named():
    async with World({"name": "lost", "command": "no-such-server-here"}) as world:
        view = await world.until(ServerState.DEGRADED)
    assert "no-such-server-here cannot be started: No such file or directory" in view.reason


async def test_a_folder_that_does_not_exist_degrades_the_server(tmp_path):
    async with World(tiny(cwd=str(tmp_path / "none"))) as world:
        view = await world.until(ServerState.DEGRADED)
    assert "No such file or directory" in view.reason


async def test_a_handshake_without_answer_ends_in_its_time():
    async with World(tiny("deaf", connect_timeout=0.3)) as world:
        view = await world.until(ServerState.DEGRADED)
    assert view.reason == "it gave no list of its tools within 0.3 s"


async def test_the_start_does_not_wait_longer_than_it_settles():
    settings = ServerSettings(settle_seconds=0.05)
    async with World(tiny("deaf"), tiny(name="good"), settings=settings) as world:
        assert world.view("tiny").state is ServerState.STARTING
        await world.until(ServerState.READY, "good")


async def test_a_list_of_tools_without_end_degrades_the_server():
    async with World(tiny("endless_list")) as world:
        view = await world.until(ServerState.DEGRADED)
    assert view.reason.startswith("its list of tools does not end after")


async def test_what_a_server_prints_beside_the_protocol_is_passed_over():
    async with World(tiny("chatty")) as world:
        assert (await world.call("ok")).content == "ok"


async def test_a_line_that_is_too_long_ends_the_connection_not_the_daemon():
    async with World(tiny("long_line"), tiny(name="good")) as world:
        with pytest.raises(ConnectionError, match="tiny ended during the call"):
            await world.call("ok")
        await world.until(ServerState.READY, "tiny", starts=2)


async def test_a_flood_of_messages_is_held_back_on_the_servers_side():
    async with World(tiny("flood", timeout=0.5), ours()) as world:
        flooded = asyncio.ensure_future(world.call("ok"))
        answers = [await world.call("echo", text=str(number)) for number in range(20)]
        assert [answer.content for answer in answers] == [str(number) for number in range(20)]
        assert "no result within" in (await flooded).content


async def test_a_disabled_server_is_never_started():
    mark = new_mark()
    async with World(tiny("good", mark, disabled=True)) as world:
        assert world.view().state is ServerState.DISABLED
        assert await gone(mark, 0.0) == []


async def test_a_stopped_world_has_no_processes_and_starts_again():
    mark = new_mark()
    world = World(tiny("breeds", mark), settings=QUICK)
    async with world:
        assert (await world.call("ok")).content == "ok"
    assert await gone(mark) == []
    assert world.view().state is ServerState.STOPPED
    async with world:
        assert (await world.call("ok")).content == "ok"
    with pytest.raises(ConnectionError, match="the MCP server tiny is stopped"):
        await world.call("ok")


async def test_a_server_that_ignores_every_request_to_end_is_ended_with_its_children():
    mark = new_mark()
    async with World(tiny("stubborn", mark)) as world:
        await world.call("ok")
    assert await gone(mark, 0.5) == []
