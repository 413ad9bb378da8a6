"""Agents and their entry points, as the control API shows them."""

from __future__ import annotations

from collections.abc import Sequence

from hive_daemon.control.answers import Json
from hive_daemon.control.host import Agent, Host, condition_of, troubles_of
from hive_daemon.control.places import Place
from hive_daemon.observability.redaction import redactor
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.webhook_route import WebhookRoute, route_of


def agent_view(host: Host, agent: Agent, own: Sequence[Place]) -> Json:
    """Return an agent; `own` are its entry points."""
    reason = "; ".join(troubles_of(host, agent))
    return {
        "name": agent.name,
        "path": str(agent.path),
        "state": condition_of(host, agent),
        "reason": redactor().redact_text(reason) if reason else None,
        "graph_id": agent.runtime.graph_id if agent.runtime is not None else None,
        "entry_points": len(own),
        "entry_point_ids": [place.address for place in own],
        "running": sum(_running(place) for place in own),
    }


def entry_point_view(place: Place, timer: Json | None) -> Json:
    """Return an entry point, with its timer if it has one."""
    spec, stream = place.spec, place.stream
    return {
        "address": place.address,
        "id": spec.id,
        "agent": place.agent.name,
        "graph_id": place.graph.graph_id,
        "name": spec.name,
        "trigger_type": str(spec.trigger_type),
        "isolation_level": str(spec.isolation_level),
        "max_concurrent": spec.flow_rules.most,
        "running": _running(place),
        "queued": stream.queued_count if stream is not None else 0,
        "timer": timer,
        "webhooks": [_webhook_view(route) for route in routes_to(place)],
    }


def stream_view(place: Place) -> Json:
    """Return how busy an entry point is."""
    stream = place.stream
    return {
        "address": place.address,
        "running": _running(place),
        "queued": stream.queued_count if stream is not None else 0,
        "max_concurrent": place.spec.flow_rules.most,
    }


def _running(place: Place) -> int:
    return place.stream.get_active_count() if place.stream is not None else 0


def routes_to(place: Place) -> list[WebhookRoute]:
    """Return the webhook routes of the agent whose deliveries set this entry point off."""
    runtime = place.agent.runtime
    if runtime is None:
        return []
    routes = [route_of(item) for item in runtime.config.webhook_routes]
    return [route for route in routes if _listens(place, _delivery_of(route, place.agent.name))]


def _delivery_of(route: WebhookRoute, agent: str) -> AgentEvent:
    return AgentEvent(EventType.WEBHOOK_RECEIVED, route.source_id, agent=agent)


def _listens(place: Place, event: AgentEvent) -> bool:
    return any(
        route.matches(event) for route in place.graph.routes() if route.entry_point == place.spec.id
    )


def _webhook_view(route: WebhookRoute) -> Json:
    return {
        "source_id": route.source_id,
        "path": route.path,
        "methods": [method.upper() for method in route.methods],
        "verified": not route.is_open,
    }
