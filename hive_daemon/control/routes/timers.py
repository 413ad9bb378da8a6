"""`/v1/timers`, pausing and resuming them."""

from __future__ import annotations

import logging
from difflib import get_close_matches

from aiohttp import web

from hive_daemon.control.answers import listed
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.errors import Ambiguous
from hive_daemon.control.pages import Page
from hive_daemon.control.places import Place, check_address
from hive_daemon.control.query import shown
from hive_daemon.control.timer_views import clockworks, live_timer, timer_places, timer_view
from hive_daemon.errors import HiveError, InvalidInput, TimerNotFound

logger = logging.getLogger(__name__)

MOST_NOTE = 1_000
_SEE = "see `hive timers list`"


async def list_timers(control: Control, ask: Ask) -> web.StreamResponse:
    """List the timers, by id."""
    found = await clockworks(control.host)
    page, cursor = Page.of(ask.query).cut(sorted(found), str)
    return listed([timer_view(control.host, found[timer_id]) for timer_id in page], cursor)


async def pause(control: Control, ask: Ask) -> web.StreamResponse:
    """Let timers fire no more; answer once that is durable."""
    return await _set_paused(control, ask, True)


async def resume(control: Control, ask: Ask) -> web.StreamResponse:
    """Let timers fire again; answer once that is durable."""
    return await _set_paused(control, ask, False)


async def _set_paused(control: Control, ask: Ask, paused: bool) -> web.StreamResponse:
    note = ask.body.text("note", most=MOST_NOTE)
    named = _named(timer_places(control.host), ask.body.texts("ids"))
    ids = [place.address for place in named]
    await _make_it_so(control, named, paused, str(ask.peer), note)
    logger.info(
        "timers paused" if paused else "timers resumed",
        extra={"timers": ids, "by": str(ask.peer), "note": note},
    )
    found = await clockworks(control.host)
    return listed([timer_view(control.host, found[timer_id]) for timer_id in ids])


def _named(known: list[Place], ids: list[str] | None) -> list[Place]:
    """Return the timers that are meant, all of them without ids. Raises InvalidInput, TimerNotFound, Ambiguous."""
    if ids is None:
        return known
    if not ids:
        raise InvalidInput("ids is empty", hint="name timers, or leave ids out for all of them")
    found = [_find(known, text) for text in ids]
    return list({place.address: place for place in found}.values())


def _find(known: list[Place], text: str) -> Place:
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


async def _make_it_so(
    control: Control, named: list[Place], paused: bool, by: str, note: str
) -> None:
    """Set the timers at once, then make it durable; if that fails, set them back."""
    timers = [timer for place in named if (timer := live_timer(place)) is not None]
    before = [(timer, timer.is_paused) for timer in timers]
    for timer in timers:
        timer.is_paused = paused
    ids = [place.address for place in named]
    try:
        await control.store.timers.set_paused(ids, paused, by=by, note=note)
    except HiveError:
        for timer, was_paused in before:
            timer.is_paused = was_paused
        raise
