"""Graphs: their shape, the pure walk over them, and the engine that performs it.

The names below are loaded when they are first asked for.
"""

from __future__ import annotations

from typing import Any

from hive_daemon.exports import public_name, rooms_of

_ROOMS = rooms_of(
    {
        "goal": "Constraint Goal GoalStatus SuccessCriterion",
        "node": "NodeContext NodeProtocol NodeResult NodeSpec",
        "edge": "AsyncEntryPointSpec EdgeCondition EdgeSpec GraphSpec ParallelExecutionConfig",
        "executor": "ExecutionResult GraphExecutor",
        "checkpoint_config": "CheckpointConfig",
        "event_loop_node": "EventLoopNode",
        "loop_config": "LoopConfig",
        "judge": "JudgeVerdict",
        "conversation": "Message NodeConversation",
    }
)


def __getattr__(name: str) -> Any:
    return public_name(__name__, _ROOMS, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
