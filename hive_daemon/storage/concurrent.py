"""ConcurrentStorage, the documented store of `Run` records: one file each, with a bounded cache in front.

Programs that keep runs of their own go on doing so here, in `runs/{id}.json`. The executions of hived are not runs of
this kind: where a database knows an id that no file does, a run is made from its row, and cannot be changed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import StorageCorrupt
from hive_daemon.ids import check_name, is_execution_id
from hive_daemon.schemas.run import Run, RunMetrics, RunStatus, RunSummary
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.chronicle import Chronicle
from hive_daemon.storage.files import read_file, replace_file
from hive_daemon.storage.session_reader import SessionReader
from hive_daemon.tasks import to_thread

__all__ = ["CacheEntry", "ConcurrentStorage"]

_RUNS = "runs"
_STATUSES = {
    ExecutionStatus.COMPLETED: RunStatus.COMPLETED,
    ExecutionStatus.FAILED: RunStatus.FAILED,
    ExecutionStatus.RECOVERY_EXHAUSTED: RunStatus.FAILED,
    ExecutionStatus.CANCELLED: RunStatus.CANCELLED,
}


@dataclass
class CacheEntry:
    """A value and the second at which it was kept, of the store's clock."""

    value: Any
    timestamp: float

    def is_expired(self, ttl: float, now: float | None = None) -> bool:
        """Say whether it is older than `ttl` seconds."""
        return (SYSTEM_CLOCK.time() if now is None else now) - self.timestamp > ttl


class ConcurrentStorage:
    """Keeps runs below `base_path`; safe for any number of tasks and threads of one process.

    `cache_ttl` is in seconds; at most `max_locks` runs are cached. `batch_interval` and `max_batch_size` are taken for
    older programs: each run is written at once, as a whole.
    """

    def __init__(
        self,
        base_path: str | Path,
        cache_ttl: float = 60.0,
        batch_interval: float = 0.1,
        max_batch_size: int = 100,
        max_locks: int = 1000,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.base_path = Path(base_path).expanduser()
        self.cache_ttl = cache_ttl
        self.batch_interval = batch_interval
        self.max_batch_size = max_batch_size
        self._most_cached = max_locks
        self._clock = clock
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, CacheEntry] = OrderedDict()
        self._is_running = False

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._is_running

    async def start(self) -> None:
        """Begin. Nothing has to be prepared."""
        self._is_running = True

    async def stop(self) -> None:
        """End. Everything saved is on disk already."""
        self._is_running = False
        with self._lock:
            self._cache.clear()

    async def save_run(self, run: Run, immediate: bool = True) -> None:
        """Write a run, durably on return whatever `immediate` says. Raises StorageUnavailable."""
        self._keep(run)
        await to_thread(replace_file, self._path(run.id), _dump(run))

    def save_run_sync(self, run: Run) -> None:
        """Write a run, from a thread that may block. Raises StorageUnavailable."""
        self._keep(run)
        replace_file(self._path(run.id), _dump(run))

    async def load_run(self, run_id: str, use_cache: bool = True) -> Run | None:
        """Return a run, None if there is none. Raises StorageCorrupt for a damaged one."""
        path = self._path(run_id)
        cached = self._cached(run_id) if use_cache else None
        return cached or await to_thread(self._load, run_id, path)

    def load_run_sync(self, run_id: str) -> Run | None:
        """Return a run, from a thread that may block. Raises StorageCorrupt for a damaged one."""
        return self._load(run_id, self._path(run_id))

    async def load_summary(self, run_id: str, use_cache: bool = True) -> RunSummary | None:
        """Return a run in short, None if there is none."""
        run = await self.load_run(run_id, use_cache)
        return None if run is None else RunSummary.from_run(run)

    async def delete_run(self, run_id: str) -> bool:
        """Delete a run's file; say whether there was one."""
        path = self._path(run_id)
        with self._lock:
            self._cache.pop(run_id, None)
        return await to_thread(_unlink, path)

    def _path(self, run_id: str) -> Path:
        return self.base_path / _RUNS / f"{check_name('run', run_id)}.json"

    def _load(self, run_id: str, path: Path) -> Run | None:
        content = read_file(path)
        if content is None:
            return self._from_database(run_id)
        try:
            run = Run.model_validate(orjson.loads(content))
        except (orjson.JSONDecodeError, ValidationError) as error:
            raise StorageCorrupt(f"{path} is not a run") from error
        self._keep(run)
        return run

    def _from_database(self, run_id: str) -> Run | None:
        reader = SessionReader.find(self.base_path)
        if reader is None or not is_execution_id(run_id):
            return None
        found = reader.read(run_id)
        return None if found is None else _run_of(found[0])

    def _keep(self, run: Run) -> None:
        """Cache a copy: what the caller does to the run afterwards is not saved."""
        with self._lock:
            self._cache[run.id] = CacheEntry(run.model_copy(deep=True), self._clock.time())
            self._cache.move_to_end(run.id)
            while len(self._cache) > self._most_cached:
                self._cache.popitem(last=False)

    def _cached(self, run_id: str) -> Run | None:
        with self._lock:
            entry = self._cache.get(run_id)
            if entry is None or entry.is_expired(self.cache_ttl, self._clock.time()):
                self._cache.pop(run_id, None)
                return None
            run: Run = entry.value
            return run.model_copy(deep=True)


def _run_of(chronicle: Chronicle) -> Run:
    identity = chronicle.identity
    output = chronicle.outcome.get("output", {})
    given = orjson.loads(identity.input)
    return Run(
        id=identity.execution_id,
        goal_id=identity.goal_id,
        started_at=datetime.fromtimestamp(identity.started_at, UTC),
        completed_at=None
        if chronicle.ended_at is None
        else datetime.fromtimestamp(chronicle.ended_at, UTC),
        status=_STATUSES.get(chronicle.status, RunStatus.RUNNING),
        metrics=RunMetrics(
            total_tokens=chronicle.spending.input_tokens + chronicle.spending.output_tokens,
            total_latency_ms=round(chronicle.latency_seconds * 1000),
            nodes_executed=list(dict.fromkeys(chronicle.nodes)),
            edges_traversed=list(chronicle.edges),
        ),
        narrative=chronicle.outcome.get("error") or chronicle.error or "",
        input_data=given if isinstance(given, dict) else {},
        output_data=output if isinstance(output, dict) else {},
    )


def _dump(run: Run) -> bytes:
    return orjson.dumps(run.model_dump(mode="json"), option=orjson.OPT_APPEND_NEWLINE)


def _unlink(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
