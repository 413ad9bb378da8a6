"""Timers, as the control API shows them: what the entry point says, what is in memory, and what the ledger knows."""

from __future__ import annotations

from dataclasses import dataclass

from hive_daemon.clock import iso_z
from hive_daemon.control.answers import Json
from hive_daemon.control.host import Host
from hive_daemon.control.places import Place, places
from hive_daemon.control.views import time_view
from hive_daemon.observability.redaction import redactor
from hive_daemon.runtime.entry_point import TriggerType
from hive_daemon.runtime.triggers.schedule import CronSchedule, Schedule
from hive_daemon.runtime.triggers.timer import Timer
from hive_daemon.runtime.triggers.timer_config import TimerConfig
from hive_daemon.runtime.triggers.zones import read_zone
from hive_daemon.storage.timer_values import TimerRow


@dataclass(frozen=True, slots=True)
class Clockwork:
    """One timer: its entry point, the timer itself while its agent runs, and its row of the ledger."""

    place: Place
    timer: Timer | None
    row: TimerRow | None


async def clockworks(host: Host) -> dict[str, Clockwork]:
    """Return all timers, by id."""
    rows = {row.timer_id: row for row in await host.services.store.timers.rows()}
    return {
        place.address: Clockwork(place, live_timer(place), rows.get(place.address))
        for place in timer_places(host)
    }


def timer_places(host: Host) -> list[Place]:
    """Return the entry points that a timer sets off, by address."""
    return [place for place in places(host) if place.spec.trigger_type == TriggerType.TIMER]


def live_timer(place: Place) -> Timer | None:
    """Return the timer itself, None while its agent does not run."""
    runtime = place.agent.runtime
    opened = runtime.opened if runtime is not None else None
    return opened.timers.source.timers.get(place.address) if opened is not None else None


def timer_view(host: Host, clockwork: Clockwork) -> Json:
    """Return a timer."""
    place, timer, row = clockwork.place, clockwork.timer, clockwork.row
    is_waiting = timer is not None and not timer.done() and not timer.is_paused
    return {
        "id": place.address,
        "agent": place.agent.name,
        "entry_point": place.stream_id,
        "schedule": schedule_text(host, clockwork),
        "next_at": time_view(timer.next_at) if timer is not None and is_waiting else None,
        "last_at": time_view(row.last_scheduled) if row else None,
        "last_outcome": row.last_outcome if row else None,
        "last_reason": _reason(row),
        "paused": _pause_view(row),
        "fired": row.fired if row else 0,
        "skipped": row.skipped if row else 0,
        "missed": row.missed if row else 0,
    }


def schedule_text(host: Host, clockwork: Clockwork) -> str:
    """Write when a timer is due, for people: as its owner wrote it, with the zone that a cron expression needs."""
    schedule = clockwork.timer.schedule if clockwork.timer else _schedule(host, clockwork.place)
    return f"{schedule} ({schedule.zone})" if isinstance(schedule, CronSchedule) else str(schedule)


def _schedule(host: Host, place: Place) -> Schedule:
    config = TimerConfig.read(place.spec.trigger_config)
    return config.schedule(read_zone(host.loaded.config.timezone), host.services.clock.time())


def _reason(row: TimerRow | None) -> str | None:
    return redactor().redact_text(row.last_reason) if row and row.last_reason else None


def _pause_view(row: TimerRow | None) -> Json | None:
    if row is None or row.paused_at is None:
        return None
    return {"by": row.paused_by, "at": iso_z(row.paused_at), "note": row.note}
