"""Repeated warnings: a fault that comes a thousand times a minute is told once, with a count.

Two records of WARNING or above are the same if logger, level and unformatted message agree, for a record with
an exception also its type and the line that raised it, and, where the caller sets `extra={"repeat_key": text}`,
that too. Of the same records one a minute passes. No count is lost: it comes as `suppressed` on the next of them, or,
if none comes, in a record of its own with the first record of any kind after the minute, or at the end. DEBUG and
INFO pass untouched. Time is the records' own.
"""

from __future__ import annotations

import copy
import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

WINDOW_SECONDS = 60.0
TABLE_SIZE = 1024

_LONGEST_TEMPLATE = 300


@dataclass(slots=True)
class _Told:
    """A record that passed, and how many of its kind were held back since."""

    at: float
    name: str
    level: int
    template: str
    suppressed: int = 0

    def is_over(self, now: float) -> bool:
        # The wall clock may step back: then nothing is known about the age.
        return not 0 <= now - self.at < WINDOW_SECONDS


@dataclass(frozen=True, slots=True)
class Admitted:
    """What to write now: counts that are due, then the record itself, unless it is held back."""

    counts: tuple[logging.LogRecord, ...]
    record: logging.LogRecord | None


class Repeats:
    """The table of warnings told lately; safe to use from any thread, at most 1,024 of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: OrderedDict[Hashable, _Told] = OrderedDict()
        self._due = math.inf  # when the first count must be told

    def admit(self, record: logging.LogRecord) -> Admitted:
        """Say what to write for this record. The record itself is never changed."""
        if record.levelno < logging.WARNING and record.created < self._due:
            return Admitted((), record)
        with self._lock:
            passed: logging.LogRecord | None = record
            if record.levelno >= logging.WARNING:
                passed = self._judge(record)
            return Admitted(self._counts(record.created), passed)

    def flush(self, now: float) -> tuple[logging.LogRecord, ...]:
        """Return all counts that were not told yet."""
        with self._lock:
            told = tuple(_count(entry, now) for entry in self._table.values() if entry.suppressed)
            self._table.clear()
            self._due = math.inf
            return told

    def _judge(self, record: logging.LogRecord) -> logging.LogRecord | None:
        key, template = _key(record), _template(record)
        entry = self._table.get(key)
        if entry is not None and not entry.is_over(record.created):
            entry.suppressed += 1
            self._due = min(self._due, entry.at + WINDOW_SECONDS)
            return None
        self._table[key] = _Told(record.created, record.name, record.levelno, template)
        self._table.move_to_end(key)
        if entry is None or not entry.suppressed:
            return record
        counted = copy.copy(record)
        counted.__dict__["suppressed"] = entry.suppressed
        return counted

    def _counts(self, now: float) -> tuple[logging.LogRecord, ...]:
        """Take out what is over or one too many, and return the counts that it held."""
        gone: list[_Told] = []
        if now >= self._due:
            over = [key for key, entry in self._table.items() if entry.is_over(now)]
            gone.extend(self._table.pop(key) for key in over)
            held = (entry.at for entry in self._table.values() if entry.suppressed)
            self._due = min(held, default=math.inf) + WINDOW_SECONDS
        while len(self._table) > TABLE_SIZE:
            gone.append(self._table.popitem(last=False)[1])
        return tuple(_count(entry, now) for entry in gone if entry.suppressed)


def _key(record: logging.LogRecord) -> Hashable:
    told_apart = record.__dict__.get("repeat_key")
    if not isinstance(told_apart, str):
        told_apart = None
    return (record.name, record.levelno, _template(record), told_apart, _origin(record))


def _template(record: logging.LogRecord) -> str:
    message = record.msg
    return message[:_LONGEST_TEMPLATE] if isinstance(message, str) else type(message).__qualname__


def _origin(record: logging.LogRecord) -> Hashable:
    """Return the type of the record's exception, and the file and line that raised it."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return None
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace is not None else None
    return (type(error).__qualname__, where)


def _count(entry: _Told, now: float) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": entry.name,
            "levelno": entry.level,
            "levelname": logging.getLevelName(entry.level),
            "created": now,
            "msg": "the same message came again",
            "repeated": entry.template,
            "suppressed": entry.suppressed,
        }
    )
