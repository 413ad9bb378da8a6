"""Handing out executions on SQLite: by priority, key in turn and age, within the limits; one writer per session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.sqlite.reader import required, value_of
from hive_daemon.storage.sqlite.restore import open_items, restore_of
from hive_daemon.storage.sqlite.rows import chain
from hive_daemon.storage.sqlite.turns import KeyedTurns, PlainTurns, Turns, among_lanes, ripen
from hive_daemon.storage.sqlite.tx import Held, Identity, Row, Tx
from hive_daemon.storage.values import Claim, Fence, Limits

SUSPECT_AFTER = 2
"""Claims without a finished node after which an execution is suspected of taking the process down."""

_ANY_ATTEMPTS = 2**62
_RUNNING = """
SELECT lane, key, background, count(*) FROM executions INDEXED BY executions_open
WHERE ended_at IS NULL AND status <> 'queued' AND status = 'running' GROUP BY lane, key, background
"""
_SUSPECT_RUNS = """
SELECT EXISTS (SELECT 1 FROM executions INDEXED BY executions_open
    WHERE ended_at IS NULL AND status <> 'queued' AND status = 'running' AND attempts > ?)
"""
_TAKE = """
UPDATE executions SET status = 'running', owner = ?1, epoch = epoch + 1, attempts = attempts + 1,
    claimed_seq = seq, started_at = coalesce(started_at, ?2), updated_at = ?2, waiting = NULL,
    heard = coalesce((SELECT max(id) FROM inbox), 0)
WHERE n = ?3
"""


@dataclass(slots=True)
class _Room:
    """How many more may run, and which sessions this claim has given a writer already."""

    tx: Tx
    total: int
    background: int | None
    agents: dict[str, int]
    lanes: dict[str, int]
    groups: dict[str, int]
    running: dict[tuple[str, str], int]
    writing: set[str] = field(default_factory=set)
    suspect_runs: bool | None = None

    def has(self, lane: str) -> bool:
        if self.total <= 0 or self.lanes[lane] <= 0:
            return False
        return not self.agents or self.agents.get(lane.split("/", 1)[0], 1) > 0

    def has_key(self, lane: str, key: str) -> bool:
        most = self.groups.get(lane)
        return most is None or self.running.get((lane, key), 0) < most

    def grounds(self) -> tuple[int, ...]:
        return (0, 1) if self.background is None or self.background > 0 else (0,)

    def takes(self, row: Row) -> bool:
        lane = row[8]
        return self.has(lane) and self.has_key(lane, row[3]) and self.lets(row)

    def lets(self, row: Row) -> bool:
        is_joined, session_id, ground, attempts = row[4:8]
        if attempts >= SUSPECT_AFTER and attempts >= self.most_attempts():
            return False
        if not is_joined and session_id in self.writing:
            return False
        return not ground or self.background is None or self.background > 0

    def most_attempts(self) -> int:
        if self.suspect_runs is None:
            found = self.tx.execute(_SUSPECT_RUNS, (SUSPECT_AFTER,)).fetchone()
            self.suspect_runs = bool(found[0])
        return SUSPECT_AFTER if self.suspect_runs else _ANY_ATTEMPTS

    def take(self, row: Row) -> None:
        key, is_joined, session_id, ground, attempts, lane, _, agent = row[3:11]
        self.total -= 1
        self.lanes[lane] -= 1
        if lane in self.groups:
            self.running[lane, key] = self.running.get((lane, key), 0) + 1
        if agent in self.agents:
            self.agents[agent] -= 1
        if ground and self.background is not None:
            self.background -= 1
        if not is_joined:
            self.writing.add(session_id)
        if attempts >= SUSPECT_AFTER:
            self.suspect_runs = True


def claim(tx: Tx, node: str, limits: Limits) -> list[Claim]:
    """Move queued executions to running, within the limits."""
    ripen(tx)
    room = _room(tx, limits)
    last_keys: dict[str, str] = dict(tx.execute("SELECT lane, last_key FROM lanes").fetchall())
    queues: list[Turns] = [
        KeyedTurns(tx, room, lane, last_keys[lane])
        if lane in last_keys
        else PlainTurns(tx, room, lane)
        for lane in limits.lanes
        if room.has(lane)
    ]
    try:
        return _claim_in_turn(tx, node, room, queues)
    finally:
        for queue in queues:
            queue.close()


def _claim_in_turn(tx: Tx, node: str, room: _Room, queues: Sequence[Turns]) -> list[Claim]:
    """Take the best of the heads of all lanes for as long as one of them may run."""
    heads = []
    for number, queue in enumerate(queues):
        row = queue.head()
        if row is not None:
            heads.append((among_lanes(row), number, 0, row))
    heapify(heads)
    claims: list[Claim] = []
    while heads:
        _, number, before, row = heads[0]
        queue = queues[number]
        # What was taken of another lane meanwhile may have taken its room, or its session.
        if before == len(claims) or room.takes(row):
            room.take(row)
            queue.took(row)
            claims.append(_take(tx, node, row))
        following = queue.head()
        if following is None:
            heappop(heads)
        else:
            heapreplace(heads, (among_lanes(following), number, len(claims), following))
    return claims


def _room(tx: Tx, limits: Limits) -> _Room:
    agents, lanes = dict(limits.agents), dict(limits.lanes)
    total, background = limits.total, limits.background
    running: dict[tuple[str, str], int] = {}
    for lane, key, ground, count in tx.execute(_RUNNING).fetchall():
        total -= count
        agent = lane.split("/", 1)[0]
        if agent in agents:
            agents[agent] -= count
        if lane in lanes:
            lanes[lane] -= count
        if ground and background is not None:
            background -= count
        running[lane, key] = running.get((lane, key), 0) + count
    return _Room(tx, total, background, agents, lanes, dict(limits.groups), running)


def _take(tx: Tx, node: str, row: Row) -> Claim:
    tx.execute(_TAKE, (node, tx.now, row[2]))
    tx.shift(row[8], -1, 1)
    return _claim_of(tx, row)


def _claim_of(tx: Tx, row: Row) -> Claim:
    (
        _, _, n, key, is_joined, session_id, _, attempts, lane,
        name, agent, graph_id, entry_point, stream_id, epoch, seq, event_seq, given, source,
        correlation, causation, created_at, ordinal, cancel_reason, state, trace_id, before,
        carry_from,
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
        key=key,
        carry_from=carry_from,
    )
