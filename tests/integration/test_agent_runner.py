"""AgentRunner: agent folders run from a program, as the product documents show it."""

import asyncio
import json
import logging
import os
import pty
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hive_daemon.errors import AgentLoadError, AlreadyRunning, EntryPointNotFound, StateLocked
from hive_daemon.framework_alias import installed
from hive_daemon.graph.edge import EdgeSpec, GraphSpec
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.node import NodeSpec
from hive_daemon.llm.values import Tool
from hive_daemon.runner.runner import AgentRunner
from tests.agents.broken import export, write

ROOT = Path(__file__).parent.parent.parent
AGENTS = ROOT / "tests" / "agents"

STEPS = """
def run(query="nothing"):
    from framework.graph import Goal
    return f"{query}, {Goal.__name__}"
"""
FUNCTION = {
    "id": "a",
    "name": "A",
    "node_type": "function",
    "function": "steps:run",
    "input_keys": ["query"],
    "output_keys": ["answer"],
}
MODEL_NODE = {"id": "a", "name": "A", "output_keys": ["answer"], "system_prompt": "Answer."}


@pytest.fixture(autouse=True)
def _own_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("HIVE_MODEL", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path):
    """Copies an agent folder of tests/agents."""

    def copied(name):
        ignored = shutil.ignore_patterns("__pycache__")
        return shutil.copytree(AGENTS / name, tmp_path / "exports" / name, ignore=ignored)

    return copied


@pytest.fixture
async def load(tmp_path):
    """Loads agents with a store of their own and cleans them up afterwards."""
    loaded = []

    def by(path, **options):
        options.setdefault("storage_path", tmp_path / "state")
        loaded.append(AgentRunner.load(path, **options))
        return loaded[-1]

    yield by
    for runner in loaded:
        await runner.cleanup_async()


def my_agent(tmp_path, **graph):
    """A folder `exports/my_agent` in the JSON form, of one function node unless said otherwise."""
    files = {"agent.json": export(**{"nodes": [FUNCTION], **graph}), "steps.py": STEPS}
    return write(tmp_path / "exports" / "my_agent", files)


# --- the documents ------------------------------------------------------------------------------


async def test_the_samples_of_the_documents_run_as_shown(tmp_path, monkeypatch):
    my_agent(tmp_path)
    monkeypatch.chdir(tmp_path)
    saved_state = {}
    with installed():
        from framework.runner import AgentRunner

        # Load and run
        runner = AgentRunner.load("exports/my_agent", model="anthropic/claude-sonnet-4-20250514")
        result = await runner.run({"query": "hello"})
        assert (result.success, result.output["answer"]) == (True, "hello, Goal")

        # Resume from paused session
        result = await runner.run({"query": "continue"}, session_state=saved_state)
        assert result.success

        # Lifecycle
        await runner.start()
        await runner.stop()
        exec_id = await runner.trigger("default", {})
        progress = await runner.get_goal_progress()
        entry_points = runner.get_entry_points()
        assert exec_id.startswith("session_")
        assert "overall_progress" in progress
        assert [each.id for each in entry_points] == ["default"]

        # Context manager
        async with AgentRunner.load("exports/my_agent", storage_path="other") as other:
            result = await other.run({"query": "hello"})
            assert result.success

        # Cleanup
        runner.cleanup()
        await runner.cleanup_async()
        assert not runner.is_running


async def test_a_run_that_pauses_is_resumed_in_its_session(load, folder, tmp_path):
    runner = load(folder("review_desk"))
    result = await runner.run({"topic": "cats"})
    assert (result.success, result.paused_at) == (True, "review")
    assert result.session_state["paused_at"] == "review"
    assert result.session_state["memory"]["draft"] == "cats, draft 1"
    result = await runner.run({"input": "yes"}, session_state=result.session_state)
    assert result.output["published"] == "cats, draft 1 (yes)"
    assert len(list((tmp_path / "state" / "sessions").iterdir())) == 1


