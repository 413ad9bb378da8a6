"""What the payload of each type of event holds; docs/events.md is this table for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from hive_daemon.graph import budget_facts, facts, model_facts
from hive_daemon.runtime.events import EventType

_NOT_OF_EXECUTIONS: Mapping[EventType, tuple[str, ...]] = {
    EventType.NODE_INTERNAL_OUTPUT: ("content",),
    EventType.NODE_INPUT_BLOCKED: ("prompt",),
    EventType.GOAL_PROGRESS: ("progress", "criteria_status"),
    EventType.GOAL_ACHIEVED: ("progress", "criteria_status"),
    EventType.STATE_CHANGED: ("key", "old_value", "new_value", "scope"),
    EventType.STREAM_STARTED: ("entry_point",),
    EventType.STREAM_STOPPED: ("entry_point",),
    EventType.TIMER_PAUSED: ("timer", "by", "reason", "until"),
    EventType.TIMER_RESUMED: ("timer", "by", "reason"),
    EventType.TIMER_DONE: ("timer", "reason"),
    EventType.TRIGGER_SKIPPED: ("timer", "scheduled_for", "outcome", "reason"),
    EventType.WEBHOOK_RECEIVED: ("path", "method", "headers", "payload", "query_params"),
    EventType.WORKER_ESCALATION_TICKET: ("ticket",),
    EventType.INCIDENT_OPENED: ("incident",),
    EventType.INCIDENT_RESOLVED: ("incident",),
    EventType.CUSTOM: (),
}


def _of_facts() -> dict[EventType, tuple[str, ...]]:
    made = [
        kind
        for module in (budget_facts, facts, model_facts)
        for kind in vars(module).values()
        if isinstance(kind, type)
    ]
    return {
        EventType(fact.kind): tuple(f.name for f in fields(fact) if f.name != "node_id")
        for fact in made
        if issubclass(fact, facts.Fact) and fact.kind
    }


FACTS: Mapping[EventType, tuple[str, ...]] = _of_facts()
"""The types that executions tell of themselves, and the keys of their payload in order."""

PAYLOADS: Mapping[EventType, tuple[str, ...]] = {**_NOT_OF_EXECUTIONS, **FACTS}
"""Every type, and the keys of its payload in order; a custom event holds what its publisher puts in."""
