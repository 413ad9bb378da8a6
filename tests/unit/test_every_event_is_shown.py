"""No type of event, and no field of a log line, without a test that makes it come by a real cause.

Each is named here with one: a missing one fails, and so does a test that does not exist, or does not speak of it.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from hive_daemon.runtime.events import EventType

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs"

EVERY = "integration/test_every_event.py::test_"
STAGED = f"{EVERY}what_an_execution_does_is_told_with_graph_stream_node_and_execution"
GUIDE = "acceptance/test_samples_observability_guide.py::test_"
LOGGING = "unit/test_logging.py::test_"
INCIDENTS = "integration/test_incidents.py::test_"
BUS = "unit/test_event_bus.py::test_"
SHARED = "integration/test_runtime_shared_state.py::test_"
STALLS = "integration/test_runtime_stalls.py::test_"
TRACES = "integration/test_trace_context.py::test_"

EVENTS: dict[str, str] = {
    "execution_started": STAGED,
    "execution_completed": STAGED,
    "execution_failed": STAGED,
    "execution_cancelled": f"{EVERY}a_cancellation_is_told",
    "execution_paused": STAGED,
    "execution_resumed": f"{EVERY}an_answer_and_going_on_are_told",
    "execution_resurrected": f"{GUIDE}the_lifecycle_of_executions_is_told",
    "node_started": STAGED,
    "node_completed": STAGED,
    "node_skipped": STAGED,
    "node_retry": f"{EVERY}a_further_attempt_is_told",
    "node_stalled": f"{STALLS}a_node_that_hangs_is_told_once_with_its_node_and_how_long",
    "node_tool_doom_loop": STAGED,
    "node_loop_started": STAGED,
    "node_loop_iteration": STAGED,
    "node_loop_completed": STAGED,
    "node_action_plan": f"{EVERY}what_a_node_tells_itself_is_told",
    "node_internal_output": "unit/test_client_io.py::test_an_internal_node_is_answered_at_once",
    "node_input_blocked": "unit/test_client_io.py::test_an_internal_node_is_answered_at_once",
    "edge_traversed": STAGED,
    "edge_error": STAGED,
    "branch_failed": STAGED,
    "llm_text_delta": STAGED,
    "llm_reasoning_delta": STAGED,
    "llm_turn_complete": STAGED,
    "llm_call_failed": STAGED,
    "tool_call_started": STAGED,
    "tool_call_completed": STAGED,
    "output_key_set": STAGED,
    "context_compacted": "unit/test_loop_compaction.py::test_usage_before_and_after_is_told",
    "client_output_delta": STAGED,
    "client_input_requested": STAGED,
    "client_input_received": f"{EVERY}an_answer_and_going_on_are_told",
    "judge_verdict": STAGED,
    "constraint_violation": STAGED,
    "escalation_requested": f"{EVERY}what_a_node_tells_itself_is_told",
    "worker_escalation_ticket": f"{GUIDE}a_stall_is_escalated_to_a_listener",
    "goal_progress": "integration/test_runtime_outcomes.py::test_a_goal_that_is_reached_is_told_once",
    "goal_achieved": "integration/test_runtime_outcomes.py::test_a_goal_that_is_reached_is_told_once",
    "state_changed": f"{BUS}every_type_has_an_emitter_that_takes_its_payload_by_name_and_in_order",
    "state_conflict": f"{SHARED}a_synchronized_node_whose_key_was_changed_meanwhile_runs_again_and_says_so",
    "stream_started": "integration/test_runtime_lifecycle.py::test_streams_tell_when_they_come_and_go",
    "stream_stopped": "integration/test_runtime_lifecycle.py::test_streams_tell_when_they_come_and_go",
    "timer_paused": "integration/test_control_timers.py::test_pausing_is_told_as_an_event_with_who_and_why",
    "timer_resumed": "integration/test_timer_engine.py::test_a_pause_with_an_end_ends_by_itself",
    "timer_done": "integration/test_timer_engine.py::test_a_timer_with_so_many_actions_is_done_after_them_and_says_so",
    "trigger_skipped": "integration/test_notices.py::test_a_notice_is_published_by_the_store_once_it_is_durable",
    "trigger_suppressed": "integration/test_runtime_events.py::test_an_entry_point_never_sets_itself_off",
    "webhook_received": "integration/test_webhooks.py::test_the_event_tells_what_came_and_of_which_source",
    "custom": "integration/test_event_calls.py::test_a_condition_that_fails_on_an_event_from_outside_is_told_durably",
    "incident_opened": f"{INCIDENTS}the_second_failure_in_a_row_opens_an_incident_and_a_success_ends_it",
    "incident_resolved": f"{INCIDENTS}the_second_failure_in_a_row_opens_an_incident_and_a_success_ends_it",
    "budget_warning": "integration/test_budgets.py::test_a_warning_is_told_once",
    "budget_exceeded": "integration/test_budgets.py::test_a_spent_budget_fails_the_execution_at_its_next_call",
}

FIELDS: dict[str, str] = {
    "timestamp": f"{LOGGING}a_json_line_has_the_documented_fields",
    "level": f"{LOGGING}a_json_line_has_the_documented_fields",
    "logger": f"{LOGGING}a_json_line_has_the_documented_fields",
    "message": f"{LOGGING}a_json_line_has_the_documented_fields",
    "trace_id": f"{TRACES}loop_thread_child_and_callback_write_the_same_trace_and_execution",
    "span_id": f"{TRACES}loop_thread_child_and_callback_write_the_same_trace_and_execution",
    "execution_id": f"{TRACES}loop_thread_child_and_callback_write_the_same_trace_and_execution",
    "session_id": f"{TRACES}a_line_of_an_execution_says_all_that_is_known_of_it",
    "run_id": f"{TRACES}a_line_of_an_execution_says_all_that_is_known_of_it",
    "goal_id": f"{TRACES}a_line_of_an_execution_says_all_that_is_known_of_it",
    "stream_id": f"{TRACES}a_line_of_an_execution_says_all_that_is_known_of_it",
    "agent_id": f"{TRACES}a_line_of_an_execution_says_all_that_is_known_of_it",
    "node_id": f"{TRACES}a_line_of_an_execution_says_all_that_is_known_of_it",
    "exception": f"{LOGGING}an_exception_is_text_in_the_record",
    "stack": f"{LOGGING}an_exception_is_text_in_the_record",
    "suppressed": f"{LOGGING}a_count_that_was_not_told_is_told_at_the_end",
    "lost_lines": f"{LOGGING}lines_that_could_not_be_written_are_counted_and_told",
    "cut": f"{LOGGING}a_line_takes_at_most_64_kib_and_says_what_was_cut",
}


@cache
def spoken(file: str) -> dict[str, str]:
    """Return the text of each test of a file, with that of the tables it is given."""
    text = (TESTS / file).read_text()
    lines = text.splitlines()
    return {
        node.name: "\n".join(lines[node.lineno - 1 : node.end_lineno])
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def said(place: str) -> str:
    file, _, name = place.partition("::")
    assert name in spoken(file), f"{place} does not exist"
    if place == STAGED:
        return (TESTS / file).read_text()
    return spoken(file)[name]


def test_every_type_of_event_has_a_test() -> None:
    assert set(EVENTS) == {kind.value for kind in EventType}


@pytest.mark.parametrize("kind", EVENTS)
def test_the_test_of_an_event_speaks_of_it(kind: str) -> None:
    text = said(EVENTS[kind])
    names = (f'"{kind}"', f"EventType.{kind.upper()}", "for kind in EventType", "PAYLOADS")
    assert any(name in text for name in names), EVENTS[kind]


def test_every_field_of_a_log_line_has_a_test() -> None:
    page = (DOCS / "logging.md").read_text()
    section = re.search(r"^## JSON\n(.*?)(?=^## )", page, flags=re.M | re.S)
    assert section
    rows = re.findall(r"^\| (.*?) \| (.*?) \|$", section[1], flags=re.M)
    named = [
        name for cell, about in rows for name in re.findall(r"`(\w+)`", _names_in(cell, about))
    ]
    assert set(named) == set(FIELDS)


def _names_in(cell: str, about: str) -> str:
    return about if cell == "trace context" else cell


@pytest.mark.parametrize("field", FIELDS)
def test_the_test_of_a_field_speaks_of_it(field: str) -> None:
    text = said(FIELDS[field])
    assert f'"{field}"' in text or "TRACE" in text or f"{field}=" in text, FIELDS[field]
