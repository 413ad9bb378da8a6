"""Gathering what a story is told from: rows of the store, and what the daemon knows besides while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from hive_daemon.clock import parse_iso
from hive_daemon.control.answers import Json
from hive_daemon.control.approvals import Pending
from hive_daemon.control.context import Control
from hive_daemon.control.host import at_work, state_of, stream_at
from hive_daemon.control.naming import Kind, Named
from hive_daemon.control.timer_views import Clockwork, clockworks, schedule_text
from hive_daemon.control.views import time_view
from hive_daemon.errors import ExecutionNotFound, IllegalMove, InvalidInput
from hive_daemon.insight.evidence import Evidence
from hive_daemon.insight.executions import in_short, tell_execution
from hive_daemon.insight.exits import ExitNote
from hive_daemon.insight.happenings import TELLING
from hive_daemon.insight.incidents import tell_incident
from hive_daemon.insight.moments import read_moment
from hive_daemon.insight.story import Daemon, Link, Story, moment
from hive_daemon.insight.timers import (
    TimerEvidence,
    is_paused,
    row_at,
    tell_instant,
    tell_timer,
)
from hive_daemon.insight.triggers import DeliveryEvidence, tell_delivery, tell_event
from hive_daemon.observability.redaction import redactor
from hive_daemon.runtime.lifecycle import RunState
from hive_daemon.runtime.triggers.zones import read_zone
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.admission import Explained
from hive_daemon.storage.exits import read_exits
from hive_daemon.storage.timer_values import EVERYTHING, Occurrence, Span, TimerOutcome, TimerRow
from hive_daemon.storage.values import EventFilter, ExecutionFilter, ExecutionRow, StoredEvent
from hive_daemon.storage.webhook_deliveries import DeliveryFilter, DeliveryRow
from hive_daemon.tasks import to_thread

LONGEST_CHAIN = 8
_MOST_EVENTS = 500
_SHOWN_INSTANTS = 10
_BEFORE_SECONDS = 3_600.0
"""How long before its execution a delivery may have come."""

_OF_ITS_OWN = Span(
    outcomes=tuple(each for each in TimerOutcome if each is not TimerOutcome.SKIPPED_PAUSED)
)
"""What became of the instants of a timer while nobody had paused it."""

_STATES = {
    RunState.RUNNING: Daemon.RUNNING,
    RunState.STARTING: Daemon.RUNNING,
    RunState.DRAINING: Daemon.DRAINING,
}


async def tell(control: Control, named: Named, at: str = "") -> Story:
    """Tell the story of anything that has an id. Raises InvalidInput if `at` is given for what has no instants."""
    if at and named.kind is not Kind.TIMER:
        raise InvalidInput(f"{named.id} has no instants", hint="--at is for timers: timers/NAME")
    match named.kind:
        case Kind.TIMER:
            return await _timer(control, named.row, at)
        case Kind.DELIVERY:
            return await _delivery(control, named.row)
        case Kind.EVENT:
            return tell_event(named.row)
        case Kind.INCIDENT:
            return tell_incident(named.row)
        case Kind.APPROVAL:
            pending: Pending = named.row
            return await execution_story(control, pending.row)
        case Kind.CHECKPOINT:
            _, checkpoint = named.row
            row = await control.store.executions.load(checkpoint.execution_id)
            return await execution_story(control, row)
    return await execution_story(control, named.row)


def story_view(story: Story) -> Json:
    """Return a story as it is shown; secrets are masked."""
    clean = redactor().redact_text
    return {
        "kind": story.kind,
        "id": story.id,
        "cause": story.cause,
        "answer": clean(story.answer),
        "chain": [{"at": time_view(link.at), "text": clean(link.text)} for link in story.links],
        "remedy": story.remedy or None,
    }


def daemon_of(control: Control) -> Daemon:
    """Return where the daemon is, as far as what waits for it is concerned."""
    return _STATES.get(state_of(control.host), Daemon.DOWN)


def trouble_of(control: Control, name: str) -> str:
    """Return why an agent does not run; empty if it does, or if nobody knows because the daemon is down."""
    if daemon_of(control) is Daemon.DOWN:
        return ""
    agent = control.host.agents.agents.get(name)
    if agent is None:
        return "the configuration does not name it any more"
    if agent.runtime is not None:
        return ""
    return agent.reason or f"it is {agent.state}"


# --- executions ---------------------------------------------------------------------------------


async def execution_story(control: Control, row: ExecutionRow) -> Story:
    """Tell the story of an execution."""
    return tell_execution(
        Evidence(
            row,
            control.now(),
            events=tuple(await events_of(control, row.execution_id, TELLING, _MOST_EVENTS)),
            explained=await explained_of(control, row),
            daemon=daemon_of(control),
            node=_node_of(control, row),
            trouble=trouble_of(control, row.agent),
            origin=tuple(await _origin(control, row, LONGEST_CHAIN)),
            exits=await _exits_of(control, row),
            first_node=_first_node_of(control, row),
        )
    )


def _node_of(control: Control, row: ExecutionRow) -> str | None:
    execution = at_work(control.host, row)
    return execution.nodes[0] if execution is not None and execution.nodes else None


async def _exits_of(control: Control, row: ExecutionRow) -> tuple[ExitNote, ...]:
    """Return the ends that a daemon chose while an execution ran."""
    notes = await to_thread(read_exits, control.host.services.settings.state_dir)
    return tuple(note for note in notes if note.about(row.execution_id) is not None)


def _first_node_of(control: Control, row: ExecutionRow) -> str | None:
    stream = stream_at(control.host, row)
    if stream is None:
        return None
    return stream.setup.spec.entry_node or stream.setup.graph.entry_node


async def events_of(
    control: Control, execution_id: str, types: tuple[str, ...], most: int
) -> list[StoredEvent]:
    """Return the newest events of an execution that have one of these types, oldest first."""
    wanted = EventFilter(execution_id=execution_id, types=types, limit=most, newest=True)
    return await control.store.executions.history(wanted)


async def explained_of(control: Control, row: ExecutionRow) -> Explained | None:
    """Return why an execution waits in the queue; None if it does not, or began in this moment."""
    if row.status is not ExecutionStatus.QUEUED or daemon_of(control) is not Daemon.RUNNING:
        return None
    limits = control.host.services.dispatcher.limits
    try:
        return await control.store.queue.explain(row.execution_id, limits)
    except IllegalMove:
        return None


async def _origin(control: Control, row: ExecutionRow, most: int) -> list[Link]:
    """Return what led to an execution, oldest first, over at most so many executions."""
    event = _event_in(row)
    if row.source == "event" and event.get("execution_id"):
        return await _after_event(control, event, most)
    if row.source == "event" and event.get("type"):
        return [
            Link(
                f"a program published {event['type']} at {event.get('stream_id')}", _time_in(event)
            )
        ]
    if row.source == "webhook":
        return await _after_delivery(control, row)
    if event.get("timer"):
        late = event.get("late_by") or 0
        why = "" if event.get("reason") == "scheduled" else f" ({event.get('reason')})"
        due = f"timer {event['timer']} was due at {event.get('scheduled_for')}{why}"
        return [Link(f"{due}{f', {late:g} s late' if late >= 1 else ''}")]
    return []


async def _after_event(control: Control, event: Mapping[str, Any], most: int) -> list[Link]:
    name = str(event["execution_id"])
    link = Link(
        f"{event.get('type')} of {name} ({event.get('agent')}/{event.get('stream_id')}) set it off",
        _time_in(event),
    )
    if most <= 1:
        return [Link("…"), link]
    try:
        row = await control.store.executions.load(name)
    except ExecutionNotFound:
        return [Link(f"{name} is forgotten"), link]
    return [*await _origin(control, row, most - 1), Link(in_short(row), row.created_at), link]


async def _after_delivery(control: Control, row: ExecutionRow) -> list[Link]:
    near = DeliveryFilter(
        since=row.created_at - _BEFORE_SECONDS, until=row.created_at + 1, limit=500, with_data=False
    )
    for delivery in await control.store.deliveries.query(near):
        if row.execution_id in delivery.execution_ids:
            return [
                Link(
                    f"webhook delivery {delivery.id} came on {delivery.route}", delivery.received_at
                )
            ]
    return [Link("a webhook delivery set it off")]


def _event_in(row: ExecutionRow) -> Mapping[str, Any]:
    given = orjson.loads(row.input)
    event = given.get("event") if isinstance(given, dict) else None
    return event if isinstance(event, dict) else {}


def _time_in(event: Mapping[str, Any]) -> float | None:
    text = event.get("timestamp")
    return parse_iso(text) if isinstance(text, str) else None


# --- timers -------------------------------------------------------------------------------------


async def _timer(control: Control, row: TimerRow, at: str) -> Story:
    known = (await clockworks(control.host)).get(row.timer_id)
    zone = known.zone if known is not None else read_zone(control.host.loaded.config.timezone)
    wanted = read_moment(at, control.now(), zone) if at else None
    is_held = is_paused(row, control.now())
    rows = await _instants(control, row.timer_id, wanted, _OF_ITS_OWN if is_held else EVERYTHING)
    looked_at = rows[0] if wanted is None and rows else row_at(rows, wanted or 0.0)
    evidence = TimerEvidence(
        row.timer_id,
        control.now(),
        row,
        rows,
        zone=zone,
        daemon=daemon_of(control),
        trouble=trouble_of(control, row.agent),
        refusal=control.host.fortunes.of(row.agent).trouble,
        schedule=schedule_text(known.schedule) if known is not None else "",
        next_at=_next_of(known, row),
        is_due=_was_due(known, wanted),
        followed=await _followed(control, looked_at) if wanted or is_held else None,
        blocker=await _blocker(control, row, looked_at),
    )
    return tell_timer(evidence) if wanted is None else tell_instant(evidence, wanted)


async def _instants(
    control: Control, timer_id: str, at: float | None, span: Span
) -> tuple[Occurrence, ...]:
    """Return the newest instants of a timer within a span, or those around a time; newest first."""
    ledger = control.store.timers
    if at is None:
        return tuple(await ledger.occurrences(timer_id, _SHOWN_INSTANTS, span))
    before = await ledger.occurrences(timer_id, 2, Span(before=at))
    after = await ledger.occurrences(timer_id, 500, Span(since=at))
    return (*after[-2:], *before)


def _was_due(known: Clockwork | None, at: float | None) -> bool | None:
    """Say whether a timer's schedule has an instant within a minute of a time; None if nobody knows."""
    if known is None or at is None:
        return None
    due = known.schedule.next_after(at - 60.0)
    return due is not None and due < at + 60.0


