"""The data files of a session: one flat directory, which nothing that is asked of it leaves.

Guarantees. A name is a single plain component, so no path, no hidden file, no `..`. Symbolic links are not followed,
what is no regular file is not opened, a file with a second name elsewhere is not read or changed. A file is replaced as
a whole: a reader sees the old one or the new one, a crash leaves one of them. Changes of one directory, by whichever
process, come one after the other. A file, the number of files and their sum are bounded.

Everything here blocks: call it in a worker thread.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hive_daemon.errors import InvalidInput, NotFound, StorageFull

MOST_FILE_BYTES = 16 * 1024 * 1024
MOST_FILES = 1000
MOST_BYTES = 256 * 1024 * 1024
LONGEST_NAME = 200
"""Bytes of a file's name."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of the directory."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file, and the size of the whole."""

    content: bytes
    file_size_bytes: int


def check_file_name(name: str) -> str:
    """Return the name of a data file. Raises InvalidInput for what is no plain name."""
    is_plain = (
        bool(name)
        and not name.startswith(".")
        and not any(char in "/\\" or ord(char) < 32 or ord(char) == 127 for char in name)
        and not any(0xD800 <= ord(char) <= 0xDFFF for char in name)
    )
    if not is_plain:
        text = (
            f"{name!r} is not the name of a data file: give a plain name such as report.md, no path"
        )
        raise InvalidInput(text)
    if len(name.encode()) > LONGEST_NAME:
        raise InvalidInput(f"the name of a data file has at most {LONGEST_NAME} bytes")
    return name


@dataclass(frozen=True, slots=True)
class DataFiles:
    """The data files below one directory, which is made when the first is written."""

    folder: Path

    def read(self, name: str, offset: int = 0, limit: int = MOST_FILE_BYTES) -> Piece:
        """Return a part of a file. Raises InvalidInput, NotFound."""
        check_file_name(name)
        with self._directory(name) as directory, self._opened(directory, name) as file:
            size = os.fstat(file).st_size
            return Piece(os.pread(file, min(limit, MOST_FILE_BYTES), offset), size)

    def write(self, name: str, content: bytes) -> int:
        """Write a file as a whole; return its size. Raises InvalidInput, StorageFull, OSError."""
        with self._locked(name) as directory:
            return self._put(directory, name, content)

    def change(self, name: str, change: Callable[[bytes | None], bytes]) -> int:
        """Replace a file by what `change` makes of it (None: there is none); return its size.

        Raises what `change` raises, InvalidInput, StorageFull, OSError.
        """
        with self._locked(name) as directory:
            return self._put(directory, name, change(self._whole(directory, name)))

    def list(self) -> list[DataFile]:
        """Return the files, by name."""
        try:
            directory = os.open(self.folder, _DIRECTORY)
        except FileNotFoundError:
            return []
        try:
            return sorted(_files(directory), key=lambda file: file.name)
        finally:
            os.close(directory)

    def path(self, name: str) -> Path:
        """Return where a file is. Raises InvalidInput, NotFound."""
        self.read(name, limit=0)
        return self.folder / name

    @contextmanager
    def _locked(self, name: str) -> Iterator[int]:
        """Hold the directory alone: its changes come one after the other."""
        check_file_name(name)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._directory(name) as directory:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield directory

    @contextmanager
    def _directory(self, name: str) -> Iterator[int]:
        try:
            directory = os.open(self.folder, _DIRECTORY)
        except FileNotFoundError:
            raise NotFound(f"there is no data file {name!r}") from None
        try:
            yield directory
        finally:
            os.close(directory)

    @contextmanager
    def _opened(self, directory: int, name: str) -> Iterator[int]:
        try:
            file = os.open(name, _READ, dir_fd=directory)
        except FileNotFoundError:
            known = ", ".join(each.name for each in self.list()[:20]) or "none"
            raise NotFound(f"there is no data file {name!r}; there are: {known}") from None
        except OSError as error:
            raise InvalidInput(f"{name!r} cannot be read: {error.strerror}") from None
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                raise InvalidInput(f"{name!r} is not a data file of this session")
            yield file
        finally:
            os.close(file)

    def _whole(self, directory: int, name: str) -> bytes | None:
        try:
            with self._opened(directory, name) as file:
                if os.fstat(file).st_size > MOST_FILE_BYTES:
                    raise _too_large()
                return os.pread(file, MOST_FILE_BYTES, 0)
        except NotFound:
            return None

    def _put(self, directory: int, name: str, content: bytes) -> int:
        if len(content) > MOST_FILE_BYTES:
            raise _too_large()
        others = [file for file in _files(directory) if file.name != name]
        if len(others) >= MOST_FILES:
            raise StorageFull(f"a session has at most {MOST_FILES:,} data files")
        if sum(file.size_bytes for file in others) + len(content) > MOST_BYTES:
            most = MOST_BYTES // 1024**2
            raise StorageFull(f"the data files of a session have at most {most} MiB together")
        _replace(directory, name, content)
        return len(content)


def _too_large() -> StorageFull:
    return StorageFull(f"a data file has at most {MOST_FILE_BYTES // 1024**2} MiB")


def _files(directory: int) -> Iterator[DataFile]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                yield DataFile(entry.name, entry.stat(follow_symlinks=False).st_size)


def _replace(directory: int, name: str, content: bytes) -> None:
    draft = f".{secrets.token_hex(8)}"
    try:
        with open(os.open(draft, _NEW, 0o600, dir_fd=directory), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(draft, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        _remove(directory, draft)
        raise
    os.fsync(directory)


def _remove(directory: int, draft: str) -> None:
    try:
        os.unlink(draft, dir_fd=directory)
    except FileNotFoundError:
        return
