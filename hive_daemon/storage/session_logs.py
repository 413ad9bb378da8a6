"""The three levels of an execution's log: what it came to (L1), its nodes (L2), its tool calls (L3). Pure.

Where the documents and older programs use different words for the same thing, a record carries both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from hive_daemon.clock import iso_z
from hive_daemon.storage.chronicle import Chronicle, SessionIdentity, ShownEvent
from hive_daemon.storage.values import StoredEvent

SUMMARY = "logs/summary.json"
DETAILS = "logs/details.jsonl"
TOOLS = "logs/tool_logs.jsonl"

_BOUNDS = (
    ("retry_count", 3, "retries"),
    ("escalate_count", 2, "escalations"),
    ("latency_ms", 60_000, "ms"),
    ("tokens_used", 100_000, "tokens"),
    ("total_steps", 20, "iterations"),
)


def summary_record(chronicle: Chronicle) -> dict[str, Any]:
    """Return the L1 record of an execution: how it went, in one object."""
    identity = chronicle.identity
    outcome = chronicle.outcome
    spending = chronicle.spending
    seconds = chronicle.duration_seconds
    reasons = list(chronicle.reasons)
    if chronicle.has_failed:
        reasons.append(f"the execution ended as {chronicle.status}")
    return {
        "run_id": identity.session_id,
        "session_id": identity.session_id,
        "execution_id": identity.execution_id,
        "agent": identity.agent,
        "agent_id": identity.graph_id,
        "goal_id": identity.goal_id,
        "entry_point": identity.entry_point,
        "stream_id": identity.stream_id,
        "status": chronicle.status,
        "error": outcome.get("error") or chronicle.error,
        "started_at": iso_z(identity.started_at),
        "ended_at": None if chronicle.ended_at is None else iso_z(chronicle.ended_at),
        "duration_seconds": round(seconds, 6),
        "duration_ms": round(seconds * 1000),
        "nodes_executed": chronicle.nodes,
        "node_path": outcome.get("path", chronicle.path),
        "total_nodes_executed": len(chronicle.nodes),
        "total_input_tokens": spending.input_tokens,
        "total_cached_tokens": spending.cached_tokens,
        "total_output_tokens": spending.output_tokens,
        "total_reasoning_tokens": spending.reasoning_tokens,
        "total_cost_usd": spending.cost_usd,
        "execution_quality": chronicle.quality,
        "needs_attention": bool(reasons),
        "attention_reasons": reasons,
        "trace_id": identity.trace_id,
    }


def summary_json(chronicle: Chronicle) -> bytes:
    """Render `summary.json`."""
    return line_of(summary_record(chronicle))


def node_record(identity: SessionIdentity, event: StoredEvent | ShownEvent) -> dict[str, Any]:
    """Return the L2 record of a node's completion."""
    said: dict[str, Any] = orjson.loads(event.data)
    seconds = said.get("duration_seconds") or 0.0
    taken, given = said.get("input_tokens") or 0, said.get("output_tokens") or 0
    record = {
        "timestamp": iso_z(event.timestamp),
        "seq": event.seq,
        "execution_id": event.execution_id,
        "node_id": event.node_id,
        **said,
        "duration_seconds": seconds,
        "latency_ms": round(seconds * 1000),
        "input_tokens": taken,
        "output_tokens": given,
        "tokens_used": taken + given,
        "total_steps": said.get("iterations") or 0,
        "exit_status": said.get("exit_status") or said.get("result", ""),
        "stacktrace": said.get("stacktrace", ""),
        "trace_id": identity.trace_id,
    }
    reasons = attention_reasons(record)
    record["needs_attention"] = bool(reasons)
    record["attention_reasons"] = reasons
    return record


def tool_record(identity: SessionIdentity, event: StoredEvent | ShownEvent) -> dict[str, Any]:
    """Return the L3 record of a tool call; `tool_calls` holds it once more, as older programs read it."""
    said: dict[str, Any] = orjson.loads(event.data)
    is_error = bool(said.get("is_error"))
    result = said.get("result", "")
    error = said.get("tool_error") or (result if is_error else None)
    call = {
        "tool_use_id": said.get("tool_use_id", ""),
        "tool_name": said.get("tool_name", ""),
        "tool_input": said.get("tool_input", {}),
        "result": result,
        "is_error": is_error,
    }
    seconds = said.get("duration_seconds") or 0.0
    return {
        "step_number": said.get("step_number", 0),
        "timestamp": iso_z(event.timestamp),
        "seq": event.seq,
        "execution_id": event.execution_id,
        "node_id": event.node_id,
        "tool_use_id": call["tool_use_id"],
        "tool_name": call["tool_name"],
        "tool_input": call["tool_input"],
        "tool_result": result,
        "tool_error": error,
        "is_error": is_error,
        "duration_seconds": seconds,
        "latency_ms": round(seconds * 1000),
        "tool_calls": [call],
        "trace_id": identity.trace_id,
    }


def attention_reasons(node: Mapping[str, Any]) -> list[str]:
    """Say why somebody should look at a node's L2 record."""
    reasons = (
        [] if node.get("success", True) else [f"failed: {node.get('error') or 'no reason given'}"]
    )
    for key, most, words in _BOUNDS:
        if (node.get(key) or 0) > most:
            reasons.append(f"{node[key]} {words}")
    return reasons


def line_of(record: Mapping[str, Any]) -> bytes:
    """Render a record as one line of a log."""
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
