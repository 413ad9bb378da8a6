"""The trace of an execution as the control API and `hive trace` show it: its spans, by time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hive_daemon.clock import iso_z
from hive_daemon.control.answers import Json
from hive_daemon.control.errors import Ambiguous
from hive_daemon.control.wire import LATEST, choose
from hive_daemon.errors import ExecutionNotFound
from hive_daemon.ids import is_execution_id, session_of
from hive_daemon.observability.redaction import redactor
from hive_daemon.observability.spans import Span, spans_of
from hive_daemon.storage.ports import ExecutionStore
from hive_daemon.storage.sqlite.archive import Archive, SessionRows, find_archive
from hive_daemon.storage.values import MAX_PAGE, EventFilter, ExecutionRow, StoredEvent

MOST_SPANS = 5_000
"""How many spans an answer has; the first ones."""

_LOOK_AT = 500


async def all_events(store: ExecutionStore, execution_id: str) -> list[StoredEvent]:
    """Return every durable event of an execution."""
    events: list[StoredEvent] = []
    after = 0
    while True:
        page = await store.history(
            EventFilter(execution_id=execution_id, after_seq=after, limit=MAX_PAGE)
        )
        events.extend(page)
        if len(page) < MAX_PAGE:
            return events
        after = page[-1].seq


def trace_view(row: ExecutionRow, events: Sequence[StoredEvent]) -> Json:
    """Return the trace of an execution."""
    spans = spans_of(row, events)
    return {
        "trace_id": row.trace_id,
        "parent_id": row.trace_parent or None,
        "execution_id": row.execution_id,
        "session_id": row.session_id,
        "status": str(row.status),
        "spans": [_span_view(span) for span in spans[:MOST_SPANS]],
        "left_out": max(0, len(spans) - MOST_SPANS),
    }


def _span_view(span: Span) -> Json:
    return {
        "kind": str(span.kind),
        "name": redactor().redact_text(span.name),
        "span_id": span.span_id,
        "parent_id": span.parent_id or None,
        "started_at": iso_z(span.start),
        "ended_at": None if span.end is None else iso_z(span.end),
        "duration_seconds": None if span.seconds is None else round(span.seconds, 6),
        "error": span.error or None,
        "attributes": redactor().redact_value(dict(span.attributes)),
    }


def stored_trace(state_dir: Path, reference: str) -> Json:
    """Return the trace of an execution by what a hive.db says, whoever owns it; blocking.

    Raises ExecutionNotFound, Ambiguous, and what the archive raises.
    """
    archive = find_archive(state_dir)
    if archive is None:
        raise ExecutionNotFound(
            f"there is no hive.db in {state_dir}", hint="name the state directory: --state-dir DIR"
        )
    name = _meant(archive, reference)
    rows = archive.session(session_of(name))
    row = _row(rows, name)
    if rows is None or row is None:
        raise ExecutionNotFound(f"no execution is called {reference!r}")
    return trace_view(row, [event for event in rows.events if event.execution_id == name])


def _row(rows: SessionRows | None, name: str) -> ExecutionRow | None:
    found = rows.executions if rows is not None else ()
    return next((row for row in found if row.execution_id == name), None)


def _meant(archive: Archive, reference: str) -> str:
    """Return the id that a reference means, among the newest sessions."""
    if is_execution_id(reference):
        return reference
    rows = archive.latest(limit=_LOOK_AT)
    if reference == LATEST and rows:
        return rows[0].execution_id
    ids = choose(reference, [row.execution_id for row in rows])
    if len(ids) > 1:
        raise Ambiguous(f"{reference!r} may mean {len(ids)} executions", ids)
    if not ids:
        raise ExecutionNotFound(f"no execution is called {reference!r}")
    return ids[0]
