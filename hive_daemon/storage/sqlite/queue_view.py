"""What waits on SQLite, as a person sees it: in the order of claiming, how much, why, and until when."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from hive_daemon.errors import ExecutionNotFound, IllegalMove
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.admission import Depth, Explained, Queued, QueueFilter
from hive_daemon.storage.admission_rules import Figures, explained
from hive_daemon.storage.sqlite import rows
from hive_daemon.storage.sqlite.claim import SUSPECT_AFTER
from hive_daemon.storage.values import Limits

_DEPTHS = """
SELECT q.lane, q.count, e.created_at FROM (
    SELECT lane, count(*) AS count, min(n) AS oldest FROM executions INDEXED BY executions_queue
    WHERE status = 'queued' GROUP BY lane) q
JOIN executions e ON e.n = q.oldest ORDER BY q.lane
"""
_COUNTS = """
SELECT lane, count(*) FROM executions INDEXED BY executions_queue
WHERE status = 'queued' AND lane >= ? AND lane < ? GROUP BY lane ORDER BY lane
"""
_COUNT = """
SELECT count(*) FROM executions INDEXED BY executions_queue WHERE status = 'queued' AND lane = ?
"""
_IN_TURN = """
SELECT n, row_number() OVER (ORDER BY due IS NOT NULL, due, front, priority DESC, round,
    key <= coalesce((SELECT last_key FROM lanes WHERE lane = ?1), ''), key, n) AS position
FROM (SELECT n, front, priority, key, due, CASE WHEN due IS NULL THEN row_number() OVER (
        PARTITION BY due, front, priority, key ORDER BY n) END AS round
    FROM (SELECT n, front, priority, key, NULL AS due
            FROM executions INDEXED BY executions_queue
            WHERE status = 'queued' AND lane = ?1 AND stage IN (0, 1)
        UNION ALL SELECT n, front, priority, key, CASE WHEN due_at > ?2 THEN due_at END
            FROM executions INDEXED BY executions_queue
            WHERE status = 'queued' AND lane = ?1 AND stage = 2))
"""
_QUEUED = (
    "e.id, e.session_id, e.lane, e.key, e.source, e.priority, e.created_at, e.due_at, "
    "CASE WHEN e.was IS NULL THEN e.expires_at END"
)
_PAGE = f"""
SELECT {_QUEUED}, p.position FROM ({_IN_TURN}) p CROSS JOIN executions e ON e.n = p.n
WHERE p.position > ?3 AND p.position <= ?4 ORDER BY p.position
"""
_POSITION = f"SELECT position FROM ({_IN_TURN}) WHERE n = ?3"
_ONE = f"""
SELECT e.n, e.status, e.agent, e.joined, e.attempts, e.background, e.hold, e.slot_at, e.gathered,
    {_QUEUED}
FROM executions e WHERE e.id = ?
"""
_RUNNING = """
SELECT count(*), coalesce(sum(lane = ?1), 0), coalesce(sum(lane = ?1 AND key = ?2), 0),
    coalesce(sum(substr(lane, 1, length(?3) + 1) = ?3 || '/'), 0), coalesce(sum(background), 0)
FROM executions INDEXED BY executions_open WHERE ended_at IS NULL AND status <> 'queued' AND status = 'running'
"""
_WRITER = """
SELECT id FROM executions INDEXED BY executions_writers
WHERE session_id = ? AND status = 'running' AND NOT joined
"""
_SUSPECT_RUNS = """
SELECT EXISTS (SELECT 1 FROM executions INDEXED BY executions_open
    WHERE ended_at IS NULL AND status <> 'queued' AND status = 'running' AND attempts > ?)
