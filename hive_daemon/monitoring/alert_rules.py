"""What somebody is alerted of: an incident that began or goes on, and that it is over. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hive_daemon.clock import iso_z
from hive_daemon.monitoring.ticket import Severity
from hive_daemon.storage.incident_book import Incident

COOLDOWN_SECONDS = 3600.0
"""How long nobody is told of the same incident again, unless somebody says otherwise."""

TIMEOUT_SECONDS = 10.0
"""How long one delivery may take, unless somebody says otherwise."""


class AlertKind(StrEnum):
    """What an alert tells."""

    OPENED = "incident.opened"
    CONTINUES = "incident.continues"
    RESOLVED = "incident.resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to be told. `at` is in wall seconds."""

    kind: AlertKind
    incident: Incident
    at: float

    @property
    def id(self) -> str:
        """The same for every try to deliver it, and for no other alert."""
        incident = self.incident
        return f"alert_{incident.id}_{incident.openings}_{incident.count}_{self.kind.value.partition('.')[2]}"

    @property
    def sentence(self) -> str:
        """What a person is told."""
        incident = self.incident
        place = address_of(incident)
        if self.kind is AlertKind.RESOLVED:
            return f"{place} is well again, this is over: {incident.cause}"
        return f"{place}: {incident.cause}"

    def document(self) -> dict[str, Any]:
        """Return it as JSON values: what a command reads and a webhook receives."""
        return {
            "id": self.id,
            "type": self.kind.value,
            "timestamp": iso_z(self.at),
            "data": {"message": self.sentence, **incident_view(self.incident)},
        }


def address_of(incident: Incident) -> str:
    """Return where it is: the address of an entry point, or the name of an agent."""
    return "/".join(part for part in (incident.agent, incident.entry_point) if part)


def concerns(alert: Alert, least: Severity) -> bool:
    """Say whether somebody who wants to know from this severity on is to be told."""
    return Severity(alert.incident.severity).rank >= least.rank


def incident_view(incident: Incident) -> dict[str, Any]:
    """Return an incident as the control API and alerts show it; times are ISO 8601, UTC."""
    return {
        "id": incident.id,
        "status": incident.status.value,
        "severity": incident.severity,
        "pattern": incident.pattern,
        "agent": incident.agent,
        "entry_point": address_of(incident) if incident.entry_point else None,
        "graph_id": incident.graph_id or None,
        "node_id": incident.node_id or None,
        "cause": incident.cause,
        "action": incident.action,
        "error": incident.error,
        "evidence": incident.evidence,
        "count": incident.count,
        "openings": incident.openings,
        "first_seen": iso_z(incident.first_seen),
        "last_seen": iso_z(incident.last_seen),
        "opened_at": iso_z(incident.opened_at),
        "acknowledged_at": _moment(incident.acknowledged_at),
        "resolved_at": _moment(incident.resolved_at),
        "by": incident.by or None,
        "note": incident.note or None,
        "executions": list(incident.executions),
    }


def _moment(at: float | None) -> str | None:
    return None if at is None else iso_z(at)
