"""The queue of executions on SQLite: accepting, claiming, giving back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from hive_daemon.errors import ExecutionNotFound, Fenced, IllegalMove
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.sqlite.claim import claim
from hive_daemon.storage.sqlite.submit import submit
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

_RELEASE = """
UPDATE executions SET status = 'queued', attempts = max(attempts - 1, 0), owner = NULL,
    updated_at = ?
WHERE n = ? AND id = ? AND epoch = ? AND status = 'running' RETURNING lane
"""
_REQUEUE = """
UPDATE executions SET status = 'queued', was = status, owner = NULL, attempts = 0, updated_at = ?,
    state = coalesce(?, state), cancel_reason = NULL
WHERE n = ?
"""


def release(tx: Tx, fence: Fence) -> str:
    """Queue a running execution again; the claim does not count as an attempt. Answer its lane."""
    row = tx.execute(_RELEASE, (tx.now, fence.row, fence.execution_id, fence.epoch)).fetchone()
    if row is None:
        raise Fenced(subject=fence.execution_id)
    tx.held.pop(fence.row, None)
    lane: str = row[0]
    return lane


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
    return str(lane)


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

    def __init__(self, writer: Writer, queued: Callable[[str], None]) -> None:
        self._writer = writer
        self._queued = queued

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
