"""`/v1/drain`."""

from __future__ import annotations

from aiohttp import web

from hive_daemon.control.answers import answer
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.routes.stats import stats_view


async def drain(control: Control, ask: Ask) -> web.StreamResponse:
    """Begin the orderly stop, as SIGTERM does; asked again, it only says how far it is."""
    stop = control.host.stop
    if not stop.drain.is_set():
        stop.ask(f"control API, {ask.peer}")
    return answer(await stats_view(control), 202)
