"""Every route of the control API with everything it takes; a test compares this with docs/control-api.md both ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from hive_daemon.control import pages, streams
from hive_daemon.control.context import Endpoint
from hive_daemon.control.errors import MethodNotAllowed
from hive_daemon.control.query import shown
from hive_daemon.control.routes import (
    agents,
    approvals,
    budgets,
    drain,
    entry_points,
    events,
    executions,
    health,
    incidents,
    insight,
    logs,
    mcp,
    metrics,
    queue,
    sessions,
    stats,
    status,
    timer_orders,
    timers,
    webhooks,
)
from hive_daemon.control.wire import Route
from hive_daemon.errors import NotFound

_TRIGGER = Endpoint(
    entry_points.trigger,
    keys=("input", "session_id", "correlation_id", "source"),
    takes_key=True,
    starts_work=True,
)

ENDPOINTS: Mapping[Route, Endpoint] = {
    Route.HEALTH: Endpoint(health.health, is_always_open=True),
    Route.READY: Endpoint(health.ready, is_always_open=True),
    Route.LIVEZ: Endpoint(health.health, is_always_open=True),
    Route.READYZ: Endpoint(health.ready, is_always_open=True),
    Route.METRICS: Endpoint(metrics.metrics),
    Route.STATUS: Endpoint(status.status),
    Route.STATS: Endpoint(stats.stats),
    Route.PS: Endpoint(insight.ps, query=("all", "filter", "sort", "limit")),
    Route.SHOW: Endpoint(insight.show),
    Route.WHY: Endpoint(insight.why, query=("at",)),
    Route.AGENTS: Endpoint(agents.list_agents, query=pages.PARAMETERS),
    Route.ENTRY_POINTS: Endpoint(
        entry_points.list_entry_points, query=(*pages.PARAMETERS, "agent")
    ),
    Route.TRIGGER: _TRIGGER,
    Route.TRIGGER_OF_AGENT: _TRIGGER,
    Route.EXECUTIONS: Endpoint(
        executions.list_executions,
        query=(*pages.PARAMETERS, "status", "entry_point", "agent", "session_id"),
    ),
    Route.EXECUTION: Endpoint(executions.show_execution, query=("wait",)),
    Route.TRACE: Endpoint(executions.show_trace),
    Route.CANCEL: Endpoint(executions.cancel, keys=("reason",)),
    Route.QUEUE: Endpoint(queue.list_queue, query=(*pages.PARAMETERS, "entry_point", "agent")),
    Route.QUEUED: Endpoint(queue.explain),
    Route.QUEUED_FRONT: Endpoint(queue.to_front),
    Route.QUEUED_CANCEL: Endpoint(queue.cancel, keys=("reason",)),
    Route.SESSIONS: Endpoint(sessions.list_sessions, query=(*pages.PARAMETERS, "status", "agent")),
    Route.SESSION: Endpoint(sessions.show_session),
    Route.SESSION_STATE: Endpoint(sessions.show_state),
    Route.SESSION_CHECKPOINTS: Endpoint(sessions.list_checkpoints, query=pages.PARAMETERS),
    Route.SESSION_EVENTS: Endpoint(
        sessions.stream_session, query=(*streams.PARAMETERS, "execution_id")
    ),
    Route.SESSION_RESUME: Endpoint(
        sessions.resume,
        keys=("input", "from", "retry_failed", "accept_changed_graph"),
        takes_key=True,
        starts_work=True,
    ),
    Route.SESSION_INPUT: Endpoint(
        sessions.give_input, keys=("text", "node_id"), takes_key=True, starts_work=True
    ),
    Route.APPROVALS: Endpoint(approvals.list_approvals, query=(*pages.PARAMETERS, "agent")),
    Route.APPROVAL: Endpoint(approvals.show_approval),
    Route.APPROVAL_DECIDE: Endpoint(
        approvals.decide_approval, keys=("decision", "arguments", "message"), starts_work=True
    ),
    Route.BUDGETS: Endpoint(budgets.show_budgets),
    Route.BUDGETS_FORECAST: Endpoint(budgets.forecast, query=("days",)),
    Route.INCIDENTS: Endpoint(
        incidents.list_incidents, query=(*pages.PARAMETERS, "agent", "status")
    ),
    Route.INCIDENT: Endpoint(incidents.show_incident),
    Route.INCIDENT_ACK: Endpoint(incidents.acknowledge, keys=("note",)),
    Route.INCIDENT_RESOLVE: Endpoint(incidents.resolve, keys=("note",)),
    Route.TIMERS: Endpoint(timers.list_timers, query=pages.PARAMETERS),
    Route.TIMER: Endpoint(timers.show_timer),
    Route.TIMER_NEXT: Endpoint(timers.list_next, query=("n",)),
    Route.TIMER_HISTORY: Endpoint(timers.list_history, query=(*pages.PARAMETERS, "outcome")),
    Route.TIMER_TRIGGER: Endpoint(timer_orders.trigger, takes_key=True, starts_work=True),
    Route.TIMER_BACKFILL: Endpoint(
        timer_orders.backfill, keys=("start", "end", "dry_run"), starts_work=True
    ),
    Route.TIMERS_SIMULATE: Endpoint(timers.simulate, query=("days",)),
    Route.TIMERS_PAUSE: Endpoint(timer_orders.pause, keys=("ids", "note", "for")),
    Route.TIMERS_RESUME: Endpoint(timer_orders.resume, keys=("ids", "note", "catch_up")),
    Route.WEBHOOKS: Endpoint(webhooks.list_routes, query=pages.PARAMETERS),
    Route.WEBHOOKS_TEST: Endpoint(
        webhooks.try_out, keys=("route", "payload", "headers", "sign", "send"), takes_key=True
    ),
    Route.DELIVERIES: Endpoint(
        webhooks.list_deliveries, query=(*pages.PARAMETERS, "route", "status", "since")
    ),
    Route.DELIVERY: Endpoint(webhooks.show_delivery),
    Route.WEBHOOKS_REPLAY: Endpoint(
        webhooks.replay_deliveries,
        keys=("ids", "since", "route", "status", "dry_run"),
        takes_key=True,
        starts_work=True,
    ),
    Route.MCP: Endpoint(mcp.list_servers, query=(*pages.PARAMETERS, "agent")),
    Route.EVENTS: Endpoint(
        events.stream_events,
        query=(*streams.PARAMETERS, *events.PARAMETERS),
    ),
    Route.LOGS: Endpoint(logs.stream_logs, query=logs.PARAMETERS),
    Route.DRAIN: Endpoint(drain.drain),
}


@dataclass(frozen=True, slots=True)
class Matched:
    """A route and the names in its path, decoded."""

    route: Route
    names: Mapping[str, str]


def find_route(method: str, path: str) -> Matched:
    """Return the route of a request by its path as it was sent, without the query.

    A name is one part of the path, whatever it decodes to. Raises NotFound, MethodNotAllowed.
    """
    found = list(_matching(path))
    for matched in found:
        if matched.route.method == method:
            return matched
    if not found:
        raise NotFound(f"there is no {shown(path)} here", hint="see docs/control-api.md")
    allowed = sorted({matched.route.method for matched in found})
    raise MethodNotAllowed(f"{shown(path)} does not take {shown(method)}", allowed)


def _matching(path: str) -> Iterator[Matched]:
    parts = path.split("/")
    for route in Route:
        names = _names(route.template.split("/"), parts)
        if names is not None:
            yield Matched(route, names)


def _names(template: list[str], parts: list[str]) -> dict[str, str] | None:
    if len(template) != len(parts):
        return None
    names: dict[str, str] = {}
    for expected, part in zip(template, parts, strict=True):
        if expected.startswith("{"):
            names[expected.strip("{}")] = unquote(part)
        elif expected != part:
            return None
    return names
