"""The runtime: entry points, streams, triggers, the event bus, the journal.

The names below are loaded when they are first asked for.
"""

from __future__ import annotations

from typing import Any

from hive_daemon.exports import public_name, rooms_of

_ROOMS = rooms_of(
    {
        "agent_runtime": "AgentRuntime create_agent_runtime",
        "runtime_config": "AgentRuntimeConfig",
        "core": "Runtime",
        "entry_point": "EntryPointSpec IsolationLevel",
        "execution_stream": "ExecutionStream",
        "event_bus": "EventBus Subscription",
        "events": "AgentEvent EventType",
        "outcome_aggregator": "OutcomeAggregator",
        "shared_state": "SharedBufferManager SharedStateManager",
        "webhook_server": "WebhookRoute WebhookServer WebhookServerConfig",
    }
)


def __getattr__(name: str) -> Any:
    return public_name(__name__, _ROOMS, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