async def test_a_session_state_is_enough_for_another_runner(load, folder):
    path = folder("review_desk")
    first = load(path)
    result = await first.run({"topic": "dogs"})
    await first.cleanup_async()
    state = json.loads(json.dumps(result.session_state))
    result = await load(path).run({"input": "no"}, session_state=state)
    assert (result.paused_at, result.output["draft"]) == ("review", "dogs, draft 2")


async def test_the_default_entry_point_is_there_and_others_can_be_run(load, folder):
    runner = load(folder("lead_report"))
    assert [each.id for each in runner.get_entry_points()] == ["default", "nightly", "on-failure"]
    assert (await runner.run({"leads": [1, 2]})).path == ["score", "report"]
    result = await runner.run({"leads": [1]}, entry_point_id="nightly")
    assert (result.path, result.output["reason"]) == (["score", "reject"], "too few leads")


async def test_the_files_of_a_session_are_where_the_documents_say(load, folder, tmp_path):
    runner = load(folder("lead_report"))
    result = await runner.run({"leads": [1, 2]})
    session = tmp_path / "state" / "sessions" / result.session_id
    assert json.loads((session / "state.json").read_text())["status"] == "completed"
    assert (session / "logs" / "summary.json").exists()


async def test_the_state_is_under_the_folders_name_by_default(tmp_path):
    async with AgentRunner.load(my_agent(tmp_path)) as runner:
        await runner.run({})
    assert (tmp_path / "home" / ".hive" / "agents" / "my_agent" / "sessions").is_dir()


async def test_tools_find_the_data_directory_of_their_session(load, folder, tmp_path):
    runner = load(folder("inbox_triage"))
    result = await runner.run({"rules": "invoices first"})
    assert result.output["mails_file"] == {"filename": "mails.jsonl", "count": 2}
    mails = tmp_path / "state" / "sessions" / result.session_id / "data" / "mails.jsonl"
    assert len(mails.read_text().splitlines()) == 2


# --- models -------------------------------------------------------------------------------------


async def test_mock_mode_satisfies_the_outputs_of_a_graph(load, tmp_path):
    runner = load(my_agent(tmp_path, nodes=[MODEL_NODE]), mock_mode=True)
    result = await runner.run({})
    assert result.success
    assert result.output["answer"]


def test_the_model_asked_for_goes_before_the_folders_and_that_before_the_machines(
    tmp_path, monkeypatch
):
    chosen = []
    for graph, options, environ in (
        ({"default_model": "folder/m"}, {"model": "asked/m"}, "machine/m"),
        ({"default_model": "folder/m"}, {}, "machine/m"),
        ({}, {}, "machine/m"),
        ({}, {}, ""),
    ):
        monkeypatch.setenv("HIVE_MODEL", environ)
        runner = AgentRunner.load(my_agent(tmp_path, **graph), **options)
        chosen.append(runner.model)
        runner.cleanup()
    assert chosen == ["asked/m", "folder/m", "machine/m", "anthropic/claude-sonnet-4-20250514"]


async def test_a_missing_key_is_a_failed_result_that_names_the_variable(load, tmp_path):
    runner = load(my_agent(tmp_path, nodes=[MODEL_NODE]))
    result = await runner.run({})
    assert (result.success, runner.is_running) == (False, False)
    assert result.error == (
        "the model 'anthropic/claude-sonnet-4-20250514' needs a key, set ANTHROPIC_API_KEY"
    )
    assert runner.validate().missing_credentials == ["ANTHROPIC_API_KEY"]


def test_the_check_for_a_key_can_be_left_out(tmp_path):
    path = my_agent(tmp_path, nodes=[MODEL_NODE])
    runner = AgentRunner.load(path, skip_credential_validation=True)
    assert runner.validate().missing_credentials == []
    runner.cleanup()


