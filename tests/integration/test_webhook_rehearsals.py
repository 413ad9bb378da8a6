"""A rehearsal says what the real request would be answered, check by check, and leaves no trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hive_daemon.errors import Draining, NotFound
from hive_daemon.http.limits import ListenerLimits
from hive_daemon.runtime.webhook_rehearsal import rehearse
from hive_daemon.runtime.webhook_route import WebhookRoute, route_of
from hive_daemon.runtime.webhook_schemes import Verify
from hive_daemon.runtime.webhook_server import WebhookServer
from hive_daemon.runtime.webhook_trial import Trial, try_route
from hive_daemon.storage.webhook_deliveries import DeliveryFilter, DeliveryLedger
from tests.fakes.store_kit import SetClock
from tests.fakes.webhook_bench import Executions, open_ledger, post, webhooks

BODY = b'{"id": "a", "action": "opened", "n": 7}'
SECRETS = {Verify.STANDARD: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", Verify.BASIC: "hive:hunter2"}
ORDER = [
    *("route", "method", "address", "rate", "readiness", "size", "signature", "timestamp"),
    *("dedupe", "filter"),
]


def route(**keys: Any) -> WebhookRoute:
    return route_of({"source_id": "source", "path": "/hook", **keys})


def marks(told: dict[str, Any]) -> dict[str, str]:
    return {each["check"]: each["result"] for each in told["checks"]}


def failing(told: dict[str, Any]) -> list[str]:
    return [check for check, mark in marks(told).items() if mark == "fails"]


async def test_the_checks_are_told_in_their_order_with_what_the_rules_make_of_it() -> None:
    made = route(
        verify="slack",
        secret="t0ps3cret",
        filters=[{"field": "$.action", "equals": "opened"}],
        input={"number": "{$.n}"},
        dedupe="$.id",
        coalesce={"key": "$.n", "window": "5s"},
        allow_ips=["192.0.2.0/24"],
    )
    async with webhooks(made) as server:
        told = await rehearse(server, "source", Trial(BODY))
    assert [each["check"] for each in told["checks"]] == ORDER
    assert marks(told) == {**dict.fromkeys(ORDER, "passes"), "address": "unknown"}
    assert (told["status"], told["outcome"], told["delivery_key"]) == (202, "coalesced", "a")
    assert (told["input"], told["coalesce_key"]) == ({"number": 7}, "7")
    assert told["data"]["payload"] == json.loads(BODY)
    assert "t0ps3cret" not in json.dumps(told)


@pytest.mark.parametrize("scheme", Verify)
@pytest.mark.parametrize("is_signed", [True, False])
async def test_a_rehearsal_and_the_real_request_are_answered_alike(
    scheme: Verify, is_signed: bool
) -> None:
    secret = {} if scheme is Verify.NONE else {"secret": SECRETS.get(scheme, "s3cret")}
    async with webhooks(route(verify=scheme.value, **secret)) as server:
        trial = Trial(BODY, is_signed=is_signed)
        told = await rehearse(server, "/hook", trial)
        real = await try_route(server, "/hook", trial)
        again = await rehearse(server, "/hook", trial)
    assert told["status"] == real["status"] == (202 if is_signed or not secret else 401)
    if real["status"] == 202:
        assert (told["outcome"], real["answer"]["status"]) == ("queued", "queued")
        assert again["outcome"] == "duplicate"
        assert again["execution_ids"] == real["answer"]["execution_ids"]
    else:
        assert (failing(told), told["outcome"]) == (["signature"], "refused")


async def test_nothing_is_stored_counted_or_started(tmp_path: Path) -> None:
    intake = Executions()
    async with (
        open_ledger(tmp_path) as ledger,
        webhooks(route(rate="1/h"), intake=intake, ledger=ledger) as server,
    ):
        for _ in range(3):
            assert (await rehearse(server, "/hook", Trial(BODY)))["status"] == 202
        assert await ledger.query(DeliveryFilter()) == []
        assert (await post(server, BODY)).status == 202
        told = await rehearse(server, "/hook", Trial(BODY))
    assert len(intake.deliveries) == 1
    assert (told["status"], failing(told)) == (429, ["rate"])


async def _draining(server: WebhookServer, ledger: DeliveryLedger) -> None:
    server.refuse()


async def _not_ready(server: WebhookServer, ledger: DeliveryLedger) -> None:
    def ready() -> None:
        raise Draining

    server.add_route(route(dedupe="$.id", max_body="50B"), ready=ready)


async def _same_name(server: WebhookServer, ledger: DeliveryLedger) -> None:
    await post(server, b'{"id": "a", "other": 1}')


async def _nothing(server: WebhookServer, ledger: DeliveryLedger) -> None:
    return


@pytest.mark.parametrize(
    ("before", "body", "check", "status"),
    [
        (_draining, BODY, "readiness", 503),
        (_not_ready, BODY, "readiness", 503),
        (_nothing, b"x" * 51, "size", 413),
        (_same_name, BODY, "dedupe", 409),
    ],
)
async def test_the_check_that_fails_decides_the_answer(
    tmp_path: Path, before: Any, body: bytes, check: str, status: int
) -> None:
    async with (
        open_ledger(tmp_path) as ledger,
        webhooks(route(dedupe="$.id", max_body="50B"), ledger=ledger) as server,
    ):
        await before(server, ledger)
        told = await rehearse(server, "/hook", Trial(body))
        assert (failing(told), told["status"], told["outcome"]) == ([check], status, "refused")
        assert (await post(server, body)).status == status


async def test_the_listeners_own_limit_holds_for_routes_that_say_nothing() -> None:
    async with webhooks(route(), limits=ListenerLimits(max_body=10)) as server:
        assert (await rehearse(server, "/hook", Trial(b"x" * 11)))["status"] == 413


async def test_a_timestamp_of_a_persons_own_may_be_too_old() -> None:
    clock = SetClock(1_700_000_000.0)
    made = route(verify="slack", secret="k")
    async with webhooks(made, clock=clock) as server:
        old = Trial(BODY).sent(server.doors["/hook"], clock.now - 301)
        told = await rehearse(server, "/hook", Trial(BODY, old, is_signed=False), clock)
    assert (failing(told), told["status"]) == (["timestamp"], 401)


async def test_what_no_filter_lets_pass_would_be_ignored_with_the_reason() -> None:
    made = route(filters=[{"field": "X-GitHub-Event", "equals": "push"}])
    async with webhooks(made) as server:
        other = await rehearse(server, "/hook", Trial(BODY))
        push = await rehearse(server, "/hook", Trial(BODY, {"x-github-event": "push"}))
    assert (other["status"], other["outcome"], failing(other)) == (202, "ignored", ["filter"])
    assert "filters[0]" in other["reason"]
    assert (push["outcome"], push["data"]["headers"]["x-github-event"]) == ("queued", "push")


async def test_a_filter_is_no_reason_for_what_an_earlier_check_refuses() -> None:
    made = route(rate="1/h", filters=[{"field": "X-GitHub-Event", "equals": "push"}])
    async with webhooks(made) as server:
        assert (await post(server, BODY)).status == 202
        told = await rehearse(server, "/hook", Trial(BODY))
    assert failing(told) == ["rate", "filter"]
    assert (told["status"], told["reason"]) == (429, None)


async def test_a_greeting_of_a_provider_would_be_answered_without_a_run() -> None:
    made = route(verify="slack", secret="k")
    body = b'{"type": "url_verification", "challenge": "c"}'
    async with webhooks(made) as server:
        told = await rehearse(server, "/hook", Trial(body))
        forged = await rehearse(server, "/hook", Trial(body, is_signed=False))
    assert (told["status"], told["outcome"]) == (200, "answered")
    assert forged["status"] == 401


async def test_what_looks_secret_in_a_payload_is_not_shown() -> None:
    made = route(input={"token": "{$.token}"})
    async with webhooks(made) as server:
        told = await rehearse(server, "/hook", Trial(b'{"token": "xyzz0WbapA4vBCDEFasx0q6G"}'))
    assert "xyzz0WbapA4vBCDEFasx0q6G" not in json.dumps(told)


async def test_a_route_that_is_not_there_is_named() -> None:
    async with webhooks(route()) as server:
        with pytest.raises(NotFound, match="'nope'"):
            await rehearse(server, "nope", Trial(BODY))
