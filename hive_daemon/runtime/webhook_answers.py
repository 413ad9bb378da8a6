"""What a webhook's sender is told: outcomes and refusals, and nothing of versions, paths of the machine or causes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

from hive_daemon.errors import (
    BudgetExceeded,
    Busy,
    Conflict,
    HiveError,
    IdempotencyConflict,
    InvalidInput,
    NotFound,
    NotRunning,
    QueueFull,
    RateLimited,
    Refused,
    StorageError,
    StorageFull,
)
from hive_daemon.http.answers import RequestRefused, json_answer
from hive_daemon.runtime.webhook_delivery import Taken
from hive_daemon.runtime.webhook_schemes import CHALLENGES, Verdict, Verify

_SENTENCES = {
    Verdict.FORGED: "Invalid signature",
    Verdict.STALE: "The timestamp is too far from now",
}


def taken_answer(taken: Taken, result: Mapping[str, object] | None = None) -> web.Response:
    """Answer a delivery that is durable: 202, or 200 with the result of its first execution."""
    answer: dict[str, object] = {
        "delivery_id": taken.delivery_id,
        "status": taken.outcome.value,
        "execution_ids": list(taken.execution_ids),
    }
    if taken.execution_ids:
        answer["execution_id"] = taken.execution_ids[0]
    if taken.reason:
        answer["reason"] = "filtered"
    if result is None:
        return json_answer(HTTPStatus.ACCEPTED, answer)
    return json_answer(HTTPStatus.OK, {**answer, "result": result})


def unproven(scheme: Verify, verdict: Verdict) -> web.Response:
    """Answer a sender who has not proved who it is."""
    answer = json_answer(HTTPStatus.UNAUTHORIZED, {"error": _SENTENCES[verdict]})
    if scheme in CHALLENGES:
        answer.headers["WWW-Authenticate"] = CHALLENGES[scheme]
    return answer


def refused_answer(error: HiveError) -> web.Response:
    """Answer a delivery that was not taken; a full queue tells how much waits in it."""
    refusal = refusal_of(error)
    if not isinstance(error, QueueFull):
        return refusal.answer()
    told = {"error": str(refusal), "depth": error.depth}
    return json_answer(refusal.status, told, retry_after=refusal.retry_after)


def refusal_of(error: HiveError) -> RequestRefused:
    """Return what a sender is told of an error. Its own message stays here: it may name paths."""
    match error:
        case NotRunning():
            return refused(HTTPStatus.SERVICE_UNAVAILABLE, "The agent is not running", 5)
        case StorageFull():
            seconds = _seconds(error, 60)
            return refused(HTTPStatus.INSUFFICIENT_STORAGE, "There is no space left", seconds)
        case QueueFull():
            return refused(HTTPStatus.TOO_MANY_REQUESTS, "The queue is full", _seconds(error, 30))
        case RateLimited() | BudgetExceeded():
            return refused(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests", _seconds(error, 30))
        case Busy():
            return refused(HTTPStatus.CONFLICT, "It is busy and takes nothing more", 5)
        case Refused():
            seconds = _seconds(error, 5)
            return refused(HTTPStatus.SERVICE_UNAVAILABLE, "No new work is taken", seconds)
        case StorageError():
            return refused(HTTPStatus.SERVICE_UNAVAILABLE, "The delivery cannot be stored", 5)
        case IdempotencyConflict():
            return refused(
                HTTPStatus.CONFLICT, "This delivery id was used with another body before"
            )
        case Conflict():
            return refused(HTTPStatus.CONFLICT, "The delivery does not fit the present state")
        case NotFound():
            return refused(HTTPStatus.NOT_FOUND, "Not found")
        case InvalidInput():
            return refused(HTTPStatus.BAD_REQUEST, "The payload is not valid")
        case _:
            return refused(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error")


def _seconds(error: Refused, otherwise: int) -> int:
    return otherwise if error.retry_after is None else max(1, math.ceil(error.retry_after))


def refused(status: HTTPStatus, sentence: str, retry_after: int = 0) -> RequestRefused:
    """Return a refusal after which the connection is still good. `retry_after` is in seconds."""
    return RequestRefused(status, sentence, closes=False, retry_after=retry_after)
