"""Executions as `hive ps` and `hive top` show them: where each is, what it costs, what it waits for."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from hive_daemon.control.answers import Json
from hive_daemon.control.cases import daemon_of, events_of, explained_of, trouble_of
from hive_daemon.control.context import Control
from hive_daemon.control.host import at_work
from hive_daemon.control.views import Walked, address_of, current_node, waiting_view
from hive_daemon.control.walked import all_walked_by
from hive_daemon.insight.listing import Match, Order, chosen, rate
from hive_daemon.insight.story import Cause, Daemon, span
from hive_daemon.observability.redaction import redactor
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import MAX_PAGE, ExecutionFilter, ExecutionRow
from hive_daemon.tasks import run_all

OPEN = tuple(status for status in ExecutionStatus if not status.is_terminal)
MOST_LINES = 2_000
"""How many executions are looked at, the newest ones; beyond that `left_out` says that there are more."""

MOST_EXPLAINED = 100
"""For how many queued executions it is said what holds them, the oldest: each has to be looked at by itself."""

_CARRIED = (ExecutionStatus.QUEUED, ExecutionStatus.RUNNING, ExecutionStatus.INTERRUPTED)
"""What only a daemon carries on."""

_RATE_SECONDS = 60.0
_RATE_TURNS = 5
_TURN = ("llm_turn_complete",)


async def lines(
    control: Control, *, with_ended: bool, matches: Sequence[Match], order: Order
) -> tuple[list[Json], bool]:
    """Return the lines that are wanted, and whether there were more executions than were looked at."""
    wanted = ExecutionFilter(statuses=() if with_ended else OPEN, limit=MAX_PAGE)
    rows = await _rows(control, wanted)
    walked = await all_walked_by(control.host, rows)
    queued = [row.execution_id for row in rows if row.status is ExecutionStatus.QUEUED]
    asked = frozenset(queued[-MOST_EXPLAINED:])
    pairs = zip(rows, walked, strict=True)
    found = await run_all("line", [_line(control, row, one, asked) for row, one in pairs])
    return chosen(found, matches, order), len(rows) >= MOST_LINES


async def _rows(control: Control, wanted: ExecutionFilter) -> list[ExecutionRow]:
    rows: list[ExecutionRow] = []
    before: int | None = None
    while len(rows) < MOST_LINES:
        page = await control.store.executions.query(
            ExecutionFilter(statuses=wanted.statuses, before=before, limit=wanted.limit)
        )
        rows.extend(page)
        if len(page) < wanted.limit:
            break
        before = page[-1].n
    return rows


async def _line(control: Control, row: ExecutionRow, walked: Walked, asked: frozenset[str]) -> Json:
    model, speed = await _model(control, row)
    held_by, waits_for = await _waits(control, row, asked)
    now = control.now()
    until = now if row.ended_at is None else row.ended_at
    return {
        "id": row.execution_id,
        "session_id": row.session_id,
        "agent": row.agent,
        "entry_point": address_of(row),
        "status": row.status.value,
        "source": row.source,
        "node": current_node(row, walked),
        "model": model,
        "age_seconds": round(max(now - row.created_at, 0.0), 3),
        "duration_seconds": None if row.started_at is None else round(until - row.started_at, 3),
        "steps": row.steps,
        "input_tokens": walked.spending.input_tokens,
        "output_tokens": walked.spending.output_tokens,
        "tokens_per_second": speed,
        "cost_usd": walked.spending.cost_usd,
        "held_by": held_by,
        "waits_for": redactor().redact_text(waits_for) if waits_for else None,
    }


async def _model(control: Control, row: ExecutionRow) -> tuple[str | None, float | None]:
    """Return the model that is being called, else the one that was last, and how fast models wrote within the last
    minute.
    """
    asked = _asked(control, row)
    if not row.steps and not row.seq:
        return asked, None
    turns = await events_of(control, row.execution_id, _TURN, _RATE_TURNS)
    if not turns:
        return asked, None
    told = [(turn.timestamp, orjson.loads(turn.data)) for turn in turns]
    recent = [
        (int(data.get("output_tokens") or 0), float(data.get("latency_seconds") or 0.0))
        for at, data in told
        if at >= control.now() - _RATE_SECONDS
    ]
    is_at_work = row.status is ExecutionStatus.RUNNING
    answered = str(told[-1][1].get("model") or "") or None
    return asked or answered, rate(recent) if is_at_work else None


def _asked(control: Control, row: ExecutionRow) -> str | None:
    """Return the model that a node of what runs is asking at this moment."""
    execution = at_work(control.host, row)
    asked = [pulse.model for pulse in execution.pulses if pulse.model] if execution else []
    return asked[0] if asked else None


async def _waits(
    control: Control, row: ExecutionRow, asked: frozenset[str]
) -> tuple[str | None, str | None]:
    """Return by what an execution is held, in a word and in words; of what is queued only for those asked about."""
    if row.status in _CARRIED and daemon_of(control) is Daemon.DOWN:
        return Cause.DAEMON_DOWN.value, "the daemon is not running"
    if row.status is ExecutionStatus.QUEUED:
        if trouble := trouble_of(control, row.agent):
            return "degraded", trouble
        explained = await explained_of(control, row) if row.execution_id in asked else None
        if explained is None or not explained.holds:
            return None, None
        by, told = explained.holds[0]
        return by.value, told
    waiting = waiting_view(row)
    if waiting is not None:
        return str(waiting["kind"]), str(waiting["question"]) or row.error
    if row.status is ExecutionStatus.RUNNING:
        if row.cancel_reason is not None:
            return None, f"cancelled: {row.cancel_reason}"
        return _silence(control, row)
    return None, row.error


def _silence(control: Control, row: ExecutionRow) -> tuple[str | None, str | None]:
    """Return the longest silence of the nodes of what runs, of those that were told of."""
    execution = at_work(control.host, row)
    silent = [pulse for pulse in execution.pulses if pulse.is_told] if execution is not None else []
    if not silent:
        return None, None
    longest = max(silent, key=lambda pulse: pulse.quiet_seconds)
    told = f"no sign of life for {span(longest.quiet_seconds)}, at node {longest.node_id}"
    return Cause.STALLED.value, told
