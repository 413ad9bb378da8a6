"""How many durable executions per second the store carries by itself, beside what SQLite allows at most.

An execution is a submission, a claim and three fenced commits, each with a checkpoint of 600 bytes and three events;
the third ends it. "Limit" writes the same rows in transactions of the same size with no port, no validation and no
event loop: the figure "SQLite FULL, group commit, nothing else".

    python -m tests.benchmarks.bench_store [--seconds 3] [--in-flight 1,10,100] [--loop asyncio|uvloop]
        [--history 50000] [--directory DIR]

`--history` finishes that many executions first: no figure should depend on it by more than a tenth.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.ports import Store
from hive_daemon.storage.sqlite.store import open_sqlite
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

LANE = "bench/default"
INPUT = b'{"order": "' + b"x" * 180 + b'"}'
WALK = b'{"walk": "' + b"w" * 388 + b'"}'
PATCH = b'{"patch": "' + b"p" * 187 + b'"}'
DATA = b'{"node": "parse", "duration_seconds": 0.0125, "attempt": 1, "path": ["parse", "route"]}'


NUMBERS = itertools.count(1)


@dataclass(slots=True)
class Goal:
    """When the clients stop: at a time, or after a number of executions."""

    in_flight: int
    until: float | None = None
    left: int = 0

    def is_reached(self) -> bool:
        """Say whether to stop; otherwise one more is begun."""
        if self.until is not None:
            return time.perf_counter() >= self.until
        self.left -= 1
        return self.left < 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured: seconds of each execution in order of size, elapsed seconds, seconds of CPU."""

    took: list[float]
    elapsed: float
    cpu: float

    def line(self, in_flight: int, limit: float) -> str:
        """Write a row of the table."""
        count = len(self.took)
        rate = count / self.elapsed
        p50, p99 = (self.took[count * part // 100] * 1e3 for part in (50, 99))
        return (
            f"{in_flight:>9} {rate:>9.0f} {p50:>9.2f} {p99:>9.2f} {self.cpu / count * 1e3:>9.3f} "
            f"{limit:>9.0f} {rate / limit:>9.0%}"
        )


@dataclass(slots=True)
class Dispatcher:
    """Listens to the store and hands claims to the clients that wait for them."""

    claims: dict[str, asyncio.Future[Claim]] = field(default_factory=dict)
    early: dict[str, Claim] = field(default_factory=dict)
    work: asyncio.Event = field(default_factory=asyncio.Event)

    def committed(
        self, fence: Fence | None, step: StepCommit | None, events: Sequence[StoredEvent]
    ) -> None:
        """Take no note of commits."""

    def queued(self, lane: str) -> None:
        """Wake the dispatcher."""
        self.work.set()

    async def run(self, store: Store, limit: int) -> None:
        """Claim whatever was queued, for everybody at once."""
        limits = Limits(total=limit, lanes={LANE: limit})
        while True:
            await self.work.wait()
            self.work.clear()
            for claim in await store.queue.claim("bench", limits):
                waiter = self.claims.pop(claim.execution_id, None)
                if waiter is None:
                    self.early[claim.execution_id] = claim
                else:
                    waiter.set_result(claim)

    async def claimed(self, execution_id: str) -> Claim:
        """Wait for the claim of an execution."""
        claim = self.early.pop(execution_id, None)
        if claim is not None:
            return claim
        self.claims[execution_id] = asyncio.get_running_loop().create_future()
        return await self.claims[execution_id]


def step(seq: int) -> StepCommit:
    """Make the step that the benchmark commits."""
    return StepCommit(
        seq=seq,
        node_id="parse",
        checkpoint=Checkpoint(CheckpointKind.NODE_COMPLETE, WALK, PATCH),
        events=tuple(EventRecord("node_completed", "parse", 1.0, DATA) for _ in range(3)),
        ending=Ending(ExecutionStatus.COMPLETED, b"{}") if seq == 3 else None,
        steps=seq,
        keep=5 if seq == 3 else None,
    )


async def client(store: Store, dispatcher: Dispatcher, goal: Goal, took: list[float]) -> None:
    """Run one execution after the other."""
    while not goal.is_reached():
        began = time.perf_counter()
        submission = Submission(
            agent="bench",
            graph_id="g",
            entry_point="default",
            stream_id="default",
            session_id=f"session_20260302_090000_{next(NUMBERS):08x}",
            input=INPUT,
            source="api",
        )
        submitted = await store.queue.submit(submission)
        claim = await dispatcher.claimed(submitted.execution_id)
        for seq in (1, 2, 3):
            await store.executions.commit(claim.fence, step(seq))
        took.append(time.perf_counter() - began)


async def run_clients(store: Store, dispatcher: Dispatcher, goal: Goal) -> list[float]:
    """Run executions, `goal.in_flight` at once; return the seconds that each took."""
    took: list[float] = []
    async with asyncio.TaskGroup() as group:
        claiming = group.create_task(dispatcher.run(store, goal.in_flight))
        clients = (client(store, dispatcher, goal, took) for _ in range(goal.in_flight))
        await asyncio.gather(*clients)
        claiming.cancel()
    return took


async def measure_store(directory: Path, in_flight: int, seconds: float, history: int) -> Figures:
    """Measure the store, after it has finished `history` executions."""
    dispatcher = Dispatcher()
    async with open_sqlite(directory, dispatcher) as store:
        if history:
            await run_clients(store, dispatcher, Goal(200, left=history))
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        took = await run_clients(store, dispatcher, Goal(in_flight, until=began + seconds))
        elapsed = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figures(sorted(took), elapsed, cpu)


def measure_limit(directory: Path, in_flight: int, seconds: float) -> float:
    """Return executions/s of raw transactions that write the same rows."""
    connection = sqlite3.connect(directory / "raw.db", isolation_level=None)
    connection.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 2000;"
        "CREATE TABLE executions (n INTEGER PRIMARY KEY, id TEXT, status TEXT, seq INT, input BLOB);"
        "CREATE TABLE checkpoints (x INT, seq INT, walk BLOB, patch BLOB);"
        "CREATE TABLE events (seq INTEGER PRIMARY KEY, x INT, execution_seq INT, type TEXT,"
        "  node_id TEXT, at REAL, data BLOB);"
    )
    done, n, event = 0, 0, 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        mine = range(n + 1, n + in_flight + 1)
        n += in_flight
        with_row = [(x, f"session_20260302_090000_{x:08x}", INPUT) for x in mine]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO executions VALUES (?, ?, 'queued', 0, ?)", with_row)
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "UPDATE executions SET status = 'running' WHERE n = ?", [(x,) for x in mine]
        )
        connection.execute("COMMIT")
        for seq in (1, 2, 3):
            rows = []
            for x in mine:
                for place in range(3):
                    event += 1
                    rows.append((event, x, place, "node_completed", "parse", 1.0, DATA))
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "UPDATE executions SET status = ?, seq = ? WHERE n = ?",
                [("completed" if seq == 3 else "running", seq, x) for x in mine],
            )
            connection.executemany(
                "INSERT INTO checkpoints VALUES (?, ?, ?, ?)", [(x, seq, WALK, PATCH) for x in mine]
            )
            connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            connection.execute("COMMIT")
        done += in_flight
    elapsed = time.perf_counter() - began
    connection.close()
    return done / elapsed


def run_on(loop: str, work: Coroutine[None, None, Figures]) -> Figures:
    """Measure on the event loop that was asked for."""
    if loop == "uvloop":
        import uvloop

        figures: Figures = uvloop.run(work)
        return figures
    return asyncio.run(work)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Measure the store beside what SQLite allows.")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--in-flight", default="1,10,100")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--history", type=int, default=0, help="executions to finish first")
    parser.add_argument("--directory", default=None, help="where to put the databases")
    chosen = parser.parse_args(arguments)
    heads = ("in flight", "exec/s", "p50 ms", "p99 ms", "CPU ms", "limit/s", "of limit")
    print(" ".join(f"{head:>9}" for head in heads))
    for in_flight in (int(text) for text in chosen.in_flight.split(",")):
        with tempfile.TemporaryDirectory(dir=chosen.directory) as name:
            state = Path(name) / "state"
            limit = measure_limit(Path(name), in_flight, chosen.seconds / 2)
            work = measure_store(state, in_flight, chosen.seconds, chosen.history)
            print(run_on(chosen.loop, work).line(in_flight, limit))
    return 0


if __name__ == "__main__":
    sys.exit(main())
