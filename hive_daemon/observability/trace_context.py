"""The trace context: what every log line says about the work it belongs to.

It lives in one context variable, so it follows a task, its children and its worker threads. To a child process it is
handed over in the environment (`trace_environment`), to other services as a W3C `traceparent`.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from hive_daemon.ids import span_id_of

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


# --- what is told of executions later ------------------------------------------------------------

MOST_REMEMBERED = 10_000

_traces: OrderedDict[str, dict[str, str]] = OrderedDict()


def remember_trace(execution_id: str, trace_id: str) -> None:
    """Keep the trace of an execution for those who hear of it later: the handlers of its events."""
    _traces[execution_id] = {
        "trace_id": trace_id,
        "span_id": span_id_of(execution_id),
        "execution_id": execution_id,
    }
    _traces.move_to_end(execution_id)
    if len(_traces) > MOST_REMEMBERED:
        _traces.popitem(last=False)


def set_trace_of(
    execution_id: str | None, where: Mapping[str, str | None]
) -> Token[MappingProxyType[str, Any]]:
    """Replace the trace context by that of an execution of this process; return a token for `reset`."""
    if execution_id is None:
        return trace_context.set(_EMPTY)
    known = _traces.get(execution_id) or {"execution_id": execution_id}
    said = {name: value for name, value in where.items() if value is not None}
    return trace_context.set(MappingProxyType({**known, **said}))


# --- out to others, and in from them ------------------------------------------------------------

TRACEPARENT_HEADER = "traceparent"

TRACEPARENT = "TRACEPARENT"
"""The environment variable that hands a trace on. Source: OpenTelemetry, environment variables as context carriers."""

INHERITED = "HIVE_TRACE_CONTEXT"
"""The environment variable in which a child finds the whole context, as JSON."""

_PARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?"
)
_HANDED_ON = (
    *("trace_id", "span_id", "execution_id", "session_id", "run_id"),
    *("goal_id", "stream_id", "agent_id", "node_id"),
)
_LONGEST_INHERITED = 4096


@dataclass(frozen=True, slots=True)
class TraceParent:
    """A trace that somebody else began, and the span in it that asks us."""

    trace_id: str
    span_id: str

    @classmethod
    def read(cls, text: str) -> TraceParent | None:
        """Read a `traceparent`; None for what is none, which is ignored. Source: W3C Trace Context, section 3.2."""
        found = _PARENT.fullmatch(text.strip())
        if found is None or (found[3] and text.strip().startswith("00-")):
            return None
        return cls(found[1], found[2])

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-01"


@contextmanager
def continuing(traceparent: str) -> Iterator[None]:
    """Let what begins meanwhile belong to the trace that a header names; what is no `traceparent` is ignored."""
    parent = TraceParent.read(traceparent)
    if parent is None:
        yield
        return
    token = set_trace_context(trace_id=parent.trace_id, span_id=parent.span_id)
    try:
        yield
    finally:
        trace_context.reset(token)


def current_parent() -> TraceParent | None:
    """Return the trace and the span that the running work belongs to, None where nothing runs."""
    known = trace_context.get()
    trace_id, span_id = known.get("trace_id"), known.get("span_id")
    return TraceParent(str(trace_id), str(span_id)) if trace_id and span_id else None


def trace_environment() -> dict[str, str]:
    """Return the variables that hand the trace context to a child process; empty outside an execution.

    `subprocess.run(command, env={**os.environ, **trace_environment()})`: a child that calls `configure_logging` then
    writes the same trace_id and execution_id into its lines, and any other finds TRACEPARENT.
    """
    known = trace_context.get()
    handed_on = {name: known[name] for name in _HANDED_ON if isinstance(known.get(name), str)}
    parent = current_parent()
    return {
        **({INHERITED: json.dumps(handed_on)} if handed_on else {}),
        **({TRACEPARENT: str(parent)} if parent is not None else {}),
    }


def adopt_trace_context(environ: Mapping[str, str]) -> None:
    """Go on with the trace context that a parent process handed over, if it did; what is damaged is ignored."""
    text = environ.get(INHERITED, "")
    if not text or len(text) > _LONGEST_INHERITED:
        return
    try:
        found = json.loads(text)
    except ValueError:
        return
    if isinstance(found, dict):
        known = {name: found[name] for name in _HANDED_ON if isinstance(found.get(name), str)}
        set_trace_context(**{**known, **trace_context.get()})
