"""`import framework…` and `import hive_daemon…` are one."""

import importlib
import json
import logging
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hive_daemon import framework_alias
from hive_daemon.framework_alias import RENAMED, installed, our_name
from hive_daemon.graph.goal import Goal

ROOT = Path(__file__).parent.parent.parent

OFFERED = {
    "framework": "AgentRunner Runtime",
    "framework.config": "RuntimeConfig",
    "framework.credentials.models": "CredentialError",
    "framework.graph": "Constraint EdgeCondition EdgeSpec Goal NodeSpec SuccessCriterion",
    "framework.graph.checkpoint_config": "CheckpointConfig",
    "framework.graph.client_io": "ActiveNodeClientIO ClientIOGateway InertNodeClientIO",
    "framework.graph.context_handoff": "ContextHandoff HandoffContext",
    "framework.graph.conversation": "Message NodeConversation",
    "framework.graph.conversation_judge": "PhaseVerdict evaluate_phase_completion",
    "framework.graph.edge": "AsyncEntryPointSpec EdgeCondition EdgeSpec GraphSpec",
    "framework.graph.event_loop_node": "EventLoopNode JudgeVerdict LoopConfig OutputAccumulator",
    "framework.graph.executor": "ExecutionResult GraphExecutor ParallelExecutionConfig",
    "framework.graph.goal": "Constraint Goal SuccessCriterion",
    "framework.graph.node": "NodeContext NodeProtocol NodeResult NodeSpec SharedMemory find_json_object",
    "framework.graph.prompt_composer": "build_narrative build_transition_marker compose_system_prompt",
    "framework.graph.safe_eval": "safe_eval",
    "framework.graph.validator": "OutputValidator ValidationResult",
    "framework.runtime.stream_runtime": "StreamRuntimeAdapter",
    "framework.llm": "LiteLLMProvider LLMProvider Tool ToolResult ToolUse",
    "framework.llm.anthropic": "AnthropicProvider",
    "framework.llm.litellm": "LiteLLMProvider",
    "framework.llm.mock": "MockLLMProvider",
    "framework.llm.provider": "LLMProvider LLMResponse Tool ToolResult ToolUse",
    "framework.llm.stream_events": "FinishEvent StreamErrorEvent TextDeltaEvent TextEndEvent ToolCallEvent",
    "framework.observability": "clear_trace_context configure_logging get_trace_context set_trace_context",
    "framework.observability.logging": "clear_trace_context configure_logging set_trace_context",
    "framework.runner": "AgentRunner ToolRegistry",
    "framework.runner.runner": "AgentRunner",
    "framework.runner.tool_registry": "RegisteredTool ToolRegistry _execution_context tool",
    "framework.runtime.agent_runtime": "AgentRuntime AgentRuntimeConfig create_agent_runtime",
    "framework.runtime.core": "Runtime",
    "framework.runtime.event_bus": "AgentEvent EventBus EventType Subscription",
    "framework.runtime.execution_stream": "EntryPointSpec ExecutionStream",
    "framework.runtime.outcome_aggregator": "ConstraintCheck OutcomeAggregator",
    "framework.runtime.runtime_log_schemas": "NodeDetail RunSummaryLog",
    "framework.runtime.runtime_log_store": "RuntimeLogStore",
    "framework.runtime.shared_state": "IsolationLevel SharedBufferManager SharedStateManager",
    "framework.runtime.webhook_server": "WebhookRoute WebhookServer WebhookServerConfig",
    "framework.schemas.decision": "Decision DecisionType Option Outcome",
    "framework.schemas.run": "Problem Run RunMetrics RunStatus RunSummary",
    "framework.storage.concurrent": "CacheEntry ConcurrentStorage",
    "framework.storage.conversation_store": "FileConversationStore",
    "framework.storage.session_store": "SessionStore",
}
"""What programs and agent folders import."""


def run_python(code, cwd=ROOT, *, path=()):
    """What a fresh interpreter prints last, as JSON."""
    lines = f"import sys; sys.path[:0] = {[str(p) for p in (*path, ROOT)]!r}\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", lines], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", OFFERED)
def test_a_module_has_one_object_under_both_names_and_offers_what_is_imported_from_it(name):
    with installed():
        module = importlib.import_module(name)
        assert module is importlib.import_module(our_name(name))
        assert [each for each in OFFERED[name].split() if not hasattr(module, each)] == []


def test_a_module_keeps_its_own_spec_and_name():
    with installed():
        module = importlib.import_module("framework.graph.goal")
    assert (module.__name__, module.__spec__.name) == ("hive_daemon.graph.goal",) * 2


