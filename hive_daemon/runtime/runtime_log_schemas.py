"""The three levels of an execution's log as models: summary (L1), nodes (L2), tool calls (L3).

Where the observability guide and older programs use different words for the same thing, a model has both, and each is
filled from the other. Unknown fields are kept, missing ones have a default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hive_daemon.spending import NO_CALLS, Spending

_MILLI = 1000


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow")


def _fill(given: Any, pairs: Mapping[str, str]) -> Any:
    """Fill each word of a pair from the other, where only one is given."""
    if not isinstance(given, dict):
        return given
    filled = dict(given)
    for one, other in pairs.items():
        for missing, known in ((one, other), (other, one)):
            if missing not in filled and known in filled:
                filled[missing] = filled[known]
    return filled


def _fill_time(given: Any, millis: str) -> Any:
    """Fill seconds from milliseconds and the other way round."""
    if not isinstance(given, dict):
        return given
    seconds, ms = given.get("duration_seconds"), given.get(millis)
    if seconds is None and isinstance(ms, int | float):
        return {**given, "duration_seconds": ms / _MILLI}
    if ms is None and isinstance(seconds, int | float):
        return {**given, millis: round(seconds * _MILLI)}
    return given


class RunSummaryLog(_Record):
    """L1: how an execution went. `status` is one of ours, or `in_progress` while it goes on."""

    run_id: str
    agent_id: str = ""
    goal_id: str = ""
    status: str = ""
    error: str | None = None
    total_nodes_executed: int = 0
    nodes_executed: list[str] = Field(default_factory=list)
    node_path: list[str] = Field(default_factory=list)
    total_input_tokens: int = 0
    total_cached_tokens: int = 0
    total_output_tokens: int = 0
    total_reasoning_tokens: int = 0
    total_cost_usd: float | None = None
    needs_attention: bool = False
    attention_reasons: list[str] = Field(default_factory=list)
    started_at: str = ""
    duration_seconds: float = 0.0
    duration_ms: int = 0
    execution_quality: str = ""
    trace_id: str = ""
    execution_id: str = ""

    @model_validator(mode="before")
    @classmethod
    def _both_vocabularies(cls, given: Any) -> Any:
        filled = _fill_time(_fill(given, {"nodes_executed": "node_path"}), "duration_ms")
        if isinstance(filled, dict) and "total_nodes_executed" not in filled:
            filled = {**filled, "total_nodes_executed": len(filled.get("nodes_executed") or ())}
        return filled


class NodeDetail(_Record):
    """L2: one visit of a node. `result` and `exit_status` say how it ended, `iterations` and `total_steps` how long."""

    node_id: str | None
    node_name: str = ""
    node_type: str = ""
    timestamp: str = ""
    success: bool = True
    result: str = ""
    exit_status: str = ""
    error: str | None = None
    stacktrace: str = ""
    iterations: int = 0
    total_steps: int = 0
    duration_seconds: float = 0.0
    latency_ms: int = 0
    llm_call_count: int = 0
    tool_call_count: int = 0
    tokens_used: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = None
    attempt: int = 1
    accept_count: int = 0
    retry_count: int = 0
    escalate_count: int = 0
    continue_count: int = 0
    needs_attention: bool = False
    attention_reasons: list[str] = Field(default_factory=list)
    trace_id: str = ""
    span_id: str = ""

    @model_validator(mode="before")
    @classmethod
    def _both_vocabularies(cls, given: Any) -> Any:
        pairs = {"iterations": "total_steps", "result": "exit_status"}
        return _fill_time(_fill(given, pairs), "latency_ms")


def totals_of(nodes: Iterable[NodeDetail]) -> dict[str, Any]:
    """Return the totals of L1 as its nodes tell them; a node that asked no model cost nothing."""
    total = NO_CALLS
    for node in nodes:
        total = total.plus(Spending.of(node.model_dump(exclude_unset=True)))
    return {f"total_{name}": value for name, value in total.to_json().items()}


class RunDetailsLog(_Record):
    """L2: every node of an execution, in order."""

    run_id: str
    nodes: list[NodeDetail] = Field(default_factory=list)


class ToolCallLog(_Record):
    """A tool call as older programs read it, inside of a step."""

    tool_use_id: str = ""
    tool_name: str = ""
    tool_input: dict[str, Any] = Field(default_factory=dict)
    result: str = ""
    is_error: bool = False


class NodeStepLog(_Record):
    """L3: one tool call; or, in logs of older programs, one iteration of a node with all its tool calls."""

    node_id: str | None
    step_number: int = 0
    timestamp: str = ""
    tool_name: str = ""
    tool_input: dict[str, Any] = Field(default_factory=dict)
    tool_result: str = ""
    tool_error: str | None = None
    duration_seconds: float = 0.0
    node_type: str = ""
    step_index: int = 0
    llm_text: str = ""
    tool_calls: list[ToolCallLog] = Field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0
    latency_ms: int = 0
    verdict: str = ""
    verdict_feedback: str = ""
    error: str = ""
    stacktrace: str = ""
    is_partial: bool = False
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    execution_id: str = ""

    @model_validator(mode="before")
    @classmethod
    def _both_vocabularies(cls, given: Any) -> Any:
        filled = _fill_time(_fill(given, {"step_number": "step_index"}), "latency_ms")
        if not isinstance(filled, dict):
            return filled
        calls = filled.get("tool_calls")
        if calls and "tool_name" not in filled:
            return {**filled, **_flat(calls[0])}
        return filled


class RunToolLogs(_Record):
    """L3: every tool call of an execution, in order."""

    run_id: str
    steps: list[NodeStepLog] = Field(default_factory=list)


def _flat(call: Any) -> dict[str, Any]:
    """Return the flat fields of a step's first tool call."""
    fields = call.model_dump() if isinstance(call, ToolCallLog) else call
    if not isinstance(fields, dict):
        return {}
    result = fields.get("result", "")
    return {
        "tool_name": fields.get("tool_name", ""),
        "tool_input": fields.get("tool_input", {}),
        "tool_result": result,
        "tool_error": result if fields.get("is_error") else None,
    }
