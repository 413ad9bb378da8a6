"""The tools of an agent: registering, describing, running them."""

import asyncio
import json
import textwrap
import threading
from enum import Enum
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel

from hive_daemon.errors import ConfigError, InvalidInput
from hive_daemon.framework_alias import installed
from hive_daemon.llm.values import Tool, ToolResult, ToolUse
from hive_daemon.runner.tool_registry import ToolRegistry, _execution_context, tool
from hive_daemon.tools.context import execution_context

ECHO = Tool("echo", "Say it back.", {"type": "object", "properties": {"x": {"type": "string"}}})


@pytest.fixture
def registry():
    made = ToolRegistry()
    yield made
    made.cleanup()


def use(name="echo", call_id="call_1", **inputs):
    return ToolUse(call_id, name, inputs)


def run(registry, call):
    """The result of a call in a program without an event loop."""
    return registry.get_executor()(call)


def parameters(registry, function):
    registry.register_function(function)
    return registry.get_tools()[function.__name__].parameters


# --- registering --------------------------------------------------------------------------------


def test_a_registered_tool_is_described_and_run(registry):
    registry.register("echo", ECHO, lambda inputs: inputs["x"])
    assert registry.get_tools() == {"echo": ECHO}
    assert run(registry, use(x="hi")) == ToolResult("call_1", "hi")
    assert (registry.get_registered_names(), registry.has_tool("echo")) == (["echo"], True)


def test_a_tool_under_another_name_is_refused(registry):
    with pytest.raises(InvalidInput, match="'echo' cannot be registered as 'other'"):
        registry.register("other", ECHO, dict)


def test_the_later_of_two_under_one_name_counts(registry):
    registry.register("echo", ECHO, lambda inputs: "first")
    registry.register("echo", ECHO, lambda inputs: "second")
    assert run(registry, use()).content == "second"


def test_the_executor_knows_what_is_registered_later(registry):
    executor = registry.get_executor()
    registry.register("echo", ECHO, lambda inputs: "late")
    assert executor(use()).content == "late"


# --- descriptions -------------------------------------------------------------------------------


def test_arguments_are_read_off_the_signature(registry):
    def search(query: str, limit: int = 10, ratio: float = 0.5, deep: bool = False):
        pass

    assert parameters(registry, search) == {
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "limit": {"type": "integer", "default": 10},
            "ratio": {"type": "number", "default": 0.5},
            "deep": {"type": "boolean", "default": False},
        },
        "required": ["query"],
    }


def test_what_an_argument_is_for_is_read_off_the_docstring(registry):
    def search(query: str, limit: int = 10):
        """Search the files.

        All of them.

        Args:
            query: what to look for,
                in words
            limit (int): how many at most

        Returns:
            query: the findings
        """

    found = parameters(registry, search)["properties"]
    described = registry.get_tools()["search"].description
    assert described == "Search the files.\n\nAll of them."
    assert [each["description"] for each in found.values()] == [
        "what to look for, in words",
        "how many at most",
    ]


def test_sphinx_docstrings_are_read_too(registry):
    def search(query: str):
        """Search.

        :param query: what to look for
        """

    assert parameters(registry, search)["properties"]["query"]["description"] == "what to look for"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Place(BaseModel):
    name: str


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (list, {"type": "array", "items": {}}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (int | None, {"type": "integer"}),
        (Annotated[str, "a name"], {"type": "string", "description": "a name"}),
        (threading.Thread, {"type": "string"}),
    ],
)
def test_types_become_json_schema(registry, hint, schema):
    def search(x):
        pass

    search.__annotations__ = {"x": hint}
    assert parameters(registry, search)["properties"]["x"] == schema


def test_nested_types_are_defined_at_the_root(registry):
    def paint(colour: Colour, place: Place):
        pass

    found = parameters(registry, paint)
    assert found["properties"]["colour"] == {"$ref": "#/$defs/Colour"}
    assert set(found["$defs"]) == {"Colour", "Place"}


def test_an_annotation_that_cannot_be_resolved_is_a_text(registry):
    def search(x: "Nowhere"):  # noqa: F821
        pass

    assert parameters(registry, search)["properties"]["x"] == {"type": "string"}


def test_without_annotation_the_default_tells(registry):
    def search(limit=3, name="x", other=None):
        pass

    found = parameters(registry, search)["properties"]
    assert [each["type"] for each in found.values()] == ["integer", "string", "string"]


