"""What an incident says of its cause: from its row of the book to a story. Pure."""

from __future__ import annotations

from hive_daemon.insight.story import Cause, Link, Story
from hive_daemon.storage.incident_book import Incident, IncidentStatus


def tell_incident(incident: Incident) -> Story:
    """Say what is wrong, since when, and in which executions it was seen."""
    times = "once" if incident.count == 1 else f"{incident.count} times"
    where = f"{incident.agent}/{incident.entry_point}" if incident.entry_point else incident.agent
    links = [Link(f"{incident.pattern} was seen first at {where}", incident.first_seen)]
    if incident.executions:
        links.append(Link(f"it was seen in {', '.join(incident.executions)}"))
    if incident.evidence:
        links.append(Link(incident.evidence))
    links.append(Link("it was seen last", incident.last_seen))
    is_over = incident.status is IncidentStatus.RESOLVED
    if incident.action and not is_over:
        links.append(Link(f"to do: {incident.action}"))
    remedy = f"hive incidents {'show' if is_over else 'ack'} {incident.id}"
    answer = f"{incident.id} is {incident.status}, seen {times}: {incident.cause}"
    return Story("incident", incident.id, Cause.HAPPENED, answer, tuple(links), remedy)
