"""From what a timer's owner wrote to its schedule; and whether anything can ever be due by it.

Pure. The parts have been read one by one before: what is decided here is how they go together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from hive_daemon.errors import InvalidInput
from hive_daemon.runtime.triggers.exclusions import Exclusions
from hive_daemon.runtime.triggers.schedule import CronSchedule, IntervalSchedule, Schedule
from hive_daemon.runtime.triggers.trimmed import MomentSchedule, TrimmedSchedule, instant_meant
from hive_daemon.runtime.triggers.zones import EARLIEST

_CALENDAR_START = datetime(2000, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Plan:
    """The keys that say when a timer is due. `crons`, else `period_seconds` is an interval's, else `moments`."""

    zone: tzinfo
    crons: tuple[str, ...] = ()
    period_seconds: float | None = None
    moments: tuple[datetime, ...] = ()
    phase: float | None = None
    exclude: tuple[str, ...] = ()
    start: datetime | None = None
    end: datetime | None = None

    @property
    def is_pinned(self) -> bool:
        """Whether it says which instants are meant, wherever the timer is first started."""
        return self.period_seconds is None or self.phase is not None or self.start is not None

    @property
    def needs_zone(self) -> bool:
        """Whether times of the wall meet fixed instants, so that only the zone tells which come first."""
        moments = [one for one in (*self.moments, self.start, self.end) if one is not None]
        are_fixed = {moment.tzinfo is not None for moment in moments}
        are_fixed |= {True} if self.phase is not None else set()
        are_fixed |= {False} if self.crons or self.exclude else set()
        return len(are_fixed) > 1


def build_schedule(plan: Plan, anchor: float, delay: float = 0.0) -> Schedule:
    """Return the schedule; `anchor` is occurrence 0 of an interval that is not pinned.

    Raises InvalidInput for a cron schedule of which `exclude` leaves nothing.
    """
    if plan.crons:
        first, *also = plan.crons
        whole: Schedule = CronSchedule(first, plan.zone, tuple(also), plan.exclude)
    elif plan.period_seconds is not None:
        whole = _interval(plan, plan.period_seconds, anchor)
    else:
        found = {instant_meant(moment, plan.zone) for moment in plan.moments}
        whole = MomentSchedule(tuple(sorted(found)), plan.zone)
    exclude = () if plan.crons else plan.exclude
    if plan.start is None and plan.end is None and not exclude and not delay:
        return whole
    return TrimmedSchedule(
        whole,
        Exclusions(exclude, plan.zone),
        start=-math.inf if plan.start is None else instant_meant(plan.start, plan.zone),
        end=math.inf if plan.end is None else instant_meant(plan.end, plan.zone),
        delay=delay,
    )


def _interval(plan: Plan, period_seconds: float, anchor: float) -> IntervalSchedule:
    if plan.phase is not None:
        anchor = plan.phase
    elif plan.start is not None:
        anchor = instant_meant(plan.start, plan.zone)
    return IntervalSchedule(period_seconds, anchor, plan.zone, plan.is_pinned)


def require_possible(plan: Plan, *, is_zone_known: bool) -> None:
    """Raise InvalidInput, with a remedy, if nothing can ever be due; what has merely passed may stay.

    An interval that is not pinned is judged by its minutes alone. Where the zone decides and is not known yet, being
    the daemon's, only what is wrong in every zone is refused.
    """
    if plan.start is None and plan.end is None and not plan.exclude:
        return
    if plan.exclude and Exclusions(plan.exclude).free_from(0.0) is None:
        raise InvalidInput("exclude names every minute, nothing would ever be due: name fewer")
    schedule = build_schedule(plan, 0.0)
    if (plan.needs_zone and not is_zone_known) or not isinstance(schedule, TrimmedSchedule):
        return
    if schedule.end < schedule.start:
        raise InvalidInput(
            f"end_time {plan.end} is before start_time {plan.start}, "
            "nothing would ever be due: write a later end_time"
        )
    if plan.is_pinned and schedule.next_after(_start_of_time(plan)) is None:
        raise InvalidInput(
            f"nothing would ever be due: {schedule}; loosen start_time, end_time or exclude"
        )


def _start_of_time(plan: Plan) -> float:
    """Return an instant before which nobody looks: a one-shot may be older than the calendar of cron."""
    return EARLIEST if plan.moments else _CALENDAR_START
