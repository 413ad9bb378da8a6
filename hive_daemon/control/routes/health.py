"""`/v1/health` and `/v1/ready`."""

from __future__ import annotations

from aiohttp import web

from hive_daemon.control.answers import answer
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.errors import retry_after
from hive_daemon.control.vitals import Verdict


async def health(control: Control, ask: Ask) -> web.StreamResponse:
    """Say whether the process is alive."""
    return _told(control.vitals.health())


async def ready(control: Control, ask: Ask) -> web.StreamResponse:
    """Say whether new work is welcome."""
    return _told(await control.vitals.ready())


def _told(verdict: Verdict) -> web.Response:
    if verdict.is_ok:
        return answer(verdict.view())
    return answer(verdict.view(), 503, retry_after(verdict.status))
