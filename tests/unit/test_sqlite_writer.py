"""The writer thread: batches, answers, refusals, closing."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hive_daemon.errors import HiveError, InvalidInput, StorageError, StorageUnavailable
from hive_daemon.storage.sqlite.tx import Tx
from hive_daemon.storage.sqlite.writer import MAX_BATCH, Writer
from tests.fakes.store_kit import Ear, SetClock


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    made = Writer(tmp_path / "hive.db", SetClock(), Ear())
    await made.open()
    yield made
    await made.close()


class Gate:
    """Work that holds the writer inside a transaction until it is let go."""

    def __init__(self, writer: Writer) -> None:
        self._go = threading.Event()
        self._held = threading.Event()
        self.done = writer.do(self._hold)

    def _hold(self, tx: Tx) -> None:
        put(tx, "gate")
        self._held.set()
        self._go.wait(30)

    async def is_held(self) -> None:
        await asyncio.to_thread(self._held.wait, 30)

    def open(self) -> None:
        self._go.set()


def put(tx: Tx, key: str) -> str:
    tx.execute("INSERT INTO meta VALUES (?, '')", (key,))
    return key


def put_and_refuse(tx: Tx, key: str) -> str:
    put(tx, key)
    raise HiveError("refused after writing")


def refuse(tx: Tx) -> str:
    raise HiveError("refused")


def note(tx: Tx, done: list[int], n: int) -> None:
    done.append(n)


def _note_answer(answered: list[int], n: int, answer: asyncio.Future[None]) -> None:
    answered.append(n)


def break_sql(tx: Tx) -> None:
    tx.execute("INSERT INTO nowhere VALUES (1)")


def put_twice(tx: Tx) -> None:
    put(tx, "twice")
    put(tx, "twice")


def divide(tx: Tx) -> float:
    put(tx, "divided")
    return 1 / 0


def keys(tmp_path: Path) -> set[str]:
    """Return what somebody else sees in the table."""
    with sqlite3.connect(tmp_path / "hive.db") as connection:
        found = {row[0] for row in connection.execute("SELECT key FROM meta")}
    connection.close()
    return found


# --- batches ------------------------------------------------------------------------------------


async def test_what_queues_while_a_commit_runs_is_committed_together(writer: Writer) -> None:
    gate = Gate(writer)
    await gate.is_held()
    answers = [writer.do(put, f"k{n}") for n in range(50)]
    gate.open()
    assert await asyncio.gather(*answers) == [f"k{n}" for n in range(50)]
    assert writer.commits == 2


async def test_an_idle_writer_commits_at_once(writer: Writer) -> None:
    for n in range(3):
        await writer.do(put, f"k{n}")
    assert writer.commits == 3


async def test_a_batch_has_its_bounds(writer: Writer) -> None:
    gate = Gate(writer)
    await gate.is_held()
    answers = [writer.do(put, f"k{n}") for n in range(MAX_BATCH + 1)]
    gate.open()
    await asyncio.gather(*answers)
    assert writer.commits == 3


async def test_work_is_done_and_answered_in_the_order_given(writer: Writer) -> None:
    done: list[int] = []
    answered: list[int] = []
    gate = Gate(writer)
    await gate.is_held()
    answers = [writer.do(note, done, n) for n in range(20)]
    for n, answer in enumerate(answers):
        answer.add_done_callback(functools.partial(_note_answer, answered, n))
    gate.open()
    await asyncio.gather(*answers)
    assert done == list(range(20))
    assert answered == list(range(20))


async def test_an_answer_is_given_only_after_the_commit(writer: Writer, tmp_path: Path) -> None:
    gate = Gate(writer)
    await gate.is_held()
    first = writer.do(put, "k")
    assert keys(tmp_path) == set()
    assert not gate.done.done()
    gate.open()
    await gate.done
    await first
    assert keys(tmp_path) == {"gate", "k"}


# --- refusals -----------------------------------------------------------------------------------

BAD: list[tuple[Callable[..., object], tuple[object, ...], type[Exception]]] = [
    (refuse, (), HiveError),
    (put_and_refuse, ("bad",), HiveError),
    (break_sql, (), StorageUnavailable),
    (put_twice, (), StorageError),
    (divide, (), ZeroDivisionError),
    (put, ("\ud800",), InvalidInput),
    (lambda tx: tx.execute("SELECT ?", (2**70,)), (), InvalidInput),
    (lambda tx: tx.execute("SELECT ?", (object(),)), (), StorageError),
]


@pytest.mark.parametrize(("work", "arguments", "error"), BAD)
async def test_work_that_fails_fails_alone_and_leaves_nothing(
    writer: Writer,
    tmp_path: Path,
    work: Callable[..., object],
    arguments: tuple[object, ...],
    error: type[Exception],
) -> None:
    gate = Gate(writer)
    await gate.is_held()
    before = [writer.do(put, f"before {n}") for n in range(5)]
    bad = writer.do(work, *arguments)
    after = [writer.do(put, f"after {n}") for n in range(5)]
    gate.open()
    assert len(await asyncio.gather(*before, *after)) == 10
    with pytest.raises(error):
        await bad
    wanted = {f"before {n}" for n in range(5)} | {f"after {n}" for n in range(5)}
    assert keys(tmp_path) == wanted | {"gate"}


async def test_several_culprits_fail_and_nobody_else(writer: Writer, tmp_path: Path) -> None:
    gate = Gate(writer)
    await gate.is_held()
    answers = [writer.do(put_and_refuse if n % 7 == 3 else put, f"k{n}") for n in range(40)]
    gate.open()
    outcomes = await asyncio.gather(*answers, return_exceptions=True)
    good = {f"k{n}" for n in range(40) if n % 7 != 3}
    assert {outcome for outcome in outcomes if isinstance(outcome, str)} == good
    assert keys(tmp_path) == good | {"gate"}


async def test_a_refusal_before_any_write_costs_no_second_transaction(writer: Writer) -> None:
    gate = Gate(writer)
    await gate.is_held()
    answers = [writer.do(put, "a"), writer.do(refuse), writer.do(put, "b")]
    gate.open()
    await asyncio.gather(*answers, return_exceptions=True)
    assert writer.commits == 2


async def test_the_writer_goes_on_after_every_kind_of_failure(writer: Writer) -> None:
    for work, arguments, error in BAD:
        with pytest.raises(error):
            await writer.do(work, *arguments)
    assert await writer.do(put, "k") == "k"


# --- cancelling and closing ---------------------------------------------------------------------


async def test_work_whose_caller_was_cancelled_is_done_and_disturbs_nobody(
    writer: Writer, tmp_path: Path
) -> None:
    gate = Gate(writer)
    await gate.is_held()
    answers = [writer.do(put, f"k{n}") for n in range(3)]
    answers[1].cancel()
    gate.open()
    assert [await answers[0], await answers[2]] == ["k0", "k2"]
    assert keys(tmp_path) == {"gate", "k0", "k1", "k2"}


async def test_closing_does_what_is_queued(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "hive.db", SetClock(), Ear())
    await writer.open()
    gate = Gate(writer)
    await gate.is_held()
    answers = [writer.do(put, f"k{n}") for n in range(MAX_BATCH + 5)]
    gate.open()
    await writer.close()
    assert all(answer.done() for answer in answers)
    assert len(keys(tmp_path)) == MAX_BATCH + 6


async def test_after_closing_work_is_refused(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "hive.db", SetClock(), Ear())
    await writer.open()
    await writer.close()
    await writer.close()
    with pytest.raises(StorageUnavailable, match="closed"):
        await writer.do(put, "late")


async def test_a_cancelled_close_waits_until_everything_is_done(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "hive.db", SetClock(), Ear())
    await writer.open()
    gate = Gate(writer)
    await gate.is_held()
    last = writer.do(put, "last")
    closing = asyncio.ensure_future(writer.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.sleep(0)
    assert not closing.done()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert await last == "last"
    assert "hive-writer" not in {thread.name for thread in threading.enumerate()}


async def test_a_writer_that_cannot_open_says_why_and_ends(tmp_path: Path) -> None:
    (tmp_path / "hive.db").mkdir()
    writer = Writer(tmp_path / "hive.db", SetClock(), Ear())
    with pytest.raises(StorageUnavailable, match="not a plain file"):
        await writer.open()
    await writer.close()
    assert "hive-writer" not in {thread.name for thread in threading.enumerate()}


async def test_the_store_s_time_is_the_clock_s(tmp_path: Path) -> None:
    clock = SetClock(5.0)
    writer = Writer(tmp_path / "hive.db", clock, Ear())
    await writer.open()
    assert await writer.do(lambda tx: tx.now) == 5.0
    clock.now = 3.0
    assert await writer.do(lambda tx: tx.now) == 3.0
    await writer.close()
