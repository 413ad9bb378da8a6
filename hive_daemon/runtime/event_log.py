"""The debug event log: every event as one line of JSON in a file, while HIVE_DEBUG_EVENTS asks for it.

Guarantees: `write` never waits for the disk (a bounded queue, and a thread that owns the file); what did not fit or
could not be written is counted, and the count stands in the file where the events are missing; lines are strict
JSON without secrets; a file belongs to one process, is readable by its user alone, and the directory keeps the
newest few files only.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hive_daemon.clock import SYSTEM_CLOCK, Clock, iso_z
from hive_daemon.observability.redaction import redactor
from hive_daemon.observability.strict_json import fitted, json_shape

logger = logging.getLogger(__name__)

VARIABLE = "HIVE_DEBUG_EVENTS"
DROPPED = "event_log_dropped"
"""The `type` of the line that says how many events are missing at its place."""

_OFF = frozenset({"", "0", "false"})
_DEFAULT_PLACE = frozenset({"1", "true", "full"})
_FILE_NAME = re.compile(r"\d{8}_\d{6}_\d{6}-\d+-\d{4,}\.jsonl")


@dataclass(frozen=True, slots=True)
class EventLogLimits:
    """How large things may grow."""

    file_bytes: int = 64 * 1024 * 1024
    files: int = 8  # in the directory, those of other processes included
    line_bytes: int = 1024 * 1024
    queued_events: int = 10_000


class EventLog:
    """Writes events to `{directory}/{UTC time}-{pid}-{part}.jsonl`; without a directory it writes nothing.

    Laws: lines stand in the order of `write`; after `close` returned True each event is in a file, or in a count of
    dropped ones there, or, where the disk refused to the end, in a warning. Safe to use from any thread. The
    file is made with the first event.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        limits: EventLogLimits = EventLogLimits(),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._files = None if directory is None else _EventFiles(directory, limits, clock)
        self._limits = limits
        self._clock = clock
        self._changed = threading.Condition()
        self._queue: deque[Any] = deque()
        self._dropped = 0
        self._is_closing = False
        self._thread: threading.Thread | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str], home: Path) -> EventLog:
        """Read HIVE_DEBUG_EVENTS: `1`, `true`, `full`: `{home}/.hive/event_logs`; `0`, `false`, empty: off.

        Any other text is the directory. `home` is the user's home directory.
        """
        text = environ.get(VARIABLE, "").strip()
        if text.lower() in _OFF:
            return cls(None)
        if text.lower() in _DEFAULT_PLACE:
            return cls(home / ".hive" / "event_logs")
        return cls(home / text[2:] if text.startswith("~/") else Path(text))

    @property
    def is_on(self) -> bool:
        """Whether events are written."""
        return self._files is not None

    @property
    def path(self) -> Path | None:
        """The file that is written now, or None before the first event."""
        return self._files.path if self._files is not None else None

    def write(self, event: Mapping[str, Any]) -> None:
        """Queue the event, as it is now; a full queue drops and counts it."""
        if self._files is None:
            return
        with self._changed:
            if self._is_closing:
                return
            if len(self._queue) >= self._limits.queued_events:
                self._dropped += 1
                return
            self._queue.append(json_shape(dict(event)))
            self._changed.notify()
            self._start(self._files)

    def close(self, timeout: float = 5.0) -> bool:
        """Write what is queued and close the file; say whether that was done within `timeout` seconds.

        Waits for the disk: call it from a worker thread while the loop runs.
        """
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        thread = self._thread
        if thread is None:
            return True
        thread.join(timeout)
        atexit.unregister(self.close)
        return not thread.is_alive()

    def _start(self, files: _EventFiles) -> None:
        if self._thread is not None:
            return
        self._thread = threading.Thread(
            target=self._run, args=(files,), name="event log", daemon=True
        )
        self._thread.start()
        atexit.register(self.close)

    def _run(self, files: _EventFiles) -> None:
        is_last = False
        while not is_last:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._is_closing)
                events, dropped = tuple(self._queue), self._dropped
                self._queue.clear()
                self._dropped, is_last = 0, self._is_closing
            missing = self._store(files, events, dropped)
            with self._changed:
                self._dropped += missing
        files.close()

    def _store(self, files: _EventFiles, events: tuple[Any, ...], dropped: int) -> int:
        """Write the events, then how many were dropped after them; return how many are missing now."""
        written = 0
        try:
            for event in events:
                files.append(self._line(event))
                written += 1
            if dropped:
                files.append(self._line(self._report(dropped)))
        except OSError as error:
            missing = len(events) - written + dropped
            logger.warning(
                "events cannot be written to the debug event log",
                extra={"path": str(files.directory), "error": error, "events_missing": missing},
            )
            return missing
        return 0

    def _line(self, event: Any) -> bytes:
        line = fitted(redactor().redact_value(event), self._limits.line_bytes)
        return f"{line}\n".encode()

    def _report(self, dropped: int) -> dict[str, Any]:
        return {
            "type": DROPPED,
            "data": {"dropped": dropped},
            "timestamp": iso_z(self._clock.time()),
        }


class _EventFiles:
    """The files of one process in the directory, one after the other; used by one thread.

    The newest is locked (flock) as long as it is written, so that another process does not delete it.
    """

    def __init__(self, directory: Path, limits: EventLogLimits, clock: Clock) -> None:
        self.directory = directory
        self.path: Path | None = None
        self._limits = limits
        self._clock = clock
        self._fd = -1
        self._size = 0
        self._part = 0

    def append(self, line: bytes) -> None:
        """Append a whole line, in the next file if this one would grow too large. Raises OSError."""
        if self._fd < 0 or 0 < self._size > self._limits.file_bytes - len(line):
            self._open_next()
        written = os.write(self._fd, line)
        if written < len(line):
            os.ftruncate(self._fd, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open_next(self) -> None:
        _make_private(self.directory)
        fd = self._create()
        self.close()
        self._fd, self._size = fd, 0
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._delete_old()

    def _create(self) -> int:
        """Make a file that was not there before; set `path` and return the descriptor."""
        moment = datetime.fromtimestamp(self._clock.time(), UTC).strftime("%Y%m%d_%H%M%S_%f")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        while True:
            self._part += 1
            path = self.directory / f"{moment}-{os.getpid()}-{self._part:04d}.jsonl"
            try:
                fd = os.open(path, flags, 0o600)
            except FileExistsError:  # another log of this process, at the same moment
                continue
            self.path = path
            return fd

    def _delete_old(self) -> None:
        names = (name for name in os.listdir(self.directory) if _FILE_NAME.fullmatch(name))
        for name in sorted(names)[: -self._limits.files]:
            _delete_unless_written(self.directory / name)


def _make_private(directory: Path) -> None:
    """Make the directory, and those above it that are missing, for this user alone."""
    missing = [place for place in (directory, *directory.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode=0o700, exist_ok=True)


def _delete_unless_written(path: Path) -> None:
    """Delete the file, unless a process has it locked."""
    # Whether it is written, gone already or another user's: an old file does not hold up the new one.
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(fd)
