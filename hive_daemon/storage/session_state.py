"""What the readable files of a session show: `state.json` and the checkpoints, rendered from a chronicle. Pure.

The shapes are the documented ones. Every rendering is strict JSON: times are UTC with a Z, NaN and Infinity are null.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import orjson

from hive_daemon.clock import iso_z
from hive_daemon.status import PARKED, RETRYABLE, ExecutionStatus
from hive_daemon.storage.chronicle import Chronicle, SessionIdentity, ShownCheckpoint

SCHEMA_VERSION = "1.2"

SESSIONS = "sessions"
STATE = "state.json"
INDEX = "checkpoints/index.json"

_S = ExecutionStatus
_RESUMABLE = PARKED | RETRYABLE | {_S.INTERRUPTED}
_OLDER_WORDS = {
    "success": frozenset({_S.COMPLETED}),
    "degraded": frozenset({_S.COMPLETED}),
    "failure": frozenset({_S.FAILED, _S.RECOVERY_EXHAUSTED}),
    "active": frozenset({_S.QUEUED, _S.RUNNING, _S.INTERRUPTED}),
    "in_progress": frozenset({_S.QUEUED, _S.RUNNING, _S.INTERRUPTED}),
}


def statuses_named(word: str) -> frozenset[ExecutionStatus]:
    """Return the statuses that a word means, ours or an older one; none for an unknown word."""
    older = _OLDER_WORDS.get(word)
    if older is not None:
        return older
    return frozenset(status for status in ExecutionStatus if status == word)


def is_resumable_status(word: str) -> bool:
    """Say whether an execution of this status may be gone on with, in the same or in a next execution."""
    return not statuses_named(word).isdisjoint(_RESUMABLE)


# --- state.json --------------------------------------------------------------------------------


def state_json(chronicle: Chronicle) -> bytes:
    """Render `state.json`."""
    identity = chronicle.identity
    outcome, spending = chronicle.outcome, chronicle.spending
    newest = chronicle.checkpoints[-1].name if chronicle.checkpoints else None
    is_resumable = chronicle.status in _RESUMABLE
    return _document(
        {
            "schema_version": SCHEMA_VERSION,
            "session_id": identity.session_id,
            "execution_id": identity.execution_id,
            "seq": chronicle.seq,
            "agent": identity.agent,
            "stream_id": identity.stream_id,
            "correlation_id": identity.correlation_id,
            "trace_id": identity.trace_id,
            "status": chronicle.status,
            "goal_id": identity.goal_id,
            "agent_id": identity.graph_id,
            "entry_point": identity.entry_point,
            "timestamps": {
                "created_at": iso_z(identity.created_at),
                "started_at": iso_z(identity.started_at),
                "updated_at": iso_z(chronicle.updated_at),
                "completed_at": _iso(chronicle.ended_at),
                "paused_at_time": _iso(chronicle.parked_at),
            },
            "progress": _progress(chronicle),
            "result": {
                "success": outcome.get("success"),
                "error": outcome.get("error") or chronicle.error,
                "output": outcome.get("output", {}),
            },
            "memory": _raw(chronicle.memory),
            "metrics": {
                "decision_count": 0,
                "problem_count": 0,
                "total_input_tokens": spending.input_tokens,
                "total_cached_tokens": spending.cached_tokens,
                "total_output_tokens": spending.output_tokens,
                "total_reasoning_tokens": spending.reasoning_tokens,
                "total_cost_usd": spending.cost_usd,
                "nodes_executed": list(dict.fromkeys(chronicle.nodes)),
                "edges_traversed": list(chronicle.edges),
            },
            "problems": [],
            "decisions": [],
            "input_data": orjson.Fragment(identity.input),
            "isolation_level": identity.isolation_level,
            "checkpoint_enabled": newest is not None,
            "latest_checkpoint_id": newest,
            "duration_ms": round(chronicle.duration_seconds * 1000),
            "is_resumable": is_resumable,
            "is_resumable_from_checkpoint": is_resumable and newest is not None,
        }
    )


def _progress(chronicle: Chronicle) -> dict[str, Any]:
    """What the result says, and before there is one, what the walk says."""
    outcome, walk, retries = chronicle.outcome, chronicle.walk_fields, chronicle.retries
    tokens = chronicle.spending.input_tokens + chronicle.spending.output_tokens
    session_state = outcome.get("session_state") or {}
    failed_at = chronicle.node_id if chronicle.has_failed else None
    return {
        "current_node": chronicle.node_id,
        "paused_at": outcome.get("paused_at"),
        "resume_from": session_state.get("resume_from") or failed_at,
        "steps_executed": outcome.get("steps_executed", chronicle.steps),
        "total_tokens": outcome.get("total_tokens", tokens),
        "total_latency_ms": outcome.get(
            "total_latency_ms", round(chronicle.latency_seconds * 1000)
        ),
        "path": outcome.get("path", chronicle.path),
        "total_retries": outcome.get("total_retries", sum(retries.values())),
        "nodes_with_failures": outcome.get("nodes_with_failures", walk.get("failed_nodes", [])),
        "retry_details": retries,
        "had_partial_failures": outcome.get("had_partial_failures", False),
        "execution_quality": chronicle.quality,
        "node_visit_counts": outcome.get("node_visit_counts", walk.get("visits", {})),
    }


# --- checkpoints -------------------------------------------------------------------------------


def checkpoint_documents(
    chronicle: Chronicle, written: Container[str] = frozenset()
) -> dict[str, bytes]:
    """Render the checkpoints whose files are not `written` yet, and with them the index of all."""
    listed = [(shown, _listed(shown)) for shown in chronicle.checkpoints]
    documents = {
        shown.file: _checkpoint_json(shown, entry, chronicle.identity)
        for shown, entry in listed
        if shown.file not in written
    }
    if documents:
        documents[INDEX] = _document(
            {
                "session_id": chronicle.identity.session_id,
                "execution_id": chronicle.identity.execution_id,
                "checkpoints": [entry for _, entry in listed],
                "latest_checkpoint_id": listed[-1][0].name,
                "total_checkpoints": len(listed),
            }
        )
    return documents


def _checkpoint_json(
    shown: ShownCheckpoint, entry: Mapping[str, Any], identity: SessionIdentity
) -> bytes:
    return _document(
        {
            **entry,
            "session_id": identity.session_id,
            "execution_id": identity.execution_id,
            "seq": shown.row.seq,
            "execution_path": shown.path[: shown.steps],
            "shared_memory": _raw(shown.memory),
            "accumulated_outputs": {},
            "metrics_snapshot": {},
            "walk": orjson.Fragment(shown.row.walk),
        }
    )


def _listed(shown: ShownCheckpoint) -> dict[str, Any]:
    row = shown.row
    walk = orjson.loads(row.walk)
    return {
        "checkpoint_id": shown.name,
        "checkpoint_type": row.kind,
        "created_at": iso_z(row.created_at),
        "current_node": row.node_id,
        "next_node": row.next_node,
        "is_clean": not walk.get("retries") and not walk.get("failed_nodes"),
        "description": f"{row.kind.replace('_', ' ').title()}: {row.node_id or 'start'}",
    }


def _document(content: Mapping[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


def _raw(values: Mapping[str, bytes]) -> dict[str, orjson.Fragment]:
    return {key: orjson.Fragment(value) for key, value in values.items()}


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else iso_z(seconds)
