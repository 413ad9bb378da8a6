"""Real signed requests for each scheme, as its provider publishes them, and each way around them with its status."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hive_daemon.runtime.webhook_route import WebhookRoute
from hive_daemon.runtime.webhook_schemes import (
    SIGNS_TIME,
    Check,
    Verify,
    key_of,
    proof,
)
from hive_daemon.runtime.webhook_server import WebhookServer
from tests.fakes.store_kit import SetClock
from tests.fakes.webhook_bench import Executions, post, webhooks
from tests.fakes.webhook_vectors import PUBLISHED, Vector

NOW = 1_700_000_000.0
BODY = b'{"id": "evt_1", "event_id": "Ev1", "number": 7}'
OWN = {Verify.STANDARD: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", Verify.BASIC: "hive:hunter2"}
OTHER = {Verify.STANDARD: "whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB", Verify.BASIC: "hive:x"}
SIGNING = [scheme for scheme in Verify if scheme is not Verify.NONE]
SIGN_THE_BODY = [Verify.GITHUB, Verify.SLACK, Verify.STRIPE, Verify.STANDARD, Verify.HMAC]


def own(scheme: Verify) -> str:
    return OWN.get(scheme, "s3cret")


def other(scheme: Verify) -> str:
    return OTHER.get(scheme, "an0ther")


def signed(
    scheme: Verify, secret: str = "", body: bytes = BODY, now: float = NOW, name: str = "d-1"
) -> dict[str, str]:
    check = Check(scheme, (key_of(scheme, secret or own(scheme)),))
    return proof(check, body, now, name)


@asynccontextmanager
async def route_of(scheme: Verify, **keys: Any) -> AsyncIterator[tuple[WebhookServer, Executions]]:
    clock, intake = SetClock(NOW), Executions()
    given = {"secret": own(scheme), **keys}
    route = WebhookRoute("source", "/hook", verify=scheme.value, **given)
    async with webhooks(route, intake=intake, clock=clock) as server:
        yield server, intake


@pytest.mark.parametrize("vector", PUBLISHED.values(), ids=PUBLISHED)
async def test_a_published_request_is_taken(vector: Vector) -> None:
    shape = vector.check.shape
    extra: dict[str, Any] = {}
    if vector.check.scheme is Verify.HMAC:
        extra["hmac"] = {"header": shape.header, "digest": shape.digest.value}
    route = WebhookRoute(
        "source", "/hook", verify=vector.check.scheme.value, secret=vector.secret, **extra
    )
    intake = Executions()
    async with webhooks(route, intake=intake, clock=SetClock(vector.now)) as server:
        answer = await post(server, vector.body, vector.headers)
        altered = await post(server, vector.body + b" ", vector.headers)
    assert (answer.status, answer.json["status"]) == (202, "queued")
    signs_the_body = vector.check.scheme in SIGN_THE_BODY
    assert altered.status == (401 if signs_the_body else 202)
    assert len(intake.deliveries) == (1 if signs_the_body else 2)


@pytest.mark.parametrize("scheme", SIGNING)
async def test_no_header_a_wrong_key_and_a_header_that_is_no_text_are_401(scheme: Verify) -> None:
    async with route_of(scheme) as (server, intake):
        refused = [
            await post(server, BODY),
            await post(server, BODY, signed(scheme, other(scheme))),
            await post(
                server,
                BODY,
                {name: b"\xff\xc3\xa9" + text.encode() for name, text in signed(scheme).items()},
            ),
            await post(server, BODY, {name: "é" + text for name, text in signed(scheme).items()}),
            await post(server, BODY, [*signed(scheme).items()] * 2),
        ]
        assert [answer.status for answer in refused] == [401] * 5
        assert {json.dumps(answer.json) for answer in refused} == {'{"error": "Invalid signature"}'}
        assert intake.deliveries == []
        assert (await post(server, BODY, signed(scheme))).status == 202


@pytest.mark.parametrize("scheme", SIGN_THE_BODY)
async def test_an_altered_body_is_401(scheme: Verify) -> None:
    async with route_of(scheme) as (server, intake):
        answer = await post(server, BODY.replace(b"7", b"8"), signed(scheme))
    assert (answer.status, intake.deliveries) == (401, [])


@pytest.mark.parametrize("scheme", sorted(SIGNS_TIME))
@pytest.mark.parametrize("age", [301, -301])
async def test_an_old_or_early_timestamp_is_401_and_says_so(scheme: Verify, age: int) -> None:
    async with route_of(scheme) as (server, intake):
        answer = await post(server, BODY, signed(scheme, now=NOW - age))
    assert (answer.status, answer.json) == (401, {"error": "The timestamp is too far from now"})
    assert intake.deliveries == []


@pytest.mark.parametrize("scheme", sorted(SIGNS_TIME))
async def test_an_old_timestamp_with_a_wrong_signature_is_told_only_of_the_signature(
    scheme: Verify,
) -> None:
    async with route_of(scheme) as (server, _):
        answer = await post(server, BODY, signed(scheme, other(scheme), now=NOW - 999))
    assert answer.json == {"error": "Invalid signature"}


@pytest.mark.parametrize("scheme", SIGNING)
async def test_a_replay_starts_nothing_and_is_answered_as_the_first(scheme: Verify) -> None:
    async with route_of(scheme) as (server, intake):
        headers = signed(scheme)
        first, again = await post(server, BODY, headers), await post(server, BODY, headers)
    assert (first.json["status"], again.json["status"]) == ("queued", "duplicate")
    assert (again.status, again.json["execution_id"]) == (202, first.json["execution_id"])
    assert again.json["delivery_id"] == first.json["delivery_id"]
    assert len(intake.deliveries) == 1


@pytest.mark.parametrize("scheme", [Verify.SLACK, Verify.STRIPE, Verify.STANDARD])
async def test_a_sender_that_signs_anew_for_each_try_is_known_by_its_own_id(scheme: Verify) -> None:
    async with route_of(scheme) as (server, intake):
        await post(server, BODY, signed(scheme))
        again = await post(server, BODY, signed(scheme, now=NOW + 60))
    assert again.json["status"] == "duplicate"
    assert len(intake.deliveries) == 1


@pytest.mark.parametrize("scheme", SIGNING)
async def test_both_secrets_of_a_rotation_are_taken_and_the_retired_one_is_not(
    scheme: Verify,
) -> None:
    secrets = [other(scheme), own(scheme)]
    async with route_of(scheme, secret=None, secrets=secrets) as (server, _):
        assert (await post(server, BODY, signed(scheme, own(scheme)))).status == 202
        assert (await post(server, BODY, signed(scheme, other(scheme)))).status == 202
    async with route_of(scheme, secret=other(scheme)) as (server, _):
        assert (await post(server, BODY, signed(scheme, own(scheme)))).status == 401


@pytest.mark.parametrize("scheme", SIGNING)
async def test_no_proof_enters_an_event(scheme: Verify) -> None:
    async with route_of(scheme) as (server, intake):
        headers = signed(scheme)
        await post(server, BODY, headers)
    event = json.dumps(intake.deliveries[0].event.to_dict())
    proofs = [
        text
        for name, text in headers.items()
        if any(word in name.lower() for word in ("signature", "token", "authorization"))
    ]
    assert proofs
    assert [text for text in proofs if text in event] == []
    assert own(scheme) not in event


@pytest.mark.parametrize(
    ("scheme", "challenge"),
    [
        (Verify.BEARER, 'Bearer realm="hive"'),
        (Verify.BASIC, 'Basic realm="hive", charset="UTF-8"'),
        (Verify.GITHUB, None),
    ],
)
async def test_a_401_names_the_scheme_of_http_that_is_asked_for(
    scheme: Verify, challenge: str | None
) -> None:
    async with route_of(scheme) as (server, _):
        answer = await post(server, BODY)
    assert answer.headers.get("www-authenticate") == challenge


# --- every scheme against every bypass ---------------------------------------------------------

TABLE = """
scheme    no_header  wrong_key  altered_body  old_timestamp  replay  second_secret  retired_secret  non_ascii_header
github    401        401        401           202            again   202            401             401
gitlab    401        401        202           202            again   202            401             401
slack     401        401        401           401            again   202            401             401
stripe    401        401        401           401            again   202            401             401
standard  401        401        401           401            again   202            401             401
hmac      401        401        401           202            again   202            401             401
bearer    401        401        202           202            again   202            401             401
basic     401        401        202           202            again   202            401             401
none      202        202        202           202            again   202            202             202
"""
"""What each bypass is answered: a status, or `again`: 202 as a duplicate, and nothing starts.

