"""What is SQLite's own: readers beside the writer, blobs that go with their rows, and that nothing is left over."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import threading
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from hive_daemon.errors import HiveError, StorageCorrupt, StorageUnavailable
from hive_daemon.ids import new_session_id
from hive_daemon.status import ExecutionStatus as S
from hive_daemon.storage.ports import Store
from hive_daemon.storage.sqlite.reader import Readers
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.sqlite.writer import Writer
from hive_daemon.storage.values import EventFilter, ExecutionFilter, StateWrite
from tests.fakes.store_kit import (
    NODE,
    ROOMY,
    Ear,
    SetClock,
    begin,
    checkpoint,
    ending,
    event,
    following,
    session,
    step,
    submission,
)

LARGE = b'"' + b"large " * 50_000 + b'"'
HUGE = os.urandom(5_000_000)


class DeafEar(Ear):
    """A listener that keeps nothing."""

    def committed(self, fence: object, step: object, events: object) -> None:
        """Keep nothing."""

    def queued(self, lane: str) -> None:
        """Keep nothing."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_sqlite(tmp_path, DeafEar(), SetClock()) as opened:
        yield opened


def count(directory: Path, table: str) -> int:
    """Return how many rows somebody else sees in a table."""
    with closing(sqlite3.connect(directory / "hive.db")) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


# --- readers ------------------------------------------------------------------------------------


