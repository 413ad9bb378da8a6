"""Tools that write down each use, `name key` in the file USES, and may take the process down: DIE_AT says where.

They answer with RESULT_CHARS characters.
"""

import os
import signal

from framework.runner.tool_registry import tool

from hive_daemon.tools.context import idempotency_key


def use(name):
    if os.environ.get("DIE_AT") == "started":
        os.kill(os.getpid(), signal.SIGKILL)
    record = os.open(os.environ["USES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(record, f"{name} {idempotency_key.get()}\n".encode())
    os.fsync(record)
    os.close(record)
    if os.environ.get("DIE_AT") == "ended":
        os.kill(os.getpid(), signal.SIGKILL)
    return "counted ".ljust(int(os.environ.get("RESULT_CHARS", "0")), "x")


@tool(on_unknown="fail")
def once(note: str = "") -> str:
    """Count, never twice."""
    return use("once")


@tool(on_unknown="retry")
def again(note: str = "") -> str:
    """Count; twice is fine."""
    return use("again")


@tool(on_unknown="ask")
def doubt(note: str = "") -> str:
    """Count; whether twice is fine a person knows."""
    return use("doubt")