def test_the_model_does_not_see_data_dir(registry):
    def save(name: str, data_dir: str):
        pass

    found = parameters(registry, save)
    assert (list(found["properties"]), found["required"]) == (["name"], ["name"])


# --- arguments ----------------------------------------------------------------------------------


def test_arguments_become_what_the_function_wants(registry):
    def paint(times: int, colour: Colour, place: Place, zip_code: str):
        return repr((times, colour, place, zip_code))

    registry.register_function(paint)
    call = use("paint", times="3", colour="red", place={"name": "wall"}, zip_code=1234)
    assert run(registry, call).content == repr((3, Colour.RED, Place(name="wall"), "1234"))


def test_what_is_not_given_is_left_to_the_defaults(registry):
    def search(query: str, limit: int = 10, other: dict = None):  # noqa: RUF013
        return [query, limit, other]

    registry.register_function(search)
    assert json.loads(run(registry, use("search", query="x", other=None)).content) == [
        "x",
        10,
        None,
    ]


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ({}, "the argument 'n' is missing"),
        ({"n": 1, "m": 2}, "there is no argument 'm'"),
        ({"n": "many"}, "the argument 'n': input should be a valid integer"),
    ],
)
def test_arguments_that_do_not_fit_are_an_error_that_names_them(registry, inputs, complaint):
    def count(n: int):
        pass

    registry.register_function(count)
    result = run(registry, use("count", **inputs))
    assert result.is_error
    assert complaint in result.content


def test_further_arguments_reach_a_function_that_takes_any(registry):
    def take(**anything):
        return anything

    registry.register_function(take)
    assert json.loads(run(registry, use("take", a=1)).content) == {"a": 1}


# --- running ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        ("text", "text"),
        ({"ä": 1}, '{"ä": 1}'),
        (None, "null"),
        (Place(name="x"), '{"name":"x"}'),
        (ToolResult("other id", "as it is"), "as it is"),
    ],
)
def test_answers_become_text(registry, answer, content):
    registry.register("echo", ECHO, lambda inputs: answer)
    assert run(registry, use()) == ToolResult("call_1", content)


def test_an_error_of_an_answer_stays_one(registry):
    registry.register("echo", ECHO, lambda inputs: ToolResult("", "no", is_error=True))
    assert run(registry, use()) == ToolResult("call_1", "no", is_error=True)


def test_an_unknown_tool_is_an_error_that_names_those_there_are(registry):
    registry.register("echo", ECHO, dict)
    assert run(registry, use("ecko")) == ToolResult(
        "call_1", "there is no tool 'ecko'; there are: echo", is_error=True
    )


def test_what_a_tool_raises_is_an_error_without_secrets(registry):
    def fail(inputs):
        raise ValueError("Authorization: Bearer abcdefghijklmnopqrstuvwxyz")

    registry.register("echo", ECHO, fail)
    result = run(registry, use())
    assert result.is_error
    assert result.content.startswith("echo failed: ValueError: ")
    assert "abcdefghij" not in result.content


@pytest.mark.parametrize("failure", [ConnectionError("gone"), TimeoutError("slow")])
async def test_failures_from_outside_are_raised(registry, failure):
    def fail(inputs):
        raise failure

    registry.register("echo", ECHO, fail)
    with pytest.raises(type(failure)):
        await registry.get_executor()(use())


async def test_on_a_loop_a_plain_function_runs_in_another_thread_with_the_context(registry):
    seen = []

    def look(inputs):
        seen.append((threading.get_ident(), execution_context()["data_dir"]))

    registry.register("echo", ECHO, look)
    token = ToolRegistry.set_execution_context(data_dir="/data")
    try:
        await registry.get_executor()(use())
    finally:
        ToolRegistry.reset_execution_context(token)
    assert [data for _, data in seen] == ["/data"]
    assert seen[0][0] != threading.get_ident()


async def test_on_a_loop_an_asynchronous_function_runs_there(registry):
    async def look() -> str:
        return str(threading.get_ident())

    registry.register_function(look)
    result = await registry.get_executor()(use("look"))
    assert result.content == str(threading.get_ident())


