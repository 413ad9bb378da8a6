"""Whose turn it is on SQLite: the order of claiming within a lane, read without looking at what cannot run.

In a lane without keys the order is that of an index. In one with keys the next key is found by seeking past the one
served last, so that neither a key without a free slot nor what is behind or held costs anything, however much waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import merge
from itertools import chain
from typing import Protocol

from hive_daemon.storage.sqlite.tx import Row, Tx

READY, BEHIND, HELD = 0, 1, 2
"""The stages of a queued execution; see the schema."""

MOST_DUE = 4_096
"""How many that have become due one claim makes ready: none waits long for the writer."""

_ANY = 2**62
_HEAD = """
SELECT front, -priority, n, key, joined, session_id, background, attempts, lane, id, agent,
    graph_id, entry_point, stream_id, epoch, seq, event_seq, input, source, correlation, causation,
    created_at, ordinal, cancel_reason, state, trace_id, was, carry_from
FROM executions e INDEXED BY executions_queue
WHERE status = 'queued' AND lane = ?1 AND stage = 0 AND background = ?2 AND attempts < ?3
  AND (expires_at IS NULL OR was IS NOT NULL OR expires_at > ?4)
  AND (joined OR NOT EXISTS (
      SELECT 1 FROM executions r INDEXED BY executions_writers
      WHERE r.session_id = e.session_id AND r.status = 'running' AND NOT r.joined))
"""
_IN_ORDER = f"{_HEAD} ORDER BY front, priority DESC, key, n"
_MOVED = f"{_HEAD} AND front < 0 ORDER BY front, priority DESC, key, n"
_NEXT_KEY = f"{_HEAD} AND front = 0 AND priority = ?5 AND key >= ?6 ORDER BY key, n LIMIT 1"
_NEXT_LEVEL = """
SELECT max(priority) FROM executions INDEXED BY executions_queue
WHERE status = 'queued' AND lane = ? AND stage = 0 AND background = ? AND front = 0 AND priority < ?
"""
_FOLLOWS = """
SELECT EXISTS (SELECT 1 FROM executions INDEXED BY executions_writers
        WHERE session_id = ?1 AND status = 'running' AND NOT joined)
    OR EXISTS (SELECT 1 FROM executions INDEXED BY executions_followers
        WHERE session_id = ?1 AND status = 'queued' AND stage = 0 AND NOT joined AND ordinal > 1
          AND lane = ?2 AND key = ?3 AND background = ?4 AND (front < 0 OR priority >= ?5)
          AND attempts < 2 AND (expires_at IS NULL OR was IS NOT NULL OR expires_at > ?6))
"""
_KINDS_BEHIND = """
SELECT lane, key, background FROM executions INDEXED BY executions_behind
WHERE status = 'queued' AND stage = 1 AND session_id = ? AND (lane, key, background) > (?, ?, ?)
ORDER BY lane, key, background LIMIT 1
"""
_PROMOTE = """
UPDATE executions SET stage = 0 WHERE n = (
    SELECT n FROM executions INDEXED BY executions_behind
    WHERE status = 'queued' AND stage = 1 AND session_id = ? AND lane = ? AND key = ?
      AND background = ? ORDER BY front, priority DESC, n LIMIT 1)
"""
_IS_ANY_BEHIND = """
SELECT EXISTS (SELECT 1 FROM executions INDEXED BY executions_behind
    WHERE status = 'queued' AND stage = 1)
"""
_DUE = """
SELECT n, joined OR ordinal = 1, session_id, lane, key, background, priority
FROM executions INDEXED BY executions_due
WHERE status = 'queued' AND stage = 2 AND due_at <= ? ORDER BY due_at, n LIMIT ?
"""
_LATE = """
SELECT session_id FROM executions INDEXED BY executions_expiry
WHERE status = 'queued' AND was IS NULL AND expires_at IS NOT NULL AND expires_at <= ?
  AND NOT joined
