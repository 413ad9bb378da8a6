"""Looking at a hive.db from outside: who owns it, whether it is sound, what it knows last. Nothing is written."""

from __future__ import annotations

import fcntl
import os
from contextlib import closing
from pathlib import Path

from hive_daemon.errors import HiveError
from hive_daemon.storage.sqlite.database import LOCK, damaged, open_reader, translated


def owner_of(directory: Path) -> str | None:
    """Return the process id that owns a state directory, None if nobody does. Raises OSError."""
    try:
        fd = os.open(directory / LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
    finally:
        os.close(fd)
    return None


def fault_of(path: Path) -> HiveError | None:
    """Return what is wrong with a database, None if all of it is sound: StorageCorrupt, StorageTooNew, ….

    The whole file is read.
    """
    try:
        with translated(path), closing(open_reader(path)) as connection:
            (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except HiveError as error:
        return error
    return None if verdict == "ok" else damaged(path, verdict)


def last_event(path: Path) -> tuple[int, float]:
    """Return the number and the time of the newest durable event, zeros if there is none. Raises StorageError."""
    with translated(path), closing(open_reader(path)) as connection:
        row = connection.execute("SELECT seq, at FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    return row or (0, 0.0)


def session_ids(path: Path, agent: str) -> set[str]:
    """Return the sessions of an agent. Raises StorageError."""
    with translated(path), closing(open_reader(path)) as connection:
        found = connection.execute(
            "SELECT DISTINCT session_id FROM executions WHERE agent = ?", (agent,)
        ).fetchall()
    return {session_id for (session_id,) in found}
