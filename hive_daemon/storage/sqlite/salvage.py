"""Salvaging a damaged hive.db: what is readable goes into a new file, the damaged bytes are kept beside it.

Guarantees: the damaged file is only read, and moved at the end; the new one takes its place whole
and checked, or not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hive_daemon.errors import StorageCorrupt
from hive_daemon.storage.sqlite.database import own, prepare_database, translated
from hive_daemon.storage.sqlite.inspection import fault_of

_PARTS = ("", "-wal", "-shm")
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What came of it: rows by table, the tables of which some were lost, and where the damaged file is kept."""

    rows: Mapping[str, int]
    torn: tuple[str, ...]
    kept: Path


def salvage(path: Path, stamp: str) -> Salvaged:
    """Put a new database with every readable row in the place of a damaged one, kept as `….damaged-STAMP`.

    Raises StateLocked while a daemon runs, StorageCorrupt if not even the list of tables can be read, StorageError.
    """
    with own(path.parent), translated(path):
        draft = path.with_name(f"{path.name}.salvaged")
        _remove(draft)
        prepare_database(draft)
        rows, torn = _copy(path, draft)
        fault = fault_of(draft)
        if fault is not None:
            raise fault
        kept = path.with_name(f"{path.name}.damaged-{stamp}")
        for part in _PARTS:
            damaged = path.with_name(f"{path.name}{part}")
            if damaged.exists():
                damaged.rename(path.with_name(f"{kept.name}{part}"))
        for part in _PARTS[1:]:
            path.with_name(f"{draft.name}{part}").unlink(missing_ok=True)
        draft.rename(path)
        return Salvaged(rows, torn, kept)


def _remove(draft: Path) -> None:
    for part in _PARTS:
        draft.with_name(f"{draft.name}{part}").unlink(missing_ok=True)


def _copy(damaged: Path, draft: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """Copy what can be read, table by table; answer how much, and of which tables some was lost."""
    rows: dict[str, int] = {}
    torn: list[str] = []
    with (
        closing(sqlite3.connect(f"{damaged.absolute().as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(draft, isolation_level=None)) as target,
    ):
        target.execute("PRAGMA foreign_keys = OFF")
        for name, statement in _tables(source, damaged):
            _make(target, name, statement)
            rows[name], is_whole = _copy_table(source, target, name)
            if not is_whole:
                torn.append(name)
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return rows, tuple(torn)


def _tables(source: sqlite3.Connection, damaged: Path) -> list[tuple[str, str]]:
    try:
        return source.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
    except sqlite3.DatabaseError as error:
        raise StorageCorrupt(
            f"nothing of {damaged} can be read: {error}", hint="put a backup in its place"
        ) from error


def _make(target: sqlite3.Connection, name: str, statement: str) -> None:
    known = target.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    if known is None:
        target.execute(statement)


def _copy_table(
    source: sqlite3.Connection, target: sqlite3.Connection, name: str
) -> tuple[int, bool]:
    """Copy a table from both of its ends up to where it is torn."""
    columns = [row[1] for row in source.execute(f'PRAGMA table_info("{name}")')]
    keys = [row[1] for row in source.execute(f'PRAGMA table_info("{name}")') if row[5]]
    order = ", ".join(f'"{key}"' for key in keys) or "rowid"
    backwards = ", ".join(f'"{key}" DESC' for key in keys) or "rowid DESC"
    marks = ", ".join("?" * len(columns))
    names = ", ".join(f'"{column}"' for column in columns)
    put = f'INSERT OR IGNORE INTO "{name}" ({names}) VALUES ({marks})'
    is_whole = True
    for way in (order, backwards):
        target.execute("BEGIN")
        reading = _rows(source, f'SELECT {names} FROM "{name}" ORDER BY {way}')
        is_whole = True
        for page in reading:
            if page is None:
                is_whole = False
                break
            target.executemany(put, page)
        target.execute("COMMIT")
        if is_whole:
            break
    (count,) = target.execute(f'SELECT count(*) FROM "{name}"').fetchone()
    return count, is_whole


def _rows(source: sqlite3.Connection, query: str) -> Iterator[list[tuple[object, ...]] | None]:
    """Yield pages of rows; None where nothing more can be read."""
    try:
        found = source.execute(query)
        while page := _page(found):
            yield page
    except sqlite3.DatabaseError:
        yield None


def _page(found: sqlite3.Cursor) -> list[tuple[object, ...]]:
    return found.fetchmany(_PAGE)
