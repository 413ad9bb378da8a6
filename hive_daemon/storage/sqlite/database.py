"""hive.db: making it, checking it, owning it, opening it, and telling what is wrong with it.

One process owns a state directory, by `flock` on `hive.lock`; one connection writes; every other opens read-only. A
database appears whole or not at all; a damaged or newer one stops the start with its bytes untouched.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from hive_daemon.errors import (
    HiveError,
    StateLocked,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageTooNew,
    StorageUnavailable,
)
from hive_daemon.storage.sqlite.schema import APPLICATION_ID, MIGRATIONS, TABLES, VERSION

DATABASE = "hive.db"
LOCK = "hive.lock"
BUSY_SECONDS = 10.0
CHECK_WHOLE_UP_TO = 1 << 30
"""A larger database is checked table by table only where a fault would decide what runs."""

_VITAL = ("executions", "timers", "dedupe", "state", "meta")
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_PRIMARY = 0xFF


def prepare_directory(path: Path) -> None:
    """Make a state directory that only its owner can read. Raises StorageUnavailable, StorageFull."""
    with translated(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


@contextmanager
def own(directory: Path) -> Iterator[None]:
    """Own a state directory for as long as the context lasts.

    Raises StateLocked with the holder's pid, StorageUnavailable, StorageFull.
    """
    path = directory / LOCK
    with translated(path):
        refuse_odd_file(path)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            raise StateLocked(
                f"the state directory {directory} is owned by process {holder}",
                hint="stop that process, or give another directory with --state-dir",
                subject=holder,
            ) from error
        # Written over the last owner's, never truncated first: that needs no space on a full disk.
        with translated(path):
            os.pwrite(fd, f"{os.getpid():<15}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def refuse_odd_file(path: Path) -> None:
    """Raise StorageUnavailable if something else than a plain file bears this name."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "not a plain file"
        raise StorageUnavailable(
            f"{path} is {kind}", hint="move it away: only a plain file of our own is opened"
        )


def prepare_database(path: Path) -> None:
    """Make the database if there is none; check the one there is and bring it to this version.

    Raises StorageCorrupt, StorageTooNew, StorageFull, StorageUnavailable.
    """
    with translated(path):
        refuse_odd_file(path)
        wal = path.with_name(f"{path.name}-wal")
        if path.exists():
            _check(path)
            with closing(_connect(path, "rw")) as connection:
                migrate(connection, path, VERSION, MIGRATIONS)
        elif wal.exists() and wal.stat().st_size:
            raise damaged(path, f"it is gone, but {wal.name} is there")
        else:
            _make(path)


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the one connection that writes to a database that is there. Raises like `prepare_database`."""
    with translated(path):
        connection = _connect(path, "rw")
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 1000")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.execute("PRAGMA cache_size = -16384")
            connection.execute("PRAGMA temp_store = MEMORY")
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that can only read.

    Raises StorageCorrupt, StorageTooNew, StorageUnavailable.
    """
    with translated(path):
        connection = _connect(path, "ro")
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cache_size = -8192")
            _check_header(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_SECONDS,
        cached_statements=512,
    )


def _make(path: Path) -> None:
    """Build the database beside its place and move it there, so that no crash leaves half of one."""
    draft = path.with_name(f"{path.name}.new")
    for left in (draft, *(path.with_name(f"{draft.name}-{part}") for part in ("wal", "shm"))):
        left.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    with closing(_connect(draft, "rw")) as connection:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.executescript(
            f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
        )
    _sync(draft)
    draft.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _check(path: Path) -> None:
    """Read the database without being able to write it: what is damaged stays as it is."""
    if path.stat().st_size == 0:
        raise damaged(path, "it is empty")
    is_large = path.stat().st_size > CHECK_WHOLE_UP_TO
    with closing(_connect(path, "ro")) as connection:
        _check_header(connection, path)
        for part in _VITAL if is_large else ("1",):
            verdict = connection.execute(f"PRAGMA quick_check({part})").fetchone()[0]
            if verdict != "ok":
                raise damaged(path, verdict)


def _check_header(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise damaged(path, "it is a database, but not one of hive")
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        raise StorageTooNew(
            f"{path} has schema version {found}, this version of hive knows {VERSION}",
            hint="install the newer version again, or restore a backup made before the upgrade",
        )


def migrate(
    connection: sqlite3.Connection, path: Path, version: int, steps: Mapping[int, str]
) -> None:
    """Bring a database to a version, step by step, in one transaction; keep a copy of the older one beside it."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found == version:
        return
    backup = path.with_name(f"{path.name}.v{found}.bak")
    if not backup.exists():
        _back_up(connection, backup)
    script = "".join(steps[older] for older in range(found, version))
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {version}; COMMIT;")


def _back_up(connection: sqlite3.Connection, backup: Path) -> None:
    draft = backup.with_name(f"{backup.name}.new")
    draft.unlink(missing_ok=True)
    # VACUUM INTO fills an empty file, and leaves its mode as it is.
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    connection.execute("VACUUM INTO ?", (str(draft),))
    _sync(draft)
    draft.rename(backup)
    _sync(backup.parent)


def damaged(path: Path, detail: str) -> StorageCorrupt:
    """Say that a database is damaged."""
    return StorageCorrupt(
        f"{path} is damaged: {detail}",
        hint="its bytes are untouched; `hive doctor --fix` salvages what is readable into a "
        "new file, or put a backup in its place (docs/operations.md)",
    )


def _full(path: Path) -> StorageFull:
    return StorageFull(
        f"No space left for {path}", hint="free some space; the daemon goes on by itself"
    )


def to_hive_error(error: sqlite3.Error, path: Path) -> HiveError:
    """Say what an error of SQLite means for whoever asked."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code & _PRIMARY in _DAMAGED:
        return damaged(path, str(error))
    if code & _PRIMARY == sqlite3.SQLITE_FULL or _lacks_room(code, path):
        return _full(path)
    if isinstance(error, sqlite3.OperationalError):
        return StorageUnavailable(f"{path} cannot be used at the moment: {error}")
    return StorageError(f"{path} refused what was to be written: {error}")


def _lacks_room(code: int, path: Path) -> bool:
    """Say whether an error that SQLite tells in other words comes from a full file system."""
    if code != sqlite3.SQLITE_IOERR_SHMSIZE and code & _PRIMARY != sqlite3.SQLITE_CANTOPEN:
        return False
    try:
        room = os.statvfs(path.parent)
    except OSError:
        return False
    return room.f_bavail == 0 or (room.f_files > 0 and room.f_favail == 0)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise what goes wrong inside as HiveErrors."""
    try:
        yield
    except sqlite3.Error as error:
        raise to_hive_error(error, path) from error
    except zlib.error as error:
        raise damaged(path, f"a value cannot be read: {error}") from error
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _full(path) from error
        raise StorageUnavailable(
            f"{path} cannot be used: {error.strerror}",
            hint="mend its permissions, or give another state directory with --state-dir",
        ) from error
