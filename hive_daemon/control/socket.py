"""The daemon's end of the control socket: a file that only one live daemon listens on.

Guarantees: nobody outside the owner and its group can connect at any moment; a stale socket is replaced, a live one
respected, also when two daemons start at once; nothing but a socket is ever removed, and at the end only our own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MODE = 0o660
DIRECTORY_MODE = 0o700
BACKLOG = 128

_LIVE = "another process listens on {path}, is a daemon running already?"
_BUSY = "another process is about to listen on {path}"
_FOREIGN = "{path} is in the way: it is {what}, not a socket; remove it or choose another path"


class SocketTaken(OSError):
    """Something else is at the path of the socket."""

    def __init__(self, sentence: str) -> None:
        super().__init__(errno.EADDRINUSE, sentence)

    def __str__(self) -> str:
        return str(self.strerror)


@dataclass(frozen=True, slots=True)
class BoundSocket:
    """A socket that listens, and the file that stands for it."""

    socket: socket.socket
    path: Path
    identity: tuple[int, int, int]

    @property
    def is_in_place(self) -> bool:
        """Whether the file at the path is still this socket's."""
        try:
            return _identity(self.path) == self.identity
        except OSError:
            return False

    def remove(self) -> None:
        """Remove the file, if it is still this socket's. Best before the socket is closed."""
        if self.is_in_place:
            self.path.unlink(missing_ok=True)


def bind(path: Path) -> BoundSocket:
    """Listen on `path`, a file of mode 0660; make its directory, for the owner alone, if there is none.

    Raises SocketTaken (EADDRINUSE) if another process listens there or something else is in the way, OSError.
    """
    _make_directory(path.parent)
    with _alone_in(path):
        _clear(path)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            # The file takes its mode from the descriptor, so it is never open to others, not even for a moment.
            os.fchmod(made.fileno(), MODE)
            made.bind(str(path))
            # A strict umask took the group away; the file is ours and nobody can connect before listen.
            path.chmod(MODE)
            made.listen(BACKLOG)
            made.setblocking(False)
            return BoundSocket(made, path, _identity(path))
        except BaseException:
            made.close()
            raise


def _identity(path: Path) -> tuple[int, int, int]:
    """Return what tells a file from its successor: numbers of inodes are used again, with another time."""
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _make_directory(directory: Path) -> None:
    missing = [one for one in (directory, *directory.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(DIRECTORY_MODE, exist_ok=True)


@contextmanager
def _alone_in(path: Path) -> Iterator[None]:
    """Keep other daemons from looking at the path while this one decides what to do with it."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SocketTaken(_BUSY.format(path=path)) from None
        yield
    finally:
        os.close(directory)


def _clear(path: Path) -> None:
    """Remove the socket of a daemon that is gone. Raises SocketTaken for anything else that is there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketTaken(_FOREIGN.format(path=path, what=_kind(mode)))
    if not _is_stale(path):
        raise SocketTaken(_LIVE.format(path=path))
    path.unlink(missing_ok=True)


def _is_stale(path: Path) -> bool:
    """Say whether nobody listens any more. Who may not be asked, or is busy, counts as alive."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(path)) in (errno.ECONNREFUSED, errno.ENOENT)


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a file"