def test_the_folders_key_goes_with_its_own_model_only(tmp_path):
    config = "default_config = {'model': 'openai/gpt-4o', 'api_key': 'sk-1'}\n"
    source = (
        "from framework.graph import Goal, NodeSpec\ngoal = Goal(id='g', name='G')\n"
        "nodes = [NodeSpec(id='a')]\nedges = []\n"
    )
    path = write(tmp_path / "a", {"agent.py": source, "config.py": config})
    own, other = AgentRunner.load(path), AgentRunner.load(path, model="groq/llama")
    assert (own._llm.api_key, other._llm.api_key) == ("sk-1", None)
    own.cleanup()
    other.cleanup()


# --- tools --------------------------------------------------------------------------------------


async def test_a_tool_that_nobody_offers_is_a_failed_result(load, tmp_path):
    runner = load(my_agent(tmp_path, nodes=[{**MODEL_NODE, "tools": ["search"]}]), mock_mode=True)
    result = await runner.run({})
    assert (result.success, result.error) == (
        False,
        "nobody offers the tool 'search' (nodes: a)",
    )
    assert runner.validate().missing_tools == ["search"]


async def test_a_program_may_bring_the_tool(load, tmp_path):
    runner = load(my_agent(tmp_path, nodes=[{**MODEL_NODE, "tools": ["search"]}]), mock_mode=True)
    runner.register_tool("search", Tool("search", "Search."), lambda inputs: "found")
    assert runner.validate().valid
    assert (await runner.run({})).success
    with pytest.raises(AlreadyRunning):
        runner.register_tool("late", lambda: None)


async def test_tools_of_an_mcp_server_are_unavailable_and_the_run_goes_on(load, tmp_path):
    runner = load(my_agent(tmp_path, nodes=[{**MODEL_NODE, "tools": ["search"]}]), mock_mode=True)
    runner.register_mcp_server("web", "stdio", command="no-such-server")
    assert (await runner.run({})).success


# --- asking -------------------------------------------------------------------------------------


async def test_an_agent_is_described(load, folder):
    info = load(folder("lead_report")).info()
    assert (info.name, info.node_count, info.edge_count) == ("Lead Report", 3, 3)
    assert (info.entry_node, info.is_multi_entry_point) == ("score", True)
    assert [each["id"] for each in info.nodes] == ["score", "report", "reject"]
    tasks = {each["id"]: each["task"] for each in info.async_entry_points}
    assert tasks["nightly"] == "Score last night's leads."
    assert json.dumps(info.to_dict())


async def test_a_sound_agent_is_valid(load, folder):
    checked = load(folder("lead_report")).validate()
    assert (checked.valid, checked.errors, checked.missing_tools) == (True, [], [])


def test_a_broken_folder_is_refused_at_loading(tmp_path):
    with pytest.raises(AgentLoadError, match=r"agent\.json: graph\.nodes\[0\]\.id: is missing"):
        AgentRunner.load(my_agent(tmp_path, nodes=[{"name": "A"}]))


def test_an_argument_that_nobody_knows_is_refused(tmp_path):
    with pytest.raises(TypeError, match="no argument 'modell'"):
        AgentRunner.load(my_agent(tmp_path), modell="x")


async def test_a_program_may_bring_graph_and_goal_itself(tmp_path):
    graph = GraphSpec(
        id="mine",
        entry_node="a",
        nodes=[NodeSpec(id="a", node_type="function", function=lambda: {"x": 1})],
        edges=[EdgeSpec(id="e", source="a", target="a", condition="on_failure")],
    )
    runner = AgentRunner(tmp_path / "none", graph, Goal(id="g", name="G"), storage_path=tmp_path)
    async with runner:
        assert (await runner.run({})).output == {"x": 1}


# --- life ---------------------------------------------------------------------------------------


async def test_a_stopped_runner_starts_again(load, tmp_path):
    runner = load(my_agent(tmp_path))
    await runner.start()
    await runner.stop()
    assert not runner.is_running
    assert (await runner.run({"query": "again"})).output["answer"] == "again, Goal"
    assert runner.is_running


async def test_running_leaves_the_programs_logging_alone(load, tmp_path):
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    await load(my_agent(tmp_path)).run({})
    assert (list(root.handlers), root.level) == before


