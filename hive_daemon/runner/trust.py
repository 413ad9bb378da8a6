"""Whose agent folders are run: code of an agent may do whatever the daemon may, so not everybody may write it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sized
from itertools import islice
from pathlib import Path

import hive_daemon

MAX_ENTRIES = 10_000
"""Folders and files of code of one agent."""

_CODE = (".py", ".json")
_PASSED_OVER = ("__pycache__", "node_modules")


def distrust(folder: Path) -> list[str]:
    """Return why the folder must not be run, each with its remedy; empty if it may.

    It may if the folder, its subfolders and its code belong to the user of this process, to root, or to the owner of
    Hive's own code (who could have us do anything anyway), and cannot be written by everybody.
    """
    entries = list(islice(_entries(folder), MAX_ENTRIES + 1))
    if len(entries) > MAX_ENTRIES:
        return [f"holds more than {MAX_ENTRIES:,} files, keep nothing but the agent in its folder"]
    trusted = _trusted_users()
    foreign, open_to_all = [], []
    for path, status in entries:
        if status.st_uid not in trusted:
            foreign.append((path, status.st_uid))
        if status.st_mode & stat.S_IWOTH:
            open_to_all.append(path)
    return [
        *_told_foreign(folder, foreign),
        *_told_open(folder, open_to_all),
    ]


def _trusted_users() -> frozenset[int]:
    return frozenset({0, os.geteuid(), Path(hive_daemon.__file__).stat().st_uid})


def _entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the folder, its subfolders and the files that may be executed or read as the agent's shape."""
    yield folder, folder.stat()
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _is_passed_over(name)]
        for name in (*folders, *(name for name in files if name.endswith(_CODE))):
            path = Path(place) / name
            if path.exists():
                yield path, path.stat()


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name in _PASSED_OVER


def _told_foreign(folder: Path, found: list[tuple[Path, int]]) -> Iterator[str]:
    if found:
        path, owner = found[0]
        yield (
            f"{_shown(folder, path)}{_more(found)} belongs to user {owner}, not to you or root, "
            f"run: chown -R {os.geteuid()} {folder}"
        )


def _told_open(folder: Path, found: list[Path]) -> Iterator[str]:
    if found:
        yield (
            f"{_shown(folder, found[0])}{_more(found)} can be written by every user of this machine, "
            f"run: chmod -R o-w {folder}"
        )


def _shown(folder: Path, path: Path) -> str:
    return "the folder" if path == folder else str(path.relative_to(folder))


def _more(found: Sized) -> str:
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""
