"""The files of the mirror: how they are written so that a reader never sees half of one.

Laws: a document (`*.json`) appears whole, by rename, alone or with the directory that is new with it; a log grows by
whole lines, and a torn last line is never glued to the next; no symbolic link at or below `sessions/` is followed, and
what stands in the way there is put aside, not destroyed; directories are 0700, files 0600; nothing is ever fsynced,
since everything can be rebuilt. Unfinished work lies in `.mirror/` beside `sessions/`, which `sweep` empties.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from stat import S_ISREG

from hive_daemon.storage.files import LOG_BYTES, read_file, rotate
from hive_daemon.storage.session_state import SESSIONS

logger = logging.getLogger(__name__)

MOST_OPEN = 256
"""Descriptors kept open."""

STAGING = ".mirror"

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO that somebody put there would wait for a reader.
_LOG = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_IN_THE_WAY = (errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO)

Place = tuple[str, ...]
"""A directory: an agent's directory, then one name per level below it."""


def session_place(directory: Path, session_id: str) -> Place:
    """Return the place of a session."""
    return (str(directory), SESSIONS, session_id)


@dataclass(slots=True)
class Change:
    """What is to happen in one place: lines for logs, whole documents, files that go. Paths have at most one slash.

    Documents are written in the order given.
    """

    lines: dict[str, bytes] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)


class Files:
    """The mirror's hand on the file system; one thread uses it. Every method raises OSError."""

    def __init__(self, most_open: int = MOST_OPEN) -> None:
        self._most_open = most_open
        self._open: OrderedDict[Place, int] = OrderedDict()
        self._names = count()

    def create(self, place: Place, files: Mapping[str, bytes]) -> bool:
        """Make a new directory with all its files, at once; say False if it exists already."""
        parent = self._directory(place[:-1])
        staging = self._directory((place[0], STAGING))
        draft = self._next_name()
        try:
            _write_tree(staging, draft, files)
            return self._move_in(draft, staging, parent, place)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True, dir_fd=staging)
            raise

    def update(self, place: Place, change: Change) -> None:
        """Apply a change to a directory, which is made if it is missing."""
        for path, lines in change.lines.items():
            self._append(place, path, lines)
        for path, content in change.documents.items():
            self._replace(place, path, content)
        for path in change.gone:
            where, name = self._locate(place, path)
            try:
                os.unlink(name, dir_fd=where)
            except FileNotFoundError:
                continue

    def names(self, place: Place) -> list[str]:
        """Return the names in a directory, none if there is no such directory."""
        try:
            return os.listdir(self._directory(place, make=False))
        except FileNotFoundError:
            return []

    def read(self, place: Place, name: str) -> bytes | None:
        """Return what a file in a directory holds, None if there is no such regular file."""
        try:
            return read_file(name, dir_fd=self._directory(place, make=False))
        except FileNotFoundError:
            return None

    def put_aside(self, place: Place, name: str) -> None:
        """Rename a damaged file, keeping its bytes, and say so."""
        _put_aside(self._directory(place), name, (*place, name))

    def remove(self, place: Place) -> None:
        """Remove a directory with everything in it; it disappears at once."""
        self.release(place)
        draft = self._next_name()
        try:
            parent = self._directory(place[:-1], make=False)
            staging = self._directory((place[0], STAGING))
            os.rename(place[-1], draft, src_dir_fd=parent, dst_dir_fd=staging)
        except FileNotFoundError:
            return
        shutil.rmtree(draft, dir_fd=staging)

    def release(self, place: Place) -> None:
        """Close what is open at or below a place."""
        size = len(place)
        for key in [key for key in self._open if key[:size] == place]:
            os.close(self._open.pop(key))

    def close(self) -> None:
        """Close everything."""
        self.release(())

    # --- directories ------------------------------------------------------------------------

    def _directory(self, place: Place, *, make: bool = True) -> int:
        fd = self._open.get(place)
        if fd is not None:
            self._open.move_to_end(place)
            return fd
        if len(place) == 1:
            if make:
                _make_private(Path(place[0]))
            # Where an agent's directory lies is the operator's choice: links may lead there.
            return self._keep(place, os.open(place[0], _DIRECTORY & ~os.O_NOFOLLOW))
        parent = self._directory(place[:-1], make=make)
        return self._keep(place, _enter(parent, place, make))

    def _keep(self, place: Place, fd: int) -> int:
        while len(self._open) >= self._most_open:
            os.close(self._open.popitem(last=False)[1])
        self._open[place] = fd
        return fd

    def _locate(self, place: Place, path: str) -> tuple[int, str]:
        folder, _, name = path.rpartition("/")
        return self._directory((*place, folder) if folder else place), name

    # --- documents and logs -----------------------------------------------------------------

    def _replace(self, place: Place, path: str, content: bytes) -> None:
        staging = self._directory((place[0], STAGING))
        where = self._locate(place, path)[0]
        draft = self._next_name()
        try:
            _write_new(staging, draft, content)
            self._move_in(draft, staging, where, (*place, path))
        except OSError:
            _discard(staging, draft)
            raise

    def _move_in(self, draft: str, staging: int, where: int, place: Place) -> bool:
        """Give a draft its place; say False if a directory with something in it stands there."""
        name = place[-1].rpartition("/")[2]
        try:
            os.rename(draft, name, src_dir_fd=staging, dst_dir_fd=where)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                shutil.rmtree(draft, dir_fd=staging)
                return False
            if error.errno not in _IN_THE_WAY:
                raise
            _put_aside(where, name, place)
            os.rename(draft, name, src_dir_fd=staging, dst_dir_fd=where)
        return True

    def _append(self, place: Place, path: str, lines: bytes) -> None:
        key = (*place, path)
        fd = self._open.get(key)
        if fd is None:
            where, name = self._locate(place, path)
            fd, is_torn = _open_log(where, name, key)
            self._keep(key, fd)
            lines = b"\n" + lines if is_torn else lines
        else:
            self._open.move_to_end(key)
        if 0 < os.fstat(fd).st_size > LOG_BYTES - len(lines):
            os.close(self._open.pop(key))
            where, name = self._locate(place, path)
            rotate(name, where)
            fd, _ = _open_log(where, name, key)
            self._keep(key, fd)
        try:
            _write(fd, lines)
        except OSError:
            # The next one looks at the end of the file again.
            self._open.pop(key)
            os.close(fd)
            raise

    def _next_name(self) -> str:
        return str(next(self._names))


