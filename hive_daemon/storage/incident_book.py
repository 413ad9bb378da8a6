"""The book of incidents: troubles by their signature, each one row however often it is seen. The values and the port.

A signature is who has the trouble (agent, entry point), which trouble (pattern), and what it says (an error without
what differs from time to time). The same signature again is the same incident: it is counted, and opened anew if it was
over.
Guarantees of `IncidentBook` are in its docstrings; `tests/conformance/test_incident_books.py` holds back ends to them.
Times are wall seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Protocol

import orjson

from hive_daemon.errors import IllegalMove, NotFound

FAILURES_IN_A_ROW = 2
"""From here on failures of an entry point are an incident, unless somebody says otherwise."""

KEPT_INCIDENTS = 2_000
"""How many are kept; beyond that those that were over first are forgotten, then those not seen for longest."""

KEPT_EXECUTIONS = 20
"""The executions that an incident names: the last ones."""


class IncidentNotFound(NotFound):
    """No incident has this id."""


class IncidentStatus(StrEnum):
    """Where an incident stands: `acknowledged` is open, and nobody is alerted of it any more."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


UNRESOLVED = (IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A trouble, seen once.

    `pattern`, `severity` are words of `monitoring`; `error` is normalised, and part of the signature; `cause`, `action`
    and `evidence` are for people. `entry_point` is empty for a trouble of the whole agent.
    """

    agent: str
    entry_point: str
    pattern: str
    error: str
    severity: str
    cause: str
    action: str
    at: float
    evidence: str = ""
    graph_id: str = ""
    node_id: str = ""
    execution_id: str = ""

    @property
    def incident_id(self) -> str:
        """The id that every sighting of the signature has: `inc_` and 12 hexadecimal digits."""
        parts = [self.agent, self.entry_point, self.pattern, self.error]
        return f"inc_{hashlib.sha256(orjson.dumps(parts)).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class Incident:
    """A trouble as far as it is known. `count` is how often it was seen, `openings` how often it began anew.

    `severity`, `cause`, `action`, `evidence` and the place are those of the last sighting; `by` is who acknowledged or
    resolved it.
    """

    id: str
    agent: str
    entry_point: str
    pattern: str
    error: str
    severity: str
    cause: str
    action: str
    evidence: str
    graph_id: str
    node_id: str
    status: IncidentStatus
    count: int
    openings: int
    first_seen: float
    last_seen: float
    opened_at: float
    executions: tuple[str, ...] = ()
    acknowledged_at: float | None = None
    resolved_at: float | None = None
    by: str = ""
    note: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it is resolved."""
        return self.status is IncidentStatus.RESOLVED

    def encode(self) -> bytes:
        """Return it as JSON."""
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, kept: bytes) -> Incident:
        """Read what `encode` gave."""
        values: dict[str, Any] = orjson.loads(kept)
        values["status"] = IncidentStatus(values["status"])
        values["executions"] = tuple(values["executions"])
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in values.items() if key in known})


@dataclass(frozen=True, slots=True)
class Reported:
    """What a sighting came to. `is_opened`: it was not known, or it was over."""

    incident: Incident
    is_opened: bool


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """Which incidents to list; every field that is set must match. Last seen first, `offset` for the next page."""

    agent: str | None = None
    entry_point: str | None = None
    statuses: tuple[IncidentStatus, ...] = ()
    offset: int = 0
    limit: int = 50


class IncidentBook(Protocol):
    """Where incidents are kept. Each method is atomic and durable when it returns."""

    async def report(self, sighting: Sighting) -> Reported:
        """Count a sighting. Laws: one incident per signature; one that was over is opened anew, by nothing else.

        Raises StorageFull, StorageUnavailable.
        """

    async def acknowledge(self, incident_id: str, by: str, note: str = "") -> Incident:
        """Let nobody be alerted of it until it is over. Raises IncidentNotFound, IllegalMove if it is over."""

    async def resolve(self, incident_ids: Sequence[str], by: str, note: str = "") -> list[Incident]:
        """Say that these are over; answer those that were not before. Raises IncidentNotFound, then none is changed."""

    async def load(self, incident_id: str) -> Incident:
        """Return one. Raises IncidentNotFound."""

    async def listing(self, wanted: IncidentFilter) -> list[Incident]:
        """Return incidents, last seen first, at most MAX_PAGE."""

    async def may_alert(self, incident_id: str, sink: str, cooldown: float) -> bool:
        """Say whether a sink may be told of it now, and note that it is: once within so many seconds, over restarts.

        Never while it is acknowledged. Raises IncidentNotFound.
        """


# --- what becomes of an incident ------------------------------------------------------------


def sighted(kept: Incident | None, sighting: Sighting) -> Reported:
    """Return the incident after a sighting; `kept` is what is known of it."""
    if kept is None:
        return Reported(_first(sighting), is_opened=True)
    named = [name for name in kept.executions if name != sighting.execution_id]
    executions = (*named, sighting.execution_id) if sighting.execution_id else kept.executions
    after = replace(
        kept,
        severity=sighting.severity,
        cause=sighting.cause,
        action=sighting.action,
        evidence=sighting.evidence,
        graph_id=sighting.graph_id,
        node_id=sighting.node_id,
        count=kept.count + 1,
        last_seen=max(kept.last_seen, sighting.at),
        executions=executions[-KEPT_EXECUTIONS:],
    )
    if not kept.is_over:
        return Reported(after, is_opened=False)
    opened = replace(
        after,
        status=IncidentStatus.OPEN,
        openings=kept.openings + 1,
        opened_at=sighting.at,
        acknowledged_at=None,
        resolved_at=None,
        by="",
        note="",
    )
    return Reported(opened, is_opened=True)


def _first(sighting: Sighting) -> Incident:
    return Incident(
        id=sighting.incident_id,
        agent=sighting.agent,
        entry_point=sighting.entry_point,
        pattern=sighting.pattern,
        error=sighting.error,
        severity=sighting.severity,
        cause=sighting.cause,
        action=sighting.action,
        evidence=sighting.evidence,
        graph_id=sighting.graph_id,
        node_id=sighting.node_id,
        status=IncidentStatus.OPEN,
        count=1,
        openings=1,
        first_seen=sighting.at,
        last_seen=sighting.at,
        opened_at=sighting.at,
        executions=(sighting.execution_id,) if sighting.execution_id else (),
    )


def acknowledged(kept: Incident, now: float, by: str, note: str) -> Incident:
    """Return the incident after somebody took note of it. Raises IllegalMove if it is over."""
    if kept.is_over:
        raise IllegalMove(f"the incident {kept.id} is resolved", subject=kept.id)
    return replace(kept, status=IncidentStatus.ACKNOWLEDGED, acknowledged_at=now, by=by, note=note)


def resolved(kept: Incident, now: float, by: str, note: str) -> Incident:
    """Return the incident once it is over."""
    return replace(kept, status=IncidentStatus.RESOLVED, resolved_at=now, by=by, note=note)


def is_wanted(incident: Incident, wanted: IncidentFilter) -> bool:
    """Say whether an incident matches."""
    return (
        wanted.agent in (None, incident.agent)
        and wanted.entry_point in (None, incident.entry_point)
        and (not wanted.statuses or incident.status in wanted.statuses)
    )
