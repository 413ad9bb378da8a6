"""A rehearsal: what would become of a request to a route, check by check, for `hive webhooks test`.

Guarantees: nothing is taken, counted, stored or started; the checks are those of the server, in its order; a check that
fails decides the answer, and the others are told all the same. What is told holds no proof and no secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.http.answers import RequestRefused
from hive_daemon.observability.redaction import redactor
from hive_daemon.runtime.webhook_delivery import Delivery, Door, Outcome
from hive_daemon.runtime.webhook_payload import handshake, payload_of
from hive_daemon.runtime.webhook_reading import Sent, delivery_read, headers_as_sent
from hive_daemon.runtime.webhook_schemes import SIGNS_TIME, Request, Verdict, Verify
from hive_daemon.runtime.webhook_server import WebhookServer
from hive_daemon.runtime.webhook_trial import Trial, method_of
from hive_daemon.runtime.webhook_views import doors_named, preview
from hive_daemon.storage.webhook_deliveries import DeliveryRow, DeliveryStatus

Json = dict[str, Any]


class Mark(StrEnum):
    """What a check finds; `unknown` is what only the real request can tell."""

    PASSES = "passes"
    FAILS = "fails"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `status` is the answer if it fails, 0 where that is no refusal."""

    check: str
    mark: Mark
    told: str = ""
    status: int = 0

    def view(self) -> Json:
        """Return it for a person."""
        return {"check": self.check, "result": self.mark.value, "told": self.told}


async def rehearse(
    server: WebhookServer, name: str, trial: Trial, clock: Clock = SYSTEM_CLOCK
) -> Json:
    """Say what would become of a request.

    Answers `{route, source_id, status, outcome, checks, reason, delivery_key, execution_ids, coalesce_key, input,
    data}`; `status` is that of HTTP. Raises NotFound for an unknown route.
    """
    door = doors_named(server.doors, name)[0]
    headers = trial.sent(door, clock.time())
    sent = Sent(method_of(door), tuple(headers.items()))
    payload = payload_of(trial.body)
    delivery = delivery_read(door, sent, payload, hashlib.sha256(trial.body).hexdigest())
    known = await server.desk.known(door, delivery)
    request = Request(headers_as_sent(sent.headers), trial.body, clock.time())
    seen = preview(door, delivery.event.data)
    checks = [
        *_before_the_body(server, door, trial),
        *_proof(door, request),
        _dedupe(known, delivery),
        Finding("filter", Mark.FAILS if seen["reason"] else Mark.PASSES, seen["reason"]),
    ]
    greeting = handshake(door.rules.check.scheme, headers, payload)
    status, outcome = _answer(checks, known, seen["would"], is_greeting=greeting is not None)
    is_known = outcome == Outcome.DUPLICATE and known is not None
    return {
        "route": door.route.path,
        "source_id": door.route.source_id,
        "status": status,
        "outcome": outcome,
        "checks": [each.view() for each in checks],
        "reason": seen["reason"] if outcome == Outcome.IGNORED else None,
        "delivery_key": delivery.delivery_id or f"sha256:{delivery.body_hash}",
        "execution_ids": list(known.execution_ids) if is_known and known else [],
        "coalesce_key": seen["coalesce_key"],
        "input": redactor().redact_value(seen["input"]),
        "data": redactor().redact_value(delivery.event.data),
    }


def _before_the_body(server: WebhookServer, door: Door, trial: Trial) -> Iterator[Finding]:
    rules = door.rules
    yield Finding("route", Mark.PASSES, door.route.path)
    yield Finding("method", Mark.PASSES, method_of(door))
    networks = ", ".join(map(str, rules.networks))
    yield Finding("address", Mark.UNKNOWN if networks else Mark.PASSES, networks)
    seconds = server.seconds_to_room(door)
    late = HTTPStatus.TOO_MANY_REQUESTS
    yield _finding("rate", not seconds, f"again in {seconds} s" if seconds else "", late)
    yield _readiness(server, door)
    limit = rules.max_body or server.max_body
    size = len(trial.body)
    too_large = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    yield _finding("size", size <= limit, f"{size} of {limit} bytes", too_large)


def _readiness(server: WebhookServer, door: Door) -> Finding:
    try:
        server.check_ready(door)
    except RequestRefused as refusal:
        return Finding("readiness", Mark.FAILS, str(refusal), refusal.status)
    return Finding("readiness", Mark.PASSES)


def _proof(door: Door, request: Request) -> Iterator[Finding]:
    check = door.rules.check
    verdict = check.judge(request)
    told = "anybody is believed" if check.scheme is Verify.NONE else check.scheme.value
    is_proved = verdict is not Verdict.FORGED
    yield _finding("signature", is_proved, told, HTTPStatus.UNAUTHORIZED)
    if check.scheme in SIGNS_TIME and is_proved:
        is_fresh = verdict is not Verdict.STALE
        told = f"{check.tolerance:g} s either way"
        yield _finding("timestamp", is_fresh, told, HTTPStatus.UNAUTHORIZED)


def _dedupe(known: DeliveryRow | None, delivery: Delivery) -> Finding:
    if known is None:
        return Finding("dedupe", Mark.PASSES, "it is new")
    is_same = known.body_hash == delivery.body_hash
    told = f"{known.id} came before" + ("" if is_same else ", with another body")
    return _finding("dedupe", is_same, told, HTTPStatus.CONFLICT)


def _finding(check: str, is_passed: bool, told: str, status: HTTPStatus) -> Finding:
    return Finding(check, Mark.PASSES if is_passed else Mark.FAILS, told, status.value)


def _answer(
    checks: list[Finding], known: DeliveryRow | None, would: str, *, is_greeting: bool
) -> tuple[int, str]:
    """Return the status of HTTP and the outcome: that of the first check that fails, if any does."""
    failed = [each for each in checks if each.mark is Mark.FAILS and each.status]
    # A provider that only tries the address out is answered before anything is looked up.
    if is_greeting and not [each for each in failed if each.check != "dedupe"]:
        return HTTPStatus.OK.value, "answered"
    if failed:
        return int(failed[0].status), "refused"
    if known is not None and known.status is not DeliveryStatus.REFUSED:
        return HTTPStatus.ACCEPTED.value, Outcome.DUPLICATE.value
    return HTTPStatus.ACCEPTED.value, would
