"""The metrics that are read when somebody asks: queues, slots, timers, webhooks, the store, the process itself."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator

from hive_daemon import __version__
from hive_daemon.control.budget_views import left_of, shared_standings
from hive_daemon.control.context import Control
from hive_daemon.control.host import agents_of, condition_of, state_of
from hive_daemon.control.places import places
from hive_daemon.control.process import children, open_descriptors, resident_bytes
from hive_daemon.control.timer_views import live_timer, timer_places
from hive_daemon.monitoring.ticket import Severity
from hive_daemon.observability.metrics import Reading
from hive_daemon.runtime.lifecycle import RunState
from hive_daemon.storage.incident_book import UNRESOLVED, IncidentFilter
from hive_daemon.storage.timer_values import TimerRow
from hive_daemon.storage.values import MAX_PAGE

_STATES = ("ready", "degraded", "loading")


async def metrics_text(control: Control) -> bytes:
    """Return what was counted and what is read now, in the text format of Prometheus."""
    return control.meter.text(await readings(control))


async def readings(control: Control) -> list[Reading]:
    """Read everything; a few looks at the store, the rest is in memory and under /proc."""
    return [
        *_slots(control),
        *await _queues(control),
        *await _timers(control),
        *_webhooks(control),
        *await _troubles(control),
        *await _store(control),
        *_process(control),
    ]


def _slots(control: Control) -> Iterator[Reading]:
    used = 0
    for place in places(control.host):
        where = (place.agent.name, place.stream_id)
        stream = place.stream
        if stream is None:
            continue
        used += stream.get_active_count()
        yield Reading("hive_running", stream.get_active_count(), where)
        yield Reading("hive_entry_point_slots", stream.limit, where)
    total = control.host.services.settings.max_concurrent_executions
    yield Reading("hive_slots", total)
    yield Reading("hive_slots_used", used)


async def _queues(control: Control) -> list[Reading]:
    # An empty queue is told of, too: a series that comes and goes cannot be watched.
    empty = {(place.agent.name, place.stream_id): (0, 0.0) for place in places(control.host)}
    known = {}
    for depth in await control.store.queue.depths():
        agent, _, stream_id = depth.lane.partition("/")
        age = 0.0 if depth.oldest_at is None else max(control.now() - depth.oldest_at, 0.0)
        known[agent, stream_id] = (depth.count, age)
    return [
        reading
        for where, (count, age) in {**empty, **known}.items()
        for reading in (
            Reading("hive_queue_depth", count, where),
            Reading("hive_queue_oldest_seconds", age, where),
        )
    ]


async def _timers(control: Control) -> list[Reading]:
    found = [reading for row in await control.store.timers.rows() for reading in _instants(row)]
    paused: Counter[str] = Counter()
    for place in timer_places(control.host):
        timer = live_timer(place)
        paused[place.agent.name] += timer is not None and timer.holds(control.now())
    found += [Reading("hive_timers_paused", count, (agent,)) for agent, count in paused.items()]
    for agent in agents_of(control.host):
        opened = agent.runtime.opened if agent.runtime is not None else None
        if opened is not None:
            age = opened.timers.source.tick_age
            found.append(Reading("hive_scheduler_tick_age_seconds", age, (agent.name,)))
    return found


def _instants(row: TimerRow) -> Iterator[Reading]:
    where = (row.agent, row.entry_point)
    for outcome, count in (("fired", row.fired), ("skipped", row.skipped), ("missed", row.missed)):
        yield Reading("hive_timer_instants_total", count, (*where, outcome))
    if row.last_late_by is not None:
        yield Reading("hive_timer_late_seconds", row.last_late_by, where)


async def _troubles(control: Control) -> list[Reading]:
    """Read what is left of budgets, and which incidents are not over."""
    found = [
        Reading("hive_budget_left", left, (standing.rule.id, measure.value))
        for standing in await shared_standings(control)
        for measure, left in left_of(standing).items()
    ]
    wanted = IncidentFilter(statuses=UNRESOLVED, limit=MAX_PAGE)
    severities = Counter(each.severity for each in await control.store.incidents.listing(wanted))
    found += [
        Reading("hive_incidents", severities[severity], (severity.value,)) for severity in Severity
    ]
    return found


def _webhooks(control: Control) -> Iterator[Reading]:
    for path, door in control.host.webhooks.doors.items():
        for status, count in sorted(door.answered.items()):
            yield Reading("hive_webhook_requests_total", count, (path, str(int(status))))
        for outcome, count in sorted(door.outcomes.items()):
            yield Reading("hive_webhook_outcomes_total", count, (path, outcome))


async def _store(control: Control) -> list[Reading]:
    figures = await control.store.executions.stats()
    runtimes = [agent.runtime for agent in agents_of(control.host) if agent.runtime is not None]
    missed = sum(int(runtime.event_bus.get_stats()["dropped"]) for runtime in runtimes)
    return [
        Reading("hive_events_total", control.host.services.hub.published),
        Reading("hive_events_dropped_total", control.feed.dropped + missed),
        Reading("hive_commits_total", figures.commits),
        Reading("hive_commit_seconds", figures.commit_seconds_p50, ("0.5",)),
        Reading("hive_commit_seconds", figures.commit_seconds_p99, ("0.99",)),
        Reading("hive_store_bytes", figures.size_bytes),
    ]


def _process(control: Control) -> Iterator[Reading]:
    host = control.host
    yield Reading("hive_loop_lag_seconds", host.lag)
    yield Reading("hive_resident_bytes", resident_bytes())
    yield Reading("hive_open_descriptors", open_descriptors())
    yield Reading("hive_children", len(children()))
    yield Reading("hive_uptime_seconds", max(control.now() - host.started_at, 0.0))
    states = Counter(condition_of(host, agent) for agent in agents_of(host))
    for state in _STATES:
        yield Reading("hive_agents", states[state], (state,))
    yield Reading("hive_ready", float(state_of(host) is RunState.RUNNING))
    yield Reading("hive_build_info", 1, (__version__, platform.python_version()))
