"""The trace context: what every log line says about the work it belongs to.

It lives in one context variable, so it follows a task, its children and its worker threads.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Any

_EMPTY: MappingProxyType[str, Any] = MappingProxyType({})

trace_context: ContextVar[MappingProxyType[str, Any]] = ContextVar("hive_trace", default=_EMPTY)


def set_trace_context(**fields: Any) -> Token[MappingProxyType[str, Any]]:
    """Add fields to the trace context of the running task; return a token for `reset`."""
    return trace_context.set(MappingProxyType({**trace_context.get(), **fields}))


def reset_trace_context(token: Token[MappingProxyType[str, Any]]) -> None:
    """Put the trace context back to what it was when `token` was made."""
    trace_context.reset(token)


def get_trace_context() -> dict[str, Any]:
    """Return a copy of the trace context: trace_id, execution_id, session_id, stream_id, goal_id, …"""
    return dict(trace_context.get())


def clear_trace_context() -> None:
    """Forget every field of the trace context."""
    trace_context.set(_EMPTY)