@pytest.mark.parametrize("name", sorted(RENAMED))
def test_every_renamed_module_exists(name):
    assert importlib.util.find_spec(RENAMED[name]) is not None


def test_a_class_is_the_same_whichever_way_it_was_imported():
    with installed():
        from framework.graph import Goal as SameGoal
    assert SameGoal is Goal


def test_submodules_are_attributes_of_the_package():
    with installed():
        import framework

        assert framework.graph.goal.Goal is Goal
        assert framework.Runtime is framework.runtime.core.Runtime


def test_a_name_that_nobody_offers_is_an_attribute_error():
    with installed():
        package = importlib.import_module("framework.graph")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_a_module_that_does_not_exist_is_a_module_not_found():
    with installed(), pytest.raises(ModuleNotFoundError, match=r"framework\.tui"):
        importlib.import_module("framework.tui.app")


def test_what_the_older_system_pickled_is_read():
    with installed():
        assert pickle.loads(b"cframework.graph.goal\nGoal\n.") is Goal


def test_objects_are_pickled_under_our_name():
    with installed():
        from framework.graph import Goal as SameGoal
    assert b"hive_daemon.graph.goal" in pickle.dumps(SameGoal(id="g", name="G"))


def test_reloading_under_the_old_name_keeps_one_object():
    with installed():
        module = importlib.import_module("framework.exports")
        again = importlib.reload(module)
        assert again is module is sys.modules["hive_daemon.exports"]


def test_nothing_is_left_when_the_last_user_is_gone():
    before = list(sys.meta_path)
    with installed():
        with installed():
            import framework.graph  # noqa: F401
        assert "framework.graph" in sys.modules
    assert [name for name in sys.modules if name.partition(".")[0] == "framework"] == []
    assert sys.meta_path == before


def test_threads_share_the_alias():
    seen = []

    def use():
        with installed():
            seen.append(importlib.import_module("framework.graph.edge"))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) == {sys.modules["hive_daemon.graph.edge"]}


def test_install_stays_on(tmp_path):
    code = """
from hive_daemon.framework_alias import install, installed
import json
is_on = install()
with installed():
    pass
import framework.graph.goal, hive_daemon.graph.goal
print(json.dumps([is_on, framework.graph.goal is hive_daemon.graph.goal]))
"""
    assert run_python(code, tmp_path) == [True, True]


def real_package(folder):
    package = folder / "framework"
    package.mkdir()
    (package / "__init__.py").write_text("MARK = 'the real one'\n")
    return folder


def test_a_really_installed_package_is_not_hidden_and_one_warning_says_so(tmp_path):
    code = """
import json, logging
records = []
logging.getLogger().addHandler(type("H", (logging.Handler,), {"emit": lambda self, r: records.append(r)})())
from hive_daemon.framework_alias import install, installed
with installed() as is_on:
    import framework
install()
print(json.dumps([is_on, framework.MARK, [r.getMessage()[:40] for r in records], records[0].origin]))
"""
    is_on, mark, messages, origin = run_python(code, tmp_path, path=[real_package(tmp_path)])
    assert (is_on, mark) == (False, "the real one")
    assert messages == ["a package named framework is installed: "]
    assert origin.endswith("framework/__init__.py")


def test_a_folder_called_framework_is_no_package(tmp_path):
    (tmp_path / "framework").mkdir()
    code = """
import json
from hive_daemon.framework_alias import install
print(json.dumps([install(), __import__("framework.graph.goal").__name__]))
"""
    assert run_python(code, tmp_path, path=[tmp_path]) == [True, "hive_daemon"]


def test_importing_the_wire_loads_no_more_than_before(tmp_path):
    code = """
import json
import hive_daemon.control.wire
print(json.dumps(sorted(name for name in sys.modules if name.startswith("hive_daemon."))))
"""
    assert run_python(code, tmp_path) == ["hive_daemon.control", "hive_daemon.control.wire"]


def test_importing_graph_loads_none_of_its_rooms(tmp_path):
    code = """
import json
import hive_daemon.graph, hive_daemon.runtime, hive_daemon.runner, hive_daemon.tools
print(json.dumps([name for name in ("pydantic", "aiohttp", "litellm", "sqlite3") if name in sys.modules]))
"""
    assert run_python(code, tmp_path) == []


def test_the_warning_is_ours(caplog):
    alias = framework_alias._Alias()
    with caplog.at_level(logging.WARNING):
        alias._warn("/somewhere/framework/__init__.py")
        alias._warn("/somewhere/framework/__init__.py")
    assert len(caplog.records) == 1
