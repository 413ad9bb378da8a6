"""How a model call fails.

Every failure of a provider of ours is a `CallUnavailable` (try later) or a `CallRejected` (do not), with its `kind`;
kinds are decided by types, status codes and error codes, never by reading a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum

from hive_daemon.errors import ModelRejected, ModelUnavailable


class FailureKind(StrEnum):
    """Why a model call failed. Only the first two may be tried again."""

    TRANSIENT = "transient"
    RATE_LIMITED = "rate_limited"
    QUOTA = "quota"
    AUTH = "auth"
    BAD_REQUEST = "bad_request"
    CONTEXT_LENGTH = "context_length"

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self in (FailureKind.TRANSIENT, FailureKind.RATE_LIMITED)


class CallUnavailable(ModelUnavailable):
    """The model did not answer, a later try may succeed.

    `retry_after_seconds` is what the service asked for, where it did; `delivered` says that pieces of the broken answer
    were handed out already, so that whoever tries again has to take them back.
    """

    def __init__(
        self,
        message: str = "",
        *,
        kind: FailureKind = FailureKind.TRANSIENT,
        hint: str = "",
        subject: str = "",
        retry_after_seconds: float | None = None,
        delivered: bool = False,
    ) -> None:
        super().__init__(message, hint=hint, subject=subject)
        self.kind = kind
        self.retry_after_seconds = retry_after_seconds
        self.delivered = delivered


class CallOverdue(CallUnavailable):
    """The model did not answer in time; it may have worked all the while."""


class CallRejected(ModelRejected):
    """The model refused the request, trying again would not help."""

    def __init__(
        self,
        message: str = "",
        *,
        kind: FailureKind = FailureKind.BAD_REQUEST,
        hint: str = "",
        subject: str = "",
    ) -> None:
        super().__init__(message, hint=hint, subject=subject)
        self.kind = kind


CallFailure = CallUnavailable | CallRejected
"""Either way in which a call fails."""

HINTS = {
    FailureKind.TRANSIENT: "the service or the network has trouble; a later try may succeed",
    FailureKind.RATE_LIMITED: "too many requests for this key; lower the concurrency, or wait",
    FailureKind.QUOTA: "the account has no credit left; look at its billing page",
    FailureKind.AUTH: "check the API key of this model, and that it may use it",
    FailureKind.BAD_REQUEST: "check the model's name and the parameters given to it",
    FailureKind.CONTEXT_LENGTH: "the conversation is too long for this model",
}
"""What an operator can do about each kind."""

QUOTA_CODES = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "quota_exceeded"}
)
CONTEXT_CODES = frozenset(
    {"context_length_exceeded", "context_window_exceeded", "exceed_context_size_error"}
)
KINDS_OF_CODES = (
    dict.fromkeys(QUOTA_CODES, FailureKind.QUOTA)
    | dict.fromkeys(CONTEXT_CODES, FailureKind.CONTEXT_LENGTH)
    | dict.fromkeys(("rate_limit_exceeded", "rate_limit_error"), FailureKind.RATE_LIMITED)
    | dict.fromkeys(("invalid_api_key", "authentication_error"), FailureKind.AUTH)
    | dict.fromkeys(("invalid_request_error", "model_not_found"), FailureKind.BAD_REQUEST)
)
"""What the words mean that services give their errors, where no status says it."""
RETRYABLE_STATUSES = frozenset({408, 409, 425})


def call_failure(
    kind: FailureKind,
    message: str,
    *,
    subject: str = "",
    retry_after_seconds: float | None = None,
) -> CallFailure:
    """Make the error that belongs to a kind, with its hint."""
    hint = HINTS[kind]
    if not kind.is_retryable:
        return CallRejected(message, kind=kind, hint=hint, subject=subject)
    return CallUnavailable(
        message, kind=kind, hint=hint, subject=subject, retry_after_seconds=retry_after_seconds
    )


def kind_of_status(status: int, code: str = "") -> FailureKind:
    """Name the kind of an HTTP error status; `code` is the service's own word for the error, where it gave one."""
    if code in CONTEXT_CODES or status == 413:
        return FailureKind.CONTEXT_LENGTH
    if code in QUOTA_CODES or status == 402:
        return FailureKind.QUOTA
    if status == 429:
        return FailureKind.RATE_LIMITED
    if status in (401, 403):
        return FailureKind.AUTH
    if 300 <= status < 500 and status not in RETRYABLE_STATUSES:
        return FailureKind.BAD_REQUEST
    return FailureKind.TRANSIENT


def kind_of_body(status: int | None, error: Mapping[str, object]) -> FailureKind:
    """Name the kind of an error as the protocol writes it: `code`, `type` and `param`, beside a status if there is one.

    Some services put the status into `code`; an error inside a stream has no other. vLLM says of a conversation that is
    too long only which parameter is at fault.
    """
    if error.get("param") == "input_tokens" and status in (None, 400):
        return FailureKind.CONTEXT_LENGTH
    words = [word for name in ("code", "type") if isinstance(word := error.get(name), str)]
    number = error.get("code")
    known = next((word for word in words if word in QUOTA_CODES | CONTEXT_CODES), "")
    if status is None and isinstance(number, int) and 400 <= number < 600:
        status = number
    if status is not None or known:
        return kind_of_status(500 if status is None else status, known)
    return next(
        (KINDS_OF_CODES[word] for word in words if word in KINDS_OF_CODES), FailureKind.TRANSIENT
    )


def failure_kind(error: BaseException) -> FailureKind | None:
    """Name the kind of a failed call by the type of the error, also for providers that are not ours.

    None means that it is no failure of a model call, but a fault of the program.
    """
    kind = getattr(error, "kind", None)
    if isinstance(kind, FailureKind):
        return kind
    if isinstance(error, ModelRejected):
        return FailureKind.BAD_REQUEST
    if isinstance(error, ModelUnavailable | TimeoutError | ConnectionError):
        return FailureKind.TRANSIENT
    status = getattr(error, "status_code", None)
    return kind_of_status(status) if isinstance(status, int) else None


def as_failure(error: BaseException, subject: str = "") -> CallFailure:
    """Return any failed call as one of the two failures of the port; what has no kind counts as transient."""
    if isinstance(error, CallFailure):
        return error
    kind = failure_kind(error) or FailureKind.TRANSIENT
    failure = call_failure(kind, str(error) or type(error).__name__, subject=subject)
    failure.hint = getattr(error, "hint", "") or failure.hint
    return failure


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Read how long the service asks to wait: `retry-after-ms`, or `retry-after` in seconds or as a date.

    `headers` have lower-case names, `now` is wall seconds. An unreadable or negative value is None.
    Source: RFC 9110 section 10.2.3.
    """
    if (millis := _number(headers.get("retry-after-ms"))) is not None:
        return millis / 1000
    text = headers.get("retry-after")
    if (seconds := _number(text)) is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(text or "").timestamp() - now)
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
