"""A full disk and a failing one: nothing is acknowledged that is not there, and the store heals by itself."""

from __future__ import annotations

import asyncio
import random
import resource
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hive_daemon.errors import HiveError, StorageFull, StorageUnavailable
from hive_daemon.storage.ports import Store
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.sqlite.tx import Tx
from hive_daemon.storage.sqlite.writer import Writer
from hive_daemon.storage.values import EventFilter, ExecutionFilter, Fence
from tests.fakes.store_kit import Ear, SetClock, begin, event, step, submission

BULK = b'"' + random.Random(7).randbytes(1_900)
LARGE = b'"' + random.Random(7).randbytes(40_000)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    size = ["-t", "tmpfs", "-o", "size=1m,nr_inodes=32", "tmpfs", str(place)]
    if mount is None or subprocess.run([mount, *size], check=False, capture_output=True).returncode:
        pytest.skip("mounting a file system needs more rights")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(path: Path) -> None:
    """Write a file until nothing is left of the file system."""
    with path.open("wb", buffering=0) as ballast, suppress(OSError):
        while ballast.write(bytes(4_096)):
            pass


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Make every write beyond a size fail with an I/O error (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def submit_until_refused(store: Store, most: int = 2_000) -> tuple[list[str], HiveError]:
    """Submit until something is refused; answer what was acknowledged, and the refusal."""
    acknowledged: list[str] = []
    for _ in range(most):
        outcomes = await asyncio.gather(
            *(store.queue.submit(submission(input=BULK)) for _ in range(8)), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, HiveError):
                return acknowledged, outcome
            assert not isinstance(outcome, BaseException)
            acknowledged.append(outcome.execution_id)
    raise AssertionError("nothing was refused")


async def ids_in(store: Store) -> set[str]:
    """Return the ids of everything in the store."""
    found: set[str] = set()
    before = None
    while rows := await store.executions.query(ExecutionFilter(before=before, limit=500)):
        found |= {row.execution_id for row in rows}
        before = rows[-1].n
    return found


async def test_a_full_disk_is_said_and_nothing_acknowledged_is_missing(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    async with open_sqlite(small_disk / "state", Ear(), SetClock()) as store:
        acknowledged, refusal = await submit_until_refused(store)
        assert isinstance(refusal, StorageFull)
        assert "No space left" in str(refusal)
        assert len(acknowledged) > 8
        assert await ids_in(store) == set(acknowledged)
        ballast.unlink()
        healed = await store.queue.submit(submission(input=BULK))
        assert await ids_in(store) == {*acknowledged, healed.execution_id}
    async with open_sqlite(small_disk / "state", Ear(), SetClock()) as store:
        assert await ids_in(store) == {*acknowledged, healed.execution_id}


async def test_a_daemon_starts_on_a_full_disk_and_reads(small_disk: Path) -> None:
    async with open_sqlite(small_disk / "state", Ear(), SetClock()) as store:
        submitted = await store.queue.submit(submission())
    fill(small_disk / "ballast")
    with pytest.raises(StorageFull):
        async with open_sqlite(small_disk / "state", Ear(), SetClock()):
            pass
    (small_disk / "ballast").unlink()
    async with open_sqlite(small_disk / "state", Ear(), SetClock()) as store:
        assert await ids_in(store) == {submitted.execution_id}


async def test_a_disk_without_a_free_name_is_full_too(small_disk: Path) -> None:
    (small_disk / "state").mkdir()
    for n in range(100):
        try:
            (small_disk / f"file-{n}").touch()
        except OSError:
            break
    with pytest.raises(StorageFull):
        async with open_sqlite(small_disk / "state", Ear(), SetClock()):
            pass


def limit_pages(tx: Tx, extra: int) -> None:
    """Let the database grow by no more than some pages."""
    (pages,) = tx.execute("PRAGMA page_count").fetchone()
    tx.execute(f"PRAGMA max_page_count = {pages + extra}").fetchone()


async def test_a_database_that_may_not_grow_is_full_and_heals(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path, Ear(), SetClock()) as store:
        writer: Writer = store.queue._writer  # type: ignore[attr-defined]
        await writer.do(limit_pages, 20)
        acknowledged, refusal = await submit_until_refused(store)
        assert isinstance(refusal, StorageFull)
        assert await ids_in(store) == set(acknowledged)
        await writer.do(limit_pages, 1_000)
        await store.queue.submit(submission(input=BULK))
        assert len(await ids_in(store)) == len(acknowledged) + 1


async def test_what_still_fits_is_kept_though_its_neighbours_do_not(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path, Ear(), SetClock()) as store:
        writer: Writer = store.queue._writer  # type: ignore[attr-defined]
        claim = await begin(store)
        await writer.do(limit_pages, 8)
        given = [submission(input=LARGE) for _ in range(6)]
        small = submission()
        outcomes = await asyncio.gather(
            *(store.queue.submit(one) for one in (*given, small)),
            store.executions.commit(claim.fence, step(1)),
            return_exceptions=True,
        )
        refused = [isinstance(outcome, StorageFull) for outcome in outcomes]
        assert any(refused[:6])
        assert refused[6:] == [False, False]
        there = {one.session_id for one, no in zip(given, refused, strict=False) if not no}
        assert await ids_in(store) == there | {small.session_id, claim.execution_id}


async def test_an_io_error_is_an_error_and_the_connection_is_replaced(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path, Ear(), SetClock()) as store:
        writer: Writer = store.queue._writer  # type: ignore[attr-defined]
        claim = await begin(store)
        before = await writer.do(connection_of)
        with files_limited_to(300_000):
            acknowledged, refusal = await submit_until_refused(store)
            seq = await _steps_until_refused(store, claim.fence, 0)
        assert isinstance(refusal, StorageUnavailable)
        assert "disk I/O error" in str(refusal)
        assert await ids_in(store) == {*acknowledged, claim.execution_id}
        assert (await store.executions.load(claim.execution_id)).seq == seq
        await store.executions.commit(claim.fence, step(seq + 1, events=(event(),)))
        assert await writer.do(connection_of) != before
    async with open_sqlite(tmp_path, Ear(), SetClock()) as store:
        assert await ids_in(store) == {*acknowledged, claim.execution_id}
        assert (await store.executions.load(claim.execution_id)).seq == seq + 1


def connection_of(tx: Tx) -> int:
    return id(tx.connection)


async def _steps_until_refused(store: Store, fence: Fence, seq: int) -> int:
    """Commit steps after `seq` until one is refused; answer how many were not."""
    for done in range(2_000):
        try:
            given = step(seq + done + 1, events=(event(data=BULK), event()))
            await store.executions.commit(fence, given)
        except StorageUnavailable:
            return done
    raise AssertionError("nothing was refused")


async def test_events_stay_dense_over_failures(tmp_path: Path) -> None:
    ear = Ear()
    async with open_sqlite(tmp_path, ear, SetClock()) as store:
        claim = await begin(store)
        seq = 0
        for _ in range(3):
            with files_limited_to(120_000):
                seq += await _steps_until_refused(store, claim.fence, seq)
            seq += 1
            await store.executions.commit(claim.fence, step(seq, events=(event(),)))
            await checkpointed(store)
        found = await store.executions.history(EventFilter(limit=500))
        assert [e.execution_seq for e in found] == list(range(1, len(found) + 1))
        assert ear.events == found


async def checkpointed(store: Store) -> None:
    """Empty the log, so that it may grow again."""
    writer: Writer = store.queue._writer  # type: ignore[attr-defined]
    work: Callable[[Tx], None] = _empty_log
    waiting: Awaitable[None] = writer.do(work)
    await waiting


def _empty_log(tx: Tx) -> None:
    tx.execute("COMMIT")
    tx.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    tx.execute("BEGIN IMMEDIATE")


async def test_the_database_is_never_made_anew_under_a_running_store(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path, Ear(), SetClock()) as store:
        with files_limited_to(120_000):
            await submit_until_refused(store)
        for path in tmp_path.glob("hive.db*"):
            path.rename(path.with_name(f"gone-{path.name}"))
        with pytest.raises(StorageUnavailable):
            await store.queue.submit(submission())
        assert not (tmp_path / "hive.db").exists()