def _next_of(known: Clockwork | None, row: TimerRow) -> float | None:
    if known is None or known.timer is None:
        return row.next_at
    return known.timer.begins_at


async def _followed(control: Control, instant: Occurrence | None) -> Story | None:
    if instant is None or instant.execution_id is None:
        return None
    try:
        row = await control.store.executions.load(instant.execution_id)
    except ExecutionNotFound:
        return None
    return await execution_story(control, row)


async def _blocker(control: Control, timer: TimerRow, instant: Occurrence | None) -> str:
    """Say which execution of the timer's agent was open when an instant started nothing."""
    if instant is None or instant.execution_id is not None:
        return ""
    of_entry_point = instant.outcome == "skipped_overlap"
    wanted = ExecutionFilter(
        agent=timer.agent,
        stream_id=timer.timer_id.partition("/")[2] if of_entry_point else None,
        limit=100,
    )
    for row in await control.store.executions.query(wanted):
        was_open = row.created_at <= instant.at and (
            row.ended_at is None or row.ended_at > instant.at
        )
        if was_open:
            now = f"is {row.status.replace('_', ' ')}"
            ended = f"ended {moment(row.ended_at)}" if row.ended_at is not None else now
            at = f" at node {row.node_id}" if row.node_id else ""
            return f"{row.execution_id} began {moment(row.created_at)} and {ended}{at}"
    return ""


# --- deliveries ---------------------------------------------------------------------------------


async def _delivery(control: Control, row: DeliveryRow) -> Story:
    told = []
    for name in row.execution_ids:
        try:
            told.append(in_short(await control.store.executions.load(name)))
        except ExecutionNotFound:
            told.append(f"{name} is forgotten")
    is_there = daemon_of(control) is Daemon.DOWN or row.route in control.host.webhooks.doors
    return tell_delivery(DeliveryEvidence(row, control.now(), tuple(told), is_there))
