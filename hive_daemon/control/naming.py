"""Anything that has an id, by what people type: `show` and `why` take them all.

An execution, a session, a timer, a webhook delivery, an event by its number, an approval, a checkpoint; the beginning
of an id will do where that is unambiguous. An id is that of an execution where its session has the same: `sessions/ID`,
`timers/NAME` and `events/SEQ` say which kind is meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hive_daemon.control.approvals import find_approval
from hive_daemon.control.context import Control
from hive_daemon.control.errors import MOST_CANDIDATES, Ambiguous
from hive_daemon.control.places import check_address
from hive_daemon.control.query import shown
from hive_daemon.control.references import find_execution, find_session
from hive_daemon.control.wire import LATEST, is_address, is_approval
from hive_daemon.errors import InvalidInput, NotFound, TimerNotFound
from hive_daemon.storage.values import (
    CheckpointRow,
    EventFilter,
    ExecutionFilter,
    ExecutionRow,
    StoredEvent,
)
from hive_daemon.storage.webhook_deliveries import DeliveryFilter, DeliveryRow

SESSIONS = "sessions/"
TIMERS = "timers/"
EVENTS = "events/"
_DELIVERY = "dlv_"
_INCIDENT = "inc_"
_CHECKPOINT = re.compile(r"(?:(?P<session>[^/]+)/)?(?P<name>cp_.+)")
_LOOKED_AT = 500
_LOOKED_AT_SESSIONS = 100
"""In how many of the newest sessions a checkpoint is looked for when its session is not named."""


class Kind(StrEnum):
    """What has an id."""

    EXECUTION = "execution"
    SESSION = "session"
    TIMER = "timer"
    DELIVERY = "delivery"
    EVENT = "event"
    APPROVAL = "approval"
    INCIDENT = "incident"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class Named:
    """What an id means: the kind, the full id, and its row where it has one (of a session: its latest execution)."""

    kind: Kind
    id: str
    row: Any = None


async def find(control: Control, text: str) -> Named:
    """Return what an id means. Raises InvalidInput, NotFound, Ambiguous."""
    if text.startswith(SESSIONS):
        return await _session(control, text.removeprefix(SESSIONS))
    if text.startswith(TIMERS):
        return await _timer(control, text.removeprefix(TIMERS))
    if text.startswith(EVENTS):
        return await _event(control, text.removeprefix(EVENTS))
    if text.startswith(_DELIVERY):
        return await _delivery(control, text)
    if text.startswith(_INCIDENT):
        return Named(Kind.INCIDENT, text, await control.store.incidents.load(text))
    if match := _CHECKPOINT.fullmatch(text):
        return await _checkpoint(control, match["session"] or "", match["name"])
    if ":" in text and "::" not in text and is_approval(text):
        pending = await find_approval(control, text)
        return Named(Kind.APPROVAL, pending.approval.id, pending)
    if text == LATEST or text[:1].isdigit() or text.startswith("session_"):
        return await _numbered(control, text)
    if is_address(text):
        return await _bare_timer(control, text)
    raise InvalidInput(
        f"{shown(text)} is no id",
        hint="give an execution, a session, a timer, a delivery, an event's number, an approval or a checkpoint",
    )


async def _numbered(control: Control, text: str) -> Named:
    """Return an execution, a session or an event: their ids may begin alike."""
    event = await _event_at(control, text) if text.isdecimal() else None
    try:
        found = await _run(control, text)
    except NotFound as missing:
        if event is not None:
            return Named(Kind.EVENT, f"{EVENTS}{event.seq}", event)
        missing.hint = "see `hive ps -a`"
        raise
    if event is not None:
        ids = [found.id, f"{EVENTS}{event.seq}"]
        raise Ambiguous(f"{shown(text)} means 2 things", ids, hint="write more of the id")
    return found


async def _run(control: Control, text: str) -> Named:
    """Return an execution; a session, where the text is the beginning of several executions of it."""
    store = control.store.executions
    try:
        row = await find_execution(store, text)
    except Ambiguous:
        return await _session(control, text)
    return Named(Kind.EXECUTION, row.execution_id, row)


async def _session(control: Control, text: str) -> Named:
    latest = await find_session(control.store.executions, text)
    return Named(Kind.SESSION, f"{SESSIONS}{latest.session_id}", latest)


async def _timer(control: Control, text: str) -> Named:
    check_address(text)
    rows = await control.store.timers.rows()
    found = [row for row in rows if text in (row.timer_id, row.timer_id.partition("/")[2])]
    if len(found) > 1:
        ids = [f"{TIMERS}{row.timer_id}" for row in found]
        raise Ambiguous(f"{shown(text)} means {len(found)} timers", ids, hint="write its agent too")
    if not found:
        raise TimerNotFound(
            f"no timer is called {shown(text)}", hint="see `hive timers list` and `hive ps -a`"
        )
    return Named(Kind.TIMER, found[0].timer_id, found[0])


async def _bare_timer(control: Control, text: str) -> Named:
    """Return a timer that is named as anything could be."""
    try:
        return await _timer(control, text)
    except TimerNotFound:
        raise TimerNotFound(
            f"nothing is called {shown(text)}: no timer, and no id begins so",
            hint="see `hive ps -a` and `hive timers list`",
        ) from None


async def _event(control: Control, text: str) -> Named:
    event = await _event_at(control, text) if text.isdecimal() else None
    if event is None:
        raise NotFound(f"there is no durable event {shown(text)}", hint="see `hive events`")
    return Named(Kind.EVENT, f"{EVENTS}{event.seq}", event)


async def _event_at(control: Control, text: str) -> StoredEvent | None:
    if len(text) > 18:
        return None
    seq = int(text)
    found = await control.store.executions.history(EventFilter(after_seq=seq - 1, limit=1))
    return found[0] if found and found[0].seq == seq else None


async def _delivery(control: Control, text: str) -> Named:
    ledger = control.store.deliveries
    exact: list[DeliveryRow] = await ledger.query(DeliveryFilter(ids=(text,), limit=1))
    if not exact:
        newest = await ledger.query(DeliveryFilter(limit=_LOOKED_AT, with_data=False))
        ids = [row.id for row in newest if row.id.startswith(text)]
        if len(ids) > 1:
            raise Ambiguous(
                f"{shown(text)} means {len(ids)} deliveries",
                ids[:MOST_CANDIDATES],
                hint="write more of the id",
            )
        exact = await ledger.query(DeliveryFilter(ids=tuple(ids), limit=1)) if ids else []
    if not exact:
        raise NotFound(
            f"no webhook delivery is called {shown(text)}", hint="see `hive webhooks deliveries`"
        )
    return Named(Kind.DELIVERY, exact[0].id, exact[0])


async def _checkpoint(control: Control, session: str, name: str) -> Named:
    store = control.store
    if session:
        sessions = [(await find_session(store.executions, session)).session_id]
    else:
        newest = ExecutionFilter(latest_of_session=True, limit=_LOOKED_AT_SESSIONS)
        rows: list[ExecutionRow] = await store.executions.query(newest)
        sessions = [row.session_id for row in rows]
    found: list[tuple[str, CheckpointRow]] = []
    for session_id in sessions:
        kept = await store.sessions.checkpoints(session_id)
        found.extend((session_id, row) for row in kept if row.checkpoint_id.startswith(name))
    exact = [pair for pair in found if pair[1].checkpoint_id == name] or found
    ids = [f"{session_id}/{row.checkpoint_id}" for session_id, row in exact]
    if len(ids) > 1:
        raise Ambiguous(
            f"{shown(name)} means {len(ids)} checkpoints",
            ids[:MOST_CANDIDATES],
            hint="write its session too",
        )
    if not ids:
        raise NotFound(
            f"no checkpoint is called {shown(name)}",
            hint="write SESSION/CHECKPOINT, see `hive sessions checkpoints SESSION`",
        )
    return Named(Kind.CHECKPOINT, ids[0], exact[0])