async def test_plain_functions_run_side_by_side(registry):
    meeting = threading.Barrier(4)
    registry.register("echo", ECHO, lambda inputs: meeting.wait(5))
    executor = registry.get_executor()
    results = await asyncio.gather(*(executor(use()) for _ in range(4)))
    assert not any(result.is_error for result in results)


async def test_a_call_that_takes_too_long_is_an_error(registry):
    async def dawdle():
        await asyncio.Event().wait()

    registry.register_function(dawdle, timeout_seconds=0.01)
    result = await registry.get_executor()(use("dawdle"))
    assert result == ToolResult(
        "call_1",
        "dawdle gave no result within 0.01 s; it may still have had its effect",
        is_error=True,
    )


async def test_a_plain_function_that_takes_too_long_does_not_hold_the_caller(registry):
    free = threading.Event()
    registry.register("echo", ECHO, lambda inputs: free.wait(5), timeout_seconds=0.01)
    result = await registry.get_executor()(use())
    free.set()
    assert "within 0.01 s" in result.content


async def test_a_cancelled_call_is_waited_for_until_it_returns(registry):
    began, free, done = threading.Event(), threading.Event(), threading.Event()

    def work(inputs):
        began.set()
        free.wait(5)
        done.set()

    registry.register("echo", ECHO, work)
    task = asyncio.ensure_future(registry.get_executor()(use()))
    await asyncio.to_thread(began.wait, 5)
    task.cancel()
    await asyncio.to_thread(free.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


# --- context ------------------------------------------------------------------------------------


def test_a_function_is_given_the_data_directory_of_the_execution(registry):
    def where(data_dir: str) -> str:
        return data_dir

    registry.register_function(where)
    registry.set_session_context(data_dir="/of/the/session")
    assert run(registry, use("where")).content == "/of/the/session"
    token = ToolRegistry.set_execution_context(data_dir="/of/the/execution")
    assert run(registry, use("where")).content == "/of/the/execution"
    ToolRegistry.reset_execution_context(token)
    assert run(registry, use("where")).content == "/of/the/session"


def test_outside_an_execution_a_needed_data_directory_is_an_error(registry):
    def where(data_dir: str) -> str:
        return data_dir

    registry.register_function(where)
    assert run(registry, use("where")).content == "data_dir is only known inside an execution"


def test_the_context_is_added_to_and_put_back():
    outer = ToolRegistry.set_execution_context(data_dir="/a", session_id="s")
    inner = ToolRegistry.set_execution_context(data_dir="/b")
    assert _execution_context.get() == {"data_dir": "/b", "session_id": "s"}
    ToolRegistry.reset_execution_context(inner)
    assert _execution_context.get() == {"data_dir": "/a", "session_id": "s"}
    ToolRegistry.reset_execution_context(outer)
    assert _execution_context.get() is None


# --- modules ------------------------------------------------------------------------------------

OLDER_STYLE = """
import json
from framework.llm.provider import Tool, ToolResult, ToolUse
from framework.runner.tool_registry import _execution_context

TOOLS = {
    "where": Tool(name="where", description="Where?", parameters={"type": "object", "properties": {}}),
    "fail": Tool(name="fail", description="Fail."),
}

def tool_executor(tool_use: ToolUse) -> ToolResult:
    if tool_use.name == "fail":
        return ToolResult(tool_use_id=tool_use.id, content="it failed", is_error=True)
    context = _execution_context.get() or {}
    content = json.dumps({"id": tool_use.id, "data_dir": context.get("data_dir")})
    return ToolResult(tool_use_id=tool_use.id, content=content)
"""


def write(tmp_path, source):
    path = tmp_path / "tools.py"
    path.write_text(source)
    return path


def test_a_module_in_the_older_style_is_found_and_shares_the_context(registry, tmp_path):
    assert registry.discover_from_module(write(tmp_path, OLDER_STYLE)) == 2
    token = ToolRegistry.set_execution_context(data_dir="/data")
    result = run(registry, use("where"))
    ToolRegistry.reset_execution_context(token)
    assert json.loads(result.content) == {"id": "call_1", "data_dir": "/data"}


def test_an_error_of_a_tool_executor_is_not_lost(registry, tmp_path):
    registry.discover_from_module(write(tmp_path, OLDER_STYLE))
    assert run(registry, use("fail")) == ToolResult("call_1", "it failed", is_error=True)


def test_marked_functions_are_found(registry, tmp_path):
    source = """
from framework.runner.tool_registry import tool

@tool
def plain(): "Plain."

@tool(description="Renamed.", name="other", timeout_seconds=5)
def renamed(x: int): ...

@tool("Described.")
async def described(): ...

def no_tool(): ...
"""
    assert registry.discover_from_module(write(tmp_path, source)) == 3
    found = {name: each.description for name, each in registry.get_tools().items()}
    assert found == {"plain": "Plain.", "other": "Renamed.", "described": "Described."}


def test_a_marked_function_stays_what_it_is():
    @tool(description="Add.")
    def add(a: int, b: int) -> int:
        return a + b

    assert add(1, 2) == 3


def test_no_such_module_is_no_tools(registry, tmp_path):
    assert registry.discover_from_module(tmp_path / "tools.py") == 0


def test_equal_modules_of_two_folders_do_not_meet(tmp_path):
    answers = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        registry = ToolRegistry()
        source = f"from framework.runner.tool_registry import tool\nX = {name!r}\n@tool\ndef who(): return X"
        registry.discover_from_module(write(folder, source))
        answers.append(registry)
    assert [run(each, use("who")).content for each in answers] == ["one", "two"]
    for registry in answers:
        registry.cleanup()


def test_tools_without_executor_are_run_by_functions_called_like_them(registry, tmp_path):
    source = """
from framework.llm.provider import Tool
TOOLS = {"double": Tool("double", "Double."), "lost": Tool("lost", "Lost.")}
def double(n: int): return 2 * n
"""
    registry.discover_from_module(write(tmp_path, source))
    assert run(registry, use("double", n=2)).content == "4"
    assert run(registry, use("lost")) == ToolResult(
        "call_1",
        "lost is unavailable: tools.py declares it, but has no tool_executor to run it",
        is_error=True,
    )


def test_a_faulty_tools_table_is_refused_with_every_fault(registry, tmp_path):
    source = "from framework.llm.provider import Tool\nTOOLS = {'a': 1, 'b': Tool('c', '')}"
    with pytest.raises(ConfigError) as caught:
        registry.discover_from_module(write(tmp_path, source))
    assert caught.value.problems == (
        "TOOLS['a'] is a int, not a Tool",
        "TOOLS['b'] is a Tool named 'c', give both the same name",
    )


def test_the_alias_is_off_after_the_module_was_read(registry, tmp_path):
    registry.discover_from_module(write(tmp_path, OLDER_STYLE))
    with installed():
        from framework.llm.provider import Tool as SameTool
    assert SameTool is Tool


# --- MCP servers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        {"servers": [{"name": "files", "transport": "stdio", "command": "x", "cwd": "../tools"}]},
        {"files": {"transport": "stdio", "command": "x", "cwd": "../tools"}},
        {"mcpServers": {"files": {"command": "x", "cwd": "../tools"}}},
    ],
)
def test_declared_servers_are_noted_and_not_started(registry, tmp_path, document):
    path = tmp_path / "agent" / "mcp_servers.json"
    path.parent.mkdir()
    path.write_text(json.dumps(document))
    assert registry.load_mcp_config(path) == 1
    server = registry.mcp_servers[0]
    assert (server.name, server.command, server.cwd) == ("files", "x", tmp_path / "tools")


