"""Logging: one handler on the root logger, JSON for machines or lines for people.

`configure_logging` puts it there; that is for the program to call, never for a library. Guarantees: logging
never raises into the program; each JSON line is one strict object of at most 64 KiB; nothing written holds a
known secret, a control character, or a line that the text of a record made up; what could not be written is
counted, and told before the next line that can.
"""

from __future__ import annotations

import codecs
import logging
import os
import sys
from collections.abc import Iterable
from contextvars import Context
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

from hive_daemon.clock import SYSTEM_CLOCK
from hive_daemon.errors import InvalidInput
from hive_daemon.observability.log_format import (
    LINE_LIMIT,
    HumanFormatter,
    LinePrefix,
    fields_of,
    priority_of,
)
from hive_daemon.observability.log_repeats import Repeats
from hive_daemon.observability.log_ring import LogRing
from hive_daemon.observability.redaction import register_secret
from hive_daemon.observability.rotating_file import RotatingFile
from hive_daemon.observability.strict_json import ascii_json, fitted
from hive_daemon.observability.trace_context import (
    adopt_trace_context,
    clear_trace_context,
    get_trace_context,
    set_trace_context,
)

__all__ = [
    "HiveJsonFormatter",
    "LineHandler",
    "LogFormat",
    "clear_trace_context",
    "configure_logging",
    "get_trace_context",
    "quiet_libraries",
    "reopen_logs",
    "set_trace_context",
]

_LITELLM = ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router")
NOISY_LIBRARIES = (*_LITELLM, "aiohttp.access", "asyncio", "httpcore", "httpx", "openai")
"""Loggers that say at INFO what Hive says itself; they are heard from WARNING on."""


_AROUND = len("<6>\n")


class LogFormat(StrEnum):
    """How log lines are written."""

    AUTO = "auto"  # JSON if LOG_FORMAT=json or ENV=production, else for people
    JSON = "json"
    HUMAN = "human"