class SlowRead:
    """A read that holds its connection inside a transaction until it is let go."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go = threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> int:
        connection.execute("SELECT count(*) FROM executions").fetchone()
        self.began.set()
        self.go.wait(30)
        return int(connection.execute("SELECT count(*) FROM executions").fetchone()[0])


async def test_readers_never_hold_the_writer_up(store: Store) -> None:
    readers: Readers = store.executions._readers  # type: ignore[attr-defined]
    slow = SlowRead()
    reading = asyncio.ensure_future(readers.read(slow))
    await asyncio.to_thread(slow.began.wait, 30)
    for _ in range(50):
        await store.queue.submit(submission())
    assert not reading.done()
    assert len(await store.executions.query(ExecutionFilter(limit=500))) == 50
    slow.go.set()
    assert await reading == 0


async def test_a_read_sees_everything_committed_before_it(store: Store) -> None:
    for number in range(1, 30):
        claim = await begin(store)
        await store.executions.commit(claim.fence, step(1, events=(event(),)))
        assert (await store.executions.load(claim.execution_id)).seq == 1
        assert len(await store.executions.history(EventFilter())) == number


async def test_a_reader_cannot_write(store: Store) -> None:
    readers: Readers = store.executions._readers  # type: ignore[attr-defined]
    with pytest.raises(HiveError):
        await readers.read(lambda c: c.execute("DELETE FROM executions").rowcount)


async def test_a_read_that_failed_leaves_its_connection_usable(store: Store) -> None:
    readers: Readers = store.executions._readers  # type: ignore[attr-defined]
    for _ in range(4):
        with pytest.raises(StorageUnavailable):
            await readers.read(lambda c: c.execute("SELECT * FROM nowhere").fetchall())
    assert await store.executions.query(ExecutionFilter()) == []


async def test_closing_does_not_wait_for_a_long_read(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    async with open_sqlite(tmp_path, Ear()) as store:
        readers: Readers = store.executions._readers  # type: ignore[attr-defined]
        began = threading.Event()

        reading = asyncio.ensure_future(readers.read(_count_for_ever, endless, began))
        await asyncio.to_thread(began.wait, 30)
    with pytest.raises(StorageUnavailable, match="interrupted"):
        await reading


def _count_for_ever(connection: sqlite3.Connection, endless: str, began: threading.Event) -> None:
    # Told from inside the statement, so that the interruption finds it running.
    connection.set_progress_handler(began.set, 1_000)
    connection.execute(endless).fetchone()


async def test_a_value_that_was_damaged_is_said_to_be(store: Store, tmp_path: Path) -> None:
    writer: Writer = store.queue._writer  # type: ignore[attr-defined]
    claim = await begin(store, input=LARGE[:9_000])
    await writer.do(lambda tx: tx.execute("UPDATE executions SET input = x'01ff'").rowcount)
    with pytest.raises(StorageCorrupt):
        await store.executions.load(claim.execution_id)
    await writer.do(lambda tx: tx.execute("UPDATE executions SET input = x'0261'").rowcount)
    with pytest.raises(StorageCorrupt):
        await store.executions.load(claim.execution_id)


# --- large values -------------------------------------------------------------------------------


async def test_five_megabytes_come_back_as_they_were(store: Store) -> None:
    claim = await begin(store, input=HUGE)
    assert claim.input == HUGE
    given = step(1, checkpoint=checkpoint(1, patch=HUGE), records={"k": HUGE}, events=(event(data=HUGE),))  # fmt: skip
    await store.executions.commit(claim.fence, given)
    assert (await store.executions.load(claim.execution_id)).input == HUGE
    assert await store.sessions.records(claim.session_id, "k") == {"k": HUGE}
    assert await store.blobs.get(await store.blobs.put_if_absent(HUGE)) == HUGE


async def test_the_same_large_value_is_kept_once(store: Store, tmp_path: Path) -> None:
    for _ in range(5):
        await store.queue.submit(submission(input=LARGE))
    assert count(tmp_path, "blobs") == 1


async def test_a_record_that_grows_leaves_no_old_blob_behind(store: Store, tmp_path: Path) -> None:
    claim = await begin(store)
    for seq in range(1, 6):
        given = {"conversation": LARGE + b"%d" % seq, "same": LARGE}
        await store.executions.commit(claim.fence, step(seq, records=given))
    assert count(tmp_path, "blobs") == 2
    gone = {"conversation": None, "same": b"small"}
    await store.executions.commit(claim.fence, step(6, records=gone))
    assert count(tmp_path, "blobs") == count(tmp_path, "blob_refs") == 0


async def test_shared_state_leaves_no_blob_behind(store: Store, tmp_path: Path) -> None:
    for number in range(4):
        await store.sessions.write_state([StateWrite("g", "k", LARGE + b"%d" % number)])
        await store.sessions.write_state([StateWrite("g/k", "k", LARGE)])
    assert count(tmp_path, "blobs") == 2
    await store.sessions.clear_state("g")
    assert await store.sessions.state(["g/k"]) == {("g/k", "k"): (LARGE, 4)}
    assert count(tmp_path, "blobs") == 1
    await store.sessions.write_state([StateWrite("g/k", "k", b"small")])
    assert count(tmp_path, "blobs") == count(tmp_path, "blob_refs") == 0


async def test_pruned_checkpoints_take_their_blobs_with_them(store: Store, tmp_path: Path) -> None:
    claim = await begin(store)
    for seq in range(1, 12):
        taken = checkpoint(seq, patch=LARGE + b"%d" % seq, is_snapshot=True)
        await store.executions.commit(claim.fence, step(seq, checkpoint=taken, keep=3))
    assert count(tmp_path, "blobs") == count(tmp_path, "checkpoints") == 3
    restored = await store.sessions.restore(claim.execution_id)
    assert restored is not None
    assert restored.patches == (LARGE + b"11",)


async def test_pruning_everything_leaves_an_empty_database(store: Store, tmp_path: Path) -> None:
    names = []
    for number in range(3):
        claim = await begin(store, input=LARGE, session_id=session(number))
        full = step(
            1,
            checkpoint=checkpoint(1, walk=LARGE),
            events=(event(data=LARGE + b"1"), event()),
            records={"k": LARGE + b"2"},
            ending=ending(S.COMPLETED, result=LARGE + b"3"),
        )
        await store.executions.commit(claim.fence, full)
        await store.inbox.inject(claim.session_id, "ask", "hello")
        names.append(claim.execution_id)
    for number in range(3):
        await store.queue.submit(following(session(number)))
        for claim in await store.queue.claim(NODE, ROOMY):
            await store.executions.commit(claim.fence, step(1, ending=ending(S.FAILED)))
            names.append(claim.execution_id)
    assert await store.executions.prune(names) == 6
    tables = ("executions", "checkpoints", "events", "records", "inbox", "blobs", "blob_refs")
    assert {table: count(tmp_path, table) for table in tables} == dict.fromkeys(tables, 0)
    assert count(tmp_path, "meta") == 2


# --- nothing left over --------------------------------------------------------------------------


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_opening_and_closing_leaves_no_thread_and_no_descriptor(tmp_path: Path) -> None:
    async def once() -> None:
        async with open_sqlite(tmp_path, Ear()) as store:
            await store.queue.submit(submission())
            await asyncio.gather(*(store.executions.query(ExecutionFilter()) for _ in range(4)))

    await once()
    before = (descriptors(), threading.active_count())
    for _ in range(5):
        await once()
    assert (descriptors(), threading.active_count()) == before


async def test_a_store_that_could_not_be_opened_leaves_nothing_either(tmp_path: Path) -> None:
    (tmp_path / "hive.db").write_bytes(b"garbage" * 1_000)
    before = (descriptors(), threading.active_count())
    for _ in range(5):
        with pytest.raises(StorageCorrupt):
            async with open_sqlite(tmp_path, Ear()):
                pass
    assert (descriptors(), threading.active_count()) == before


async def test_a_closed_store_leaves_no_log_behind(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path, Ear()) as store:
        await store.queue.submit(submission())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hive.db", "hive.lock"]


async def _work(store: Store, rounds: int) -> None:
    for _ in range(rounds):
        given = [submission(session_id=new_session_id(0)) for _ in range(10)]
        await asyncio.gather(*(store.queue.submit(one) for one in given))
        claims = await store.queue.claim(NODE, ROOMY)
        last = step(2, ending=ending(S.COMPLETED), events=(event(),))
        for one in (step(1, events=(event(),)), last):
            await asyncio.gather(*(store.executions.commit(c.fence, one) for c in claims))
        await store.executions.prune([claim.execution_id for claim in claims])


async def test_memory_is_flat_over_many_executions(store: Store) -> None:
    writer: Writer = store.queue._writer  # type: ignore[attr-defined]
    tracemalloc.start()
    try:
        await _work(store, 20)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        await _work(store, 100)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert writer._known.held == {}
    assert after - before < 100 * 1_000


async def test_the_file_is_flat_when_everything_is_pruned(store: Store, tmp_path: Path) -> None:
    await _work(store, 20)
    before = (await store.executions.stats()).size_bytes
    await _work(store, 60)
    assert (await store.executions.stats()).size_bytes == before
