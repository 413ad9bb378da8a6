"""The ports of the store: what the runtime may ask of any back end, and what it may rely on.

Every method is atomic and durable when it returns, or it raises and has changed nothing. Times are those of the
store's clock. The contract test suite holds each back end to the docstrings here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.timer_values import Occurrence, TimerFire, TimerRow, TimerSpec
from hive_daemon.storage.values import (
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
from hive_daemon.storage.webhook_deliveries import DeliveryLedger


class ExecutionQueue(Protocol):
    """What was accepted and has not run yet."""

    async def submit(self, submission: Submission) -> Submitted:
        """Accept a trigger; durable on return.

        Laws: one execution per (namespace, key) within its window, the first id for all; ids of a session count up
        and none is given twice; what it replaces is cancelled in the same moment, what is not there is not missed.
        Raises IdempotencyConflict, AlreadyRegistered if a new session's id is taken, SessionNotFound if there is
        none to continue, StorageFull, StorageUnavailable.
        """

    async def claim(self, node: str, limits: Limits) -> list[Claim]:
        """Hand out queued executions: by priority, then age, within the limits.

        Laws: running ≤ each limit always, over everything this store knows; at most one running execution writes a
        session; one that took the process down twice runs only while no other such one does. If the caller is
        cancelled before it has the answer, what was claimed for it is released.
        """

    async def release(self, fence: Fence) -> None:
        """Queue a claimed execution again that could not be begun; its attempt is not counted. Raises Fenced."""

    async def requeue(self, execution_id: str, state: bytes | None = None) -> None:
        """Queue an execution again that is paused, waiting or interrupted, with a new `state` if one is given.

        An order to cancel that it outlived is forgotten. Raises IllegalMove, ExecutionNotFound.
        """


class NodeLease(Protocol):
    """Which process owns what runs."""

    async def heartbeat(self, node: str) -> Beat:
        """Say that this process lives: one write, however many executions it holds."""

    async def sweep(self, node: str, max_attempts: int) -> Swept:
        """Queue again what other processes left running or interrupted.

        Laws: what was claimed `max_attempts` times without finishing a node becomes recovery_exhausted instead;
        nothing of `node` itself is touched.
        """


class ControlInbox(Protocol):
    """What people say to executions; durable, so that it may be said while nobody listens."""

    async def cancel(self, execution_id: str, reason: str) -> ExecutionStatus:
        """Order a cancellation and answer the status that follows.

        What is not running becomes cancelled at once; what runs is marked and stays running until its owner has really
        stopped it; what is terminal stays as it is. Raises ExecutionNotFound.
        """

    async def inject(self, session_id: str, node_id: str, content: str, key: str = "") -> Injected:
        """Say something to a node of a session; an execution that waits at that node is queued again.

        One that is about to wait there is too, if it parks without having used what was said since it was claimed.
        The same non-empty `key` is taken once. Raises SessionNotFound.
        """


class ExecutionStore(Protocol):
    """The executions and everything they made durable."""

    def commit(self, fence: Fence, step: StepCommit) -> Awaitable[None]:
        """THE write. Laws: atomic; the same (fence, seq) again is a success without effect; steps sent one after
        the other, without awaiting, are written in that order.

        Raises Fenced if somebody else holds the execution, it is not running or the step is not the next one;
        StateConflict if a shared key has another version than expected; IllegalMove if what runs cannot end that way;
        for what it spawns, whatever `submit` raises.
        """

    async def load(self, execution_id: str) -> ExecutionRow:
        """Return one execution. Raises ExecutionNotFound."""

    async def query(self, wanted: ExecutionFilter) -> list[ExecutionRow]:
        """Return executions, newest first, at most MAX_PAGE."""

    async def history(self, wanted: EventFilter) -> list[StoredEvent]:
        """Return durable events in order of `seq`, at most MAX_PAGE."""

    async def prune(self, execution_ids: Sequence[str]) -> int:
        """Forget terminal executions with everything that belongs to them; answer how many. Others are left.

        What belongs to a session goes with its last execution. Numbers and ids are not given out again.
        """

    async def stats(self) -> StoreStats:
        """Return the figures of the store."""


class SessionRecords(Protocol):
    """What belongs to a session rather than to one step."""

    async def records(self, session_id: str, prefix: str) -> dict[str, bytes]:
        """Return the session records whose key begins with `prefix`, by key."""

    async def checkpoints(self, session_id: str) -> list[CheckpointRow]:
        """Return the checkpoints of a session's executions, execution by execution, oldest first."""

    async def restore(self, execution_id: str, seq: int | None = None) -> Restore | None:
        """Return what rebuilds an execution as of a checkpoint (None: the newest), or None if there is none.

        Raises ExecutionNotFound.
        """

    async def state(self, scopes: Sequence[str]) -> dict[tuple[str, str], tuple[bytes, int]]:
        """Return `{(scope, key): (value, version)}` of shared state."""

    async def write_state(self, writes: Sequence[StateWrite]) -> None:
        """Set shared keys, all or none. Raises StateConflict."""

    async def clear_state(self, scope: str) -> None:
        """Forget every key of a scope of shared state."""


class TimerLease(Protocol):
    """The timers' ledger: exactly one row per (timer, due instant)."""

    async def sync(self, agent: str, specs: Sequence[TimerSpec]) -> list[TimerRow]:
        """Make the agent's timers known and answer what the ledger knows of them.

        A changed signature starts a new phase; a timer no longer named keeps its history but is not answered.
        """

    async def fire(self, fire: TimerFire) -> Submitted | None:
        """Settle one due instant, and submit its execution in the same moment.

        None for a skip, and for an instant that was settled before. Raises TimerNotFound, and whatever `submit` raises:
        then the instant is not settled.
        """

    async def set_paused(
        self, timer_ids: Sequence[str], paused: bool, *, by: str = "", note: str = ""
    ) -> None:
        """Pause or resume timers, all or none; it holds until the opposite is said, over restarts.

        Raises TimerNotFound.
        """

    async def rows(self, agent: str | None = None) -> list[TimerRow]:
        """Return what the ledger knows of the timers."""

    async def occurrences(self, timer_id: str, limit: int = 50) -> list[Occurrence]:
        """Return the last due instants of a timer, newest first; the last KEPT_OCCURRENCES at least are known."""


class BlobStore(Protocol):
    """Large values by the SHA-256 of their content."""

    async def put_if_absent(self, content: bytes) -> str:
        """Keep the content until it is deleted, and answer its key."""

    async def get(self, key: str) -> bytes:
        """Return the content. Raises NotFound."""

    async def delete(self, key: str) -> bool:
        """Let go of the content: it is forgotten unless a row of the store refers to it. Say whether it is gone now."""


class StoreListener(Protocol):
    """Told of every commit, on the event loop, in commit order, after it is durable and before its caller goes on.

    What a listener raises reaches the event loop's handler and disturbs nobody else.
    """

    def committed(
        self, fence: Fence | None, step: StepCommit | None, events: Sequence[StoredEvent]
    ) -> None:
        """Take note of a step and of the events that it numbered; of events alone, if they belong to no step."""

    def queued(self, lane: str) -> None:
        """Take note that a lane has something to claim: a hint, possibly before it is durable."""


@dataclass(frozen=True, slots=True)
class Store:
    """One back end, port by port."""

    queue: ExecutionQueue
    lease: NodeLease
    inbox: ControlInbox
    executions: ExecutionStore
    sessions: SessionRecords
    timers: TimerLease
    blobs: BlobStore
    deliveries: DeliveryLedger