class HiveJsonFormatter(JsonFormatter):
    """One strict JSON object per record, at most LINE_LIMIT bytes with the line's end."""

    def __init__(self, *, is_ascii: bool = False, prefix: LinePrefix = LinePrefix.NONE) -> None:
        super().__init__()
        self._is_ascii = is_ascii
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; to the journal it begins with its priority, which the journal takes off."""
        line = super().format(record)
        return f"{priority_of(record)}{line}" if self._prefix is LinePrefix.PRIORITY else line

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        """Fill in the fields of `log_format.fields_of`."""
        exception, stack = message_dict.get("exc_info"), message_dict.get("stack_info")
        # The library leaves the message of a record whose message is a dict empty.
        message = record.getMessage() if isinstance(record.msg, dict) else record.message
        log_data.update(fields_of(record, message, exception, stack))

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Write the fields on one line."""
        if self._is_ascii:
            return ascii_json(fitted(log_data, LINE_LIMIT // 3 - _AROUND))
        return fitted(log_data, LINE_LIMIT - _AROUND)


Target = TextIO | RotatingFile | LogRing
"""What lines are written to."""


class LineHandler(logging.StreamHandler[Target]):
    """Hive's handler: holds repeated warnings back, and survives records and streams that fail."""

    def __init__(self, stream: Target) -> None:
        super().__init__(stream)
        self._repeats = Repeats()
        self._lost = 0

    def handle(self, record: logging.LogRecord) -> bool:
        """Write the record, unless it is held back, and the counts that are due."""
        admitted = self._repeats.admit(record)
        self._write_apart(admitted.counts)
        return admitted.record is not None and bool(super().handle(admitted.record))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, after the number of lines that were lost."""
        if self._lost:
            self._tell_lost()
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Write what can be said of a record that cannot be rendered; count it if even that fails.

        The standard library would print record and traceback, unredacted, over many lines.
        """
        error = sys.exception()
        if isinstance(error, OSError):
            self._lost += 1
            return
        about = _note(
            logging.ERROR,
            "a log record could not be written",
            record_logger=str(record.name),
            record_message=record.msg if isinstance(record.msg, str) else type(record.msg).__name__,
            written_at=f"{record.pathname}:{record.lineno}",
            error=type(error).__name__,
        )
        try:
            self.stream.write(Context().run(self.format, about) + self.terminator)
            self.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed, or cannot encode the text
            self._lost += 1

    def reopen(self) -> None:
        """Open the file anew, if this writes to one. Raises ConfigError."""
        if isinstance(self.stream, RotatingFile):
            self.acquire()
            try:
                self.stream.reopen()
            finally:
                self.release()

    def close(self) -> None:
        """Write the counts that are held, and close the file, if this writes to one."""
        self._write_apart(self._repeats.flush(SYSTEM_CLOCK.time()))
        super().close()
        if isinstance(self.stream, RotatingFile):
            self.stream.close()

    def _write_apart(self, records: Iterable[logging.LogRecord]) -> None:
        """Write records that do not belong to the work that is just running: without its trace context."""
        for record in records:
            Context().run(super().handle, record)

    def _tell_lost(self) -> None:
        lost = self._lost
        note = _note(logging.WARNING, "log lines could not be written", lost_lines=lost)
        Context().run(super().emit, note)
        self._lost = 0 if self._lost == lost else lost


def configure_logging(
    level: str | int = "INFO",
    format: str = LogFormat.AUTO,
    *,
    stream: TextIO | None = None,
    file: Path | None = None,
    secrets: Iterable[str] = (),
    recent: LogRing | None = None,
) -> None:
    """Send what is logged, from `level` on, to stderr, to `stream`, or to `file`.

    Sets the level of the root logger and puts one handler there. Handlers of the host program stay, and a
    record goes to them too; a second call replaces the handler of the first, so no line of ours comes twice.
    `secrets` are redacted from now on, everywhere. A file is rotated (see `rotating_file`). `recent` keeps the newest
    lines in memory besides, as JSON. Where a parent process handed a trace context over (`trace_environment`), every
    line carries it.
    Raises InvalidInput for an unknown level or format, ConfigError for a file that cannot be opened; then
    nothing has changed.
    """
    threshold, chosen = _level(level), _format(format)
    target = _target(stream, file)
    for secret in secrets:
        register_secret(secret)
    root = logging.getLogger()
    earlier = _our_handlers()
    # The new ones first: a line written twice by another thread is better than one lost.
    root.addHandler(_handler(target, _formatter(chosen, target)))
    if recent is not None:
        root.addHandler(_handler(recent, HiveJsonFormatter()))
    root.setLevel(threshold)
    for old in earlier:
        root.removeHandler(old)
        old.close()
    quiet_libraries()
    adopt_trace_context(os.environ)


def reopen_logs() -> None:
    """Open the log file anew, for SIGHUP after logrotate; does nothing to stderr. Raises ConfigError."""
    for handler in _our_handlers():
        handler.reopen()


def quiet_libraries() -> None:
    """Hear noisy libraries from WARNING on, once each.

    LiteLLM gives its loggers handlers of its own when it is imported: whoever imports it calls this after,
    or its lines come twice, and once unredacted. Does nothing while `configure_logging` was not called.
    """
    if not _our_handlers():
        return
    floor = max(logging.WARNING, logging.getLogger().level)
    for name in NOISY_LIBRARIES:
        logging.getLogger(name).setLevel(floor)
    for name in _LITELLM:
        library = logging.getLogger(name)
        for handler in tuple(library.handlers):
            if isinstance(handler, logging.StreamHandler) and not isinstance(
                handler, logging.FileHandler
            ):
                library.removeHandler(handler)


def _handler(target: Target, formatter: logging.Formatter) -> LineHandler:
    handler = LineHandler(target)
    handler.setFormatter(formatter)
    return handler


def _our_handlers() -> list[LineHandler]:
    return [h for h in logging.getLogger().handlers if isinstance(h, LineHandler)]


def _level(level: str | int) -> int:
    if isinstance(level, int):
        return level
    number = logging.getLevelNamesMapping().get(level.strip().upper())
    if number is None:
        raise InvalidInput(
            f"{level[:40]!r} is not a log level",
            hint="the levels are DEBUG, INFO, WARNING, ERROR and CRITICAL",
        )
    return number


def _format(name: str) -> LogFormat:
    try:
        chosen = LogFormat(name.strip().lower())
    except ValueError as error:
        raise InvalidInput(
            f"{name[:40]!r} is not a log format", hint="the formats are auto, json and human"
        ) from error
    if chosen is not LogFormat.AUTO:
        return chosen
    wants_json = os.environ.get("LOG_FORMAT", "").strip().lower() == LogFormat.JSON
    is_production = os.environ.get("ENV", "").strip().lower() == "production"
    return LogFormat.JSON if wants_json or is_production else LogFormat.HUMAN


def _target(stream: TextIO | None, file: Path | None) -> TextIO | RotatingFile:
    if file is not None:
        return RotatingFile(file)
    # A process that was started with its stderr closed has none.
    return stream or sys.stderr or RotatingFile(Path(os.devnull))


def _formatter(chosen: LogFormat, target: TextIO | RotatingFile) -> logging.Formatter:
    if isinstance(target, RotatingFile):
        return HiveJsonFormatter() if chosen is LogFormat.JSON else HumanFormatter()
    is_journal = _is_journal(target)
    if chosen is LogFormat.JSON:
        prefix = LinePrefix.PRIORITY if is_journal else LinePrefix.NONE
        return HiveJsonFormatter(is_ascii=not _is_utf8(target), prefix=prefix)
    if is_journal:
        return HumanFormatter(prefix=LinePrefix.PRIORITY)
    return HumanFormatter(has_colour=_has_colour(target))


def _is_utf8(stream: TextIO) -> bool:
    return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name == "utf-8"


def _is_journal(stream: TextIO) -> bool:
    """Say whether the stream is the one that systemd connected to its journal (systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (AttributeError, OSError, ValueError):  # not a file: no descriptor
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _has_colour(stream: TextIO) -> bool:
    is_terminal = hasattr(stream, "isatty") and stream.isatty()
    return is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _note(level: int, message: str, **extra: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": __name__,
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "msg": message,
            **extra,
        }
    )
