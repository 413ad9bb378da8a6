"""What goes into the store and what comes out of it: frozen values, no behaviour.

What the store only keeps (inputs, checkpoints, results, event payloads) is JSON as bytes. Times are wall seconds UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from hive_daemon.errors import Refused
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.event_values import CancelOrder
from hive_daemon.storage.event_values import EventRecord as EventRecord
from hive_daemon.storage.event_values import StoredEvent as StoredEvent

if TYPE_CHECKING:
    # Only then: the mirror's process reads commits, and admits nothing.
    from hive_daemon.storage.admission import Admission

MAX_PAGE = 500
BACKGROUND = frozenset({"timer", "event"})
"""The sources of what nobody waits for."""


@dataclass(frozen=True, slots=True)
class Dedupe:
    """Makes a submission idempotent: the same key in the same namespace is the same execution for a while.

    The same key with another `body_hash` is a conflict, unless one of the two is empty.
    """

    namespace: str
    key: str
    body_hash: str
    window_seconds: float


@dataclass(frozen=True, slots=True)
class Submission:
    """A trigger as the store keeps it.

    `session_id` names a new session (`is_new_session`) or one to continue; a joined execution lives in the session
    without being its writer. `replaces` are executions whose cancellation is ordered in the same moment. `state` is the
    session state handed in by the caller, if any; `trace_id` names the trace it belongs to, `trace_parent` the span in
    it that asked, if any. `admission` are the rules
    it is taken in under; None lets it wait without a bound. `dedupe` is the key of whoever sent it, `once` that of its
    entry point: either makes it the same as one before, and both name that one from then on.

    `refusal_event` is for what a commit spawns: if its admission refuses it (Busy, QueueFull, RateLimited), the commit
    stands, and the execution that spawns has this event instead, with `reason` and `code` added to its data. Without
    one the refusal fails the commit.

    `refusal` is why nothing new is taken in just now: raised unless a key makes it the same as one before.
    """

    agent: str
    graph_id: str
    entry_point: str
    stream_id: str
    session_id: str
    input: bytes
    source: str
    correlation_id: str = ""
    is_new_session: bool = True
    is_joined: bool = False
    priority: int = 0
    causation: tuple[str, ...] = ()
    dedupe: Dedupe | None = None
    once: Dedupe | None = None
    replaces: tuple[str, ...] = ()
    state: bytes | None = None
    trace_id: str = ""
    trace_parent: str = ""
    admission: Admission | None = None
    refusal_event: EventRecord | None = None
    refusal: Refused | None = None

    @property
    def keys(self) -> tuple[Dedupe, ...]:
        """The keys that make it the same as one before."""
        if self.once is None:
            return () if self.dedupe is None else (self.dedupe,)
        return (self.once,) if self.dedupe is None else (self.dedupe, self.once)

    @property
    def lane(self) -> str:
        """The stream's address within the process: one queue, one limit."""
        return f"{self.agent}/{self.stream_id}"


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a submission; `created` is False for a repeated key and for what another execution took in.

    `coalesced` says that a held execution took it in. `replaced` are the executions that were ordered to give way.
    `due_at` is when it may begin at the earliest, None for at once.
    """

    execution_id: str
    session_id: str
    created: bool
    coalesced: bool = False
    replaced: tuple[str, ...] = ()
    due_at: float | None = None


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to write for one execution. `epoch` grows at each claim; `row` is the store's own handle."""

    execution_id: str
    epoch: int
    row: int = 0


@dataclass(frozen=True, slots=True)
class Restore:
    """Where to go on: the walk as last committed, and the patches from which memory is rebuilt, oldest first."""

    walk: bytes
    patches: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class InboxItem:
    """Something that a person or a program said to a session."""

    id: int
    node_id: str
    content: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Claim:
    """An execution handed to this process.

    `seq` and `event_seq` are the last step and the last event committed; `attempts` counts the claims since a node was
    last finished (a checkpoint other than NODE_START), this one included; releases and interruptions do not count.
    `was` is the status before it was queued again, None for a fresh one; only then is `inbox` left empty. `key` names
    its group within the lane.

    `carry_from` is set where the store made a continuation of it (interrupt, rollback): it begins with the memory that
    the session's last main execution up to this ordinal left (0: with none), whatever its `state` says of carrying.
    None: as its `state` says.
    """

    execution_id: str
    session_id: str
    agent: str
    graph_id: str
    entry_point: str
    stream_id: str
    fence: Fence
    seq: int
    event_seq: int
    attempts: int
    input: bytes
    source: str
    correlation_id: str
    causation: tuple[str, ...]
    created_at: float
    ordinal: int
    is_joined: bool
    cancel_reason: str | None
    state: bytes | None
    trace_id: str
    was: ExecutionStatus | None = None
    restore: Restore | None = None
    inbox: tuple[InboxItem, ...] = ()
    key: str = ""
    carry_from: int | None = None

    @property
    def lane(self) -> str:
        """The stream's address within the process."""
        return f"{self.agent}/{self.stream_id}"


