"""A store in memory, held to the same laws as the durable one; also the shortest description of a back end.

    async with open_memory(listener, clock) as store: ...

Nothing survives the process. To open the same contents again, as after a crash, pass the same disk:

    disk = MemoryDisk()
    async with open_memory(listener, clock, disk) as store: ...
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, TypeVarTuple

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import NotFound, StorageUnavailable
from hive_daemon.runtime.webhook_memory import MemoryLedger
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.admission import Depth, Explained, Queued, QueueFilter
from hive_daemon.storage.event_values import Notice
from hive_daemon.storage.ports import Store, StoreListener
from hive_daemon.storage.timer_values import (
    EVERYTHING,
    Occurrence,
    Span,
    TimerFire,
    TimerRow,
    TimerSpec,
)
from hive_daemon.storage.values import (
    MAX_PAGE,
    Beat,
    CheckpointRow,
    Claim,
    EventFilter,
    ExecutionFilter,
    ExecutionRow,
    Fence,
    Injected,
    Limits,
    Restore,
    StateWrite,
    StepCommit,
    StoredEvent,
    StoreStats,
    Submission,
    Submitted,
    Swept,
)
from tests.fakes import memory_admission, memory_queue, memory_steps, memory_timers
from tests.fakes.memory_budgets import BudgetBook, MemoryBudgets
from tests.fakes.memory_incidents import MemoryIncidents
from tests.fakes.memory_world import World

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass
class MemoryDisk:
    """Keeps a world for the next store that is opened on it."""

    world: World = field(default_factory=World)
    budgets: BudgetBook = field(default_factory=BudgetBook)


@asynccontextmanager
async def open_memory(
    listener: StoreListener, clock: Clock = SYSTEM_CLOCK, disk: MemoryDisk | None = None
) -> AsyncIterator[Store]:
    """Open a store in memory for as long as the context lasts."""
    disk = disk or MemoryDisk()
    memory = MemoryStore(listener, clock, disk)
    try:
        deliveries = MemoryLedger(clock)
        incidents = MemoryIncidents(clock)
        yield Store(
            *[memory] * 7,
            deliveries=deliveries,
            budgets=MemoryBudgets(disk.budgets),
            notices=memory,
            incidents=incidents,
        )
    finally:
        memory.is_closed = True


class MemoryStore:
    """All ports in one class: each method is one operation on the world."""

    def __init__(self, listener: StoreListener, clock: Clock, disk: MemoryDisk) -> None:
        self._listener = listener
        self._clock = clock
        self._disk = disk
        self.is_closed = False

    def _now(self, work: Callable[[World, *Ts], T], *arguments: *Ts) -> T:
        """Do work on a copy of the world, keep the copy, tell the listener."""
        if self.is_closed:
            raise StorageUnavailable("the store is closed")
        world = self._disk.world.copy(self._clock.time())
        answer = work(world, *arguments)
        world.operations += 1
        self._disk.world = world
        self._tell(world)
        return answer

    async def _do(self, work: Callable[[World, *Ts], T], *arguments: *Ts) -> T:
        """Do work, and let others run before the caller goes on."""
        try:
            return self._now(work, *arguments)
        finally:
            await asyncio.sleep(0)

    def _tell(self, world: World) -> None:
        try:
            if world.step is not None:
                self._listener.committed(*world.step, tuple(world.fresh))
            elif world.fresh:
                self._listener.committed(None, None, tuple(world.fresh))
        except Exception as error:
            context = {"message": "a listener of the store failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
        for lane in dict.fromkeys(world.lanes):
            self._listener.queued(lane)

    async def _see(self) -> World:
        if self.is_closed:
            raise StorageUnavailable("the store is closed")
        await asyncio.sleep(0)
        return self._disk.world

    # --- ExecutionQueue ---------------------------------------------------------------------

    async def submit(self, submission: Submission) -> Submitted:
        """See `ExecutionQueue.submit`."""
        return await self._do(memory_queue.submit, submission)

    async def claim(self, node: str, limits: Limits) -> list[Claim]:
        """See `ExecutionQueue.claim`."""
        claims = self._now(memory_queue.claim, node, limits)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            for claim in claims:
                self._now(memory_queue.release, claim.fence)
            raise
        return claims

    async def release(self, fence: Fence) -> None:
        """See `ExecutionQueue.release`."""
        await self._do(memory_queue.release, fence)

    async def requeue(self, execution_id: str, state: bytes | None = None) -> None:
        """See `ExecutionQueue.requeue`."""
        await self._do(memory_queue.requeue, execution_id, state)

    async def listing(self, wanted: QueueFilter) -> list[Queued]:
        """See `ExecutionQueue.listing`."""
        return memory_admission.listing(await self._see(), self._clock.time(), wanted)

    async def names(self, lane: str) -> list[str]:
        """See `ExecutionQueue.names`."""
        return memory_admission.names(await self._see(), lane)

    async def depths(self) -> list[Depth]:
        """See `ExecutionQueue.depths`."""
        return memory_admission.depths(await self._see())

    async def explain(self, execution_id: str, limits: Limits) -> Explained:
        """See `ExecutionQueue.explain`."""
        world = await self._see()
        return memory_admission.explain(world, self._clock.time(), execution_id, limits)

    async def to_front(self, execution_id: str) -> None:
        """See `ExecutionQueue.to_front`."""
        await self._do(memory_admission.to_front, execution_id)

    async def next_due(self, lanes: Collection[str]) -> float | None:
        """See `ExecutionQueue.next_due`."""
        return memory_admission.next_due(await self._see(), self._clock.time(), lanes)

    async def expire(self) -> list[str]:
        """See `ExecutionQueue.expire`."""
        return await self._do(memory_queue.expire)

    # --- NodeLease, ControlInbox ------------------------------------------------------------

    async def heartbeat(self, node: str) -> Beat:
        """See `NodeLease.heartbeat`."""
        return await self._do(memory_queue.heartbeat, node)

    async def sweep(self, node: str, max_attempts: int) -> Swept:
        """See `NodeLease.sweep`."""
        return await self._do(memory_queue.sweep, node, max_attempts)

    async def cancel(self, execution_id: str, reason: str, by: str = "") -> ExecutionStatus:
        """See `ControlInbox.cancel`."""
        return await self._do(memory_queue.cancel, execution_id, reason, "cancelled", by)

    async def inject(self, session_id: str, node_id: str, content: str, key: str = "") -> Injected:
        """See `ControlInbox.inject`."""
        return await self._do(memory_queue.inject, session_id, node_id, content, key)

    # --- ExecutionStore ---------------------------------------------------------------------

    def commit(
        self, fence: Fence, step: StepCommit
    ) -> asyncio.Future[tuple[Submitted | None, ...]]:
        """See `ExecutionStore.commit`: done when it is called, whoever awaits it when."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[Submitted | None, ...]] = loop.create_future()
        try:
            told = self._now(
                memory_steps.commit, fence, step, memory_queue.submit, memory_queue.cancel
            )
        except Exception as error:
            loop.call_soon(_refuse, answer, error)
        else:
            loop.call_soon(_accept, answer, told)
        return answer

    async def load(self, execution_id: str) -> ExecutionRow:
        """See `ExecutionStore.load`."""
        return (await self._see()).known(execution_id).row

    async def query(self, wanted: ExecutionFilter) -> list[ExecutionRow]:
        """See `ExecutionStore.query`."""
        rows = [entry.row for entry in (await self._see()).entries.values()]
        found = [row for row in rows if _matches(row, wanted, rows)]
        return found[::-1][: _page(wanted.limit)]

    async def history(self, wanted: EventFilter) -> list[StoredEvent]:
        """See `ExecutionStore.history`."""
        found = [event for event in (await self._see()).events if _is_wanted(event, wanted)]
        most = _page(wanted.limit)
        return found[max(len(found) - most, 0) :] if wanted.newest else found[:most]

    async def prune(self, execution_ids: Sequence[str]) -> int:
        """See `ExecutionStore.prune`."""
        return await self._do(memory_steps.prune, execution_ids)

    async def stats(self) -> StoreStats:
        """See `ExecutionStore.stats`."""
        world = await self._see()
        open_ones = [e.row.status for e in world.entries.values() if e.row.ended_at is None]
        by_status = {status.value: open_ones.count(status) for status in open_ones}
        return StoreStats(0, world.operations, 0.0, 0.0, by_status, world.last_event)

    # --- NoticeBoard ------------------------------------------------------------------------

    async def post(self, notice: Notice) -> None:
        """See `NoticeBoard.post`."""
        await self._do(World.post, notice)

    # --- SessionRecords ---------------------------------------------------------------------

    async def records(self, session_id: str, prefix: str) -> dict[str, bytes]:
        """See `SessionRecords.records`."""
        found = (await self._see()).records.items()
        return {
            key: value
            for (session, key), value in sorted(found)
            if session == session_id and key.startswith(prefix)
        }

    async def checkpoints(self, session_id: str) -> list[CheckpointRow]:
        """See `SessionRecords.checkpoints`."""
        world = await self._see()
        return [
            row
            for (n, _), row in sorted(world.checkpoints.items())
            if world.entries[n].row.session_id == session_id
        ]

    async def restore(self, execution_id: str, seq: int | None = None) -> Restore | None:
        """See `SessionRecords.restore`."""
        return memory_steps.restore(await self._see(), execution_id, seq)

    async def state(self, scopes: Sequence[str]) -> dict[tuple[str, str], tuple[bytes, int]]:
        """See `SessionRecords.state`."""
        found = (await self._see()).state.items()
        return {place: held for place, held in found if place[0] in scopes}

    async def write_state(self, writes: Sequence[StateWrite]) -> None:
        """See `SessionRecords.write_state`."""
        await self._do(memory_steps.write_state, writes)

    async def clear_state(self, scope: str) -> None:
        """See `SessionRecords.clear_state`."""
        await self._do(_clear_state, scope)

    # --- TimerLease -------------------------------------------------------------------------

    async def sync(self, agent: str, specs: Sequence[TimerSpec]) -> list[TimerRow]:
        """See `TimerLease.sync`."""
        return await self._do(memory_timers.sync, agent, specs)

    async def fire(self, fire: TimerFire) -> Submitted | None:
        """See `TimerLease.fire`."""
        return await self._do(memory_timers.fire, fire)

    async def account(self, timer_ids: Sequence[str]) -> list[TimerRow]:
        """See `TimerLease.account`."""
        return await self._do(memory_timers.account, timer_ids)

    async def set_paused(
        self,
        timer_ids: Sequence[str],
        paused: bool,
        *,
        by: str = "",
        note: str = "",
        until: float | None = None,
    ) -> None:
        """See `TimerLease.set_paused`."""
        await self._do(memory_timers.set_paused, timer_ids, paused, by, note, until)

    async def rows(self, agent: str | None = None) -> list[TimerRow]:
        """See `TimerLease.rows`."""
        return memory_timers.rows(await self._see(), agent)

    async def occurrences(
        self, timer_id: str, limit: int = 50, span: Span = EVERYTHING
    ) -> list[Occurrence]:
        """See `TimerLease.occurrences`."""
        return memory_timers.occurrences(await self._see(), timer_id, limit, span)

    # --- BlobStore --------------------------------------------------------------------------

    async def put_if_absent(self, content: bytes) -> str:
        """See `BlobStore.put_if_absent`."""
        return await self._do(_put_blob, content)

    async def get(self, key: str) -> bytes:
        """See `BlobStore.get`."""
        content = (await self._see()).blobs.get(key)
        if content is None:
            raise NotFound("no blob has this key", subject=key)
        return content

    async def delete(self, key: str) -> bool:
        """See `BlobStore.delete`."""
        return await self._do(_delete_blob, key)