async def test_cleaning_up_gives_everything_back(tmp_path):
    before = (set(sys.modules), list(sys.meta_path))
    async with AgentRunner.load(my_agent(tmp_path), storage_path=tmp_path / "state") as runner:
        await runner.run({})
    added = {name for name in set(sys.modules) - before[0] if "hive_daemon" not in name}
    assert not [name for name in added if name.startswith(("_hive_folder", "framework"))]
    assert list(sys.meta_path) == before[1]
    await runner.cleanup_async()


def test_a_program_without_a_loop_cleans_up_too(tmp_path):
    runner = AgentRunner.load(my_agent(tmp_path), storage_path=tmp_path / "state")
    assert asyncio.run(runner.run({})).success
    runner.cleanup()
    assert not runner.is_running
    again = AgentRunner.load(my_agent(tmp_path), storage_path=tmp_path / "state")
    assert asyncio.run(again.run({})).success
    again.cleanup()


async def test_a_trigger_starts_the_runtime_and_does_not_wait(load, tmp_path):
    runner = load(my_agent(tmp_path))
    execution_id = await runner.trigger("default", {"query": "soon"}, correlation_id="c-1")
    assert runner.is_running
    result = await runner.runtime.wait_for_completion(execution_id)
    assert (result.execution_id, result.output["answer"]) == (execution_id, "soon, Goal")
    row = await runner.runtime.running().services.store.executions.load(execution_id)
    assert row.correlation_id == "c-1"


async def test_a_triggered_session_goes_on_where_its_state_says(load, folder):
    runner = load(folder("review_desk"))
    asked = await runner.run({"topic": "cats"})
    execution_id = await runner.trigger(
        "default", {"input": "yes"}, session_state=asked.session_state
    )
    assert execution_id == asked.execution_id
    result = await runner.runtime.wait_for_completion(execution_id)
    assert result.output["published"] == "cats, draft 1 (yes)"


async def test_the_last_run_is_known_by_its_id(load, tmp_path):
    runner = load(my_agent(tmp_path))
    assert runner.latest_execution_id == ""
    result = await runner.run({})
    assert runner.latest_execution_id == result.execution_id


async def test_timers_of_the_folder_fire_while_the_runner_is_started(load, tmp_path):
    timer = {
        "id": "now",
        "trigger_type": "timer",
        "trigger_config": {"interval_minutes": 60, "run_immediately": True},
    }
    runner = load(my_agent(tmp_path, async_entry_points=[timer]))
    ended = asyncio.Event()
    runner.runtime.subscribe_to_events(["execution_completed"], lambda event: ended.set())
    await runner.start()
    async with asyncio.timeout(30):
        await ended.wait()


async def test_webhooks_of_the_folder_are_served_while_the_runner_is_started(load, tmp_path):
    source = (
        "from framework.graph import Goal, NodeSpec\n"
        "from framework.runtime.agent_runtime import AgentRuntimeConfig\n"
        "goal = Goal(id='g', name='G')\nnodes = [NodeSpec(id='a')]\nedges = []\n"
        "runtime_config = AgentRuntimeConfig(webhook_port=0)\n"
        "webhook_routes = [{'source_id': 's', 'path': '/s'}]\n"
    )
    runner = load(write(tmp_path / "a", {"agent.py": source}), mock_mode=True)
    await runner.start()
    assert runner.runtime.webhook_server is not None
    await runner.stop()
    assert runner.runtime.webhook_server is None


async def test_the_goals_progress_is_reckoned(load, tmp_path):
    runner = load(my_agent(tmp_path))
    await runner.run({})
    progress = await runner.get_goal_progress()
    assert 0.0 <= progress["overall_progress"] <= 1.0
    assert json.dumps(progress)


async def test_an_entry_point_that_is_not_there_is_an_error(load, tmp_path):
    with pytest.raises(EntryPointNotFound):
        await load(my_agent(tmp_path)).run({}, entry_point_id="nowhere")


