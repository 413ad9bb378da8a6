"""`/v1/incidents`: what is wrong, once for each signature."""

from __future__ import annotations

import logging

from aiohttp import web

from hive_daemon.control.answers import answer, listed
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.pages import Page
from hive_daemon.control.places import check_agent
from hive_daemon.control.query import read_choice
from hive_daemon.monitoring.alert_rules import incident_view
from hive_daemon.storage.incident_book import UNRESOLVED, IncidentFilter, IncidentStatus

logger = logging.getLogger(__name__)

MOST_NOTE = 1_000
ALL = "all"


async def list_incidents(control: Control, ask: Ask) -> web.StreamResponse:
    """List incidents, last seen first: those that are not over, unless another status is asked for."""
    agent, status = ask.query.one("agent"), ask.query.one("status")
    page = Page.of(ask.query)
    if agent is not None:
        check_agent(control.host, agent)
    offset = page.offset()
    wanted = IncidentFilter(
        agent=agent, statuses=_statuses(status), offset=offset, limit=page.limit + 1
    )
    found = await control.store.incidents.listing(wanted)
    cursor = f"o{offset + page.limit}" if len(found) > page.limit else None
    return listed([incident_view(each) for each in found[: page.limit]], cursor)


def _statuses(text: str | None) -> tuple[IncidentStatus, ...]:
    if text is None:
        return UNRESOLVED
    return () if text == ALL else (read_choice("status", text, IncidentStatus),)


async def show_incident(control: Control, ask: Ask) -> web.StreamResponse:
    """Show an incident."""
    return answer(incident_view(await control.store.incidents.load(ask.names["incident"])))


async def acknowledge(control: Control, ask: Ask) -> web.StreamResponse:
    """Silence an incident until it is over."""
    name, note = ask.names["incident"], ask.body.text("note", most=MOST_NOTE)
    incident = await control.host.incidents.acknowledge(name, str(ask.peer), note)
    logger.info("incident acknowledged", extra={"incident": name, "by": str(ask.peer)})
    return answer(incident_view(incident))


async def resolve(control: Control, ask: Ask) -> web.StreamResponse:
    """Say that an incident is over."""
    name, note = ask.names["incident"], ask.body.text("note", most=MOST_NOTE)
    incident = await control.host.incidents.resolve(name, str(ask.peer), note)
    logger.info("incident resolved", extra={"incident": name, "by": str(ask.peer)})
    return answer(incident_view(incident))