GitHub's scheme and a plain HMAC sign no moment, so an old request is known only by its name; GitLab's token, a bearer
token and a password sign nothing, so they need TLS; `none` believes everybody.
"""
_HEAD, *_ROWS = [line.split() for line in TABLE.split("\n") if line]
CELLS = [
    (Verify(scheme), bypass, expected)
    for scheme, *row in _ROWS
    for bypass, expected in zip(_HEAD[1:], row, strict=True)
]


@pytest.mark.parametrize(("scheme", "bypass", "expected"), CELLS)
async def test_each_bypass_of_each_scheme_is_answered_as_the_table_says(
    scheme: Verify, bypass: str, expected: str
) -> None:
    secrets = [] if scheme is Verify.NONE else [other(scheme), own(scheme)]
    valid = secrets[:1] if bypass == "retired_secret" else secrets
    # With one secret the wrong key is the one that is not there.
    valid = secrets[1:] if bypass == "wrong_key" else valid
    genuine = signed(scheme, own(scheme))
    sent: dict[str, tuple[bytes, Any]] = {
        "no_header": (BODY, {}),
        "wrong_key": (BODY, signed(scheme, other(scheme))),
        "altered_body": (BODY.replace(b"7", b"8"), genuine),
        "old_timestamp": (BODY, signed(scheme, own(scheme), now=NOW - 301)),
        "replay": (BODY, genuine),
        "second_secret": (BODY, genuine),
        "retired_secret": (BODY, genuine),
        "non_ascii_header": (BODY, {name: text + "é" for name, text in genuine.items()}),
    }
    body, headers = sent[bypass]
    async with route_of(scheme, secret=None, secrets=valid) as (server, intake):
        if bypass == "replay":
            assert (await post(server, BODY, genuine)).json["status"] == "queued"
        answer = await post(server, body, headers)
        # The route still stands for who is genuine.
        after = await post(server, b'{"id": "evt_2"}', _after(scheme, valid))
    assert str(answer.status) == ("202" if expected == "again" else expected)
    if expected != "401":
        assert answer.json["status"] == ("duplicate" if expected == "again" else "queued")
    assert after.json["status"] == "queued"
    assert len(intake.deliveries) == (1 if expected == "401" else 2)


def _after(scheme: Verify, valid: list[str]) -> dict[str, str]:
    secret = valid[0] if valid else ""
    return signed(scheme, secret, b'{"id": "evt_2"}', name="d-2")


def test_the_table_holds_every_scheme() -> None:
    assert [Verify(scheme) for scheme, *_ in _ROWS] == list(Verify)


# --- what providers send to try an address out --------------------------------------------------


async def test_slacks_url_verification_is_answered_without_a_run() -> None:
    body = json.dumps(
        {"type": "url_verification", "challenge": "3eZbrw1aB10", "token": "t"}
    ).encode()
    async with route_of(Verify.SLACK) as (server, intake):
        answer = await post(server, body, signed(Verify.SLACK, body=body))
        forged = await post(server, body)
    assert (answer.status, answer.json) == (200, {"challenge": "3eZbrw1aB10"})
    assert (forged.status, intake.deliveries) == (401, [])


@pytest.mark.parametrize("verify", ["github", None])
async def test_githubs_ping_is_answered_without_a_run(verify: str | None) -> None:
    intake = Executions()
    route = WebhookRoute("github", "/hook", secret="s3cret", verify=verify)
    ping = {"X-GitHub-Event": "ping", **signed(Verify.GITHUB)}
    async with webhooks(route, intake=intake) as server:
        answer = await post(server, BODY, ping)
        forged = await post(server, BODY, {"X-GitHub-Event": "ping"})
    assert (answer.status, answer.json) == (200, {"status": "ignored", "reason": "ping"})
    assert (forged.status, intake.deliveries) == (401, [])


async def test_elsewhere_a_challenge_and_a_ping_are_deliveries() -> None:
    body = b'{"type": "url_verification", "challenge": "x"}'
    async with route_of(Verify.BEARER) as (server, intake):
        await post(server, body, {"X-GitHub-Event": "ping", **signed(Verify.BEARER)})
    assert len(intake.deliveries) == 1


async def test_a_secret_alone_asks_for_githubs_signature() -> None:
    route = WebhookRoute("x", "/hook", secret="s3cret")
    async with webhooks(route) as server:
        assert (await post(server, BODY, signed(Verify.GITHUB))).status == 202
        assert (await post(server, BODY, signed(Verify.BEARER))).status == 401
