"""Spans from events: the same ones each time, with the names of the conventions; and docs/tracing.md lists them all."""

import re
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from hive_daemon.observability.spans import SpanKind, provider_of, root_id, spans_of
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import StoredEvent
from tests.fakes.rows import BEGAN, NAME, execution_row

PAGE = (Path(__file__).parent.parent.parent / "docs" / "tracing.md").read_text()

ROW = execution_row(
    graph_id="triage",
    entry_point="go",
    stream_id="go",
    status=ExecutionStatus.COMPLETED,
    correlation_id=NAME,
    created_at=BEGAN - 1,
    updated_at=BEGAN + 20,
    ended_at=BEGAN + 20,
    seq=5,
    steps=3,
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
)


def told(*events, node="ask"):
    """Return events of one node, `(second, type, data)`."""
    return [
        StoredEvent(
            seq=number,
            execution_seq=number,
            type=kind,
            timestamp=BEGAN + second,
            agent="ops",
            graph_id="triage",
            stream_id="go",
            node_id=None if kind.startswith("execution_") else node,
            execution_id=NAME,
            session_id=NAME,
            correlation_id=NAME,
            causation=(),
            data=orjson.dumps(data),
        )
        for number, (second, kind, data) in enumerate(events, 1)
    ]


BEGIN = {"node_type": "event_loop", "visit": 1, "attempt": 1}
TURN = {
    "model": "openai/gpt-4o", "latency_seconds": 2.0, "stop_reason": "tool_calls", "input_tokens": 10,
    "output_tokens": 5, "cached_tokens": 3, "cache_write_tokens": 2, "reasoning_tokens": 1, "cost_usd": 0.01,
}  # fmt: skip
CALL = {"tool_use_id": "call_1", "tool_name": "fetch", "tool_input": {"a": 1}}
WHOLE = told(
    (0, "execution_started", {"input": {}}),
    (1, "node_started", BEGIN),
    (4, "llm_turn_complete", TURN),
    (5, "tool_call_started", CALL),
    (7, "tool_call_completed", {**CALL, "result": "x", "is_error": True, "duration_seconds": 1.5}),
    (8, "llm_call_failed", {"model": "claude-x", "failure": "auth"}),
    (9, "execution_paused", {"status": "waiting_input"}),
    (12, "execution_resumed", {}),
    (13, "node_completed", {"success": False, "error": "no"}),
    (20, "execution_failed", {"error": "no", "code": "failed"}),
)
FAILED = replace(ROW, status=ExecutionStatus.FAILED, error="no", error_code="auth")


def test_each_kind_has_its_time_its_parent_and_its_error():
    spans = spans_of(FAILED, WHOLE)
    root = root_id(NAME)
    node = next(span.span_id for span in spans if span.kind is SpanKind.NODE)
    shown = [
        (s.kind.value, s.name, s.start - BEGAN, s.end - BEGAN, s.parent_id, s.error) for s in spans
    ]
    assert shown == [
        ("invoke_agent", "invoke_agent ops", 0, 20, "", "auth"),
        ("node", "ask", 1, 13, root, "node_failed"),
        ("chat", "chat openai/gpt-4o", 2, 4, node, ""),
        ("execute_tool", "execute_tool fetch", 5, 6.5, node, "tool_error"),
        ("chat", "chat claude-x", 8, 8, node, "auth"),
        ("wait", "wait waiting_input", 9, 12, root, ""),
    ]
    assert len({span.span_id for span in spans}) == len(spans)
    assert spans_of(FAILED, WHOLE) == spans


def test_what_goes_on_has_no_end_and_what_its_execution_left_open_ended_with_it():
    open_events = told((1, "node_started", BEGIN), (5, "tool_call_started", CALL))
    running = replace(ROW, status=ExecutionStatus.RUNNING, ended_at=None)
    assert [span.end for span in spans_of(running, open_events)] == [None] * 3
    ended = spans_of(replace(ROW, status=ExecutionStatus.CANCELLED), open_events)
    assert [(s.end - BEGAN, s.error) for s in ended] == [
        (20, ""),
        (20, "interrupted"),
        (20, "interrupted"),
    ]


