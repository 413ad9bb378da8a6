"""Reading one small text file that an operator named, and saying plainly why it cannot be read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hive_daemon.errors import ConfigError


def read_text(path: Path, max_bytes: int) -> str:
    """Return the UTF-8 text of a regular file, without a byte order mark.

    Raises ConfigError with one problem, a predicate about the file (`does not exist`).
    """
    try:
        # A FIFO or a device would block the start or never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError("is a directory" if path.is_dir() else "is not a regular file")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise ConfigError(_reason(error)) from None
    except ValueError:
        raise ConfigError("has a name that no file can have") from None
    if len(content) > max_bytes:
        raise ConfigError(f"is larger than {max_bytes // 1024} KiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"is not UTF-8 text (line {line})") from None


def is_world_readable(path: Path) -> bool:
    """Say whether every user of the machine may read the file."""
    return bool(path.stat().st_mode & stat.S_IROTH)


def locate(text: str, base: Path, home: Path) -> Path:
    """Return the absolute path that a configuration means: `~` is `home`, relative paths begin at `base`."""
    if text == "~" or text.startswith("~/"):
        text = f"{home}{text[1:]}"
    elif text.startswith("~"):
        text = os.path.expanduser(text)
    return Path(os.path.normpath(base / text))


def _reason(error: OSError) -> str:
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return "does not exist"
        case PermissionError():
            return "may not be read by this user"
        case _:
            return f"cannot be read: {error.strerror or type(error).__name__}"