def test_tools_expected_from_servers_are_unavailable_and_say_so(registry):
    registry.register_mcp_server({"name": "web", "url": "http://127.0.0.1:1/mcp"})
    registry.register("echo", ECHO, dict)
    assert registry.expect_from_servers(["echo", "web_search"]) == ["web_search"]
    assert registry.has_tool("web_search")
    assert list(registry.unavailable) == ["web_search"]
    with pytest.raises(ConnectionError, match=r"no MCP server offers it yet \(declared: web\)"):
        run(registry, use("web_search"))


def test_a_faulty_server_file_is_refused_with_every_fault(registry, tmp_path):
    path = tmp_path / "mcp_servers.json"
    servers = [
        {"transport": "stdio", "command": "x"},
        {"name": "b", "transport": "pigeon"},
        {"name": "c", "transport": "http"},
        {"name": "d", "command": "x", "args": "y"},
        3,
    ]
    path.write_text(json.dumps({"servers": servers}))
    with pytest.raises(ConfigError) as caught:
        registry.load_mcp_config(path)
    assert str(caught.value).splitlines() == [
        "mcp_servers.json: servers[0]: has no name",
        "mcp_servers.json: servers[1]: transport: 'pigeon' is unknown, use stdio or http",
        "mcp_servers.json: servers[2]: url is missing",
        "mcp_servers.json: servers[3]: args must be a list of texts",
        "mcp_servers.json: servers[4]: must be an object with command or url",
    ]