"""
_RIPEN = "UPDATE executions SET stage = ?, hold_key = NULL WHERE n = ?"

Place = tuple[str, str, str, int, int]
"""Where an execution waits: session, lane, key, background, priority."""


def stage_of(tx: Tx, place: Place) -> int:
    """Return the stage of an execution that is due and continues a session."""
    if not tx.execute(_FOLLOWS, (*place, tx.now)).fetchone()[0]:
        return READY
    tx.known.may_be_behind = True
    return BEHIND


def promote(tx: Tx, session_id: str) -> None:
    """Make the best ready, of each lane and key, that wait behind one of their session that stopped to run or wait."""
    if not tx.known.may_be_behind:
        return
    kind: tuple[str, str, int] | None = ("", "", -1)
    while kind is not None:
        kind = tx.execute(_KINDS_BEHIND, (session_id, *kind)).fetchone()
        if kind is not None:
            tx.execute(_PROMOTE, (session_id, *kind))
    tx.known.may_be_behind = bool(tx.execute(_IS_ANY_BEHIND).fetchone()[0])


def ripen(tx: Tx) -> None:
    """Make ready what has become due, and what waits behind something that has waited too long."""
    for n, is_free, *place in tx.execute(_DUE, (tx.now, MOST_DUE)).fetchall():
        session_id, lane, key, background, priority = place
        waits = (session_id, lane, key, background, priority)
        tx.execute(_RIPEN, (READY if is_free else stage_of(tx, waits), n))
    if tx.known.may_be_behind:
        for session_id in {row[0] for row in tx.execute(_LATE, (tx.now,)).fetchall()}:
            promote(tx, session_id)


class Room(Protocol):
    """What may still run."""

    def has(self, lane: str) -> bool:
        """Say whether any more of a lane may run."""

    def has_key(self, lane: str, key: str) -> bool:
        """Say whether any more of a key may run."""

    def grounds(self) -> tuple[int, ...]:
        """Return which of foreground (0) and background (1) may run."""

    def takes(self, row: Row) -> bool:
        """Say whether a queued execution may run."""

    def lets(self, row: Row) -> bool:
        """Say whether one may run of whose lane and key another may."""

    def most_attempts(self) -> int:
        """Return below how many attempts a queued execution may run."""


class Turns(Protocol):
    """One lane of a claim."""

    def head(self) -> Row | None:
        """Return the next one that may run; the one returned before was taken, or may not run any more."""

    def took(self, row: Row) -> None:
        """Take note that a head runs."""

    def close(self) -> None:
        """Read no more."""


def among_lanes(row: Row) -> tuple[int, int]:
    """Return where a head stands among those of other lanes: by priority, then age."""
    return row[1], row[2]


class _Stream:
    """What one statement finds in a lane, foreground and background together, for as long as there is room."""

    def __init__(
        self, tx: Tx, room: Room, lane: str, statement: str, takes: Callable[[Row], bool]
    ) -> None:
        self._room = room
        self._takes = takes
        self._cursors = [tx.execute(statement, (lane, b, _ANY, tx.now)) for b in (0, 1)]
        self._rows = merge(*(self._ground(b, found) for b, found in enumerate(self._cursors)))

    def _ground(self, ground: int, found: Iterator[Row]) -> Iterator[Row]:
        for row in found:
            if ground not in self._room.grounds():
                return
            yield row

    def next(self) -> Row | None:
        takes = self._takes
        for row in self._rows:
            if takes(row):
                return row
        return None

    def close(self) -> None:
        for cursor in self._cursors:
            cursor.close()


class PlainTurns:
    """A lane without keys."""

    def __init__(self, tx: Tx, room: Room, lane: str) -> None:
        self._room = room
        self._lane = lane
        self._stream = _Stream(tx, room, lane, _IN_ORDER, room.lets)

    def head(self) -> Row | None:
        """See `Turns.head`."""
        if not self._room.has(self._lane) or not self._room.has_key(self._lane, ""):
            return None
        return self._stream.next()

    def took(self, row: Row) -> None:
        """See `Turns.took`."""

    def close(self) -> None:
        """See `Turns.close`."""
        self._stream.close()


class KeyedTurns:
    """A lane with keys: each level of priority is walked key by key, beginning after the one served last."""

    def __init__(self, tx: Tx, room: Room, lane: str, last_key: str) -> None:
        self._tx = tx
        self._room = room
        self._lane = lane
        self._moved = _Stream(tx, room, lane, _MOVED, room.takes)
        self._level: int | None = _ANY
        self._last_key = last_key
        self._was = last_key

    def head(self) -> Row | None:
        """See `Turns.head`."""
        if not self._room.has(self._lane):
            return None
        moved = self._moved.next()
        if moved is not None:
            return moved
        while self._level is not None:
            found = None if self._level == _ANY else self._in_level(self._level)
            if found is not None:
                return found
            self._level = self._below(self._level)
        return None

    def took(self, row: Row) -> None:
        """See `Turns.took`."""
        if not row[0]:
            self._last_key = row[3]

    def close(self) -> None:
        """See `Turns.close`; remember whose turn it was."""
        self._moved.close()
        if self._last_key != self._was:
            self._tx.execute(
                "UPDATE lanes SET last_key = ? WHERE lane = ?", (self._last_key, self._lane)
            )

    def _below(self, level: int) -> int | None:
        found = [
            self._tx.execute(_NEXT_LEVEL, (self._lane, b, level)).fetchone()[0]
            for b in self._room.grounds()
        ]
        return max((level for level in found if level is not None), default=None)

    def _in_level(self, level: int) -> Row | None:
        after = self._keys(level, _after(self._last_key))
        again = self._keys(level, "", self._last_key)
        return next((row for row in chain(after, again) if self._room.takes(row)), None)

    def _keys(self, level: int, start: str, last: str | None = None) -> Iterator[Row]:
        """Yield of each key the first that its session lets run, from a key on."""
        while True:
            row = self._seek(level, start)
            if row is None or (last is not None and row[3] > last):
                return
            yield row
            start = _after(row[3])

    def _seek(self, level: int, start: str) -> Row | None:
        most, tx = self._room.most_attempts(), self._tx
        found = [
            tx.execute(_NEXT_KEY, (self._lane, b, most, tx.now, level, start)).fetchone()
            for b in self._room.grounds()
        ]
        return min((row for row in found if row is not None), key=_key_and_age, default=None)


def _key_and_age(row: Row) -> tuple[str, int]:
    return row[3], row[2]


def _after(key: str) -> str:
    """Return the text that follows a key immediately."""
    return key + "\0"