"""
_NEXT = """
SELECT {at} FROM executions INDEXED BY {index}
WHERE status = 'queued' AND {test} AND {lanes} ORDER BY {at} LIMIT 1
"""


def not_queued(name: str, status: str) -> IllegalMove:
    """Say that an execution does not wait in a queue."""
    return IllegalMove(f"{name} is {status}, it is not queued", subject=name)


def listing(connection: sqlite3.Connection, wanted: QueueFilter, now: float) -> list[Queued]:
    """Return a page of what is queued, lane by lane."""
    found: list[Queued] = []
    before, most = max(wanted.offset, 0), rows.page(wanted.limit)
    for lane, count in _lanes(connection, wanted):
        if before >= count:
            before -= count
            continue
        until = before + most - len(found)
        page = connection.execute(_PAGE, (lane, now, before, until)).fetchall()
        found.extend(Queued(*row) for row in page)
        before = 0
        if len(found) >= most:
            break
    return found


def _lanes(connection: sqlite3.Connection, wanted: QueueFilter) -> list[tuple[str, int]]:
    """Return the lanes to list, with how much waits in each."""
    if wanted.lane is not None:
        if wanted.agent not in (None, wanted.lane.split("/", 1)[0]):
            return []
        (count,) = connection.execute(_COUNT, (wanted.lane,)).fetchone()
        return [(wanted.lane, count)]
    start = "" if wanted.agent is None else f"{wanted.agent}/"
    return connection.execute(_COUNTS, (start, rows.after_prefix(start))).fetchall()


def names(connection: sqlite3.Connection, lane: str) -> list[str]:
    """Return which executions of a lane are queued, oldest first."""
    found = connection.execute(
        "SELECT id FROM executions WHERE status = 'queued' AND lane = ? ORDER BY n", (lane,)
    )
    return [name for (name,) in found]


def depths(connection: sqlite3.Connection) -> list[Depth]:
    """Return how much waits in each lane."""
    return [Depth(*row) for row in connection.execute(_DEPTHS)]


def explain(connection: sqlite3.Connection, name: str, limits: Limits, now: float) -> Explained:
    """Say why a queued execution waits."""
    row = connection.execute(_ONE, (name,)).fetchone()
    if row is None:
        raise ExecutionNotFound(subject=name)
    n, status, agent, is_joined, attempts, background, hold, slot_at, gathered, *shown = row
    if status != ExecutionStatus.QUEUED:
        raise not_queued(name, status)
    _, session_id, lane, key, *_ = shown
    (position,) = connection.execute(_POSITION, (lane, now, n)).fetchone()
    running, of_lane, of_key, of_agent, behind = connection.execute(
        _RUNNING, (lane, key, agent)
    ).fetchone()
    writer = None if is_joined else connection.execute(_WRITER, (session_id,)).fetchone()
    (suspect_runs,) = connection.execute(_SUSPECT_RUNS, (SUSPECT_AFTER,)).fetchone()
    figures = Figures(
        queued=Queued(*(*shown, position)),
        agent=agent,
        now=now,
        hold=hold,
        slot_at=slot_at,
        gathered=gathered,
        writer=None if writer is None else writer[0],
        of_key=of_key,
        of_lane=of_lane,
        of_agent=of_agent,
        in_background=behind,
        is_background=bool(background),
        running=running,
        is_suspect=attempts >= SUSPECT_AFTER,
        suspect_runs=bool(suspect_runs),
    )
    return explained(figures, limits)


def next_due(connection: sqlite3.Connection, lanes: Sequence[str]) -> float | None:
    """Return when the next execution of these lanes becomes due, or has waited too long."""
    times: list[float] = []
    if not lanes:
        return None
    for at, index, test in (
        ("due_at", "executions_due", "stage = 2"),
        ("expires_at", "executions_expiry", "was IS NULL AND expires_at IS NOT NULL"),
    ):
        statement = _NEXT.format(
            at=at, index=index, test=test, lanes=rows.one_of("lane", len(lanes))
        )
        row = connection.execute(statement, tuple(lanes)).fetchone()
        if row is not None:
            times.append(row[0])
    return min(times, default=None)
