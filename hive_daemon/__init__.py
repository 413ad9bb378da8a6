"""Hive: a daemon that runs LLM agents when nobody is watching."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_ROOMS = {"AgentRunner": "runner.runner", "Runtime": "runtime.core"}


def __getattr__(name: str) -> Any:
    # Inside: the command line, which imports `control.wire`, must load nothing more.
    from hive_daemon.exports import public_name

    return public_name(__name__, _ROOMS, name)
