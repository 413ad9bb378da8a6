"""The trace of an execution as the control API and `hive trace` show it: its spans, by time."""

from __future__ import annotations

from collections.abc import Sequence

from hive_daemon.clock import iso_z
from hive_daemon.control.answers import Json
from hive_daemon.observability.redaction import redactor
from hive_daemon.observability.spans import Span, spans_of
from hive_daemon.storage.ports import ExecutionStore
from hive_daemon.storage.values import MAX_PAGE, EventFilter, ExecutionRow, StoredEvent

MOST_SPANS = 5_000
"""How many spans an answer has; the first ones."""


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
