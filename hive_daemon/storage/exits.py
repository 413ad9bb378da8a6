"""The ends that daemons chose for themselves: a line each beside the store, for who looks afterwards.

Written when the event loop is blocked and nothing can be committed; read by the next start, by stories and by doctor.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from hive_daemon.insight.exits import ExitNote
from hive_daemon.storage.files import append_line, read_log

EXITS = "exits.jsonl"

MOST_READ = 100
"""So many of the newest lines are looked at."""

_TOLD = {"told": True}


def note_exit(root: Path, note: ExitNote) -> None:
    """Keep an end below `root`. Raises StorageUnavailable."""
    append_line(root / EXITS, orjson.dumps(note.to_json()) + b"\n")


def read_exits(root: Path) -> list[ExitNote]:
    """Return the ends that are kept below `root`, the oldest first."""
    return [note for note in _read(root) if note is not None]


def untold_exits(root: Path) -> list[ExitNote]:
    """Return the ends that no start has told of yet, and note that they are told. Raises StorageUnavailable."""
    untold: list[ExitNote] = []
    for note in _read(root):
        if note is None:
            untold.clear()
        else:
            untold.append(note)
    if untold:
        append_line(root / EXITS, orjson.dumps(_TOLD) + b"\n")
    return untold


def _read(root: Path) -> list[ExitNote | None]:
    """Return the lines in their order, None for one that says that those before it were told."""
    found: list[ExitNote | None] = []
    for line in read_log(root / EXITS).splitlines()[-MOST_READ:]:
        try:
            document = orjson.loads(line)
            found.append(None if document == _TOLD else ExitNote.read(document))
        except (ValueError, KeyError, TypeError):
            # A line that a full disk or a crash tore says nothing.
            continue
    return found
