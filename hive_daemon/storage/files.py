"""Single files outside hive.db: read with care, replaced whole, appended by lines.

Nothing here follows a symbolic link, waits for a FIFO or reads without a limit.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from stat import S_ISREG

from hive_daemon.errors import StorageUnavailable

MOST_BYTES = 64 * 1024 * 1024
"""The largest file that is read."""

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
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
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


def append_line(path: Path, line: bytes) -> None:
    """Append one line, never glued to a torn one before it. Raises StorageUnavailable."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, _LOG, 0o600), "r+b", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            is_torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
            file.write(b"\n" + line if is_torn else line)
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be written: {error.strerror}") from error
