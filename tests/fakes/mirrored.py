"""A real SQLite store whose commits go to a real mirror, and executions that commit as the executor does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from hive_daemon.clock import Clock
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.mirror import Mirror
from hive_daemon.storage.mirror_catch_up import MirrorCatchUp
from hive_daemon.storage.mirror_fold import MirrorMeta, MirrorMode
from hive_daemon.storage.mirror_remote import PROGRAM
from hive_daemon.storage.ports import Store
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.values import (
    Checkpoint,
    CheckpointKind,
    Claim,
    Ending,
    EventRecord,
    ExecutionRow,
    Fence,
    Limits,
    StepCommit,
    StoredEvent,
    Submission,
)

AGENT = "reporter"
LANE = f"{AGENT}/default"
SESSION = "session_20260302_090000_0000{:04x}"


def event(kind: str, node: str | None, at: float, **data: Any) -> EventRecord:
    return EventRecord(kind, node, at, orjson.dumps(data))


def node_completed(node: str, at: float, **data: Any) -> EventRecord:
    said = {
        "node_name": node,
        "node_type": "event_loop",
        "success": True,
        "result": "success",
        "error": None,
        "visit": 1,
        "attempt": 1,
        "duration_seconds": 0.25,
        "iterations": 2,
        "llm_call_count": 2,
        "tool_call_count": 1,
        "input_tokens": 10,
        "cached_tokens": 4,
        "output_tokens": 5,
        "reasoning_tokens": 2,
        "cost_usd": 0.25,
        "accept_count": 1,
        "retry_count": 0,
        "escalate_count": 0,
        "continue_count": 0,
        "exit_status": "",
        "model": "scripted",
        "span_id": "0" * 16,
        "undeclared_outputs": [],
    }
    return event("node_completed", node, at, **{**said, **data})


def tool_completed(node: str, at: float, **data: Any) -> EventRecord:
    said = {
        "tool_use_id": "t1",
        "tool_name": "lookup",
        "result": "found it",
        "is_error": False,
        "tool_input": {"key": "a"},
        "step_number": 1,
        "duration_seconds": 0.125,
        "tool_error": None,
    }
    return event("tool_call_completed", node, at, **{**said, **data})


def edge(source: str, target: str, at: float) -> EventRecord:
    return event(
        "edge_traversed",
        source,
        at,
        source_node=source,
        target_node=target,
        edge_condition="on_success",
        edge_id=f"{source}-{target}",
    )


@dataclass
class Running:
    """An execution that runs: what it wrote, where it was."""

    claim: Claim
    seq: int
    memory: dict[str, Any] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    retries: dict[str, int] = field(default_factory=dict)
    is_ended: bool = False

    @property
    def fence(self) -> Fence:
        return self.claim.fence


class World:
    """The store, the mirror, and what commits to both."""

    def __init__(self, root: Path, clock: Clock, mode: MirrorMode, has_process: bool) -> None:
        self.root = root
        self.clock = clock
        self.directory = root / "agents" / AGENT
        self.mirror = Mirror(root, mode, clock, has_process=has_process)
        self.store: Store
        self.catch_up: MirrorCatchUp

    def committed(
        self, fence: Fence | None, step: StepCommit | None, events: Sequence[StoredEvent]
    ) -> None:
        names = [fence.execution_id] if fence else {e.execution_id for e in events}
        for name in names:
            self.mirror.offer(name, step, [e for e in events if e.execution_id == name])

    def queued(self, lane: str) -> None:
        return

    def describe(self, row: ExecutionRow | Claim) -> MirrorMeta:
        started_at = getattr(row, "started_at", None)
        return MirrorMeta(
            agent=row.agent,
            session_id=row.session_id,
            execution_id=row.execution_id,
            ordinal=row.ordinal,
            is_joined=row.is_joined,
            graph_id=row.graph_id,
            goal_id="the-goal",
            entry_point=row.entry_point,
            stream_id=row.stream_id,
            correlation_id=row.correlation_id,
            isolation_level="shared",
            input=row.input,
            created_at=row.created_at,
            started_at=self.clock.time() if started_at is None else started_at,
            trace_id=row.trace_id,
            directory=self.directory,
        )

    async def submit(self, session: str, *, is_new: bool = True, is_joined: bool = False) -> str:
        submission = Submission(
            AGENT,
            "graph",
            "default",
            "default",
            session,
            b'{"topic":"weather"}',
            "api",
            is_new_session=is_new,
            is_joined=is_joined,
            trace_id="ab" * 16,
        )
        return (await self.store.queue.submit(submission)).execution_id

    async def claim(self) -> list[Running]:
        """Run what is queued, as the dispatcher does."""
        claims = await self.store.queue.claim("node", Limits(1_000, {LANE: 1_000}))
        for claim in claims:
            self.mirror.begin(self.describe(claim), claim.seq)
        return [Running(claim, claim.seq) for claim in claims]

    async def start(self, session: str, **how: bool) -> Running:
        name = await self.submit(session, **how)
        (running,) = [r for r in await self.claim() if r.claim.execution_id == name]
        return running

    async def step(
        self,
        running: Running,
        node: str,
        writes: Mapping[str, Any] | None = None,
        *,
        events: Sequence[EventRecord] | None = None,
        is_snapshot: bool = False,
        ending: Ending | None = None,
        keep: int | None = None,
        scope: int = 0,
    ) -> None:
        """Commit a node's completion with what it wrote."""
        at = self.clock.time()
        running.seq += 1
        running.path.append(node)
        if scope == 0:
            running.memory.update(writes or {})
        shown = running.memory if is_snapshot else writes or {}
        path = running.path if is_snapshot else [node]
        patch = {
            "writes": [[scope, key, value, running.seq, 0] for key, value in shown.items()],
            "path": path,
        }
        if events is None:
            events = (node_completed(node, at), edge(node, "next", at))
        await self.store.executions.commit(
            running.fence,
            StepCommit(
                running.seq,
                node,
                Checkpoint(
                    CheckpointKind.NODE_COMPLETE,
                    self.walk(running),
                    orjson.dumps(patch),
                    is_snapshot,
                    "next",
                ),
                tuple(events),
                steps=len(running.path),
                ending=ending,
                keep=keep,
            ),
        )
        running.is_ended = ending is not None

    def walk(self, running: Running) -> bytes:
        visits = {node: running.path.count(node) for node in running.path}
        walk = {"visits": visits, "retries": running.retries, "failed_nodes": [], "steps": 1}
        return orjson.dumps(walk)

    async def end(
        self, running: Running, status: ExecutionStatus = ExecutionStatus.COMPLETED, node: str = "z"
    ) -> None:
        is_success = status not in (ExecutionStatus.FAILED, ExecutionStatus.CANCELLED)
        error = None if is_success else "it broke"
        result = {
            "success": is_success,
            "output": {"answer": 42},
            "error": error,
            "steps_executed": len(running.path) + 1,
            "total_tokens": 30,
            "total_latency_ms": 500,
            "path": [*running.path, node],
            "paused_at": node if status.is_parked else None,
            "session_state": {"memory": running.memory},
            "total_retries": 0,
            "nodes_with_failures": [],
            "retry_details": {},
            "had_partial_failures": False,
            "execution_quality": "clean" if is_success else "failed",
            "node_visit_counts": {},
        }
        at = self.clock.time()
        word = {"completed": "completed", "failed": "failed", "cancelled": "cancelled"}
        kind = f"execution_{word.get(status, 'paused')}"
        events = (node_completed(node, at, success=is_success), event(kind, None, at))
        await self.step(
            running,
            node,
            events=events,
            ending=Ending(status, orjson.dumps(result), error),
            keep=5 if status.is_terminal else None,
        )

    async def run_all(self, sessions: Sequence[str]) -> None:
        """Run an execution of two nodes in each of these new sessions, all at once, and wait for their files."""
        for session in sessions:
            await self.submit(session)
        running = await self.claim()
        await asyncio.gather(*(self.step(r, "fetch", {"a": 1}) for r in running))
        await asyncio.gather(*(self.end(r) for r in running))
        await self.drained(*sessions)

    async def drained(self, *sessions: str) -> None:
        await self.mirror.drained(sessions)

    def session(self, session: str) -> Path:
        return self.directory / "sessions" / session


@asynccontextmanager
async def mirrored(
    root: Path, clock: Clock, mode: MirrorMode = MirrorMode.FULL, *, has_process: bool = False
) -> AsyncIterator[World]:
    """Open a store and its mirror below `root`."""
    world = World(root, clock, mode, has_process)
    try:
        async with open_sqlite(root, world, clock) as store:
            world.store = store
            world.catch_up = MirrorCatchUp(world.mirror, store, world.describe, clock)
            yield world
    finally:
        await world.mirror.close()


def tree(directory: Path) -> dict[str, bytes]:
    """Return every file below a directory, by its path."""
    found = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder) / name
            found[str(path.relative_to(directory))] = path.read_bytes()
    return found


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = orjson.loads(path.read_bytes())
    return content


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def mirror_pid() -> int:
    """Return the id of the process that writes the mirror of this one."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    program = PROGRAM.encode()
    (found,) = (pid for pid in children if program in Path(f"/proc/{pid}/cmdline").read_bytes())
    return int(found)
