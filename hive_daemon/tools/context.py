"""What a tool may know of the execution that calls it, without asking the model for it."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any

_execution_context: ContextVar[dict[str, Any] | None] = ContextVar(
    "hive_execution_context", default=None
)
"""Set around the work of a node: `data_dir` (where the session's files are), `session_id`, `execution_id`, …

Tools of agent folders import it by this name from `framework.runner.tool_registry`.
"""

idempotency_key: ContextVar[str] = ContextVar("hive_idempotency_key", default="")
"""Inside a tool call: its key, `{execution}:{node}:{visit}:{call_no}`, the same when the run goes on after a crash."""


def execution_context() -> dict[str, Any]:
    """Return a copy of what is set, empty outside an execution."""
    return dict(_execution_context.get() or {})


def set_execution_context(**fields: Any) -> Token[dict[str, Any] | None]:
    """Add fields for the running task and the threads it starts; return a token for the reset."""
    return _execution_context.set({**execution_context(), **fields})


def reset_execution_context(token: Token[dict[str, Any] | None]) -> None:
    """Put the context back to what it was when `token` was made."""
    _execution_context.reset(token)