def _accept(answer: asyncio.Future[T], result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def _refuse(answer: asyncio.Future[Any], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


def _page(limit: int) -> int:
    return max(0, min(limit, MAX_PAGE))


def _matches(row: ExecutionRow, wanted: ExecutionFilter, rows: Sequence[ExecutionRow]) -> bool:
    return (
        wanted.agent in (None, row.agent)
        and (not wanted.statuses or row.status in wanted.statuses)
        and wanted.stream_id in (None, row.stream_id)
        and wanted.session_id in (None, row.session_id)
        and (wanted.id_prefix is None or row.execution_id.startswith(wanted.id_prefix))
        and (wanted.before is None or row.n < wanted.before)
        and (not wanted.latest_of_session or row == _latest(row.session_id, rows))
    )


def _latest(session_id: str, rows: Sequence[ExecutionRow]) -> ExecutionRow:
    mine = [row for row in rows if row.session_id == session_id]
    return max(mine, key=lambda row: (not row.is_joined, row.ordinal))


def _is_wanted(event: StoredEvent, wanted: EventFilter) -> bool:
    return (
        event.seq > wanted.after_seq
        and wanted.agent in (None, event.agent)
        and wanted.session_id in (None, event.session_id)
        and wanted.execution_id in (None, event.execution_id)
        and wanted.stream_id in (None, event.stream_id)
        and wanted.node_id in (None, event.node_id)
        and (not wanted.types or event.type in wanted.types)
    )


def _clear_state(world: World, scope: str) -> None:
    world.state = {place: held for place, held in world.state.items() if place[0] != scope}


def _put_blob(world: World, content: bytes) -> str:
    key = hashlib.sha256(content).hexdigest()
    world.blobs[key] = content
    return key


def _delete_blob(world: World, key: str) -> bool:
    content = world.blobs.get(key)
    if content is None or content in _kept_values(world):
        return False
    del world.blobs[key]
    return True


def _kept_values(world: World) -> Iterable[bytes | None]:
    for entry in world.entries.values():
        yield from (entry.row.input, entry.row.state, entry.row.result, entry.row.waiting)
    for checkpoint in world.checkpoints.values():
        yield from (checkpoint.walk, checkpoint.patch)
    yield from (event.data for event in world.events)
    yield from world.records.values()
    yield from (value for value, _ in world.state.values())
