"""The book of incidents in memory, held to the same laws as the durable one."""

from __future__ import annotations

from collections.abc import Sequence

from hive_daemon.clock import Clock
from hive_daemon.storage.incident_book import (
    KEPT_INCIDENTS,
    Incident,
    IncidentFilter,
    IncidentNotFound,
    IncidentStatus,
    Reported,
    Sighting,
    acknowledged,
    is_wanted,
    resolved,
    sighted,
)
from hive_daemon.storage.values import MAX_PAGE


class MemoryIncidents:
    """The book over a dict. `alerted` is when each sink was told of each incident."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.kept: dict[str, Incident] = {}
        self.alerted: dict[tuple[str, str], float] = {}

    async def report(self, sighting: Sighting) -> Reported:
        """See `IncidentBook.report`."""
        reported = sighted(self.kept.get(sighting.incident_id), sighting)
        self.kept[reported.incident.id] = reported.incident
        by_worth = sorted(self.kept.values(), key=lambda each: (each.is_over, -each.last_seen))
        self.kept = {each.id: each for each in by_worth[:KEPT_INCIDENTS]}
        return reported

    async def acknowledge(self, incident_id: str, by: str, note: str = "") -> Incident:
        """See `IncidentBook.acknowledge`."""
        after = acknowledged(await self.load(incident_id), self._clock.time(), by, note)
        self.kept[incident_id] = after
        return after

    async def resolve(self, incident_ids: Sequence[str], by: str, note: str = "") -> list[Incident]:
        """See `IncidentBook.resolve`."""
        found = [await self.load(each) for each in dict.fromkeys(incident_ids)]
        now = self._clock.time()
        over = [resolved(each, now, by, note) for each in found if not each.is_over]
        self.kept.update({each.id: each for each in over})
        return over

    async def load(self, incident_id: str) -> Incident:
        """See `IncidentBook.load`."""
        if incident_id not in self.kept:
            raise IncidentNotFound(subject=incident_id)
        return self.kept[incident_id]

    async def listing(self, wanted: IncidentFilter) -> list[Incident]:
        """See `IncidentBook.listing`."""
        found = [each for each in self.kept.values() if is_wanted(each, wanted)]
        found.sort(key=lambda each: (-each.last_seen, each.id))
        return found[wanted.offset : wanted.offset + max(0, min(wanted.limit, MAX_PAGE))]

    async def may_alert(self, incident_id: str, sink: str, cooldown: float) -> bool:
        """See `IncidentBook.may_alert`."""
        if (await self.load(incident_id)).status is IncidentStatus.ACKNOWLEDGED:
            return False
        now, last = self._clock.time(), self.alerted.get((incident_id, sink))
        if last is not None and 0 <= now - last < cooldown:
            return False
        self.alerted[incident_id, sink] = now
        return True
