"""The spans of an execution, made from what is committed: what ran when, within what. Pure.

Names and attributes follow OpenTelemetry's semantic conventions for generative AI (`invoke_agent`, `chat`,
`execute_tool`); nodes and waits, for which there are none, are spans of our own. Laws: the same events make the same
spans with the same ids, in any process and after any restart; a span lies within its parent's id, not always within its
time (a model call is told when it ended). Content (inputs, arguments, results) is left out unless it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import orjson

from hive_daemon.ids import span_id_of
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import ExecutionRow, StoredEvent

Attribute = str | int | float | bool | tuple[str, ...]
Attributes = Mapping[str, Attribute]


class SpanKind(StrEnum):
    """What a span tells of; the first three are words of the conventions."""

    INVOKE_AGENT = "invoke_agent"
    CHAT = "chat"
    EXECUTE_TOOL = "execute_tool"
    NODE = "node"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time, in wall seconds; `end` is None while it goes on, `error` empty if it went well."""

    kind: SpanKind
    name: str
    span_id: str
    parent_id: str
    start: float
    end: float | None = None
    error: str = ""
    attributes: Attributes = field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return None if self.end is None else max(0.0, self.end - self.start)


def root_id(execution_id: str) -> str:
    """Return the id of the span of a whole execution."""
    return span_id_of(execution_id)


def spans_of(
    row: ExecutionRow, events: Iterable[StoredEvent], *, has_content: bool = False
) -> list[Span]:
    """Return the spans of an execution by its row and all its events, in the order in which they began."""
    told = list(events)
    fold = _Fold(row, has_content, _begun_before(told))
    for event in told:
        fold.take(event)
    return sorted(
        fold.done(), key=lambda span: (span.start, span.kind is not SpanKind.INVOKE_AGENT)
    )


@dataclass(frozen=True, slots=True)
class _Attempt:
    node_type: str
    visit: int
    number: int


def _begun_before(events: Iterable[StoredEvent]) -> dict[str, _Attempt]:
    """Return the attempts that end in these events and began in an earlier execution of the session, by node."""
    first: dict[str, StoredEvent] = {}
    for event in events:
        if event.type in ("node_started", "node_completed"):
            first.setdefault(event.node_id or "", event)
    ended = ((node, event) for node, event in first.items() if event.type == "node_completed")
    return {node: _attempt_of(orjson.loads(event.data)) for node, event in ended}


def _attempt_of(said: Mapping[str, Any]) -> _Attempt:
    return _Attempt(said.get("node_type", ""), said.get("visit", 1), said.get("attempt", 1))


