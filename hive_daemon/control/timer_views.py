"""Timers, as the control API shows them: what the entry point says, what is in memory, and what the ledger knows.

Each time is shown twice: as every time of the API, and as a person reads it, with the offset of the timer's own zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from difflib import get_close_matches

from hive_daemon.clock import iso_z
from hive_daemon.control.answers import Json
from hive_daemon.control.errors import Ambiguous
from hive_daemon.control.host import Host
from hive_daemon.control.places import Place, check_address, places
from hive_daemon.control.query import shown
from hive_daemon.control.views import time_view
from hive_daemon.errors import TimerNotFound
from hive_daemon.observability.redaction import redactor
from hive_daemon.runtime.entry_point import TriggerType
from hive_daemon.runtime.timer_orders import Ran
from hive_daemon.runtime.triggers.forecast import Fire, Forecast
from hive_daemon.runtime.triggers.schedule import Schedule
from hive_daemon.runtime.triggers.timer import Timer
from hive_daemon.runtime.triggers.timer_config import TimerConfig
from hive_daemon.runtime.triggers.zones import read_zone
from hive_daemon.storage.timer_values import Occurrence, TimerRow

_SEE = "see `hive timers list`"


@dataclass(frozen=True, slots=True)
class Clockwork:
    """One timer: its entry point, the timer itself while its agent runs, and its row of the ledger."""

    place: Place
    timer: Timer | None
    row: TimerRow | None
    schedule: Schedule
    config: TimerConfig

    @property
    def zone(self) -> tzinfo:
        """The zone in which people think of it."""
        return self.schedule.zone


async def clockworks(host: Host) -> dict[str, Clockwork]:
    """Return all timers, by id."""
    rows = {row.timer_id: row for row in await host.services.store.timers.rows()}
    return {
        place.address: _clockwork(host, place, rows.get(place.address))
        for place in timer_places(host)
    }


def _clockwork(host: Host, place: Place, row: TimerRow | None) -> Clockwork:
    timer = live_timer(place)
    config = TimerConfig.read(place.spec.trigger_config)
    schedule = timer.schedule if timer is not None else _schedule(host, place, config)
    return Clockwork(place, timer, row, schedule, config)


def _schedule(host: Host, place: Place, config: TimerConfig) -> Schedule:
    zone = read_zone(host.loaded.config.timezone)
    return config.schedule(zone, host.services.clock.time(), place.address)


async def find_clockwork(host: Host, text: str) -> Clockwork:
    """Return the timer with this id, full or bare. Raises InvalidInput, TimerNotFound, Ambiguous."""
    place = find_timer(timer_places(host), text)
    rows = {row.timer_id: row for row in await host.services.store.timers.rows(place.agent.name)}
    return _clockwork(host, place, rows.get(place.address))


def timer_places(host: Host) -> list[Place]:
    """Return the entry points that a timer sets off, by address."""
    return [place for place in places(host) if place.spec.trigger_type == TriggerType.TIMER]


def find_timer(known: list[Place], text: str) -> Place:
    """Return the timer with this id among some, full or bare. Raises InvalidInput, TimerNotFound, Ambiguous."""
    check_address(text)
    found = [place for place in known if text in (place.address, place.stream_id)]
    if len(found) > 1:
        candidates = [place.address for place in found]
        raise Ambiguous(
            f"{shown(text)} means {len(found)} timers",
            candidates,
            hint=f"write its agent too: {candidates[0]}",
        )
    if not found:
        close = get_close_matches(text, [place.address for place in known], n=1)
        raise TimerNotFound(
            f"no timer is called {shown(text)}",
            hint=f"did you mean {close[0]}? {_SEE}" if close else _SEE,
        )
    return found[0]


def live_timer(place: Place) -> Timer | None:
    """Return the timer itself, None while its agent does not run."""
    runtime = place.agent.runtime
    opened = runtime.opened if runtime is not None else None
    return opened.timers.source.timers.get(place.address) if opened is not None else None


def timer_view(host: Host, clockwork: Clockwork) -> Json:
    """Return a timer."""
    place, row = clockwork.place, clockwork.row
    next_at = _next_at(host, clockwork)
    return {
        "id": place.address,
        "agent": place.agent.name,
        "entry_point": place.stream_id,
        "schedule": schedule_text(clockwork.schedule),
        "zone": str(clockwork.zone),
        "next_at": time_view(next_at),
        "next_local": local_view(next_at, clockwork.zone),
        "last_at": time_view(row.last_scheduled) if row else None,
        "last_local": local_view(row.last_scheduled if row else None, clockwork.zone),
        "last_outcome": row.last_outcome if row else None,
        "last_reason": _redacted(row.last_reason if row else None),
        "last_execution_id": row.last_execution_id if row else None,
        "paused": _pause_view(host, row),
        "fired": row.fired if row else 0,
        "skipped": row.skipped if row else 0,
        "missed": row.missed if row else 0,
        "failures": row.failures if row else 0,
        "remaining": row.remaining if row else clockwork.config.remaining_actions,
        "is_over": _is_over(clockwork.timer),
        "note": clockwork.config.note,
    }


def _is_over(timer: Timer | None) -> bool:
    return timer is not None and not timer.is_cancelled and timer.next_at is None


def _next_at(host: Host, clockwork: Clockwork) -> float | None:
    """Return when it begins its next execution, as far as anybody knows."""
    timer = clockwork.timer
    if timer is None or timer.done():
        return None
    if not timer.holds(host.services.clock.time()):
        return timer.begins_at
    if timer.paused_until is None:
        return None
    schedule = timer.schedule
    after = schedule.next_after(max(timer.paused_until - 0.001, (timer.next_at or 0.0) - 0.001))
    return None if after is None else after + schedule.delay


def schedule_text(schedule: Schedule) -> str:
    """Write when a timer is due, for people: as its owner wrote it, with the zone that times of the day need."""
    return str(schedule) if schedule.is_steady else f"{schedule} ({schedule.zone})"


def local_view(seconds: float | None, zone: tzinfo) -> str | None:
    """Write wall seconds as a zone's clock shows them, with the offset; None as None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, zone).isoformat(timespec="seconds")


