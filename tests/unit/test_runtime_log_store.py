"""RuntimeLogStore and RuntimeLogger where there is no database, and the models of the three levels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from hive_daemon.errors import InvalidInput
from hive_daemon.observability.trace_context import (
    clear_trace_context,
    set_trace_context,
)
from hive_daemon.runtime.runtime_log_schemas import (
    NodeDetail,
    NodeStepLog,
    RunSummaryLog,
    ToolCallLog,
)
from hive_daemon.runtime.runtime_log_store import RuntimeLogStore
from hive_daemon.runtime.runtime_logger import RuntimeLogger
from tests.fakes.mirrored import SESSION
from tests.fakes.still_clock import StillClock

NAME = SESSION.format(1)


@pytest.fixture
def store(tmp_path: Path) -> RuntimeLogStore:
    return RuntimeLogStore(tmp_path)


# --- where things are ---------------------------------------------------------------------------


def test_sessions_have_their_logs_with_them_and_other_runs_apart(
    store: RuntimeLogStore, tmp_path: Path
) -> None:
    store.append_node_detail(NAME, NodeDetail(node_id="a"))
    store.append_node_detail("run_1", NodeDetail(node_id="a"))
    assert (tmp_path / "sessions" / NAME / "logs/details.jsonl").exists()
    assert (tmp_path / "runs/run_1/details.jsonl").exists()


def test_a_base_named_runtime_logs_means_the_directory_above(tmp_path: Path) -> None:
    assert RuntimeLogStore(tmp_path / "runtime_logs").base_path == tmp_path


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "session_../x", "x" * 100, "a\n"])
async def test_an_id_that_is_no_name_touches_no_path(
    store: RuntimeLogStore, tmp_path: Path, name: str
) -> None:
    for load in (store.load_summary, store.load_details, store.load_tool_logs):
        with pytest.raises(InvalidInput):
            await load(name)
    with pytest.raises(InvalidInput):
        store.append_step(name, NodeStepLog(node_id="a"))
    with pytest.raises(InvalidInput):
        await store.save_summary(name, RunSummaryLog(run_id=name))
    with pytest.raises(InvalidInput):
        store.ensure_run_dir(name)
    assert os.listdir(tmp_path) == []


async def test_an_absent_run_is_none(store: RuntimeLogStore) -> None:
    assert await store.load_summary(NAME) is None
    assert await store.load_details(NAME) is None
    assert await store.load_tool_logs("run_1") is None
    assert store.read_node_details_sync(NAME) == []
    assert await store.list_runs() == []


# --- reading and writing ------------------------------------------------------------------------


async def test_what_is_written_is_read(store: RuntimeLogStore) -> None:
    detail = NodeDetail(node_id="a", total_steps=3, latency_ms=1500, exit_status="success")
    step = NodeStepLog(node_id="a", step_number=1, tool_name="lookup", tool_result="yes")
    summary = RunSummaryLog(run_id=NAME, status="completed", node_path=["a"], duration_ms=1500)
    store.append_node_detail(NAME, detail)
    store.append_step(NAME, step)
    await store.save_summary(NAME, summary)
    details, tools = await store.load_details(NAME), await store.load_tool_logs(NAME)
    assert details is not None
    assert tools is not None
    assert (details.run_id, details.nodes) == (NAME, [detail])
    assert (tools.run_id, tools.steps) == (NAME, [step])
    assert await store.load_summary(NAME) == summary
    assert store.read_node_details_sync(NAME) == [detail]


async def test_damaged_and_torn_lines_are_passed_over(store: RuntimeLogStore) -> None:
    store.append_node_detail(NAME, NodeDetail(node_id="a"))
    path = store.base_path / "sessions" / NAME / "logs/details.jsonl"
    with open(path, "ab") as log:
        log.write(b'no json\n[1]\n{"node_id": 7}\n\n{"node_id": "to')
    store.append_node_detail(NAME, NodeDetail(node_id="b"))
    assert [node.node_id for node in store.read_node_details_sync(NAME)] == ["a", "b"]


async def test_a_run_without_a_summary_is_in_progress(store: RuntimeLogStore) -> None:
    store.append_node_detail(NAME, NodeDetail(node_id="a", input_tokens=5, needs_attention=True))
    summary = await store.load_summary(NAME)
    assert summary is not None
    assert (summary.status, summary.started_at) == ("in_progress", "2026-03-02T09:00:00.000000Z")
    assert (summary.nodes_executed, summary.total_input_tokens) == (["a"], 5)
    assert summary.needs_attention


async def test_a_damaged_summary_counts_as_missing(store: RuntimeLogStore) -> None:
    store.ensure_run_dir(NAME)
    (store.base_path / "sessions" / NAME / "logs/summary.json").write_bytes(b"{")
    summary = await store.load_summary(NAME)
    assert summary is not None
    assert summary.status == "in_progress"


async def test_runs_are_listed_newest_first(store: RuntimeLogStore) -> None:
    for number in (1, 3, 2):
        name = SESSION.format(number)
        await store.save_summary(name, RunSummaryLog(run_id=name, status="completed"))
    store.ensure_run_dir(SESSION.format(4))
    listed = await store.list_runs(limit=3)
    assert [run.run_id for run in listed] == [SESSION.format(n) for n in (4, 3, 2)]


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ("failed", [3, 2]),
        ("failure", [3, 2]),
        ("completed", [1, 0]),
        ("success", [1, 0]),
        ("in_progress", [4]),
        ("nonsense", []),
        ("", [4, 3, 2, 1, 0]),
    ],
)
async def test_runs_are_found_by_words_of_either_vocabulary(
    store: RuntimeLogStore, status: str, found: list[int]
) -> None:
    for number, word in enumerate(["success", "completed", "failure", "failed"]):
        name = SESSION.format(number)
        await store.save_summary(name, RunSummaryLog(run_id=name, status=word))
    store.ensure_run_dir(SESSION.format(4))
    listed = await store.list_runs(status=status)
    # An older `failure` may be either of ours, so that `failed` finds it.
    assert [run.run_id for run in listed] == [SESSION.format(n) for n in found]


async def test_runs_that_need_attention_are_found(store: RuntimeLogStore) -> None:
    for number, needs in ((1, True), (2, False)):
        name = SESSION.format(number)
        summary = RunSummaryLog(run_id=name, status="completed", needs_attention=needs)
        await store.save_summary(name, summary)
    assert [r.run_id for r in await store.list_runs(needs_attention=True)] == [SESSION.format(1)]
    assert len(await store.list_runs(needs_attention=None)) == 2


async def test_each_execution_of_a_session_sees_its_own_lines(store: RuntimeLogStore) -> None:
    for name, node in ((NAME, "a"), (f"{NAME}-2", "b")):
        store.append_node_detail(
            NAME, NodeDetail.model_validate({"node_id": node, "execution_id": name})
        )
    for name, nodes in ((NAME, ["b"]), (f"{NAME}-2", ["b"])):
        details = await store.load_details(name)
        assert details is not None
        assert [node.node_id for node in details.nodes] == nodes


async def test_a_joined_execution_has_its_own_logs(store: RuntimeLogStore, tmp_path: Path) -> None:
    logs = tmp_path / "sessions" / NAME / "executions/2/logs"
    logs.mkdir(parents=True)
    (logs / "details.jsonl").write_bytes(orjson.dumps({"node_id": "check"}) + b"\n")
    details = await store.load_details(f"{NAME}-2")
    assert details is not None
    assert [node.node_id for node in details.nodes] == ["check"]


# --- both vocabularies --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"total_steps": 3}, {"iterations": 3}),
        ({"iterations": 3}, {"total_steps": 3}),
        ({"latency_ms": 250}, {"duration_seconds": 0.25}),
        ({"duration_seconds": 0.25}, {"latency_ms": 250}),
        ({"exit_status": "stalled"}, {"result": "stalled"}),
        ({"result": "success"}, {"exit_status": "success"}),
    ],
)
def test_a_node_answers_to_both_vocabularies(
    given: dict[str, Any], expected: dict[str, Any]
) -> None:
    detail = NodeDetail.model_validate({"node_id": "a", **given}).model_dump()
    assert {key: detail[key] for key in expected} == expected


def test_a_summary_answers_to_both_vocabularies() -> None:
    older = RunSummaryLog(run_id="r", node_path=["a", "b"], duration_ms=1500)
    assert (older.nodes_executed, older.total_nodes_executed) == (["a", "b"], 2)
    assert older.duration_seconds == 1.5
    guide = RunSummaryLog(run_id="r", nodes_executed=["a"], duration_seconds=0.5)
    assert (guide.node_path, guide.duration_ms) == (["a"], 500)


def test_an_older_step_shows_its_first_tool_call() -> None:
    call = ToolCallLog(
        tool_use_id="t", tool_name="lookup", tool_input={"k": 1}, result="no", is_error=True
    )
    step = NodeStepLog(node_id="a", step_index=4, tool_calls=[call])
    assert (step.step_number, step.tool_name, step.tool_input) == (4, "lookup", {"k": 1})
    assert (step.tool_result[:200], step.tool_error) == ("no", "no")


def test_a_step_without_tools_has_empty_fields() -> None:
    step = NodeStepLog(node_id="a", llm_text="done", verdict="ACCEPT")
    assert (step.tool_name, step.tool_result, step.tool_error, step.tool_calls) == (
        "",
        "",
        None,
        [],
    )


# --- the logger ---------------------------------------------------------------------------------


async def test_a_logged_run_can_be_read(store: RuntimeLogStore) -> None:
    logger = RuntimeLogger(store, "agent", StillClock())
    set_trace_context(trace_id="t" * 32, execution_id=NAME)
    try:
        assert logger.start_run("goal", NAME) == NAME
        logger.log_step(
            "a",
            "event_loop",
            0,
            llm_text="hm",
            tool_calls=[{"tool_use_id": "1", "tool_name": "lookup", "content": "yes"}],
        )
        logger.log_node_complete("a", "A", "event_loop", True, total_steps=25, latency_ms=100)
        logger.ensure_node_logged("a", "A", "event_loop", True)
        logger.ensure_node_logged("b", "B", "function", False, error="broke")
        await logger.end_run("failure", 1500, ["a", "b"], "failed")
    finally:
        clear_trace_context()
    summary = await store.load_summary(NAME)
    tools = await store.load_tool_logs(NAME)
    assert summary is not None
    assert tools is not None
    assert (summary.status, summary.nodes_executed, summary.goal_id) == (
        "failure",
        ["a", "b"],
        "goal",
    )
    assert summary.attention_reasons == ["a: 25 iterations", "b: failed: broke"]
    assert (summary.trace_id, summary.execution_id) == ("t" * 32, NAME)
    assert [(s.tool_name, s.tool_result) for s in tools.steps] == [("lookup", "yes")]


async def test_a_run_without_a_session_gets_an_id_of_its_own(store: RuntimeLogStore) -> None:
    logger = RuntimeLogger(store, clock=StillClock())
    name = logger.start_run()
    assert name.startswith("20260302T090000_")
    summary = await store.load_summary(name)
    assert summary is not None
    assert summary.started_at == "2026-03-02T09:00:00.000000Z"
