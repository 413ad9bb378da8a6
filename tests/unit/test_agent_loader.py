"""Loading agent folders, whole and broken ones."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from hive_daemon.errors import AgentLoadError
from hive_daemon.framework_alias import installed
from hive_daemon.graph.edge import EdgeCondition
from hive_daemon.runner.agent_check import check_folder
from hive_daemon.runner.agent_loader import load_agent
from hive_daemon.runner.loaded_agent import AgentForm
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig
from tests.agents.broken import BROKEN, GOOD, STEPS, export, timer, write

AGENTS = Path(__file__).parent.parent / "agents"


@pytest.fixture(autouse=True)
def _own_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HIVE_MODEL", raising=False)


@pytest.fixture
def load(tmp_path):
    """Loads one of the folders of tests/agents, or a folder of given files, and closes it afterwards."""
    opened = []

    def by(name, files=None):
        folder = tmp_path / name
        if files is None:
            shutil.copytree(AGENTS / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            write(folder, files)
        opened.append(load_agent(folder))
        return opened[-1]

    yield by
    for agent in opened:
        agent.close()


def faults(tmp_path, files, name="agent"):
    with pytest.raises(AgentLoadError) as caught:
        load_agent(write(tmp_path / name, files))
    return list(caught.value.problems)


# --- the module form ----------------------------------------------------------------------------


def test_the_names_of_a_module_folder_are_read(load):
    agent = load("inbox_triage")
    graph = agent.graph
    assert (agent.name, agent.form) == ("inbox_triage", AgentForm.MODULE)
    assert (graph.id, graph.goal_id) == ("inbox_triage-graph", "inbox-triage")
    assert (graph.entry_node, graph.terminal_nodes) == ("fetch-mails", ["report"])
    assert (graph.conversation_mode, graph.identity_prompt) == ("continuous", "You sort mails.")
    assert (graph.max_tokens, graph.loop_config["max_iterations"]) == (2048, 20)
    assert graph.entry_points == {"start": "fetch-mails"}
    assert agent.goal.success_criteria[0].target == "100%"
    assert agent.about.version == "1.2.0"
    assert agent.intro_message == "I sort your mails. What are your rules?"
    assert agent.model == "scripted:script.json"
    assert agent.warnings == ()


def test_the_tools_of_a_folder_are_found(load):
    agent = load("inbox_triage")
    assert agent.tools.get_registered_names() == ["bulk_fetch_mails"]
    assert agent.missing_tools == {}


def test_entry_points_are_read_and_there_is_a_default(load):
    agent = load("inbox_triage")
    default, timed = agent.entry_points
    assert (default.id, default.trigger_type, default.isolation_level) == (
        "default",
        "manual",
        "shared",
    )
    assert default.entry_node == "fetch-mails"
    assert (timed.id, timed.trigger_type, timed.max_concurrent) == ("mail-timer", "timer", 1)
    assert timed.trigger_config == {"interval_minutes": 5, "run_immediately": False}


def test_functions_are_callables_of_the_folder(load):
    agent = load("inbox_triage")
    report = agent.graph.get_node("report").function
    assert report("all") == "sorted: all"


def test_imports_by_the_name_of_the_folder_work_and_nodes_of_its_own_are_found(load):
    agent = load("review_desk")
    assert list(agent.node_registry) == ["draft"]
    assert [node.id for node in agent.model_nodes] == []
    assert (agent.graph.max_tokens, agent.model) == (512, "scripted")
    assert agent.intro_message == "What shall I review?"


def test_the_entry_is_the_first_node_if_nothing_else_is_said(load):
    assert load("a", {"agent.py": GOOD, "steps.py": STEPS}).graph.entry_node == "a"


def test_a_name_is_looked_for_in_the_package_first_and_modules_do_not_count(load):
    files = {
        "__init__.py": "from .agent import goal, edges\nidentity_prompt = 'of the package'\n",
        "agent.py": GOOD.replace(
            "nodes = ", "from .nodes import nodes as found\nnodes = found or "
        ),
        "nodes/__init__.py": "nodes = []\n",
        "steps.py": STEPS,
    }
    agent = load("a", files)
    assert agent.graph.identity_prompt == "of the package"
    assert [node.id for node in agent.graph.nodes] == ["a"]


def test_a_config_without_a_wish_leaves_the_model_to_the_machine(load):
    config = "from framework.config import RuntimeConfig\ndefault_config = RuntimeConfig()\n"
    agent = load("a", {"agent.py": GOOD, "steps.py": STEPS, "config.py": config})
    assert (agent.model, agent.graph.max_tokens) == ("", 8192)


def test_a_config_with_a_wish_is_taken_with_its_key_and_options(load):
    config = (
        "default_config = {'model': 'openai/gpt-4o', 'api_key': 'sk-1', 'api_base': 'http://x/v1', "
        "'extra_kwargs': {'temperature': 0}, 'max_context_tokens': 9000}\n"
    )
    agent = load("a", {"agent.py": GOOD, "steps.py": STEPS, "config.py": config})
    assert (agent.llm.model, agent.llm.api_key) == ("openai/gpt-4o", "sk-1")
    assert (agent.llm.api_base, agent.llm.options) == ("http://x/v1", {"temperature": 0})
    assert agent.graph.loop_config == {"max_history_tokens": 9000}
    assert "sk-1" not in repr(agent.llm)


def test_the_runtime_config_and_its_routes_are_read(load):
    source = (
        GOOD
        + "from framework.runtime.agent_runtime import AgentRuntimeConfig\n"
        + "runtime_config = AgentRuntimeConfig(max_concurrent_executions=3, webhook_routes=["
        + "{'source_id': 'github', 'path': '/hooks/github', 'secret': 's'}])\n"
        + "webhook_routes = [{'source_id': 'slack', 'path': '/hooks/slack'}]\n"
    )
    agent = load("a", {"agent.py": source, "steps.py": STEPS})
    assert isinstance(agent.runtime_config, AgentRuntimeConfig)
    assert agent.runtime_config.max_concurrent_executions == 3
    assert [route["source_id"] for route in agent.webhook_routes] == ["github", "slack"]


def test_a_runtime_config_of_another_kind_is_told_of(load):
    source = GOOD + "from framework.config import RuntimeConfig\nruntime_config = RuntimeConfig()\n"
    assert load("a", {"agent.py": source, "steps.py": STEPS}).runtime_config is None
    agent = load("b", {"agent.py": GOOD + "runtime_config = 3\n", "steps.py": STEPS})
    assert agent.warnings == (
        "agent.py: runtime_config: is a int, only AgentRuntimeConfig has effect",
    )


def test_what_has_no_effect_is_told_of(load):
    source = (
        GOOD
        + "loop_config = {'max_iteration': 3}\n"
        + "async_entry_points = [{'id': 'e', 'max_concurent': 3}]\n"
        + "node_registry = {'b': lambda: None}\n"
    )
    agent = load("a", {"agent.py": source, "steps.py": STEPS})
    said = "\n".join(agent.warnings)
    assert "async_entry_points[0].max_concurent: is unknown and has no effect, did you mean" in said
    assert "agent.py: node_registry: there is no node 'b' in the graph" in said
    assert "loop_config.max_iteration is unknown" in said


def test_graph_warnings_are_warnings_of_the_agent(load):
    source = GOOD + "nodes = [*nodes, NodeSpec(id='island', name='', description='')]\n"
    agent = load("a", {"agent.py": source, "steps.py": STEPS})
    assert any("no way leads here" in warning for warning in agent.warnings)


# --- the JSON form ------------------------------------------------------------------------------


def test_agent_json_keeps_what_the_older_system_dropped(load):
    agent = load("lead_report")
    graph = agent.graph
    assert agent.form is AgentForm.JSON
    assert (graph.conversation_mode, graph.identity_prompt) == (
        "isolated",
        "You write reports about leads.",
    )
    assert (graph.loop_config, graph.max_tokens) == ({"max_iterations": 7}, 1024)
    assert (graph.default_model, agent.model) == ("scripted", "scripted")
    assert (agent.goal.context, agent.goal.success_criteria[0].type) == (
        {"market": "DACH"},
        "success_rate",
    )
    assert graph.edges[2].description == "last resort"


def test_edges_of_agent_json_are_followed_on_success_and_need_no_id(load):
    edges = [{"source": "a", "target": "b"}]
    nodes = [{"id": "a"}, {"id": "b"}]
    agent = load("x", {"agent.json": export(nodes=nodes, edges=edges)})
    edge = agent.graph.edges[0]
    assert (edge.id, edge.condition) == ("edge-0", EdgeCondition.ON_SUCCESS)


def test_functions_of_agent_json_are_found_with_and_without_the_name_of_the_folder(load):
    agent = load("lead_report")
    assert agent.graph.get_node("score").function([1, 2]) == {"score": 2, "good": True}
    assert agent.graph.get_node("reject").function() == "too few leads"


def test_triggers_lie_over_the_declared_entry_points_key_by_key(load):
    found = {spec.id: spec for spec in load("lead_report").entry_points}
    assert list(found) == ["default", "nightly", "on-failure"]
    nightly = found["nightly"]
    assert nightly.trigger_config == {"cron": "30 4 * * *", "run_immediately": False}
    assert (nightly.name, nightly.isolation_level) == ("Nightly", "isolated")
    assert nightly.task == "Score last night's leads."
    assert found["on-failure"].trigger_type == "event"


def test_a_declared_default_takes_the_place_of_ours(load):
    points = [{"id": "default", "trigger_type": "timer", "trigger_config": {"every": "5m"}}]
    agent = load("x", {"agent.json": export(), "triggers.json": json.dumps({"triggers": points})})
    assert [(spec.id, spec.trigger_type) for spec in agent.entry_points] == [("default", "timer")]


def test_a_graph_id_that_cannot_be_in_an_address_is_changed_and_told_of(load):
    agent = load("x", {"agent.json": export(id="My graph!")})
    assert agent.graph.id == "My-graph"
    assert "'My graph!' cannot be in an address, 'My-graph' is used" in agent.warnings[0]


# --- both ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_folder_is_refused_with_everything_that_is_wrong(tmp_path, kind):
    files, said = BROKEN[kind]
    assert faults(tmp_path, files, kind) == said


@pytest.mark.parametrize("kind", BROKEN)
def test_a_check_says_the_same(tmp_path, kind):
    files, said = BROKEN[kind]
    assert list(check_folder(write(tmp_path / kind, files)).errors) == said


def test_the_path_is_named(tmp_path):
    with pytest.raises(AgentLoadError, match=f"^{tmp_path}/nowhere: does not exist$"):
        load_agent(tmp_path / "nowhere")


def test_a_refused_folder_leaves_nothing_behind(tmp_path):
    before = (set(sys.modules), list(sys.meta_path), list(sys.path))
    faults(tmp_path, BROKEN["functions"][0])
    assert (set(sys.modules), list(sys.meta_path), list(sys.path)) == before


def test_a_closed_agent_leaves_nothing_behind(tmp_path):
    folder = shutil.copytree(AGENTS / "inbox_triage", tmp_path / "inbox_triage")
    # The first agent that a process loads brings modules of our own with it.
    load_agent(shutil.copytree(folder, tmp_path / "another")).close()
    before = (set(sys.modules), list(sys.meta_path), list(sys.path))
    load_agent(folder).close()
    assert (set(sys.modules), list(sys.meta_path), list(sys.path)) == before


def test_agents_with_equal_modules_do_not_meet(load):
    one = load("one", {"agent.py": GOOD, "steps.py": "def run(): return 1\n"})
    two = load("two", {"agent.py": GOOD, "steps.py": "def run(): return 2\n"})
    assert [agent.graph.nodes[0].function() for agent in (one, two)] == [1, 2]


def test_classes_are_the_same_for_the_folder_and_for_the_program(load):
    agent = load("inbox_triage")
    with installed():
        from framework.graph import NodeSpec
    assert all(type(node) is NodeSpec for node in agent.graph.nodes)


def test_a_folder_that_everybody_may_write_is_refused_before_anything_is_executed(tmp_path):
    marker = tmp_path / "executed"
    source = f"open({str(marker)!r}, 'w')\n" + GOOD
    folder = write(tmp_path / "open", {"agent.py": source, "nodes/x.py": ""})
    (folder / "nodes").chmod(0o777)
    with pytest.raises(AgentLoadError) as caught:
        load_agent(folder)
    assert caught.value.problems == (
        f"nodes can be written by every user of this machine, run: chmod -R o-w {folder}",
    )
    assert not marker.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_folder_of_somebody_else_is_refused_with_the_remedy(tmp_path):
    folder = write(tmp_path / "foreign", {"agent.py": GOOD, "steps.py": STEPS})
    os.chown(folder / "steps.py", 12345, -1)
    with pytest.raises(AgentLoadError) as caught:
        load_agent(folder)
    assert caught.value.problems == (
        f"steps.py belongs to user 12345, not to you or root, run: chown -R 0 {folder}",
    )


def test_files_that_are_no_code_may_be_anybodys(load, tmp_path):
    folder = write(tmp_path / "x", {"agent.json": export(), "notes.txt": ""})
    (folder / "notes.txt").chmod(0o666)
    load_agent(folder).close()


def test_checking_agent_json_executes_nothing(tmp_path):
    marker = tmp_path / "executed"
    boom = f"open({str(marker)!r}, 'w')\n"
    node = {"id": "a", "node_type": "function", "function": "steps:run", "tools": ["t", "u", "v"]}
    tools = (
        "from framework.runner.tool_registry import tool\nTOOLS = {'t': None}\n"
        "@tool(name='u')\ndef _u(): ...\n" + boom
    )
    folder = write(
        tmp_path / "x",
        {"agent.json": export(nodes=[node]), "steps.py": boom + STEPS, "tools.py": tools},
    )
    report = check_folder(folder)
    assert report.errors == ("nobody offers the tool 'v' (nodes: a)",)
    assert not report.was_executed
    assert not marker.exists()


def test_checking_agent_json_looks_for_functions_without_executing_them(tmp_path):
    nodes = [
        {"id": "a", "node_type": "function", "function": "steps:gone"},
        {"id": "b", "node_type": "function", "function": "bad:run"},
        {"id": "c", "node_type": "function", "function": "json:dumps"},
        {"id": "d", "node_type": "function", "function": "steps.run"},
    ]
    folder = write(
        tmp_path / "x",
        {"agent.json": export(nodes=nodes), "steps.py": STEPS, "bad.py": "def run(:\n"},
    )
    assert check_folder(folder).errors == (
        "agent.json: node 'a': function 'steps:gone': steps has no gone",
        "agent.json: node 'b': function 'bad:run': bad cannot be read: bad.py line 1: SyntaxError: invalid syntax",
        "agent.json: node 'd': function 'steps.run' is not of the form module:attr",
    )


def test_tools_that_may_be_defined_otherwise_are_a_warning_of_the_check(tmp_path):
    source = "TOOLS = make()\n"
    folder = write(tmp_path / "x", {"agent.json": export(), "tools.py": source})
    assert check_folder(folder).warnings[0] == (
        "tools.py: was not executed, it may define further tools"
    )


def test_a_tool_that_nobody_offers_is_no_fault_of_loading(load):
    agent = load("x", {"agent.json": export(nodes=[{"id": "a", "tools": ["search"]}])})
    assert agent.missing_tools == {"search": ["a"]}


def test_tools_of_declared_servers_are_unavailable_until_they_run(load):
    files = {
        "agent.json": export(nodes=[{"id": "a", "tools": ["search"]}]),
        "mcp_servers.json": json.dumps({"web": {"transport": "stdio", "command": "x"}}),
    }
    agent = load("x", files)
    assert agent.missing_tools == {}
    assert list(agent.tools.unavailable) == ["search"]
    assert agent.warnings == ()


def test_a_built_in_tool_is_offered_to_who_asks_for_it(load):
    nodes = [{"id": "a", "tools": ["save_data", "search"]}]
    servers = json.dumps({"web": {"transport": "stdio", "command": "x"}})
    agent = load("x", {"agent.json": export(nodes=nodes), "mcp_servers.json": servers})
    assert agent.missing_tools == {}
    assert list(agent.tools.unavailable) == ["search"]


def test_tools_of_named_servers_are_unavailable_too(load):
    files = {
        "agent.json": export(nodes=[{"id": "a", "tools": ["search"]}]),
        "mcp_registry.json": json.dumps({"include": ["web"]}),
    }
    agent = load("x", files)
    assert list(agent.tools.unavailable) == ["search"]
    assert agent.warnings == (
        "mcp_registry.json: names MCP servers that mcp_servers.json does not declare, so these tools are unavailable:"
        " search",
    )


def test_a_missing_key_is_told_by_the_name_of_its_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)
    folder = write(tmp_path / "x", {"agent.json": export(default_model="anthropic/claude-x")})
    said = "the model 'anthropic/claude-x' needs a key, set ANTHROPIC_API_KEY"
    assert said in check_folder(folder).warnings
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    assert said not in check_folder(folder).warnings


def test_a_bad_timer_of_a_folder_is_named_with_its_key(tmp_path):
    said = faults(tmp_path, {"agent.json": export(), "triggers.json": timer(every="often")})
    assert said[0].startswith("entry point 't': trigger_config.every: ")


def test_what_has_no_effect_in_a_timer_is_told_of(load):
    files = {"agent.json": export(), "triggers.json": timer(cron="0 9 * * *", interval_minutes=5)}
    assert load("x", files).warnings == (
        "entry point 't': trigger_config.interval_minutes: has no effect beside cron, which wins",
    )


def test_the_name_of_a_folder_may_hold_a_space(load):
    assert load("my agent", {"agent.json": export(id=None)}).graph.id == "my-agent-graph"