class _Fold:
    def __init__(
        self, row: ExecutionRow, has_content: bool, begun_before: Mapping[str, _Attempt]
    ) -> None:
        self._row = row
        self._begun_before = begun_before
        self._has_content = has_content
        self._root = root_id(row.execution_id)
        self._spans: list[Span] = []
        self._nodes: dict[str, Span] = {}
        self._attempts: dict[str, _Attempt] = {}
        self._tools: dict[tuple[str, str], Span] = {}
        self._wait: Span | None = None
        self._model = ""

    def take(self, event: StoredEvent) -> None:
        """Take in one event."""
        said: dict[str, Any] = orjson.loads(event.data)
        match event.type:
            case "node_started":
                self._begin_node(event, said)
            case "node_completed":
                self._end_node(event, said)
            case "node_retry":
                self._try_again(event, said)
            case "llm_turn_complete":
                self._chat(event, said)
            case "llm_call_failed":
                self._failed_chat(event, said)
            case "tool_call_started":
                self._begin_tool(event, said)
            case "tool_call_completed":
                self._end_tool(event, said)
            case "execution_paused":
                self._begin_wait(event, said)
            case "execution_resumed" | "execution_resurrected":
                self._end_wait(event.timestamp)
                self._go_on(event)

    def done(self) -> list[Span]:
        """Return all spans; what did not end in a finished execution ended with it."""
        end = self._row.ended_at
        left = [*self._nodes.values(), *self._tools.values(), *([self._wait] if self._wait else [])]
        cut = [
            span if end is None else replace(span, end=end, error="interrupted") for span in left
        ]
        return [self._whole(), *self._spans, *cut]

    def _whole(self) -> Span:
        row = self._row
        failed = row.status in (ExecutionStatus.FAILED, ExecutionStatus.RECOVERY_EXHAUSTED)
        error = (row.error_code or "failed") if failed else ""
        return Span(
            SpanKind.INVOKE_AGENT,
            f"invoke_agent {row.agent}",
            self._root,
            row.trace_parent,
            row.created_at if row.started_at is None else row.started_at,
            row.ended_at,
            error,
            _filled(
                {
                    **_about(SpanKind.INVOKE_AGENT),
                    "gen_ai.provider.name": provider_of(self._model),
                    "gen_ai.request.model": self._model,
                    "gen_ai.agent.name": row.agent,
                    "gen_ai.agent.id": f"{row.agent}/{row.graph_id}",
                    "gen_ai.conversation.id": row.session_id,
                    "hive.execution.id": row.execution_id,
                    "hive.entry_point": row.entry_point,
                    "hive.status": str(row.status),
                    "error.type": error,
                }
            ),
        )

    # --- nodes ------------------------------------------------------------------------------

    def _begin_node(self, event: StoredEvent, said: Mapping[str, Any]) -> None:
        self._begin_attempt(event, _attempt_of(said))

    def _begin_attempt(self, event: StoredEvent, attempt: _Attempt, delay: float = 0.0) -> None:
        node, execution = event.node_id or "", self._row.execution_id
        span_id = span_id_of(execution, node, attempt.visit, attempt.number)
        earlier = self._nodes.get(node)
        if earlier is not None and earlier.span_id == span_id:
            return  # It waited, or a crash cut it off, and goes on.
        if earlier is not None:
            self._spans.append(replace(earlier, end=event.timestamp, error="interrupted"))
        self._attempts[node] = attempt
        self._nodes[node] = Span(
            SpanKind.NODE,
            node,
            span_id,
            self._root,
            event.timestamp + delay,
            attributes=_filled(
                {
                    "hive.execution.id": execution,
                    "hive.node.id": node,
                    "hive.node.type": attempt.node_type,
                    "hive.node.visit": attempt.visit,
                    "hive.node.attempt": attempt.number,
                }
            ),
        )

    def _try_again(self, event: StoredEvent, said: Mapping[str, Any]) -> None:
        """Begin the next attempt of a node; the tries of a model call are a part of that call."""
        earlier = self._attempts.get(event.node_id or "")
        if earlier is None or said.get("model"):
            return
        following = replace(earlier, number=int(said.get("retry_count") or earlier.number) + 1)
        self._begin_attempt(event, following, float(said.get("delay_seconds") or 0.0))

    def _go_on(self, event: StoredEvent) -> None:
        """Open the span of a node that failed and is tried anew, as the same attempt: nobody tells of its start."""
        node = event.node_id or ""
        if not node or node in self._nodes:
            return
        ended = [s for s in self._spans if s.kind is SpanKind.NODE and s.name == node]
        if ended and ended[-1].error:
            self._spans.remove(ended[-1])
            self._nodes[node] = replace(ended[-1], end=None, error="")
        elif not ended and node in self._begun_before:
            self._begin_attempt(event, self._begun_before[node])

    def _end_node(self, event: StoredEvent, said: Mapping[str, Any]) -> None:
        self._go_on(event)
        begun = self._nodes.pop(event.node_id or "", None)
        if begun is None:
            return
        error = "" if said.get("success", True) else "node_failed"
        attributes = _filled({**begun.attributes, "error.type": error})
        self._spans.append(replace(begun, end=event.timestamp, error=error, attributes=attributes))

    def _node_span(self, event: StoredEvent) -> str:
        node = self._nodes.get(event.node_id or "")
        return self._root if node is None else node.span_id

    # --- model calls ------------------------------------------------------------------------

    def _chat(self, event: StoredEvent, said: Mapping[str, Any]) -> None:
        model = str(said.get("model", ""))
        self._model = self._model or model
        reason = str(said.get("stop_reason") or "")
        self._spans.append(
            Span(
                SpanKind.CHAT,
                f"chat {model}".rstrip(),
                span_id_of(self._row.execution_id, "chat", event.execution_seq),
                self._node_span(event),
                event.timestamp - float(said.get("latency_seconds") or 0.0),
                event.timestamp,
                "",
                _filled(
                    {
                        **_about(SpanKind.CHAT),
                        "gen_ai.provider.name": provider_of(model),
                        "gen_ai.request.model": str(said.get("in_place_of") or model),
                        "gen_ai.response.model": model,
                        "gen_ai.conversation.id": self._row.session_id,
                        "gen_ai.response.finish_reasons": (reason,) if reason else (),
                        "gen_ai.usage.input_tokens": said.get("input_tokens"),
                        "gen_ai.usage.output_tokens": said.get("output_tokens"),
                        "gen_ai.usage.cache_read.input_tokens": said.get("cached_tokens"),
                        "gen_ai.usage.cache_creation.input_tokens": said.get("cache_write_tokens"),
                        "gen_ai.usage.reasoning.output_tokens": said.get("reasoning_tokens"),
                        "hive.cost_usd": said.get("cost_usd"),
                        "hive.execution.id": self._row.execution_id,
                        "hive.node.id": event.node_id or "",
                    }
                ),
            )
        )

    def _failed_chat(self, event: StoredEvent, said: Mapping[str, Any]) -> None:
        model, failure = str(said.get("model", "")), str(said.get("failure") or "failed")
        self._spans.append(
            Span(
                SpanKind.CHAT,
                f"chat {model}".rstrip(),
                span_id_of(self._row.execution_id, "chat", event.execution_seq),
                self._node_span(event),
                event.timestamp,
                event.timestamp,
                failure,
                _filled(
                    {
                        **_about(SpanKind.CHAT),
                        "gen_ai.provider.name": provider_of(model),
                        "gen_ai.request.model": model,
                        "gen_ai.conversation.id": self._row.session_id,
                        "error.type": failure,
                        "hive.execution.id": self._row.execution_id,
                        "hive.node.id": event.node_id or "",
                    }
                ),
            )
        )

    # --- tools ------------------------------------------------------------------------------

    def _begin_tool(self, event: StoredEvent, said: Mapping[str, Any]) -> None:
        use, name = str(said.get("tool_use_id", "")), str(said.get("tool_name", ""))
        parent = self._node_span(event)
        content = _content({"gen_ai.tool.call.arguments": said.get("tool_input")})
        self._tools[event.node_id or "", use] = Span(
            SpanKind.EXECUTE_TOOL,
            f"execute_tool {name}",
            span_id_of(parent, use),
            parent,
            event.timestamp,
            attributes=_filled(
                {
                    **_about(SpanKind.EXECUTE_TOOL),
                    "gen_ai.tool.name": name,
                    "gen_ai.tool.call.id": use,
                    "hive.execution.id": self._row.execution_id,
                    "hive.node.id": event.node_id or "",
                    **(content if self._has_content else {}),
                }
            ),
        )

    def _end_tool(self, event: StoredEvent, said: Mapping[str, Any]) -> None:
        begun = self._tools.pop((event.node_id or "", str(said.get("tool_use_id", ""))), None)
        if begun is None:
            return
        error = "tool_error" if said.get("is_error") else ""
        content = _content({"gen_ai.tool.call.result": said.get("result")})
        attributes = _filled(
            {**begun.attributes, "error.type": error, **(content if self._has_content else {})}
        )
        took = float(said.get("duration_seconds") or 0.0)
        end = begun.start + took if took else event.timestamp
        self._spans.append(replace(begun, end=end, error=error, attributes=attributes))

    # --- waits ------------------------------------------------------------------------------

    def _begin_wait(self, event: StoredEvent, said: Mapping[str, Any]) -> None:
        self._end_wait(event.timestamp)
        status = str(said.get("status", "paused"))
        self._wait = Span(
            SpanKind.WAIT,
            f"wait {status}",
            span_id_of(self._row.execution_id, "wait", event.execution_seq),
            self._root,
            event.timestamp,
            attributes={"hive.execution.id": self._row.execution_id, "hive.wait": status},
        )

    def _end_wait(self, at: float) -> None:
        if self._wait is not None:
            self._spans.append(replace(self._wait, end=at))
            self._wait = None


_PROVIDERS = {
    "gpt": "openai",
    "o1": "openai",
    "o3": "openai",
    "o4": "openai",
    "claude": "anthropic",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "deepseek": "deepseek",
    "grok": "x_ai",
}
_PREFIXES = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "vertex_ai": "gcp.vertex_ai",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}


def provider_of(model: str) -> str:
    """Return the provider of a model as the conventions name it, by the name of the model."""
    prefix, slash, _ = model.partition("/")
    if slash:
        return _PREFIXES.get(prefix, prefix)
    family = model.partition("-")[0].lower()
    return _PROVIDERS.get(family, family or "_OTHER")


def _about(kind: SpanKind) -> dict[str, Any]:
    return {"gen_ai.operation.name": str(kind)}


def _content(fields: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in fields.items()
        if value is not None
    }


def _filled(attributes: Mapping[str, Any]) -> dict[str, Attribute]:
    """Leave out what nobody knows."""
    return {name: value for name, value in attributes.items() if value not in (None, "", ())}
