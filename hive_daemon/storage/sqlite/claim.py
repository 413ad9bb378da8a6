"""Handing out executions on SQLite: by priority, then age, within the limits; one writer per session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from heapq import merge

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.sqlite.reader import required, value_of
from hive_daemon.storage.sqlite.restore import open_items, restore_of
from hive_daemon.storage.sqlite.rows import chain
from hive_daemon.storage.sqlite.tx import Held, Identity, Row, Tx
from hive_daemon.storage.values import Claim, Fence, Limits

SUSPECT_AFTER = 2
"""Claims without a finished node after which an execution is suspected of taking the process down."""

_RUNNING = """
SELECT lane, count(*) FROM executions INDEXED BY executions_open
WHERE ended_at IS NULL AND status = 'running' GROUP BY lane
"""
_SUSPECT_RUNS = """
SELECT EXISTS (SELECT 1 FROM executions INDEXED BY executions_open
    WHERE ended_at IS NULL AND status = 'running' AND attempts > ?)
"""
_QUEUED = """
SELECT -priority, n, joined, session_id, attempts, id, agent, graph_id, entry_point, stream_id,
    epoch, seq, event_seq, input, source, correlation, causation, created_at, ordinal,
    cancel_reason, state, trace_id, was, lane
FROM executions e INDEXED BY executions_open
WHERE ended_at IS NULL AND status = 'queued' AND lane = ?
  AND (joined OR NOT EXISTS (
      SELECT 1 FROM executions r INDEXED BY executions_writers
      WHERE r.session_id = e.session_id AND r.status = 'running' AND NOT r.joined))
ORDER BY priority DESC, n
"""
_TAKE = """
UPDATE executions SET status = 'running', owner = ?1, epoch = ?2, attempts = ?3, claimed_seq = seq,
    started_at = coalesce(started_at, ?4), updated_at = ?4, waiting = NULL,
    heard = coalesce((SELECT max(id) FROM inbox), 0)
WHERE n = ?5
"""


@dataclass(slots=True)
class _Room:
    """How many more may run, and which sessions this claim has given a writer already."""

    total: int
    agents: dict[str, int]
    lanes: dict[str, int]
    writing: set[str] = field(default_factory=set)

    def has(self, lane: str) -> bool:
        agent = lane.split("/", 1)[0]
        return self.total > 0 and self.lanes[lane] > 0 and self.agents.get(agent, 1) > 0

    def take(self, lane: str) -> None:
        self.total -= 1
        self.lanes[lane] -= 1
        agent = lane.split("/", 1)[0]
        if agent in self.agents:
            self.agents[agent] -= 1


def claim(tx: Tx, node: str, limits: Limits) -> list[Claim]:
    """Move queued executions to running, within the limits."""
    room = _room(tx, limits)
    queues = [_queued(tx, room, lane) for lane in limits.lanes]
    claims = []
    for row in merge(*queues):
        _, n, is_joined, session_id, attempts, *_ = row
        lane = row[-1]
        if not room.has(lane) or (not is_joined and session_id in room.writing):
            continue
        if attempts >= SUSPECT_AFTER and _suspect_runs(tx):
            continue
        room.take(lane)
        if not is_joined:
            room.writing.add(session_id)
        tx.execute(_TAKE, (node, row[10] + 1, attempts + 1, tx.now, n))
        claims.append(_claim_of(tx, row))
    return claims


def _room(tx: Tx, limits: Limits) -> _Room:
    running: dict[str, int] = dict(tx.execute(_RUNNING).fetchall())
    agents = dict(limits.agents)
    for lane, count in running.items():
        agent = lane.split("/", 1)[0]
        if agent in agents:
            agents[agent] -= count
    lanes = {lane: most - running.get(lane, 0) for lane, most in limits.lanes.items()}
    return _Room(limits.total - sum(running.values()), agents, lanes)


def _queued(tx: Tx, room: _Room, lane: str) -> Iterator[Row]:
    """Yield a lane's queue, in order, for as long as there is room for one more of it."""
    if not room.has(lane):
        return
    with closing(tx.execute(_QUEUED, (lane,))) as found:
        for row in found:
            yield row
            if not room.has(lane):
                return


def _suspect_runs(tx: Tx) -> bool:
    return bool(tx.execute(_SUSPECT_RUNS, (SUSPECT_AFTER,)).fetchone()[0])


def _claim_of(tx: Tx, row: Row) -> Claim:
    (
        _, n, is_joined, session_id, attempts, name, agent, graph_id, entry_point, stream_id,
        epoch, seq, event_seq, given, source, correlation, causation, created_at, ordinal,
        cancel_reason, state, trace_id, before, lane,
    ) = row  # fmt: skip
    connection = tx.connection
    caused_by = chain(causation)
    identity = Identity(n, agent, graph_id, stream_id, name, session_id, correlation, caused_by)
    tx.held[n] = Held(identity, lane, event_seq)
    if seq:
        tx.flush()
    return Claim(
        execution_id=name,
        session_id=session_id,
        agent=agent,
        graph_id=graph_id,
        entry_point=entry_point,
        stream_id=stream_id,
        fence=Fence(name, epoch + 1, n),
        seq=seq,
        event_seq=event_seq,
        attempts=attempts + 1,
        input=required(connection, given),
        source=source,
        correlation_id=correlation,
        causation=caused_by,
        created_at=created_at,
        ordinal=ordinal,
        is_joined=bool(is_joined),
        cancel_reason=cancel_reason,
        state=value_of(connection, state),
        trace_id=trace_id,
        was=None if before is None else ExecutionStatus(before),
        restore=restore_of(connection, n) if seq else None,
        inbox=() if before is None else open_items(connection, session_id),
    )
