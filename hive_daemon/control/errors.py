"""Errors at the edge: from what the daemon raises to the answer that docs/control-api.md promises.

Guarantees: every answer of an error is `{"error": {"code", "message", "hint"}}` on one line of text each, without
secrets and without anything about the inside of the daemon.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from math import ceil

from aiohttp import web

from hive_daemon.control import wire
from hive_daemon.control.answers import Json, answer
from hive_daemon.control.wire import ErrorCode
from hive_daemon.errors import Conflict, HiveError, InvalidInput, QueueFull, Refused
from hive_daemon.observability.redaction import redactor

logger = logging.getLogger(__name__)

MOST_CANDIDATES = 10
_LONGEST_SENTENCE = 2_000
_RETRY_AFTER_SECONDS: Mapping[str, int] = {
    ErrorCode.STARTING: 1,
    ErrorCode.QUEUE_FULL: 1,
    ErrorCode.RATE_LIMITED: 1,
    ErrorCode.BUDGET_EXCEEDED: 60,
}
_RETRY_AFTER_OTHERWISE = 5
_TRAVELLING = frozenset(str(code) for code in ErrorCode if code.http_status is not None)


class Ambiguous(Conflict):
    """This means several things."""

    code = "ambiguous"

    def __init__(self, message: str, candidates: Iterable[str], *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.candidates = tuple(candidates)[:MOST_CANDIDATES]


class Starting(Refused):
    """The daemon is starting and not ready yet."""

    code = "starting"


class TooLarge(InvalidInput):
    """The body is too large."""

    code = "too_large"


class MethodNotAllowed(InvalidInput):
    """The path has no such method."""

    code = "method_not_allowed"

    def __init__(self, message: str, allowed: Iterable[str]) -> None:
        super().__init__(message, hint=f"it takes {', '.join(allowed)}")
        self.allowed = tuple(allowed)


def error_answer(error: HiveError) -> web.Response:
    """Write an error that was raised on purpose."""
    code = _code(error)
    status = wire.http_status(code)
    return answer(error_document(error), status, _headers(error, code, status))


def error_document(error: HiveError) -> Json:
    """Return an error that was raised on purpose as every failing command and request tells it."""
    code = _code(error)
    document: Json = {
        "code": code,
        "message": _sentence(str(error)),
        "hint": _sentence(error.hint),
    }
    if isinstance(error, Ambiguous):
        document["candidates"] = list(error.candidates)
    if isinstance(error, QueueFull):
        document["queue"] = {"depth": error.depth, "oldest_age": round(error.oldest_age, 3)}
    return {"error": document}


def internal_error_answer(error: Exception, what: str) -> web.Response:
    """Write an error that nobody foresaw: the log says what it was, the answer does not."""
    logger.error("a control request failed", extra={"request": what}, exc_info=error)
    return error_answer(
        HiveError("something went wrong inside the daemon", hint="its log says what")
    )


def retry_after(code: str) -> dict[str, str]:
    """Return the header that says when asking again makes sense."""
    return {"Retry-After": str(_RETRY_AFTER_SECONDS.get(code, _RETRY_AFTER_OTHERWISE))}


def _code(error: HiveError) -> str:
    """Return the error's code, or that of the nearest kind of error of which the contract knows one."""
    for kind in type(error).__mro__:
        code = kind.__dict__.get("code", "")
        if code in _TRAVELLING:
            return str(code)
    return ErrorCode.ERROR


def _headers(error: HiveError, code: str, status: int) -> dict[str, str]:
    if isinstance(error, MethodNotAllowed):
        return {"Allow": ", ".join(error.allowed)}
    if status not in (429, 503):
        return {}
    seconds = error.retry_after if isinstance(error, Refused) else None
    return retry_after(code) if seconds is None else {"Retry-After": str(max(1, ceil(seconds)))}


def _sentence(text: str) -> str:
    """Return the text on one line, redacted, and not longer than anybody would read."""
    line = "; ".join(part.strip() for part in text.splitlines() if part.strip())
    return redactor().redact_head(line, _LONGEST_SENTENCE)