@dataclass(frozen=True, slots=True)
class Limits:
    """How many executions may run: over the whole store, per agent, per lane. A lane not named is not claimed.

    `groups` bounds each key of a lane, the empty one included; `background` bounds what timers and events began (the
    sources in BACKGROUND), over the whole store.
    """

    total: int
    lanes: Mapping[str, int]
    agents: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    background: int | None = None


@dataclass(frozen=True, slots=True)
class StateWrite:
    """One shared key to set. `expect` is the version that was read (0: absent), None to set it regardless."""

    scope: str
    key: str
    value: bytes
    expect: int | None = None


class CheckpointKind(StrEnum):
    """At which boundary a checkpoint was taken."""

    NODE_START = "node_start"
    NODE_COMPLETE = "node_complete"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The walk and what memory changed since the one before.

    `snapshot` marks a patch that holds everything, so that older patches are not needed to rebuild memory.
    """

    kind: CheckpointKind
    walk: bytes
    patch: bytes
    is_snapshot: bool = False
    next_node: str | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """The status that a commit gives an execution, and why.

    `waiting` is a JSON object for a person to see, as `storage.waiting` writes it.
    """

    status: ExecutionStatus
    result: bytes | None = None
    error: str | None = None
    error_code: str = ""
    waiting: bytes | None = None


@dataclass(frozen=True, slots=True)
class StepCommit:
    """Everything that one step makes durable, at once or not at all.

    `seq` is the last one plus one. `records` are session records to set (None deletes); `taken` are the inbox items
    that this step has used; `spawn` are the executions that its events started, `cancels` what they cancelled. `keep`
    asks to prune all but that many of the newest checkpoints.
    """

    seq: int
    node_id: str | None = None
    checkpoint: Checkpoint | None = None
    events: tuple[EventRecord, ...] = ()
    records: Mapping[str, bytes | None] = field(default_factory=dict)
    state: tuple[StateWrite, ...] = ()
    spawn: tuple[Submission, ...] = ()
    cancels: tuple[CancelOrder, ...] = ()
    taken: tuple[int, ...] = ()
    ending: Ending | None = None
    steps: int | None = None
    keep: int | None = None


@dataclass(frozen=True, slots=True)
class ExecutionRow:
    """One execution as it stands; `state` is what its submission carried, or what it was queued again with.

    `cancelled_by` is the person who ordered its cancellation, empty if nobody did or it was not a person.

    `key`, `due_at` and `carry_from` are those of Queued and Claim.
    """

    n: int
    execution_id: str
    session_id: str
    agent: str
    graph_id: str
    entry_point: str
    stream_id: str
    status: ExecutionStatus
    source: str
    correlation_id: str
    causation: tuple[str, ...]
    created_at: float
    started_at: float | None
    updated_at: float
    ended_at: float | None
    ordinal: int
    is_joined: bool
    attempts: int
    seq: int
    steps: int
    node_id: str | None
    input: bytes
    result: bytes | None
    error: str | None
    error_code: str
    waiting: bytes | None
    cancel_reason: str | None
    trace_id: str
    state: bytes | None = None
    key: str = ""
    due_at: float | None = None
    carry_from: int | None = None
    trace_parent: str = ""
    cancelled_by: str = ""


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """One checkpoint as it stands."""

    execution_id: str
    seq: int
    kind: CheckpointKind
    node_id: str | None
    next_node: str | None
    created_at: float
    walk: bytes
    patch: bytes
    is_snapshot: bool

    @property
    def checkpoint_id(self) -> str:
        """The name that people use: unique in its session. Later executions of a session carry their number."""
        _, _, ordinal = self.execution_id.partition("-")
        place = f"{ordinal}-{self.seq:06d}" if ordinal else f"{self.seq:06d}"
        return f"cp_{self.kind}_{self.node_id or 'start'}_{place}"


@dataclass(frozen=True, slots=True)
class ExecutionFilter:
    """Which executions to list; every field that is set must match. Newest first, `before` for the next page."""

    agent: str | None = None
    statuses: tuple[ExecutionStatus, ...] = ()
    stream_id: str | None = None
    session_id: str | None = None
    id_prefix: str | None = None
    latest_of_session: bool = False
    before: int | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which durable events to read, in order; every field that is set must match."""

    after_seq: int = 0
    agent: str | None = None
    session_id: str | None = None
    execution_id: str | None = None
    types: tuple[str, ...] = ()
    stream_id: str | None = None
    node_id: str | None = None
    limit: int = MAX_PAGE
    newest: bool = False


@dataclass(frozen=True, slots=True)
class Injected:
    """Where something said to a session went; `woke` if an execution that waited for it is queued again."""

    item_id: int
    execution_id: str | None
    woke: bool


@dataclass(frozen=True, slots=True)
class Beat:
    """What a heartbeat learned: is the lease still valid, and which executions are to be cancelled."""

    valid: bool
    cancelled: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Swept:
    """What became of executions whose owner is gone."""

    requeued: tuple[str, ...] = ()
    exhausted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Figures of the store: size in bytes, seconds of the last commits, executions that have not ended by status."""

    size_bytes: int
    commits: int
    commit_seconds_p50: float
    commit_seconds_p99: float
    by_status: Mapping[str, int]
    last_seq: int
