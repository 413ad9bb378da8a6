"""Shared state on SQLite: keys with a version that grows at each write."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from hive_daemon.errors import StateConflict
from hive_daemon.storage.sqlite import rows
from hive_daemon.storage.sqlite.reader import required
from hive_daemon.storage.sqlite.tx import Holder, Tx
from hive_daemon.storage.values import StateWrite

SharedState = dict[tuple[str, str], tuple[bytes, int]]


def check_versions(tx: Tx, writes: Sequence[StateWrite]) -> None:
    """Raise StateConflict, naming every key that has another version than expected."""
    stale = [
        write.key
        for write in writes
        if write.expect is not None and _version(tx, write) != write.expect
    ]
    if stale:
        raise StateConflict(
            f"shared keys changed meanwhile: {', '.join(stale)}", subject=",".join(stale)
        )


def write_all(tx: Tx, writes: Sequence[StateWrite]) -> None:
    """Set shared keys whose versions were checked."""
    for write in writes:
        tx.execute(
            "DELETE FROM blob_refs WHERE kind = ? AND owner = ? AND part = ?",
            (Holder.STATE, write.scope, write.key),
        )
        tx.execute(
            "INSERT INTO state VALUES (?, ?, 1, ?) "
            "ON CONFLICT DO UPDATE SET version = version + 1, value = excluded.value",
            (write.scope, write.key, tx.keep(write.value, Holder.STATE, write.scope, write.key)),
        )


def write_state(tx: Tx, writes: Sequence[StateWrite]) -> None:
    """Set shared keys, all or none."""
    check_versions(tx, writes)
    write_all(tx, writes)


def clear_state(tx: Tx, scope: str) -> None:
    """Forget every key of a scope."""
    tx.execute("DELETE FROM state WHERE scope = ?", (scope,))
    tx.execute("DELETE FROM blob_refs WHERE kind = ? AND owner = ?", (Holder.STATE, scope))


def _version(tx: Tx, write: StateWrite) -> int:
    row = tx.execute(
        "SELECT version FROM state WHERE scope = ? AND key = ?", (write.scope, write.key)
    ).fetchone()
    return row[0] if row else 0


def read_state(connection: sqlite3.Connection, scopes: Sequence[str]) -> SharedState:
    """Return the shared keys of some scopes."""
    found = connection.execute(
        f"SELECT scope, key, value, version FROM state WHERE {rows.one_of('scope', len(scopes))}",
        tuple(scopes),
    )
    return {
        (scope, key): (required(connection, value), version)
        for scope, key, value, version in found.fetchall()
    }
