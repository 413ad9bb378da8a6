"""What a log line says: one record as fields, and those fields as a line for people.

Fields, in this order: `timestamp`, `level`, `logger`, `message`, the trace context, `exception`, `stack`, then
whatever `extra` gave. They are shaped (`strict_json`) and redacted here, so every formatter shows the same. The
record is read, never changed: other handlers see it as it was.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from hive_daemon.clock import iso_z
from hive_daemon.ids import is_execution_id, session_of
from hive_daemon.observability.redaction import redactor
from hive_daemon.observability.strict_json import CUT, escape_controls, json_shape, strict_json
from hive_daemon.observability.trace_context import trace_context

LINE_LIMIT = 64 * 1024
"""Bytes of a line, its end included."""

_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "repeat_key",
    "litellm_redacted",  # a mark that LiteLLM leaves on its records
}
_HEAD = ("timestamp", "level", "logger", "message")
_NO_EXCEPTION = "NoneType: None"

_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (-1, 7),
)
_COLOURS = (
    (logging.CRITICAL, "1;31"),
    (logging.ERROR, "31"),
    (logging.WARNING, "33"),
    (logging.INFO, "32"),
)
_DIM = "2"
_FOR_MACHINES = frozenset({"trace_id", "span_id", "parent_span_id", "run_id", "goal_id"})
_ON_LINES_OF_ITS_OWN = frozenset({"exception", "stack"})
_PLAIN_VALUE = re.compile(r"[^\s\"'=\\]+")
_NOT_IN_A_KEY = re.compile(r"[\s\"'=\\]")
_LONG_HEX = re.compile(r"[0-9a-f]{32}")
_SHORT_HEX = 8
_SESSION_STAMP = len("session_20260302_090000_")
_INDENT = "    | "


def fields_of(
    record: logging.LogRecord, message: str, exception: str | None, stack: str | None
) -> dict[str, Any]:
    """Return what the record says as redacted JSON, its message and exception already rendered.

    The names of the head and of the trace context cannot be taken by `extra`: they say who wrote the line. An
    extra of such a name and another value is kept as `extra_{name}`.
    """
    fields: dict[str, Any] = {
        "timestamp": "",
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": message,
    }
    for name, value in trace_context.get().items():
        fields.setdefault(name, value)
    if exception and exception != _NO_EXCEPTION:
        fields["exception"] = exception
    if stack:
        fields["stack"] = stack
    for name, value in vars(record).items():
        if name not in _RESERVED:
            _add_extra(fields, name, value)
    redacted: dict[str, Any] = redactor().redact_value(json_shape(fields), text_limit=LINE_LIMIT)
    # Put in last: a text that is new each time would only be in the way of what the redactor remembers.
    redacted["timestamp"] = iso_z(record.created)
    return redacted


def _add_extra(fields: dict[str, Any], name: str, value: object) -> None:
    while name in fields:
        if fields[name] is value or (isinstance(value, str) and fields[name] == value):
            return
        name = f"extra_{name}"
    fields[name] = value


class LinePrefix(StrEnum):
    """What a line begins with."""

    NONE = "none"
    TIME = "time"
    PRIORITY = "priority"  # `<6>`, for the journal, which adds the time itself


class HumanFormatter(logging.Formatter):
    """`HH:MM:SS.mmm LEVEL logger message key=value …`, in local time; a traceback follows, indented.

    Ids are short: the end of an execution's id, the beginning of a trace id. Lines that continue a record begin
    with `    | `, so no text inside a record can pass for another. To the journal each line says its
    priority (sd-daemon(3)).
    """

    def __init__(self, *, prefix: LinePrefix = LinePrefix.TIME, has_colour: bool = False) -> None:
        super().__init__()
        self._prefix = prefix
        self._has_colour = has_colour

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        exception = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        fields = fields_of(record, record.getMessage(), exception, record.stack_info)
        first = " ".join((*self._beginning(record, fields), *_pairs(fields)))
        lines = [first, *_continued(fields.get("exception")), *_continued(fields.get("stack"))]
        joined = f"\n{self._priority(record)}".join(lines)
        return _cut(f"{self._priority(record)}{joined}")

    def _beginning(self, record: logging.LogRecord, fields: Mapping[str, Any]) -> list[str]:
        level, *rest = (escape_controls(fields[name]) for name in _HEAD[1:])
        level = level.upper()
        if self._prefix is LinePrefix.PRIORITY:
            return [level, *rest]
        level = f"{level:<7}"
        if self._has_colour:
            level = f"\x1b[{_colour(record.levelno)}m{level}\x1b[0m"
        return [_time_of_day(record.created), level, *rest]

    def _priority(self, record: logging.LogRecord) -> str:
        return priority_of(record) if self._prefix is LinePrefix.PRIORITY else ""


def priority_of(record: logging.LogRecord) -> str:
    """Return what tells the journal how urgent a line is. Source: sd-daemon(3)."""
    return next(f"<{number}>" for level, number in _PRIORITIES if record.levelno >= level)


def _time_of_day(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC).astimezone()
    return moment.strftime("%H:%M:%S.") + f"{moment.microsecond // 1000:03d}"


def _colour(level: int) -> str:
    return next((colour for floor, colour in _COLOURS if level >= floor), _DIM)


def _pairs(fields: Mapping[str, Any]) -> list[str]:
    session, execution = fields.get("session_id"), fields.get("execution_id")
    has_session_twice = isinstance(execution, str) and session_of(execution) == session
    return [
        f"{escape_controls(_NOT_IN_A_KEY.sub('_', name))}={_shown(value)}"
        for name, value in fields.items()
        if name not in _HEAD
        and name not in _FOR_MACHINES
        and not (name in _ON_LINES_OF_ITS_OWN and isinstance(value, str))
        and not (name == "session_id" and has_session_twice)
    ]


def _shown(value: Any) -> str:
    if not isinstance(value, str):
        return strict_json(value)
    text = _short_id(value)
    return escape_controls(text) if _PLAIN_VALUE.fullmatch(text) else strict_json(text)


def _short_id(text: str) -> str:
    if is_execution_id(text):
        return text[_SESSION_STAMP:]
    return text[:_SHORT_HEX] if _LONG_HEX.fullmatch(text) else text


def _continued(text: object) -> list[str]:
    lines = text.splitlines() if isinstance(text, str) else []
    return [f"{_INDENT}{escape_controls(line)}" for line in lines]


def _cut(text: str) -> str:
    room = LINE_LIMIT - 1
    if 4 * len(text) <= room or len(data := text.encode("utf-8", "replace")) <= room:
        return text
    return data[: room - len(CUT)].decode("utf-8", "ignore") + CUT
