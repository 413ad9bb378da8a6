"""Watching over executions: the health judge, and the tickets with which it calls for help.

The names below are loaded when they are first asked for.
"""

from __future__ import annotations

from typing import Any

from hive_daemon.exports import public_name, rooms_of

_ROOMS = rooms_of(
    {
        "judge": "HEALTH_JUDGE_ENTRY_POINT judge_goal judge_graph judge_node",
        "model_judge": "model_judge_graph model_judge_node",
        "ticket": "EscalationTicket Severity",
        "tools": "register_worker_monitoring_tools",
    }
)


def __getattr__(name: str) -> Any:
    return public_name(__name__, _ROOMS, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