def test_a_server_shows_no_secrets(registry):
    registry.register_mcp_server({"name": "a", "command": "x", "env": {"KEY": "hunter2hunter2"}})
    assert "hunter2" not in repr(registry.mcp_servers)


def test_every_key_of_a_server_is_read(registry):
    registry.register_mcp_server(
        {
            "name": "a",
            "command": "x",
            "include": "read_*",
            "exclude": ["read_secret"],
            "timeout": 5,
            "connect_timeout": 2.5,
            "disabled": True,
        }
    )
    (server,) = registry.mcp_servers
    assert (server.call_seconds, server.connect_seconds, server.is_disabled) == (5, 2.5, True)
    offered = [name for name in ("read_page", "read_secret", "write") if server.offers(name)]
    assert offered == ["read_page"]


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("timeout", 0, "timeout must be a number of seconds, more than 0"),
        ("connect_timeout", "1", "connect_timeout must be a number of seconds, more than 0"),
        ("timeout", True, "timeout must be a number of seconds, more than 0"),
        ("include", 3, "include must be a list of tool names, * stands for any text"),
        ("disabled", "no", "disabled must be true or false"),
    ],
)
def test_a_key_that_is_not_what_it_must_be_is_named(registry, key, value, problem):
    with pytest.raises(ConfigError) as caught:
        registry.register_mcp_server({"name": "a", "command": "x", key: value})
    assert caught.value.problems == (problem,)


# --- what becomes of a call whose result a crash took -------------------------------------------


def test_a_tool_fails_an_unknown_call_unless_it_says_otherwise(registry):
    registry.register_function(lambda: 1, "plain")
    registry.register_function(lambda: 1, "harmless", on_unknown="retry")
    registry.register("asked", Tool("asked", ""), dict, on_unknown="ask")
    executor = registry.get_executor()
    marks = [executor.on_unknown_of(name) for name in ("plain", "harmless", "asked", "none")]
    assert marks == ["fail", "retry", "ask", "fail"]


def test_the_decorator_carries_the_mark(registry, tmp_path):
    source = """
        from hive_daemon.tools import tool

        @tool("Look.", on_unknown="retry")
        def look(): ...

        @tool
        def send(): ...
    """
    (tmp_path / "tools.py").write_text(textwrap.dedent(source))
    registry.discover_from_module(tmp_path / "tools.py")
    executor = registry.get_executor()
    assert [executor.on_unknown_of(name) for name in ("look", "send")] == ["retry", "fail"]


def test_an_unknown_mark_is_refused():
    with pytest.raises(ValueError, match="maybe"):
        tool("x", on_unknown="maybe")


# --- what nodes want ----------------------------------------------------------------------------


def test_nodes_get_built_in_tools_by_asking_for_them(registry):
    registry.register("load_data", Tool("load_data", "own"), dict)
    offered = registry.equip(["save_data", "load_data", "unknown"])
    assert {each.name: each.description[:3] for each in offered} == {
        "load_data": "own",
        "save_data": "Sav",
    }


def test_what_only_a_server_can_offer_is_expected_of_it(registry):
    registry.register_mcp_server({"name": "web", "command": "x"})
    given = Tool("given", "")
    offered = registry.equip(["search", "given", "save_data"], [given])
    assert sorted(each.name for each in offered) == ["given", "save_data", "search"]
    assert list(registry.unavailable) == ["search"]


def test_what_is_offered_is_looked_at_anew_each_time(registry):
    offered = registry.equip([])
    assert list(offered) == []
    registry.register("echo", ECHO, dict)
    assert (len(offered), offered[0]) == (1, ECHO)


def test_an_executor_knows_the_time_of_each_tool(registry):
    registry.register("slow", Tool("slow", ""), dict, timeout_seconds=300)
    executor = registry.get_executor()
    assert (executor.timeout_of("slow"), executor.timeout_of("other")) == (300, 60)
