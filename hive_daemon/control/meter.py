"""The meter: counts what the hub tells, and nothing else happens because of it.

Guarantees: what is remembered is bounded by what runs, except the counts themselves, whose labels are bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hive_daemon.observability.metrics import MetricsBook, Reading
from hive_daemon.runtime.events import AgentEvent, EventType, status_told
from hive_daemon.runtime.hub import STOPS, Hub

_BEGINS = frozenset(
    {
        EventType.EXECUTION_STARTED,
        EventType.EXECUTION_RESUMED,
        EventType.EXECUTION_RESURRECTED,
    }
)
_TOKENS = {
    "input": "input_tokens",
    "cached_input": "cached_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_tokens",
}
_REMEMBERED = 100_000
"""Executions whose start is remembered at most; one whose start is not known is counted, and not timed."""


class Meter:
    """Listens to the hub and counts."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._token = 0
        self._book = MetricsBook()
        self._began: dict[str, float] = {}

    def open(self) -> None:
        """Begin to listen."""
        self._token = self._hub.listen(self.tell)

    def close(self) -> None:
        """Listen no more."""
        self._hub.unlisten(self._token)

    def text(self, readings: list[Reading]) -> bytes:
        """Return what was counted, and what was read just now, in the text format of Prometheus."""
        return self._book.text(readings)

    def tell(self, event: AgentEvent) -> None:
        """Count an event."""
        if event.type in STOPS:
            self._stopped(event)
        elif event.type in _BEGINS:
            self._begun(event)
        else:
            count = _COUNTED.get(event.type)
            if count is not None:
                count(self._book, event.agent or "", event.data)

    def _begun(self, event: AgentEvent) -> None:
        if event.type is EventType.EXECUTION_RESURRECTED:
            self._book.count("hive_resurrections_total", event.agent or "", event.stream_id)
        if event.execution_id and len(self._began) < _REMEMBERED:
            # What goes on by itself has not stopped: it is timed from its start, where that was seen.
            self._began.setdefault(event.execution_id, event.timestamp.timestamp())

    def _stopped(self, event: AgentEvent) -> None:
        place = (event.agent or "", event.stream_id)
        self._book.count("hive_executions_total", *place, status_told(event).value)
        began = self._began.pop(event.execution_id or "", None)
        if began is not None:
            seconds = max(event.timestamp.timestamp() - began, 0.0)
            self._book.observe("hive_execution_seconds", seconds, *place)


def _node(book: MetricsBook, agent: str, data: Mapping[str, Any]) -> None:
    book.count("hive_nodes_total", agent, "ok" if data.get("success") else "failed")


def _retry(book: MetricsBook, agent: str, data: Mapping[str, Any]) -> None:
    model = data.get("model")
    if model:
        book.count("hive_model_retries_total", agent, _short(model))
    else:
        book.count("hive_node_retries_total", agent)


def _suppressed(book: MetricsBook, agent: str, data: Mapping[str, Any]) -> None:
    book.count("hive_triggers_suppressed_total", agent)


def _model_call(book: MetricsBook, agent: str, data: Mapping[str, Any]) -> None:
    model = _short(data.get("model"))
    book.count("hive_model_calls_total", agent, model, str(data.get("stop_reason") or ""))
    book.observe("hive_model_call_seconds", float(data.get("latency_seconds") or 0.0), agent, model)
    for kind, key in _TOKENS.items():
        book.count("hive_model_tokens_total", agent, model, kind, by=int(data.get(key) or 0))
    cost = data.get("cost_usd")
    if cost is None:
        book.count("hive_model_unpriced_calls_total", agent, model)
    else:
        book.count("hive_model_cost_usd_total", agent, model, by=float(cost))
    asked = data.get("in_place_of")
    if asked:
        book.count("hive_model_fallbacks_total", agent, _short(asked))


def _failed_call(book: MetricsBook, agent: str, data: Mapping[str, Any]) -> None:
    failure = str(data.get("failure") or "failed")
    book.count("hive_model_calls_total", agent, _short(data.get("model")), failure)


def _short(model: object) -> str:
    """Return the name of a model without its service: what answered is named so, and what failed is to agree."""
    return str(model or "").rpartition("/")[2]


def _tool_call(book: MetricsBook, agent: str, data: Mapping[str, Any]) -> None:
    outcome = "failed" if data.get("is_error") else "ok"
    book.count("hive_tool_calls_total", agent, str(data.get("tool_name") or ""), outcome)
    book.observe("hive_tool_call_seconds", float(data.get("duration_seconds") or 0.0), agent)


_COUNTED: Mapping[EventType, Callable[[MetricsBook, str, Mapping[str, Any]], None]] = {
    EventType.NODE_COMPLETED: _node,
    EventType.NODE_RETRY: _retry,
    EventType.TRIGGER_SUPPRESSED: _suppressed,
    EventType.LLM_TURN_COMPLETE: _model_call,
    EventType.LLM_CALL_FAILED: _failed_call,
    EventType.TOOL_CALL_COMPLETED: _tool_call,
}
