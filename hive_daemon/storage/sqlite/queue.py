"""The queue of executions on SQLite: accepting, claiming, giving back, and what waits in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from hive_daemon.clock import Clock
from hive_daemon.errors import ExecutionNotFound, Fenced, IllegalMove
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.admission import Depth, Explained, Queued, QueueFilter
from hive_daemon.storage.sqlite.claim import claim
from hive_daemon.storage.sqlite.inbox import cancel_if_there
from hive_daemon.storage.sqlite.queue_view import (
    depths,
    explain,
    listing,
    names,
    next_due,
    not_queued,
)
from hive_daemon.storage.sqlite.reader import Readers
from hive_daemon.storage.sqlite.submit import submit
from hive_daemon.storage.sqlite.turns import BEHIND, HELD, READY, promote
from hive_daemon.storage.sqlite.tx import Holder, Tx
from hive_daemon.storage.sqlite.writer import Writer
from hive_daemon.storage.values import Claim, Fence, Limits, Submission, Submitted

REQUEUEABLE = frozenset(
    {
        ExecutionStatus.PAUSED,
        ExecutionStatus.WAITING_INPUT,
        ExecutionStatus.WAITING_APPROVAL,
        ExecutionStatus.INTERRUPTED,
    }
)
EXPIRED_AT_ONCE = 512
"""How many are cancelled in one transaction, so that nobody waits long for the writer."""

_RELEASE = """
UPDATE executions SET status = 'queued', attempts = max(attempts - 1, 0), owner = NULL,
    updated_at = ?
WHERE n = ? AND id = ? AND epoch = ? AND status = 'running' RETURNING lane, session_id
"""
_REQUEUE = """
UPDATE executions SET status = 'queued', was = status, owner = NULL, attempts = 0, updated_at = ?,
    state = coalesce(?, state), cancel_reason = NULL, cancelled_by = ''
