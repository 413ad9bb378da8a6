"""`/v1/ps`, `/v1/show` and `/v1/why`: what goes on, anything by its id, and why it is as it is."""

from __future__ import annotations

from aiohttp import web

from hive_daemon.control.answers import Json, answer
from hive_daemon.control.cases import story_view, tell
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.lines import lines
from hive_daemon.control.naming import Kind, Named, find
from hive_daemon.control.timer_views import clockworks, occurrence_view, timer_view
from hive_daemon.control.views import checkpoint_view, execution_view, time_view
from hive_daemon.control.walked import walked_by
from hive_daemon.control.wire import PAGE_SIZE_MAX
from hive_daemon.insight.listing import Key, Match, Order
from hive_daemon.monitoring.alert_rules import incident_view
from hive_daemon.observability.redaction import redactor
from hive_daemon.runtime.events import from_stored
from hive_daemon.runtime.triggers.zones import read_zone
from hive_daemon.runtime.webhook_views import delivery_view
from hive_daemon.storage.timer_values import TimerRow

_SHOWN_INSTANTS = 10


async def ps(control: Control, ask: Ask) -> web.StreamResponse:
    """List executions, a line each: those that have not ended, or all."""
    query = ask.query
    matches = [Match.read(text) for text in query.every("filter")]
    order = Order.read(query.one("sort") or f"-{Key.AGE}")
    most = query.whole("limit", 1, PAGE_SIZE_MAX) or PAGE_SIZE_MAX
    with_ended = query.flag("all", False)
    found, is_cut = await lines(control, with_ended=with_ended, matches=matches, order=order)
    return answer(
        {"items": found[:most], "next_cursor": None, "left_out": is_cut or len(found) > most}
    )


async def show(control: Control, ask: Ask) -> web.StreamResponse:
    """Show anything that has an id."""
    named = await find(control, ask.names["id"])
    shown = await _view(control, named)
    return answer({"kind": named.kind, "id": named.id, "shown": shown})


async def why(control: Control, ask: Ask) -> web.StreamResponse:
    """Say why a thing is as it is."""
    named = await find(control, ask.names["id"])
    return answer(story_view(await tell(control, named, ask.query.one("at") or "")))


async def _view(control: Control, named: Named) -> Json:
    row = named.row
    match named.kind:
        case Kind.SESSION:
            return await control.sessions.show(row, control.now())
        case Kind.TIMER:
            return await _timer(control, row)
        case Kind.DELIVERY:
            return delivery_view(row, with_data=True)
        case Kind.EVENT:
            shown: Json = redactor().redact_value(from_stored(row).to_dict())
            return shown
        case Kind.INCIDENT:
            return incident_view(row)
        case Kind.APPROVAL:
            view: Json = row.view()
            return view
        case Kind.CHECKPOINT:
            session_id, checkpoint = row
            return checkpoint_view(checkpoint, session_id)
    return execution_view(row, await walked_by(control.host, row), control.now())


async def _timer(control: Control, row: TimerRow) -> Json:
    """Return a timer with its newest instants; what only its agent knows is null while that does not run."""
    known = (await clockworks(control.host)).get(row.timer_id)
    zone = known.zone if known is not None else read_zone(control.host.loaded.config.timezone)
    rows = await control.store.timers.occurrences(row.timer_id, _SHOWN_INSTANTS)
    view = timer_view(control.host, known) if known is not None else _from_ledger(row)
    return {**view, "history": [occurrence_view(one, zone) for one in rows]}


def _from_ledger(row: TimerRow) -> Json:
    is_paused = row.paused_at is not None
    return {
        "id": row.timer_id,
        "agent": row.agent,
        "entry_point": row.entry_point,
        "next_at": time_view(row.next_at),
        "last_at": time_view(row.last_scheduled),
        "last_outcome": row.last_outcome,
        "last_reason": redactor().redact_text(row.last_reason or "") or None,
        "last_execution_id": row.last_execution_id,
        "paused": {
            "by": row.paused_by,
            "at": time_view(row.paused_at),
            "until": time_view(row.paused_until),
            "note": row.note,
        }
        if is_paused
        else None,
        "fired": row.fired,
        "skipped": row.skipped,
        "missed": row.missed,
        "failures": row.failures,
        "remaining": row.remaining,
    }
