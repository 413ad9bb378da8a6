"""`/v1/timers`: pausing and resuming them, running one now, running what was passed over."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, tzinfo

from aiohttp import web

from hive_daemon.control.answers import answer, listed
from hive_daemon.control.body import Body
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.places import Place
from hive_daemon.control.query import shown
from hive_daemon.control.routes.entry_points import accepted_answer
from hive_daemon.control.timer_views import (
    clockworks,
    find_clockwork,
    find_timer,
    live_timer,
    ran_view,
    timer_places,
    timer_view,
)
from hive_daemon.durations import parse_duration
from hive_daemon.errors import HiveError, InvalidInput, NotRunning
from hive_daemon.runtime.timer_orders import AFTER_PAUSE, BACKFILL, Ran, TimerOrders
from hive_daemon.runtime.timers import RuntimeTimers
from hive_daemon.runtime.triggers.timer_source import Change, TimerNews
from hive_daemon.runtime.triggers.trimmed import instant_meant

logger = logging.getLogger(__name__)

MOST_NOTE = 1_000
MOST_TIME = 64


@dataclass(frozen=True, slots=True)
class _Order:
    """To pause or to resume: who, why, until when."""

    paused: bool
    by: str
    note: str
    until: float | None = None

    @property
    def change(self) -> Change:
        return Change.PAUSED if self.paused else Change.RESUMED


async def pause(control: Control, ask: Ask) -> web.StreamResponse:
    """Let timers fire no more; answer once that is durable."""
    until = _until(control, ask.body)
    return await _carry_out(control, ask, _Order(True, str(ask.peer), _note(ask), until))


async def resume(control: Control, ask: Ask) -> web.StreamResponse:
    """Let timers fire again, and catch up what their pause passed over; answer once that is durable."""
    named = _named(timer_places(control.host), ask.body.texts("ids"))
    missed = await _passed_over(control, named) if ask.body.flag("catch_up") else []
    answered = await _carry_out(control, ask, _Order(False, str(ask.peer), _note(ask)))
    for orders, timer_id, ran in missed:
        await orders.run_again(timer_id, ran, AFTER_PAUSE)
    return answered if not missed else await _listed(control, [place.address for place in named])


async def trigger(control: Control, ask: Ask) -> web.StreamResponse:
    """Begin an execution as the timer would; answer once it is durable."""
    clockwork = await find_clockwork(control.host, ask.names["timer"])
    orders = _orders(control, clockwork.place)
    submitted = await orders.run_now(clockwork.place.address, ask.key, ask.body.digest)
    return await accepted_answer(control, submitted)


async def backfill(control: Control, ask: Ask) -> web.StreamResponse:
    """Run the instants of a span that have not fired; answer once all of them are durable."""
    clockwork = await find_clockwork(control.host, ask.names["timer"])
    place, zone, is_dry = clockwork.place, clockwork.zone, ask.body.flag("dry_run")
    if clockwork.row is None:
        raise NotRunning(f"the agent {place.agent.name} does not run")
    orders = _orders(control, place)
    start = _moment(ask.body, "start", zone)
    end = _moment(ask.body, "end", zone) if ask.body.has("end") else orders.now
    plan = await orders.plan(place.address, clockwork.row, start, end)
    ran = plan if is_dry else await orders.run_again(place.address, plan, BACKFILL)
    return answer(
        {
            "timer": place.address,
            "dry_run": is_dry,
            "instants": [ran_view(one, zone) for one in ran],
        }
    )


# --- pausing ------------------------------------------------------------------------------------


def _note(ask: Ask) -> str:
    return ask.body.text("note", most=MOST_NOTE)


def _until(control: Control, body: Body) -> float | None:
    """Return when a pause ends by itself, None if it does not. Raises InvalidInput."""
    if not body.has("for"):
        return None
    seconds = parse_duration(body.text("for", most=MOST_TIME))
    if seconds <= 0:
        raise InvalidInput("for is no time at all", hint="leave it out to pause until resumed")
    return round(control.now() + seconds, 3)


async def _carry_out(control: Control, ask: Ask, order: _Order) -> web.StreamResponse:
    named = _named(timer_places(control.host), ask.body.texts("ids"))
    await _make_it_so(control, named, order)
    return await _listed(control, [place.address for place in named])


async def _listed(control: Control, ids: list[str]) -> web.StreamResponse:
    found = await clockworks(control.host)
    return listed([timer_view(control.host, found[timer_id]) for timer_id in ids])


def _named(known: list[Place], ids: list[str] | None) -> list[Place]:
    """Return the timers that are meant, all of them without ids. Raises InvalidInput, TimerNotFound, Ambiguous."""
    if ids is None:
        return known
    if not ids:
        raise InvalidInput("ids is empty", hint="name timers, or leave ids out for all of them")
    found = [find_timer(known, text) for text in ids]
    return list({place.address: place for place in found}.values())


async def _make_it_so(control: Control, named: list[Place], order: _Order) -> None:
    """Set the timers at once, then make it durable; if that fails, set them back."""
    timers = [timer for place in named if (timer := live_timer(place)) is not None]
    before = [(timer, timer.is_paused, timer.paused_until) for timer in timers]
    for timer in timers:
        timer.pause(order.until) if order.paused else timer.resume()
    ids = [place.address for place in named]
    try:
        await control.store.timers.set_paused(
            ids, order.paused, by=order.by, note=order.note, until=order.until
        )
    except HiveError:
        for timer, was_paused, until in before:
            timer.pause(until) if was_paused else timer.resume()
        raise
    held = {timer.timer_id for timer, was_paused, _ in before if was_paused}
    for place in named:
        timer = live_timer(place)
        if timer is not None and (order.paused or timer.timer_id in held):
            news = TimerNews(timer, order.change, order.by, order.note, order.until)
            _timers(place).source.tell(news)


# --- running ------------------------------------------------------------------------------------


async def _passed_over(
    control: Control, named: list[Place]
) -> list[tuple[TimerOrders, str, list[Ran]]]:
    """Return what the pauses of some timers passed over and their catch-up policies let run."""
    rows = {row.timer_id: row for row in await control.store.timers.rows()}
    found = []
    for place in named:
        row = rows.get(place.address)
        if row is not None and row.paused_at is not None:
            orders = _orders(control, place)
            found.append((orders, place.address, await orders.paused_over(row)))
    return found


def _orders(control: Control, place: Place) -> TimerOrders:
    return TimerOrders(_timers(place), control.now())


def _timers(place: Place) -> RuntimeTimers:
    """Return the timers of the agent of an entry point. Raises NotRunning, Draining."""
    runtime = place.agent.runtime
    if runtime is None:
        raise NotRunning(
            f"the agent {place.agent.name} does not run", hint="see `hive agents list`"
        )
    return runtime.running().timers


def _moment(body: Body, key: str, zone: tzinfo) -> float:
    """Return the wall seconds of a time; one without an offset is of the timer's zone. Raises InvalidInput."""
    text = body.text(key, most=MOST_TIME)
    try:
        return instant_meant(datetime.fromisoformat(text), zone)
    except ValueError:
        raise InvalidInput(
            f"{key} is {shown(text)}" if text else f"{key} is missing",
            hint="write a time such as 2026-03-02T09:00, 2026-03-02T09:00:00+01:00 or 2026-03-02",
        ) from None
