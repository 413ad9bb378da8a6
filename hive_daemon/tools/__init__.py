"""Tools that a model may call.

The names below are loaded when they are first asked for.
"""

from __future__ import annotations

from typing import Any

from hive_daemon.exports import public_name, rooms_of

_ROOMS = rooms_of(
    {
        "registry": "RegisteredTool ToolRegistry",
        "function_tool": "tool",
        "policy": "ToolPolicy",
        "servers": "ToolServers",
    }
)


def __getattr__(name: str) -> Any:
    return public_name(__name__, _ROOMS, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
