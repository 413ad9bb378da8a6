"""Single files outside hive.db: read with care, replaced whole, appended by lines.

Nothing here follows a symbolic link, waits for a FIFO or reads without a limit.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from stat import S_ISREG

from hive_daemon.errors import StorageUnavailable

MOST_BYTES = 64 * 1024 * 1024
"""The largest file that is read."""

LOG_BYTES = 16 * 1024 * 1024
"""A log that would grow beyond this goes on in a new file."""

LOG_FILES = 4
"""So many files of one log are kept: the newest has its name, the older ones `.1`, `.2`, …"""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOG = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_file(
    path: str | Path, *, limit: int = MOST_BYTES, dir_fd: int | None = None
) -> bytes | None:
    """Return what a regular file holds; None if there is none, or it is something else or too large."""
    try:
        fd = os.open(path, _READ, dir_fd=dir_fd)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        if not S_ISREG(found.st_mode) or found.st_size > limit:
            return None
        with open(fd, "rb", closefd=False) as file:
            return file.read(limit)
    except OSError:
        return None
    finally:
        os.close(fd)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file as a whole, mode 0600: a reader sees the old one or the new one. Raises StorageUnavailable."""
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with open(os.open(draft, _NEW, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be written: {error.strerror}") from error


def rotate(name: str, dir_fd: int | None = None) -> None:
    """Make room for a new log of this name: the full one becomes `.1`, the oldest is deleted. Raises OSError."""
    names = log_names(name)
    for younger, older in reversed(list(pairwise(names))):
        try:
            os.rename(younger, older, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        except FileNotFoundError:
            continue


def log_names(name: str) -> list[str]:
    """Return the names that the files of one log have, the newest first."""
    return [name, *(f"{name}.{n}" for n in range(1, LOG_FILES))]


def append_line(path: Path, line: bytes) -> None:
    """Append one line, never glued to a torn one before it; a full log is rotated. Raises StorageUnavailable."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _size_of(path) > LOG_BYTES - len(line):
            rotate(str(path))
        with open(os.open(path, _LOG, 0o600), "r+b", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            is_torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
            file.write(b"\n" + line if is_torn else line)
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be written: {error.strerror}") from error


def read_log(path: Path) -> bytes:
    """Return what the files of one log hold, the oldest line first; empty without any."""
    parts = [read_file(name) for name in log_names(str(path))]
    return b"".join(part for part in reversed(parts) if part is not None)


def _size_of(path: Path) -> int:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return 0
    return found.st_size if S_ISREG(found.st_mode) else 0