def test_a_node_that_a_crash_cut_off_is_a_span_of_its_own():
    again = told((1, "node_started", BEGIN), (6, "node_started", {**BEGIN, "attempt": 2}))
    first, second = (s for s in spans_of(ROW, again) if s.kind is SpanKind.NODE)
    assert (first.end - BEGAN, first.error) == (6, "interrupted")
    assert first.span_id != second.span_id


def test_a_node_that_goes_on_after_it_waited_or_after_a_crash_is_one_span():
    again = told((1, "node_started", BEGIN), (6, "node_started", BEGIN), (8, "node_completed", {}))
    [node] = [span for span in spans_of(ROW, again) if span.kind is SpanKind.NODE]
    assert (node.start - BEGAN, node.end - BEGAN, node.error) == (1, 8, "")


def at_node(event, node="ask"):
    return replace(event, node_id=node)


def test_a_node_that_failed_and_is_tried_again_by_itself_is_one_span_up_to_its_end():
    start, failure, reborn, turn, end = told(
        (1, "node_started", BEGIN),
        (2, "node_completed", {**BEGIN, "success": False}),
        (2, "execution_resurrected", {"attempt": 1}),
        (6, "llm_turn_complete", TURN),
        (7, "node_completed", {**BEGIN, "success": True}),
    )
    spans = spans_of(ROW, (start, failure, at_node(reborn), turn, end))
    [node] = [span for span in spans if span.kind is SpanKind.NODE]
    [chat] = [span for span in spans if span.kind is SpanKind.CHAT]
    assert (node.start - BEGAN, node.end - BEGAN, node.error) == (1, 7, "")
    assert chat.parent_id == node.span_id
    assert "error.type" not in node.attributes


def test_a_node_that_failed_in_an_earlier_execution_has_its_span_in_the_one_that_retries_it():
    second = {**BEGIN, "visit": 2}
    resumed, turn, end = told(
        (1, "execution_resumed", {}),
        (4, "llm_turn_complete", TURN),
        (5, "node_completed", {**second, "success": True}),
    )
    spans = spans_of(ROW, (at_node(resumed), turn, end))
    [node] = [span for span in spans if span.kind is SpanKind.NODE]
    [chat] = [span for span in spans if span.kind is SpanKind.CHAT]
    assert (node.start - BEGAN, node.end - BEGAN) == (1, 5)
    assert (node.attributes["hive.node.visit"], node.attributes["hive.node.type"]) == (
        2,
        "event_loop",
    )
    assert chat.parent_id == node.span_id


def test_a_branch_that_is_tried_again_beside_the_one_that_is_named_has_its_span():
    start, failure, reborn, end = told(
        (1, "node_started", BEGIN),
        (2, "node_completed", {**BEGIN, "success": False}),
        (3, "execution_resurrected", {"attempt": 1}),
        (7, "node_completed", {**BEGIN, "success": True}),
    )
    spans = spans_of(ROW, (start, failure, at_node(reborn, "other"), end))
    [node] = [span for span in spans if span.kind is SpanKind.NODE]
    assert (node.start - BEGAN, node.end - BEGAN, node.error) == (1, 7, "")


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o-mini", "openai"),
        ("openai/gpt-4o", "openai"),
        ("claude-3-5-sonnet", "anthropic"),
        ("anthropic/claude-3", "anthropic"),
        ("gemini-1.5-pro", "gcp.gemini"),
        ("azure/my-deployment", "azure.ai.openai"),
        ("bedrock/anthropic.claude", "aws.bedrock"),
        ("groq/llama", "groq"),
        ("scripted", "scripted"),
        ("", "_OTHER"),
    ],
)
def test_a_provider_is_named_as_the_conventions_name_it(model, provider):
    assert provider_of(model) == provider


def test_every_attribute_is_documented_and_no_other():
    spans = spans_of(FAILED, WHOLE, has_content=True)
    made = {name for span in spans for name in span.attributes}
    section = re.search(r"^\| attribute \| of \|\n(.*?)\n\n", PAGE, flags=re.M | re.S)
    assert section
    cells = [row.split("|")[1] for row in section[1].splitlines()]
    assert {name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)} == made


def test_every_kind_is_documented_and_no_other():
    kinds = re.findall(r"^\| `(\w+)` \| (?:`|the node's id)", PAGE, flags=re.M)
    assert set(kinds) == {kind.value for kind in SpanKind}


def test_the_content_is_left_out():
    assert "gen_ai.tool.call.result" not in str(spans_of(FAILED, WHOLE))
