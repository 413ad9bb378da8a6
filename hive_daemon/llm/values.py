"""What goes into a model call and what comes out: tools, messages, answers, and the context of the call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

DEFAULT_MAX_TOKENS = 4096

Message = dict[str, Any]
"""One message, as the OpenAI chat completions protocol writes it."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model may call; `parameters` is the JSON Schema of its arguments."""

    name: str
    description: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One call of a tool that the model wants."""

    id: str
    name: str
    input: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered."""

    tool_use_id: str
    content: str
    is_error: bool = False


ToolExecutor = Callable[[ToolUse], ToolResult | Awaitable[ToolResult]]
"""Runs one tool call; plain or asynchronous."""


@dataclass(frozen=True, slots=True)
class LLMResponse:
    """A whole answer; counts and cost as in `FinishEvent`."""

    content: str
    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    stop_reason: str = ""
    raw_response: Any = None
    tool_calls: tuple[ToolUse, ...] = ()
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    is_estimated: bool = False
    cost_usd: float | None = None
    in_place_of: str = ""


@dataclass(frozen=True, slots=True)
class CallContext:
    """What the caller says about the call: labels for real providers, steering for the scripted one.

    `visit` counts the visits of the node and `attempt` the tries of this very call, from 1. `turn` is the number of
    assistant messages that this visit has made, when the caller knows better than `messages` show (after a compaction,
    or where the conversation goes on over several nodes).
    """

    execution_id: str = ""
    session_id: str = ""
    node_id: str = ""
    visit: int = 1
    attempt: int = 1
    inputs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    output_keys: tuple[str, ...] = ()
    output_schema: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    turn: int | None = None


NO_CONTEXT = CallContext()
"""A call about which nobody said anything."""

call_context: ContextVar[CallContext] = ContextVar("hive_call", default=NO_CONTEXT)
"""Set around a model call by its caller."""
