"""The metrics of the daemon: names, labels, meanings. docs/metrics.md is compared with this table.

Names follow Prometheus: base units, `_total` for what only grows. Labels are bounded: agents, entry points, models,
tools, routes and words from closed sets; never a session, an execution, a person, or text that somebody wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a metric behaves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `is_read` says that its values are read when somebody asks, rather than counted as things happen."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    is_read: bool = False


RUN_SECONDS = (0.05, 0.25, 1, 5, 15, 60, 300, 900, 3600, 14400)
CALL_SECONDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

_PLACE = ("agent", "entry_point")


def _counted(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, meaning, labels)


def _timed(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(name, Kind.HISTOGRAM, meaning, labels, buckets)


def _read(name: str, meaning: str, *labels: str, kind: Kind = Kind.GAUGE) -> Metric:
    return Metric(name, kind, meaning, labels, is_read=True)


def _total(name: str, meaning: str, *labels: str) -> Metric:
    return _read(name, meaning, *labels, kind=Kind.COUNTER)


METRICS: tuple[Metric, ...] = (
    # --- executions
    _counted(
        "hive_executions_total",
        "executions that stopped running, by the status they have then",
        *_PLACE,
        "status",
    ),
    _timed(
        "hive_execution_seconds",
        "how long an execution ran, from its start or resumption until it stopped",
        RUN_SECONDS,
        *_PLACE,
    ),
    _counted("hive_resurrections_total", "executions that went on by themselves", *_PLACE),
    _counted("hive_nodes_total", "visits of nodes that ended, by how", "agent", "outcome"),
    _counted(
        "hive_node_retries_total", "attempts at nodes that failed and are made again", "agent"
    ),
    _read("hive_running", "executions that run now", *_PLACE),
    _read("hive_entry_point_slots", "how many executions of an entry point may run", *_PLACE),
    _read("hive_slots", "how many executions may run over all agents"),
    _read("hive_slots_used", "how many of these slots are taken"),
    _read("hive_queue_depth", "executions that wait to run", *_PLACE),
    _read("hive_queue_oldest_seconds", "how long the oldest of these has waited", *_PLACE),
    # --- triggers
    _total("hive_timer_instants_total", "due instants of timers, by outcome", *_PLACE, "outcome"),
    _read("hive_timer_late_seconds", "how late a timer fired last", *_PLACE),
    _read("hive_timers_paused", "timers that are paused", "agent"),
    _read(
        "hive_scheduler_tick_age_seconds",
        "time since the scheduler last looked at the clock",
        "agent",
    ),
    _total(
        "hive_webhook_requests_total",
        "requests on webhook routes, by the status they were answered with",
        "route",
        "status",
    ),
    _total(
        "hive_webhook_outcomes_total",
        "the same, by what became of them: queued, duplicate, ignored, coalesced, handshake, or why they were refused",
        "route",
        "outcome",
    ),
    _counted(
        "hive_triggers_suppressed_total",
        "event entry points that a chain or a rule kept back",
        "agent",
    ),
    # --- models and tools
    _counted(
        "hive_model_calls_total",
        "model calls that ended, by how; of one that failed for good, why",
        "agent",
        "model",
        "stop_reason",
    ),
    _timed("hive_model_call_seconds", "how long model calls took", CALL_SECONDS, "agent", "model"),
    _counted(
        "hive_model_tokens_total",
        "tokens, by kind: input, cached_input (part of input), output, reasoning (part of output)",
        "agent",
        "model",
        "kind",
    ),
    _counted(
        "hive_model_cost_usd_total",
        "what model calls cost, as far as prices are known",
        "agent",
        "model",
    ),
    _counted(
        "hive_model_unpriced_calls_total", "model calls whose price is not known", "agent", "model"
    ),
    _counted(
        "hive_model_retries_total", "model calls that failed and are made again", "agent", "model"
    ),
    _counted(
        "hive_model_fallbacks_total", "model calls that another model answered", "agent", "model"
    ),
    _counted("hive_tool_calls_total", "tool calls, by outcome", "agent", "tool", "outcome"),
    _timed("hive_tool_call_seconds", "how long tool calls took", CALL_SECONDS, "agent"),
    # --- events and the store
    _total("hive_events_total", "durable events that were published"),
    _total("hive_events_dropped_total", "events that a slow listener missed"),
    _total("hive_commits_total", "transactions of the store"),
    _read("hive_commit_seconds", "how long the last commits took, by quantile", "quantile"),
    _read("hive_store_bytes", "size of hive.db"),
    # --- the process
    _read("hive_loop_lag_seconds", "the longest that the event loop was late of late"),
    _read("hive_resident_bytes", "memory that the process holds"),
    _read("hive_open_descriptors", "file descriptors that are open"),
    _read("hive_children", "child processes that run"),
    _read("hive_uptime_seconds", "time since the start"),
    _read("hive_agents", "agents, by state", "state"),
    _read("hive_ready", "1 while the daemon takes new work, else 0"),
    _read(
        "hive_budget_left",
        "what is left of a budget that is no execution's or session's own",
        "budget",
        "unit",
    ),
    _read("hive_incidents", "incidents that are not over, by severity", "severity"),
    _read("hive_build_info", "1, with the version of Hive and of Python", "version", "python"),
)
