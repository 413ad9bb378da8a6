"""`/v1/stats`."""

from __future__ import annotations

import os
from collections import Counter

from aiohttp import web

from hive_daemon import __version__
from hive_daemon.clock import iso_z
from hive_daemon.control.agent_views import stream_view
from hive_daemon.control.answers import Json, answer
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.host import agents_of, condition_of, state_of
from hive_daemon.control.places import places
from hive_daemon.control.process import resident_bytes
from hive_daemon.control.timer_views import live_timer, timer_places
from hive_daemon.control.vitals import STARTING
from hive_daemon.runtime.lifecycle import RunState
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import StoreStats

_AGENT_STATES = ("ready", "degraded", "loading")
_MEBIBYTE = 1024 * 1024


async def stats(control: Control, ask: Ask) -> web.StreamResponse:
    """Say what the daemon is doing."""
    return answer(await stats_view(control))


async def stats_view(control: Control) -> Json:
    """Return the figures of the daemon."""
    host = control.host
    figures = await control.store.executions.stats()
    by_status = _executions(control, figures)
    return {
        "version": __version__,
        "pid": os.getpid(),
        "config": str(host.loaded.path) if host.loaded.path is not None else None,
        "state_dir": str(host.loaded.config.state_dir),
        "started_at": iso_z(host.started_at),
        "uptime_seconds": round(max(control.now() - host.started_at, 0.0), 3),
        "state": _state_word(state_of(host)),
        "executions": by_status,
        "running": by_status[ExecutionStatus.RUNNING],
        "queued": by_status[ExecutionStatus.QUEUED],
        "limit": host.services.settings.max_concurrent_executions,
        "agents": _agents(control),
        "streams": [stream_view(place) for place in places(host)],
        "store": {
            "size_bytes": figures.size_bytes,
            "commits": figures.commits,
            "commit_ms_p50": round(figures.commit_seconds_p50 * 1000, 3),
            "commit_ms_p99": round(figures.commit_seconds_p99 * 1000, 3),
        },
        "timers": _timers(control),
        "events": {
            "published": host.services.hub.published,
            "dropped": control.feed.dropped,
            "last_seq": figures.last_seq,
        },
        "model": {"calls": control.feed.calls, **control.feed.spending.to_json()},
        "memory_mb": round(resident_bytes() / _MEBIBYTE, 1),
    }


def _state_word(state: RunState) -> str:
    if state in STARTING:
        return "starting"
    return "running" if state is RunState.RUNNING else "draining"


def _executions(control: Control, figures: StoreStats) -> dict[str, int]:
    """Return how many executions have which status: those that go on now, those that ended since the start."""
    return {
        str(status): control.feed.ended[status]
        if status.is_terminal
        else figures.by_status.get(status, 0)
        for status in ExecutionStatus
    }


def _agents(control: Control) -> dict[str, int]:
    states = Counter(condition_of(control.host, agent) for agent in agents_of(control.host))
    return {state: states[state] for state in _AGENT_STATES}


def _timers(control: Control) -> Json:
    now = control.now()
    found = [(place, live_timer(place)) for place in timer_places(control.host)]
    due = [
        (timer.begins_at, place.address)
        for place, timer in found
        if timer is not None
        and timer.begins_at is not None
        and not timer.holds(timer.begins_at)
        and not timer.is_cancelled
    ]
    at, address = min(due, default=(0.0, ""))
    return {
        "count": len(found),
        "paused": sum(timer is not None and timer.holds(now) for _, timer in found),
        "next": {"id": address, "at": iso_z(at)} if address else None,
    }
