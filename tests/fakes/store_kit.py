"""What tests of a store need: a clock to set, an ear that notes what the store tells, and ready-made values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import (
    Checkpoint,
    CheckpointKind,
    Claim,
    Ending,
    EventRecord,
    Fence,
    Limits,
    StepCommit,
    StoredEvent,
    Submission,
)

NODE = "node-1"
LANE = "triage/main"
ROOMY = Limits(total=1_000, lanes={LANE: 1_000, "triage/side": 1_000, "digest/main": 1_000})


@dataclass
class SetClock:
    """A clock that shows what it was set to."""

    now: float = 1_000_000.0

    def time(self) -> float:
        """Return the time that was set."""
        return self.now

    def monotonic(self) -> float:
        """Return the time that was set."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Move on by that much at once."""
        self.now += seconds


@dataclass
class Ear:
    """Notes what a store tells its listener."""

    commits: list[tuple[Fence | None, StepCommit | None, tuple[StoredEvent, ...]]] = field(
        default_factory=list
    )
    lanes: list[str] = field(default_factory=list)

    def committed(
        self, fence: Fence | None, step: StepCommit | None, events: Sequence[StoredEvent]
    ) -> None:
        """Note a commit."""
        self.commits.append((fence, step, tuple(events)))

    def queued(self, lane: str) -> None:
        """Note a hint."""
        self.lanes.append(lane)

    @property
    def events(self) -> list[StoredEvent]:
        """Every event told, in the order of telling."""
        return [event for _, _, events in self.commits for event in events]


_numbers = itertools.count(1)


def session(number: int) -> str:
    """Return a session id."""
    return f"session_20260302_090000_{number:08x}"


def submission(**changes: Any) -> Submission:
    """Return a submission of a new session in the lane triage/main."""
    given: dict[str, Any] = {
        "agent": "triage",
        "graph_id": "triage-graph",
        "entry_point": "default",
        "stream_id": "main",
        "session_id": session(0xF0000000 + next(_numbers)),
        "input": b'{"log": "disk full"}',
        "source": "api",
    }
    return Submission(**{**given, **changes})


def following(session_id: str, **changes: Any) -> Submission:
    """Return a submission that continues a session."""
    return submission(session_id=session_id, is_new_session=False, **changes)


def checkpoint(number: int = 1, **changes: Any) -> Checkpoint:
    """Return a checkpoint of which walk and patch bear a number."""
    given: dict[str, Any] = {
        "kind": CheckpointKind.NODE_COMPLETE,
        "walk": b'{"walk": %d}' % number,
        "patch": b'{"patch": %d}' % number,
    }
    return Checkpoint(**{**given, **changes})


def event(type: str = "node_completed", **changes: Any) -> EventRecord:
    """Return an event record."""
    given: dict[str, Any] = {
        "type": type,
        "node_id": "parse",
        "timestamp": 5.0,
        "data": b'{"ok": true}',
    }
    return EventRecord(**{**given, **changes})


def step(seq: int, **changes: Any) -> StepCommit:
    """Return a step with a checkpoint that bears its number."""
    given: dict[str, Any] = {"seq": seq, "node_id": "parse", "checkpoint": checkpoint(seq)}
    return StepCommit(**{**given, **changes})


def ending(status: ExecutionStatus, **changes: Any) -> Ending:
    """Return an ending with a status."""
    return Ending(status, **changes)


async def begin(store: Store, **changes: Any) -> Claim:
    """Submit one execution and claim it."""
    submitted = await store.queue.submit(submission(**changes))
    claims = await store.queue.claim(NODE, ROOMY)
    return next(c for c in claims if c.execution_id == submitted.execution_id)


async def bring_to(store: Store, status: ExecutionStatus, **changes: Any) -> Claim:
    """Submit one execution, claim it and bring it to a status; answer the claim."""
    claim = await begin(store, **changes)
    if status is ExecutionStatus.QUEUED:
        await store.queue.release(claim.fence)
    elif status is ExecutionStatus.RECOVERY_EXHAUSTED:
        await store.lease.sweep("another", 1)
    elif status is not ExecutionStatus.RUNNING:
        await store.executions.commit(claim.fence, step(1, ending=Ending(status)))
    return claim


async def status_of(store: Store, execution_id: str) -> ExecutionStatus:
    """Return the status of an execution."""
    return (await store.executions.load(execution_id)).status


async def claimed(store: Store, limits: Limits = ROOMY, node: str = NODE) -> list[str]:
    """Claim, and answer the ids."""
    return [claim.execution_id for claim in await store.queue.claim(node, limits)]
