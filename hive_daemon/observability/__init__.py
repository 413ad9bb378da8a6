"""Logs and trace context, and the redaction that everything shown passes through.

The logging set-up is loaded when it is first asked for, so that the trace context, which everything uses, stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hive_daemon.observability.trace_context import (
    clear_trace_context,
    get_trace_context,
    set_trace_context,
    trace_environment,
)

if TYPE_CHECKING:
    from hive_daemon.observability.logging import configure_logging

__all__ = [
    "clear_trace_context",
    "configure_logging",
    "get_trace_context",
    "set_trace_context",
    "trace_environment",
]


def __getattr__(name: str) -> Any:
    if name != "configure_logging":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hive_daemon.observability.logging import configure_logging

    return configure_logging
