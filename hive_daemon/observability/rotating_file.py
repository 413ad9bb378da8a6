"""A log file that stays within its size, and can be opened anew under its name.

`path` is the newest; full ones become `path.1`, `path.2`, … and the oldest is deleted, so that all of them take
at most `max_bytes` times `files`. Files are made with mode 0600. What is not a regular file (a device, a pipe) is
written to and never rotated.
"""

from __future__ import annotations

import os
import stat
from itertools import pairwise
from pathlib import Path

from hive_daemon.errors import ConfigError

MAX_BYTES = 64 * 1024 * 1024
FILES = 8


class RotatingFile:
    """A text stream onto a file, as `logging.StreamHandler` needs it: `write`, `flush`, `close`.

    Not safe for several threads: the handler's lock guards it. `write` raises OSError, and then a part of the
    text may be in the file.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, files: int = FILES) -> None:
        self._names = [path, *(path.with_name(f"{path.name}.{n}") for n in range(1, files))]
        self._max_bytes = max_bytes
        self._fd = -1
        self._written = 0
        self._rotates = True
        self._is_torn = False
        self.reopen()

    def write(self, text: str) -> int:
        """Append the text in UTF-8; it is not split over two files."""
        data = text.encode("utf-8", "replace")
        if self._rotates and 0 < self._written > self._max_bytes - len(data):
            self._rotate()
        if self._is_torn:
            data = b"\n" + data
        self._is_torn = True
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self._is_torn = False
        self._written += len(data)
        return len(text)

    def flush(self) -> None:
        """Do nothing: what was written is with the system."""

    def reopen(self) -> None:
        """Open the file under its name again, for whoever moved it away (logrotate, then SIGHUP).

        Raises ConfigError, and then goes on with the file it had.
        """
        path = self._names[0]
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise ConfigError(
                f"the log file {path} cannot be opened: {error.strerror}",
                hint="the user of this process needs to write the file and its directory",
            ) from error
        self.close()
        found = os.fstat(fd)
        self._fd, self._written, self._rotates = fd, found.st_size, stat.S_ISREG(found.st_mode)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _rotate(self) -> None:
        try:
            self._names[-1].unlink(missing_ok=True)
            for younger, older in reversed(list(pairwise(self._names))):
                if younger.exists():
                    younger.replace(older)
        except OSError:
            # A directory that may not be written: a file too large is better than lines lost. The next try
            # comes when as much again is written.
            self._written = 0
        else:
            self.reopen()
