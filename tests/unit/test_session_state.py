"""The pure part of the mirror: words, names, and lines that nothing can break."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.chronicle import SessionIdentity, checkpoint_file
from hive_daemon.storage.mirror_fold import begin, fold_step
from hive_daemon.storage.session_logs import attention_reasons, line_of, tool_record
from hive_daemon.storage.session_state import is_resumable_status, state_json, statuses_named
from hive_daemon.storage.values import Checkpoint, CheckpointKind, StepCommit, StoredEvent

S = ExecutionStatus
IDENTITY = SessionIdentity(
    agent="a",
    session_id="session_20260302_090000_00000001",
    execution_id="session_20260302_090000_00000001",
    ordinal=1,
    is_joined=False,
    graph_id="g",
    goal_id="goal",
    entry_point="default",
    stream_id="default",
    correlation_id="c",
    isolation_level="shared",
    input=b"{}",
    created_at=0.0,
    started_at=0.0,
    trace_id="t",
)


@pytest.mark.parametrize("status", list(S))
def test_each_of_our_words_means_itself(status: ExecutionStatus) -> None:
    assert statuses_named(status.value) == {status}


@pytest.mark.parametrize(
    ("word", "statuses"),
    [
        ("success", {S.COMPLETED}),
        ("failure", {S.FAILED, S.RECOVERY_EXHAUSTED}),
        ("in_progress", {S.QUEUED, S.RUNNING, S.INTERRUPTED}),
        ("nonsense", set()),
        ("", set()),
    ],
)
def test_older_words_mean_one_of_ours(word: str, statuses: set[ExecutionStatus]) -> None:
    assert statuses_named(word) == statuses


def test_what_is_over_well_or_not_begun_is_not_resumable() -> None:
    assert {s for s in S if not is_resumable_status(s)} == {S.QUEUED, S.RUNNING, S.COMPLETED}


@given(st.text(max_size=300))
def test_no_checkpoint_id_makes_a_path(name: str) -> None:
    folder, _, file = checkpoint_file(name).partition("/")
    assert folder == "checkpoints"
    assert "/" not in file
    assert "\0" not in file
    assert len(file.encode()) <= 255


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(result=st.text(), given_input=st.dictionaries(st.text(max_size=5), ANY_JSON, max_size=3))
def test_a_line_is_one_line_of_strict_json(result: str, given_input: dict[str, Any]) -> None:
    data = orjson.dumps({"tool_name": "t", "result": result, "tool_input": given_input})
    event = StoredEvent(
        1, 1, "tool_call_completed", 0.0, "a", "g", "s", "n", "x", "x", "c", (), data
    )
    line = line_of(tool_record(IDENTITY, event))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line, parse_constant=pytest.fail)["tool_result"] == result


@given(st.dictionaries(st.text(max_size=5), ANY_JSON, max_size=4))
def test_memory_is_shown_as_it_was_written(values: dict[str, Any]) -> None:
    chronicle = begin(IDENTITY, 5)
    patch = orjson.dumps({"writes": [[0, k, v, 1, 0] for k, v in values.items()], "path": ["n"]})
    step = StepCommit(1, "n", Checkpoint(CheckpointKind.NODE_COMPLETE, b"{}", patch))
    fold_step(chronicle, step, 1.0)
    fold_step(chronicle, step, 2.0)  # told twice, counted once
    shown = json.loads(state_json(chronicle), parse_constant=pytest.fail)
    assert shown["memory"] == orjson.loads(orjson.dumps(values))
    assert shown["progress"]["path"] == ["n"]
    assert shown["timestamps"]["updated_at"] == "1970-01-01T00:00:01.000000Z"


@pytest.mark.parametrize(
    ("node", "reasons"),
    [
        ({"success": True}, []),
        ({"success": False, "error": "it broke"}, ["failed: it broke"]),
        ({"success": True, "retry_count": 3, "escalate_count": 2, "total_steps": 20}, []),
        ({"success": True, "retry_count": 4, "escalate_count": 3}, ["4 retries", "3 escalations"]),
        ({"success": True, "tokens_used": 100_001, "latency_ms": None}, ["100001 tokens"]),
    ],
)
def test_what_needs_attention_says_why(node: dict[str, Any], reasons: list[str]) -> None:
    assert attention_reasons(node) == reasons