def sweep(directories: Iterable[Path]) -> None:
    """Remove what a mirror that died left unfinished in the directories of agents."""
    for directory in directories:
        try:
            staging = os.open(directory / STAGING, _DIRECTORY)
        except OSError as error:
            if error.errno not in (errno.ENOENT, *_IN_THE_WAY):
                raise
            continue
        try:
            for name in os.listdir(staging):
                _discard(staging, name)
        finally:
            os.close(staging)


def _put_aside(where: int, name: str, place: Place) -> None:
    """Rename what stands in the way at a place, keeping its bytes, and say so."""
    for n in count(1):
        aside = f"{name}.damaged-{n}"
        try:
            os.stat(aside, dir_fd=where, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(name, aside, src_dir_fd=where, dst_dir_fd=where)
            logger.warning(
                "put aside what stood in the mirror's way",
                extra={"path": "/".join(place), "kept_as": aside},
            )
            return


def _make_private(path: Path) -> None:
    """Make a directory and whatever is missing above it, for its owner only."""
    if not path.is_dir():
        _make_private(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def _enter(parent: int, place: Place, make: bool) -> int:
    """Open the last directory of a place, making it if it is missing."""
    name = place[-1]
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        if not make:
            raise
    except OSError as error:
        if error.errno not in _IN_THE_WAY or place[1:2] != (SESSIONS,) or len(place) < 3:
            raise
        _put_aside(parent, name, place)
    os.mkdir(name, 0o700, dir_fd=parent)
    return os.open(name, _DIRECTORY, dir_fd=parent)


def _write_tree(where: int, name: str, files: Mapping[str, bytes]) -> None:
    os.mkdir(name, 0o700, dir_fd=where)
    for folder in sorted({path.rpartition("/")[0] for path in files} - {""}):
        os.mkdir(f"{name}/{folder}", 0o700, dir_fd=where)
    for path, content in files.items():
        _write_new(where, f"{name}/{path}", content)


def _write_new(where: int, name: str, content: bytes) -> None:
    fd = os.open(name, _NEW, 0o600, dir_fd=where)
    try:
        _write(fd, content)
    finally:
        os.close(fd)


def _write(fd: int, content: bytes) -> None:
    written = os.write(fd, content)
    while written < len(content):
        written += os.write(fd, content[written:])


def _open_log(where: int, name: str, place: Place) -> tuple[int, bool]:
    """Open a log for appending; answer also whether its last line is torn."""
    for _ in range(2):
        try:
            fd = os.open(name, _LOG, 0o600, dir_fd=where)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
        else:
            found = os.fstat(fd)
            if S_ISREG(found.st_mode):
                size = found.st_size
                return fd, size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            os.close(fd)
        _put_aside(where, name, place)
    raise OSError(errno.EEXIST, "something stands in the way of a log", name)


def _discard(where: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=where)
    except IsADirectoryError:
        shutil.rmtree(name, ignore_errors=True, dir_fd=where)
    except FileNotFoundError:
        return
