"""The ports of the store: what the runtime may ask of any back end, and what it may rely on.

Every method is atomic and durable when it returns, or it raises and has changed nothing. Times are those of the
store's clock. The contract test suite holds each back end to the docstrings here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.admission import Depth, Explained, Queued, QueueFilter
from hive_daemon.storage.budget_ledger import BudgetLedger
from hive_daemon.storage.event_values import Notice
from hive_daemon.storage.incident_book import IncidentBook
from hive_daemon.storage.timer_values import (
    EVERYTHING,
    Occurrence,
    Span,
    TimerFire,
    TimerRow,
    TimerSpec,
)
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

KEPT_NOTICES = 10_000


class ExecutionQueue(Protocol):
    """What was accepted and has not run yet."""

    async def submit(self, submission: Submission) -> Submitted:
        """Accept a trigger; durable on return.

        Laws: one execution per (namespace, key) within its window, the first id for all; ids of a session count up
        and none is given twice; what it replaces is cancelled in the same moment, what is not there is not missed;
        its admission is decided in the same moment, in the order dedupe, its own refusal, rate, debounce or batch,
        throttle, concurrency, and one that is refused leaves nothing behind and has used up no rate. What replaces the
        open executions of its group goes on in the session of the newest of them, also if it names a new one (see
        `Claim.carry_from`); what joins a session neither gives way nor is taken over.
        Raises IdempotencyConflict, its refusal, Busy, QueueFull, RateLimited, AlreadyRegistered if a new session's id
        is taken, SessionNotFound if there is none to continue, StorageFull, StorageUnavailable.
        """

    async def claim(self, node: str, limits: Limits) -> list[Claim]:
        """Hand out queued executions that are due and have not waited too long, within the limits.

        Order: within a lane first what was moved to the front, then by priority, then the keys in turn (the cursor is
        the last key served, and survives a restart), then age; between the heads of the lanes by priority, then age.
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

    async def listing(self, wanted: QueueFilter) -> list[Queued]:
        """Return what is queued, lane by lane, in the order of claiming within each, at most MAX_PAGE.

        The order is that in which it would be claimed if slots became free one by one and nothing else held it; what is
        not due comes last, by when it is. `offset` counts over all that match.
        """

    async def names(self, lane: str) -> list[str]:
        """Return which executions of a lane are queued, all of them, oldest first."""

    async def depths(self) -> list[Depth]:
        """Return how much waits in each lane that has anything queued, by the name of the lane."""

    async def explain(self, execution_id: str, limits: Limits) -> Explained:
        """Say why a queued execution waits, given the limits that `claim` is called with, all lanes named.

        Raises ExecutionNotFound, IllegalMove for one that is not queued.
        """

    async def to_front(self, execution_id: str) -> None:
        """Let a queued execution be the next one claimed of its lane; what holds it besides its turn still does.

        Raises ExecutionNotFound, IllegalMove for one that is not queued.
        """

    async def next_due(self, lanes: Collection[str]) -> float | None:
        """Return when the next execution of these lanes that is held back becomes due, or has waited too long.

        None if there is none. What is due already and was looked at by a `claim` is not counted; a time that has passed
        says that a `claim` or an `expire` is owed.
        """

    async def expire(self) -> list[str]:
        """Cancel what has waited longer than it may, in every lane; answer the executions.

        It has not run and never will: `claim` passes it over from its time on. It becomes cancelled with the error code
        `queue_timeout`, and is told of like any cancelled queued execution. What began once does not expire.
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

    async def cancel(self, execution_id: str, reason: str, by: str = "") -> ExecutionStatus:
        """Order a cancellation and answer the status that follows; `by` is the person who orders it, if it is one.

        What is not running becomes cancelled at once; what runs is marked and stays running until its owner has really
        stopped it; what is terminal stays as it is. The first order stands. Raises ExecutionNotFound.
        """

    async def inject(self, session_id: str, node_id: str, content: str, key: str = "") -> Injected:
        """Say something to a node of a session; an execution that waits at that node is queued again.

        It may wait at several nodes: each is heard. An empty `node_id` is for whichever asks a question first. One that
        is about to wait there is queued too, if it parks without having used what was said since it was claimed. The
        same non-empty `key` is taken once. Raises SessionNotFound.
        """


class ExecutionStore(Protocol):
    """The executions and everything they made durable."""

    def commit(self, fence: Fence, step: StepCommit) -> Awaitable[tuple[Submitted | None, ...]]:
        """THE write. Laws: atomic; the same (fence, seq) again is a success without effect; steps sent one after
        the other, without awaiting, are written in that order; what it cancels is marked or ended like by
        `ControlInbox.cancel`, in the same moment.

        Answers what became of each submission that it spawns, None for one that was refused and left its
        `refusal_event` instead: that event follows those of the step and is told of with them. Empty for a step that
        was written before.
        Raises Fenced if somebody else holds the execution, it is not running or the step is not the next one;
        StateConflict if a shared key has another version than expected; IllegalMove if what runs cannot end that way;
        for what it spawns, whatever `submit` raises, except for a refusal that has its event.
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


class NoticeBoard(Protocol):
    """Durable events of no execution."""

    def post(self, notice: Notice) -> Awaitable[None]:
        """Number a notice among all events; durable once awaited, told like any commit.

        The newest KEPT_NOTICES are kept. Raises StorageFull, StorageUnavailable.
        """


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

        A changed signature starts a new phase; a timer no longer named keeps its history but is not answered. What is
        written of a timer (paused or not, how many remain) takes effect when it is first seen, when its signature
        changed, and when itself was changed; a person's word since then holds otherwise.
        """

    async def fire(self, fire: TimerFire) -> Submitted | None:
        """Settle one due instant, and submit its execution in the same moment.

        Laws: an instant has one row, and fires once, whatever is asked; a paused timer fires nothing, its row says so;
        each fire takes one of what remains, in the same commit, and nothing fires when none does. None for whatever
        started nothing. Raises TimerNotFound, and whatever `submit` raises: then the instant is not settled.
        """

    async def account(self, timer_ids: Sequence[str]) -> list[TimerRow]:
        """Note how the executions of these timers ended, and pause the timer that failed too often in a row.

        Laws: each end counts once, in order, a success begins the count anew, a cancellation does not count; an instant
        for which nothing could be started is a failure too. `fire` counts and pauses so as well, before it fires.
        Answers each timer that was paused so, once.
        """

    async def set_paused(
        self,
        timer_ids: Sequence[str],
        paused: bool,
        *,
        by: str = "",
        note: str = "",
        until: float | None = None,
    ) -> None:
        """Pause or resume timers, all or none; it holds until the opposite is said, or until `until`, over restarts.

        Resuming begins the count of failures anew. Raises TimerNotFound.
        """

    async def rows(self, agent: str | None = None) -> list[TimerRow]:
        """Return what the ledger knows of the timers."""

    async def occurrences(
        self, timer_id: str, limit: int = 50, span: Span = EVERYTHING
    ) -> list[Occurrence]:
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
    budgets: BudgetLedger
    notices: NoticeBoard
    incidents: IncidentBook
