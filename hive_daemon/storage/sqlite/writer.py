"""The one writer: a thread that takes whatever work has queued up, does it in one transaction, and answers.

Laws: work is done in the order given; an answer is given only after COMMIT with synchronous=FULL; every piece of work
is answered; work that is refused leaves nothing behind and does not disturb the others of its batch; if a transaction
fails as a whole its halves are tried by themselves, so that in the end only the culprit fails. There is no timer: an
idle system commits at once, a busy one commits together what queued while the last commit ran.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any, TypeVar, TypeVarTuple

from hive_daemon.clock import Clock
from hive_daemon.errors import HiveError, InvalidInput, StorageUnavailable
from hive_daemon.storage.ports import StoreListener
from hive_daemon.storage.sqlite.database import (
    open_writer,
    prepare_database,
    to_hive_error,
    translated,
)
from hive_daemon.storage.sqlite.tx import Known, Tx
from hive_daemon.storage.values import Fence, StepCommit, StoredEvent

logger = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
MAX_BATCH = 1_024


@dataclass(slots=True)
class Job:
    """A piece of work, its answer, and what it made durable."""

    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    answer: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None
    events: Sequence[StoredEvent] = ()
    step: tuple[Fence, StepCommit] | None = None
    woken: str = ""


class Writer:
    """The writer thread and its connection."""

    def __init__(self, path: Path, clock: Clock, listener: StoreListener) -> None:
        self._path = path
        self._clock = clock
        self._listener = listener
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._done: deque[Job] = deque()
        self._connection: sqlite3.Connection | None = None
        self._known = Known()
        self._next_event = 1
        self._next_row = 1
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="hive-writer", daemon=True)
        self.commits = 0
        self.durations: deque[float] = deque(maxlen=512)

    @property
    def last_seq(self) -> int:
        """The number of the last durable event."""
        return self._next_event - 1

    async def open(self) -> None:
        """Start the thread and wait until it has opened the database. Raises like `prepare_database`."""
        self._thread.start()
        await asyncio.shield(self._opened)

    def do(self, work: Callable[[Tx, *Ts], T], *arguments: *Ts) -> asyncio.Future[T]:
        """Queue work; the future has its answer once it is durable."""
        answer: asyncio.Future[T] = self._loop.create_future()
        if self._is_closed:
            answer.set_exception(StorageUnavailable("the store is closed"))
        else:
            self._queue.put(Job(work, arguments, answer))
        return answer

    async def close(self) -> None:
        """Do what is queued, end the thread and close the connection; a cancellation waits until that is done."""
        if self._thread.ident is None:
            return
        if not self._is_closed:
            self._is_closed = True
            self._queue.put(None)
        cancelled = None
        while not self._ended.done():
            try:
                await asyncio.shield(self._ended)
            except asyncio.CancelledError as error:
                cancelled = error
        self._thread.join()
        if cancelled is not None:
            raise cancelled

    # --- in the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            if self._prepare():
                self._serve()
        finally:
            try:
                self._close_connection()
            finally:
                self._loop.call_soon_threadsafe(self._end)

    def _prepare(self) -> bool:
        try:
            prepare_database(self._path)
            connection = self._connected()
            with translated(self._path):
                last_notice = _last(connection, "notices", "seq")
                self._next_event = 1 + max(_last(connection, "events", "seq"), last_notice)
                self._next_row = 1 + _last(connection, "executions", "n")
        except HiveError as error:
            self._loop.call_soon_threadsafe(self._opened.set_exception, error)
            return False
        self._loop.call_soon_threadsafe(self._opened.set_result, None)
        return True

    def _serve(self) -> None:
        is_open = True
        while is_open:
            batch: list[Job] = []
            job = self._queue.get()
            while job is not None:
                batch.append(job)
                if len(batch) >= MAX_BATCH:
                    break
                try:
                    job = self._queue.get_nowait()
                except Empty:
                    break
            is_open = job is not None
            if batch:
                self._perform(batch)
                self._done.extend(batch)
                self._loop.call_soon_threadsafe(self._answer)

    def _perform(self, batch: Sequence[Job]) -> None:
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
        except (HiveError, sqlite3.Error) as error:
            self._leave(error)
            for job in batch:
                job.error = self._meaning(error)
            return
        error_or_none = self._transact(connection, batch)
        if error_or_none is None:
            return
        if len(batch) == 1:
            batch[0].error = error_or_none
            return
        middle = len(batch) // 2
        self._perform(batch[:middle])
        self._perform(batch[middle:])

    def _transact(self, connection: sqlite3.Connection, batch: Sequence[Job]) -> Exception | None:
        """Do a batch and commit it; answer the error that rolled it back, or None."""
        began = perf_counter()
        tx = Tx(connection, self._clock.time(), self._known, self._next_event, self._next_row)
        try:
            for job in batch:
                _attempt(tx, job)
            tx.flush()
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - handed to whoever gave the work; the thread must live
            self._leave(error)
            return self._meaning(error)
        self._next_event, self._next_row = tx.next_event, tx.next_row
        self.commits += 1
        self.durations.append(perf_counter() - began)
        return None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_writer(self._path)
        return self._connection

    def _leave(self, error: Exception) -> None:
        """Roll back. A connection that saw an I/O error is not trusted again: the next batch opens another."""
        self._known.forget()
        connection = self._connection
        if connection is None:
            return
        is_sound = getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_IOERR
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            logger.warning("the rollback failed", exc_info=True)
            is_sound = False
        if not is_sound:
            logger.warning("the connection is replaced", extra={"error": str(error)})
            self._close_connection()

    def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _meaning(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.Error):
            return to_hive_error(error, self._path)
        if isinstance(error, UnicodeEncodeError | OverflowError):
            return InvalidInput(f"the store cannot keep this: {error}")
        return error

    # --- back on the loop -------------------------------------------------------------------

    def _answer(self) -> None:
        done = self._done
        while done:
            job = done.popleft()
            try:
                if job.error is None:
                    self._tell(job)
            except BaseException:
                self._loop.call_soon(self._answer)
                raise
            finally:
                _settle(job)

    def _tell(self, job: Job) -> None:
        if job.step is not None:
            self._listener.committed(*job.step, job.events)
        elif job.events:
            self._listener.committed(None, None, job.events)
        if job.woken:
            self._listener.queued(job.woken)

    def _end(self) -> None:
        self._is_closed = True
        ended = StorageUnavailable("the store is closed")
        if not self._opened.done():
            self._opened.set_exception(ended)
        while not self._queue.empty():
            job = self._queue.get_nowait()
            if job is not None and not job.answer.done():
                job.answer.set_exception(ended)
        self._ended.set_result(None)


def _attempt(tx: Tx, job: Job) -> None:
    tx.begin()
    job.error = None
    try:
        job.result = job.work(tx, *job.arguments)
    except HiveError as refusal:
        if not tx.forget():
            raise
        job.error = refusal
    else:
        job.events, job.step, job.woken = tx.events, tx.step, tx.woken


def _settle(job: Job) -> None:
    if job.answer.done():
        return
    if job.error is not None:
        job.answer.set_exception(job.error)
    else:
        job.answer.set_result(job.result)


def _last(connection: sqlite3.Connection, table: str, column: str) -> int:
    """Return the last number that a table's rows were given, those pruned since included."""
    (last,) = connection.execute(f"SELECT max({column}) FROM {table}").fetchone()
    floor = connection.execute("SELECT value FROM meta WHERE key = ?", (f"last {table}",))
    known = floor.fetchone()
    return max(last or 0, int(known[0]) if known else 0)