WHERE n = ?
"""
_TO_FRONT = """
UPDATE executions SET front = ?, stage = CASE stage WHEN 1 THEN 0 ELSE stage END WHERE n = ?
"""
_FIRST = " UNION ALL ".join(
    "SELECT min(front) AS front FROM executions INDEXED BY executions_queue "
    f"WHERE status = 'queued' AND lane = ?1 AND stage = {stage} AND background = {ground}"
    for stage in (READY, BEHIND, HELD)
    for ground in (0, 1)
)
_EXPIRED = """
SELECT id, expires_at - max(created_at, coalesce(due_at, created_at))
FROM executions INDEXED BY executions_expiry
WHERE status = 'queued' AND was IS NULL AND expires_at IS NOT NULL AND expires_at <= ?
ORDER BY expires_at, n LIMIT ?
"""


def release(tx: Tx, fence: Fence) -> str:
    """Queue a running execution again; the claim does not count as an attempt. Answer its lane."""
    row = tx.execute(_RELEASE, (tx.now, fence.row, fence.execution_id, fence.epoch)).fetchone()
    if row is None:
        raise Fenced(subject=fence.execution_id)
    tx.held.pop(fence.row, None)
    lane, session_id = row
    tx.shift(lane, 1, -1)
    promote(tx, session_id)
    return str(lane)


def requeue(tx: Tx, name: str, state: bytes | None) -> str:
    """Queue again what is parked or interrupted; answer its lane."""
    row = tx.execute("SELECT n, status, lane FROM executions WHERE id = ?", (name,)).fetchone()
    if row is None:
        raise ExecutionNotFound(subject=name)
    n, status, lane = row
    if ExecutionStatus(status) not in REQUEUEABLE:
        raise IllegalMove(
            f"{name} is {status}: only a paused, waiting or interrupted execution goes on",
            hint="trigger the entry point again, or resume the session as a new execution",
            subject=name,
        )
    column = None if state is None else tx.keep(state, Holder.EXECUTION, name)
    tx.execute(_REQUEUE, (tx.now, column, n))
    tx.shift(lane, 1)
    return str(lane)


def to_front(tx: Tx, name: str) -> str:
    """Put a queued execution before all others of its lane; answer that."""
    row = tx.execute("SELECT n, status, lane FROM executions WHERE id = ?", (name,)).fetchone()
    if row is None:
        raise ExecutionNotFound(subject=name)
    n, status, lane = row
    if status != ExecutionStatus.QUEUED:
        raise not_queued(name, status)
    (front,) = tx.execute(f"SELECT min(front) FROM ({_FIRST})", (lane,)).fetchone()
    tx.execute(_TO_FRONT, (front - 1, n))
    return str(lane)


def expire(tx: Tx) -> list[str]:
    """Cancel some of what has waited too long; answer the executions."""
    names = []
    for name, waited in tx.execute(_EXPIRED, (tx.now, EXPIRED_AT_ONCE)).fetchall():
        reason = f"waited longer than its queue_timeout of {waited:g} s"
        cancel_if_there(tx, name, reason, "queue_timeout")
        names.append(name)
    return names


def give_back(tx: Tx, claims: Sequence[Claim]) -> set[str]:
    """Release what was claimed for somebody who is gone; answer the lanes."""
    lanes = set()
    for fence in (given.fence for given in claims):
        # What was taken away meanwhile needs no giving back.
        with suppress(Fenced):
            lanes.add(release(tx, fence))
    return lanes


class SqliteQueue:
    """The execution queue on SQLite."""

    def __init__(
        self, writer: Writer, readers: Readers, queued: Callable[[str], None], clock: Clock
    ) -> None:
        self._writer = writer
        self._readers = readers
        self._queued = queued
        self._clock = clock

    async def submit(self, submission: Submission) -> Submitted:
        """See `ExecutionQueue.submit`."""
        answer = self._writer.do(submit, submission)
        # The claim that this hint sets off queues behind the submission and shares its commit.
        self._queued(submission.lane)
        return await answer

    async def claim(self, node: str, limits: Limits) -> list[Claim]:
        """See `ExecutionQueue.claim`."""
        answer = self._writer.do(claim, node, limits)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            answer.add_done_callback(self._give_back)
            raise

    def _give_back(self, answer: asyncio.Future[list[Claim]]) -> None:
        """Nobody is left to run what was claimed: queue it again."""
        if answer.exception() is None and answer.result():
            self._writer.do(give_back, answer.result()).add_done_callback(self._given_back)

    def _given_back(self, lanes: asyncio.Future[set[str]]) -> None:
        if lanes.exception() is None:
            for lane in lanes.result():
                self._queued(lane)

    async def release(self, fence: Fence) -> None:
        """See `ExecutionQueue.release`."""
        self._queued(await self._writer.do(release, fence))

    async def requeue(self, execution_id: str, state: bytes | None = None) -> None:
        """See `ExecutionQueue.requeue`."""
        self._queued(await self._writer.do(requeue, execution_id, state))

    async def listing(self, wanted: QueueFilter) -> list[Queued]:
        """See `ExecutionQueue.listing`."""
        return await self._readers.read(listing, wanted, self._clock.time())

    async def names(self, lane: str) -> list[str]:
        """See `ExecutionQueue.names`."""
        return await self._readers.read(names, lane)

    async def depths(self) -> list[Depth]:
        """See `ExecutionQueue.depths`."""
        return await self._readers.read(depths)

    async def explain(self, execution_id: str, limits: Limits) -> Explained:
        """See `ExecutionQueue.explain`."""
        return await self._readers.read(explain, execution_id, limits, self._clock.time())

    async def to_front(self, execution_id: str) -> None:
        """See `ExecutionQueue.to_front`."""
        self._queued(await self._writer.do(to_front, execution_id))

    async def next_due(self, lanes: Collection[str]) -> float | None:
        """See `ExecutionQueue.next_due`."""
        return await self._readers.read(next_due, tuple(lanes))

    async def expire(self) -> list[str]:
        """See `ExecutionQueue.expire`."""
        names: list[str] = []
        while True:
            some = await self._writer.do(expire)
            names.extend(some)
            if len(some) < EXPIRED_AT_ONCE:
                return names
