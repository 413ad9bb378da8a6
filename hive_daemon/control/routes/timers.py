"""`/v1/timers`: looking at them, at what they did, and at what they will do."""

from __future__ import annotations

import math

from aiohttp import web

from hive_daemon.clock import iso_z
from hive_daemon.control.answers import answer, listed
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.pages import Page
from hive_daemon.control.timer_views import (
    Clockwork,
    clockworks,
    find_clockwork,
    fire_view,
    forecast_view,
    occurrence_view,
    timer_view,
)
from hive_daemon.control.wire import PAGE_SIZE_MAX
from hive_daemon.errors import StorageFull, StorageUnavailable
from hive_daemon.runtime.triggers.forecast import Planned, forecast, upcoming
from hive_daemon.storage.timer_values import Occurrence, Span, TimerOutcome
from hive_daemon.tasks import to_thread

MOST_DAYS = 366
DAYS = 14
NEXT = 10
SHOWN_NEXT = 5
SHOWN_HISTORY = 10
_DAY_SECONDS = 86_400.0
_MICRO = 1_000_000


async def list_timers(control: Control, ask: Ask) -> web.StreamResponse:
    """List the timers, by id."""
    found = await clockworks(control.host)
    page, cursor = Page.of(ask.query).cut(sorted(found), str)
    return listed([timer_view(control.host, found[timer_id]) for timer_id in page], cursor)


async def show_timer(control: Control, ask: Ask) -> web.StreamResponse:
    """Show one timer whole: its rules, what comes next, what became of the last instants."""
    clockwork = await find_clockwork(control.host, ask.names["timer"])
    place, config = clockwork.place, clockwork.config
    rows = await _history(control, clockwork, SHOWN_HISTORY, Span())
    fires = upcoming(_planned(clockwork), control.now(), SHOWN_NEXT)
    stream = place.stream
    return answer(
        {
            "timer": timer_view(control.host, clockwork),
            "trigger_config": place.spec.trigger_config,
            "overlap": config.rules.overlap_for(place.spec.max_concurrent),
            "catchup": config.catchup,
            "catchup_window_seconds": config.catchup_window,
            "pause_on_failure": config.pause_on_failure,
            "running": stream.get_active_count() if stream is not None else 0,
            "queued": stream.queued_count if stream is not None else 0,
            "next": [fire_view(fire) for fire in fires],
            "history": [occurrence_view(row, clockwork.zone) for row in rows],
        }
    )


async def list_next(control: Control, ask: Ask) -> web.StreamResponse:
    """List the next fires of a timer, whether it is paused or not."""
    clockwork = await find_clockwork(control.host, ask.names["timer"])
    many = ask.query.whole("n", 1, PAGE_SIZE_MAX) or NEXT
    fires = upcoming(_planned(clockwork), control.now(), many)
    return listed([fire_view(fire) for fire in fires])


async def list_history(control: Control, ask: Ask) -> web.StreamResponse:
    """List what became of a timer's due instants, the newest first."""
    clockwork = await find_clockwork(control.host, ask.names["timer"])
    page, outcomes = Page.of(ask.query), ask.query.choices("outcome", TimerOutcome)
    before = page.before()
    span = Span(before=math.inf if before is None else before / _MICRO, outcomes=outcomes)
    rows = await _history(control, clockwork, page.limit, span)
    more = len(rows) == page.limit and await _history(
        control, clockwork, 1, Span(before=rows[-1].scheduled_at, outcomes=outcomes)
    )
    cursor = f"n{math.floor(rows[-1].scheduled_at * _MICRO)}" if more else None
    return listed([occurrence_view(row, clockwork.zone) for row in rows], cursor)


async def _history(
    control: Control, clockwork: Clockwork, limit: int, span: Span
) -> list[Occurrence]:
    """Return rows of the ledger, after it has noted how executions ended."""
    ledger, timer_id = control.store.timers, clockwork.place.address
    rows = await ledger.occurrences(timer_id, limit, span)
    if clockwork.timer is None or all(row.ended or not row.execution_id for row in rows):
        return rows
    runtime = clockwork.place.agent.runtime
    if runtime is not None and runtime.opened is not None:
        try:
            await runtime.opened.timers.source.account([timer_id])
        except (StorageFull, StorageUnavailable):
            return rows  # Nothing can be noted now; what is known can be read.
    return await ledger.occurrences(timer_id, limit, span)


async def simulate(control: Control, ask: Ask) -> web.StreamResponse:
    """Say when every timer fires in the days to come, and which fire together; pauses are left out of account."""
    days = ask.query.whole("days", 1, MOST_DAYS) or DAYS
    found = await clockworks(control.host)
    planned = [_planned(found[timer_id]) for timer_id in sorted(found)]
    start = control.now()
    end = start + days * _DAY_SECONDS
    seen = await to_thread(forecast, planned, start, end)
    paused = [
        timer_id
        for timer_id, clockwork in sorted(found.items())
        if clockwork.timer is not None and clockwork.timer.holds(start)
    ]
    span = {"start": iso_z(start), "end": iso_z(end), "paused": paused}
    return answer({**span, **forecast_view(seen)})


def _planned(clockwork: Clockwork) -> Planned:
    row = clockwork.row
    remaining = row.remaining if row is not None else clockwork.config.remaining_actions
    return Planned(clockwork.place.address, clockwork.schedule, remaining)