def _redacted(text: str | None) -> str | None:
    return redactor().redact_text(text) if text else None


def _pause_view(host: Host, row: TimerRow | None) -> Json | None:
    if row is None or row.paused_at is None:
        return None
    if row.paused_until is not None and row.paused_until <= host.services.clock.time():
        return None
    return {
        "by": row.paused_by,
        "at": iso_z(row.paused_at),
        "until": time_view(row.paused_until),
        "note": row.note,
    }


def fire_view(fire: Fire) -> Json:
    """Return a fire to come."""
    return {
        "timer": fire.timer_id,
        "scheduled_for": iso_z(fire.scheduled_at),
        "begins_at": iso_z(fire.begins_at),
        "local": fire.local,
        "is_change_day": fire.is_change_day,
    }


def occurrence_view(row: Occurrence, zone: tzinfo) -> Json:
    """Return one row of a timer's ledger."""
    return {
        "scheduled_for": iso_z(row.scheduled_at),
        "local": local_view(row.scheduled_at, zone),
        "settled_at": iso_z(row.at),
        "late_by": round(row.late_by, 3),
        "outcome": row.outcome,
        "reason": _redacted(row.reason),
        "execution_id": row.execution_id,
        "ended": row.ended,
    }


def ran_view(ran: Ran, zone: tzinfo) -> Json:
    """Return one instant of a backfill."""
    return {
        "scheduled_for": iso_z(ran.scheduled_at),
        "local": local_view(ran.scheduled_at, zone),
        "execution_id": ran.execution_id,
        "began": ran.began,
    }


def forecast_view(forecast: Forecast) -> Json:
    """Return what timers will do."""
    return {
        "fires": [fire_view(fire) for fire in forecast.fires],
        "left_out": forecast.left_out,
        "collisions": [
            {"at": iso_z(one.at), "timers": list(one.timer_ids), "count": one.count}
            for one in forecast.collisions
        ],
        "collisions_left_out": forecast.collisions_left_out,
        "looked_until": iso_z(forecast.looked_until),
        "clock_changes": [
            {
                "zone": change.zone,
                "at": iso_z(change.at),
                "day": change.day.isoformat(),
                "local": change.local,
            }
            for change in forecast.changes
        ],
    }