async def test_a_runner_that_cannot_start_is_cleaned_up(tmp_path):
    path = my_agent(tmp_path)
    async with AgentRunner.load(path, storage_path=tmp_path / "state"):
        with pytest.raises(StateLocked):
            async with AgentRunner.load(path, storage_path=tmp_path / "state"):
                pass
    async with AgentRunner.load(path, storage_path=tmp_path / "state") as again:
        assert (await again.run({})).success


async def test_cleaning_up_on_a_loop_goes_on_in_the_background(tmp_path):
    runner = AgentRunner.load(my_agent(tmp_path), storage_path=tmp_path / "state")
    await runner.start()
    runner.cleanup()
    await runner.cleanup_async()
    assert not runner.is_running


async def test_an_execution_that_a_start_takes_up_is_seen_through(load, tmp_path):
    steps = (
        "import asyncio\nbegun, leave = asyncio.Event(), asyncio.Event()\n"
        "async def run():\n    begun.set()\n    await leave.wait()\n    return 'seen'\n"
    )
    node = {**FUNCTION, "input_keys": []}
    path = write(tmp_path / "slow", {"agent.json": export(nodes=[node]), "steps.py": steps})
    first = load(path)
    execution_id = await first.trigger("default")
    module = sys.modules[first.graph.nodes[0].function.__module__]
    await module.begun.wait()
    await first.runtime.stop(0)
    await first.cleanup_async()
    second = load(path)
    sys.modules[second.graph.nodes[0].function.__module__].leave.set()
    result = await second.run(follows=execution_id)
    assert (result.execution_id, result.output["answer"]) == (execution_id, "seen")


# --- people -------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, json, sys
from hive_daemon.runner.runner import AgentRunner

async def main():
    async with AgentRunner.load(sys.argv[1], storage_path=sys.argv[2]) as runner:
        result = await runner.run({"topic": "cats"})
    print(json.dumps([result.success, result.paused_at, result.output.get("published")]))

asyncio.run(main())
"""


def program(path, tmp_path, **streams):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path), str(tmp_path / "state")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **streams,
    )


@pytest.mark.parametrize("kind", ["closed", "null", "silent pipe"])
def test_without_a_terminal_a_question_ends_the_run(folder, tmp_path, kind):
    path = folder("review_desk")
    streams = {
        "closed": {"preexec_fn": lambda: os.close(0)},
        "null": {"stdin": subprocess.DEVNULL},
        "silent pipe": {"stdin": subprocess.PIPE},
    }[kind]
    process = program(path, tmp_path, **streams)
    if kind == "silent pipe":
        process.wait(60)
    output, errors = process.communicate(timeout=60)
    assert json.loads(output) == [True, "review", None], errors


def test_at_a_terminal_the_question_is_asked_until_the_run_ends(folder, tmp_path):
    keyboard, slave = pty.openpty()
    process = program(folder("review_desk"), tmp_path, stdin=slave)
    os.close(slave)
    shown = read_until(process.stdout, "> ")
    assert "Is this good?" in shown
    os.write(keyboard, b"no\n")
    read_until(process.stdout, "> ")
    os.write(keyboard, b"yes\n")
    output, errors = process.communicate(timeout=60)
    os.close(keyboard)
    assert json.loads(output.splitlines()[-1]) == [True, None, "cats, draft 2 (yes)"], errors


def test_a_person_who_leaves_ends_the_run_where_it_is(folder, tmp_path):
    keyboard, slave = pty.openpty()
    process = program(folder("review_desk"), tmp_path, stdin=slave)
    os.close(slave)
    read_until(process.stdout, "> ")
    os.write(keyboard, b"\x04")
    output, errors = process.communicate(timeout=60)
    os.close(keyboard)
    assert json.loads(output.splitlines()[-1]) == [True, "review", None], errors


def read_until(stream, end):
    text = ""
    while not text.endswith(end):
        assert select.select([stream], [], [], 60)[0], text
        piece = os.read(stream.fileno(), 1).decode()
        assert piece, text
        text += piece
    return text
