"""What events tell of why an execution is where it is, each in half a sentence. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from hive_daemon.storage.values import StoredEvent

TELLING = (
    "execution_started",
    "execution_paused",
    "execution_resumed",
    "execution_resurrected",
    "execution_failed",
    "execution_cancelled",
    "execution_completed",
    "node_started",
    "node_completed",
    "node_retry",
    "node_stalled",
    "node_tool_doom_loop",
    "branch_failed",
    "llm_call_failed",
    "client_input_received",
    "edge_error",
    "constraint_violation",
    "budget_warning",
    "budget_exceeded",
    "escalation_requested",
    "trigger_suppressed",
)
"""The types of events that say why; the others say how."""


def sentence(event: StoredEvent, data: Mapping[str, Any]) -> str:
    """Say what an event tells; empty for one that adds nothing to why."""
    if event.type == "node_completed" and data.get("success"):
        return ""
    write = _SENTENCES.get(event.type)
    return write(event.node_id or "", data) if write is not None else ""


_SENTENCES: dict[str, Callable[[str, Mapping[str, Any]], str]] = {
    "execution_started": lambda node, data: "it began",
    "execution_paused": lambda node, data: f"it was put away: {data.get('reason')}",
    "execution_resumed": lambda node, data: f"it went on{at(node)}{colon(data.get('reason'))}",
    "execution_resurrected": lambda node, data: (
        f"it went on by itself{at(data.get('resume_from'))}, for the {_nth(data.get('attempt'))} time: "
        f"{data.get('error')}"
    ),
    "execution_failed": lambda node, data: f"it failed: {data.get('error')}",
    "execution_cancelled": lambda node, data: f"it was cancelled: {data.get('reason')}",
    "execution_completed": lambda node, data: "it reached its end",
    "node_completed": lambda node, data: f"node {node} failed: {data.get('error')}",
    "node_retry": lambda node, data: (
        f"node {node} will be tried again ({data.get('retry_count')} of {data.get('max_retries')}): {data.get('error')}"
    ),
    "node_stalled": lambda node, data: f"node {node} made no progress: {data.get('reason')}",
    "node_tool_doom_loop": lambda node, data: (
        f"node {node} makes the same calls again and again: {data.get('description')}"
    ),
    "branch_failed": lambda node, data: f"the branch at node {node} failed: {data.get('error')}",
    "llm_call_failed": lambda node, data: (
        f"a call of model {data.get('model')} failed ({data.get('failure')}): {data.get('error')}"
    ),
    "client_input_received": lambda node, data: f"node {node} had its answer",
    "edge_error": lambda node, data: f"the edge {data.get('edge_id')} failed: {data.get('error')}",
    "constraint_violation": lambda node, data: (
        f"the constraint {data.get('constraint_id')} was broken: {data.get('description')}"
    ),
    "budget_warning": lambda node, data: f"{_budget(data)} is nearly spent",
    "budget_exceeded": lambda node, data: f"{_budget(data)} is spent ({data.get('on_exceed')})",
    "escalation_requested": lambda node, data: f"it asked for help{at(node)}: {data.get('reason')}",
    "trigger_suppressed": lambda node, data: (
        f"{data.get('entry_point')} was not set off by its {data.get('event_type')}: {data.get('reason')}"
    ),
}


def at(node: object) -> str:
    """Name a node, after what happened there; empty for none."""
    return f" at node {node}" if node else ""


def colon(text: object) -> str:
    """Put a reason behind a colon; empty for none."""
    return f": {text}" if text else ""


def _budget(data: Mapping[str, Any]) -> str:
    used, limit = (_figure(data.get(key), data.get("measure")) for key in ("used", "limit"))
    return f"the budget {data.get('budget')} ({used} of {limit} of {data.get('subject')})"


def _figure(value: object, measure: object) -> str:
    if measure == "usd" and isinstance(value, int | float):
        return f"${value:.6g}"
    return f"{value} {str(measure).replace('_', ' ')}"


def _nth(count: object) -> str:
    names = {1: "first", 2: "second", 3: "third"}
    return names.get(count, f"{count}th") if isinstance(count, int) else "next"


def data_of(event: StoredEvent) -> Mapping[str, Any]:
    """Return the data of an event."""
    data = json.loads(event.data)
    return data if isinstance(data, dict) else {}
