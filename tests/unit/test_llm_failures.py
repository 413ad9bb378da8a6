"""Kinds of failures: by type, status and code, never by text."""

import pytest

from hive_daemon.errors import ModelRejected, ModelUnavailable
from hive_daemon.llm.failures import (
    HINTS,
    CallRejected,
    CallUnavailable,
    FailureKind,
    call_failure,
    failure_kind,
    kind_of_status,
    retry_after_seconds,
)


class StatusError(Exception):
    def __init__(self, status_code):
        self.status_code = status_code


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (CallRejected(kind=FailureKind.QUOTA), FailureKind.QUOTA),
        (CallUnavailable(kind=FailureKind.RATE_LIMITED), FailureKind.RATE_LIMITED),
        (ModelRejected(), FailureKind.BAD_REQUEST),
        (ModelUnavailable(), FailureKind.TRANSIENT),
        (TimeoutError(), FailureKind.TRANSIENT),
        (ConnectionResetError(), FailureKind.TRANSIENT),
        (StatusError(429), FailureKind.RATE_LIMITED),
        (OSError("no space left"), None),
        (KeyError("503"), None),
    ],
)
def test_the_kind_of_an_error_is_its_type(error, kind):
    assert failure_kind(error) is kind


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "", FailureKind.AUTH),
        (403, "", FailureKind.AUTH),
        (402, "", FailureKind.QUOTA),
        (429, "", FailureKind.RATE_LIMITED),
        (429, "insufficient_quota", FailureKind.QUOTA),
        (403, "insufficient_quota", FailureKind.QUOTA),
        (413, "", FailureKind.CONTEXT_LENGTH),
        (400, "context_length_exceeded", FailureKind.CONTEXT_LENGTH),
        (400, "", FailureKind.BAD_REQUEST),
        (422, "", FailureKind.BAD_REQUEST),
        (408, "", FailureKind.TRANSIENT),
        (500, "", FailureKind.TRANSIENT),
        (529, "", FailureKind.TRANSIENT),
    ],
)
def test_the_kind_of_a_status(status, code, kind):
    assert kind_of_status(status, code) is kind


@pytest.mark.parametrize("kind", FailureKind)
def test_each_kind_has_its_error_and_a_hint(kind):
    error = call_failure(kind, "it failed", subject="m")
    assert isinstance(error, CallUnavailable if kind.is_retryable else CallRejected)
    assert (error.kind, error.hint, str(error)) == (kind, HINTS[kind], "it failed")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 40.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:10 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_the_wait_that_a_service_asks_for(headers, seconds):
    assert retry_after_seconds(headers, now=60.0) == seconds
