"""Every key of a webhook route does what docs/webhooks.md says; a key without a test here fails the last test."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from hive_daemon.config.agent_model import WebhookRouteConfig
from hive_daemon.errors import ConfigError
from hive_daemon.http.limits import ListenerLimits
from hive_daemon.runtime.webhook_memory import MemoryLedger
from hive_daemon.runtime.webhook_route import KEYS, WebhookRoute, route_of
from hive_daemon.runtime.webhook_schemes import Check, Verify, proof
from hive_daemon.runtime.webhook_server import WAIT_SECONDS, WebhookServer, WebhookServerConfig
from tests.fakes.clock import FakeClock
from tests.fakes.raw_http import RawClient, request
from tests.fakes.store_kit import SetClock
from tests.fakes.webhook_bench import Executions, post, webhooks

BODY = b'{"id": "a", "action": "opened", "number": 7}'
Behaviour = Callable[..., Awaitable[None]]
BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour_of(key: str) -> Callable[[Behaviour], Behaviour]:
    """Note that a test shows what a key does."""

    def note(test: Behaviour) -> Behaviour:
        BEHAVIOURS[key] = test
        return test

    return note


def route(**keys: Any) -> WebhookRoute:
    return route_of({"source_id": "source", "path": "/hook", **keys})


def github(secret: str, body: bytes = BODY) -> dict[str, str]:
    return proof(Check(Verify.GITHUB, (secret.encode(),)), body, 0, "d-1")


@behaviour_of("source_id")
async def test_source_id_is_the_stream_of_the_event() -> None:
    intake = Executions()
    async with webhooks(route(source_id="billing"), intake=intake) as server:
        await post(server)
    assert intake.deliveries[0].event.stream_id == "billing"


@behaviour_of("path")
async def test_path_is_where_requests_arrive() -> None:
    async with webhooks(route(path="/a/b")) as server:
        assert (await post(server, target="/a/b?x=1")).status == 202
        assert (await post(server, target="/a")).status == 404


@behaviour_of("methods")
async def test_methods_are_taken_and_others_are_told_which() -> None:
    async with webhooks(route(methods=["PUT", "POST"])) as server:
        assert (await post(server, method="PUT")).status == 202
        answer = await post(server, method="DELETE")
    assert (answer.status, answer.headers["allow"]) == (405, "POST, PUT")


@behaviour_of("verify")
async def test_verify_names_the_scheme() -> None:
    async with webhooks(route(verify="bearer", secret="t0ps3cret")) as server:
        assert (await post(server, BODY, {"Authorization": "Bearer t0ps3cret"})).status == 202
        assert (await post(server, BODY, github("t0ps3cret"))).status == 401


@behaviour_of("secret")
async def test_secret_is_what_the_proof_is_made_with() -> None:
    async with webhooks(route(secret="one")) as server:
        assert (await post(server, BODY, github("one"))).status == 202
        assert (await post(server, BODY, github("two"))).status == 401


@behaviour_of("secrets")
async def test_secrets_are_all_valid() -> None:
    async with webhooks(route(secrets=["two", "one"])) as server:
        for secret, status in (("one", 202), ("two", 202), ("three", 401)):
            assert (await post(server, BODY, github(secret))).status == status


@behaviour_of("hmac")
async def test_hmac_says_how_the_proof_is_written() -> None:
    shape = {"header": "X-Square-Hmacsha256-Signature", "encoding": "base64", "prefix": "v="}
    made = route(verify="hmac", secret="k", hmac=shape)
    intake = Executions()
    async with webhooks(made, intake=intake) as server:
        door = server.doors["/hook"]
        headers = proof(door.rules.check, BODY, 0, "")
        assert list(headers) == [shape["header"]]
        assert (await post(server, BODY, headers)).status == 202
        assert (await post(server, BODY, {"X-Signature": headers[shape["header"]]})).status == 401


@behaviour_of("tolerance")
async def test_tolerance_is_how_far_a_signed_moment_may_be_from_now() -> None:
    made = route(verify="slack", secret="k", tolerance="1m")
    async with webhooks(made, clock=SetClock(1_000_000.0)) as server:
        check = server.doors["/hook"].rules.check
        for age, status in ((60, 202), (61, 401)):
            headers = proof(check, BODY, 1_000_000.0 - age, "")
            assert (await post(server, BODY, headers)).status == status


@behaviour_of("max_body")
async def test_max_body_is_the_largest_body_also_unpacked_whatever_the_listener_says() -> None:
    limits = ListenerLimits(max_body=10)
    async with webhooks(route(max_body="1KiB"), route(path="/other"), limits=limits) as server:
        assert (await post(server, b"x" * 1024)).status == 202
        assert (await post(server, b"x" * 1025)).status == 413
        assert (await post(server, b"x" * 11, target="/other")).status == 413


@behaviour_of("read_timeout")
async def test_read_timeout_is_the_time_for_a_body_shorter_or_longer_than_the_listeners() -> None:
    limits = ListenerLimits(body_seconds=0.1)
    routes = (
        route(path="/short", read_timeout="20ms"),
        route(path="/plain"),
        route(path="/long", read_timeout="30s"),
    )
    async with (
        webhooks(*routes, limits=limits) as server,
        await RawClient.open(server.port or 0) as short,
        await RawClient.open(server.port or 0) as plain,
        await RawClient.open(server.port or 0) as long,
    ):
        for client, path in ((long, "/long"), (plain, "/plain"), (short, "/short")):
            await client.send(request(target=path, length=2))
        cut = {asyncio.ensure_future(client.answer()): client for client in (short, plain)}
        [first], _ = await asyncio.wait(cut, return_when=asyncio.FIRST_COMPLETED)
        assert cut[first] is short
        answers = await asyncio.gather(*cut)
        assert [answer.status for answer in answers if answer] == [408, 408]
        # The listener's own time is over.
        await long.send(b"{}")
        answer = await long.answer()
    assert answer is not None
    assert answer.status == 202


@behaviour_of("rate")
async def test_rate_is_how_many_are_taken_genuine_or_not_before_the_body_is_read() -> None:
    clock = SetClock()
    made = route(rate="2/m", secret="k", max_body="10B")
    async with webhooks(made, route(path="/other"), clock=clock) as server:
        assert (await post(server, b"{}")).status == 401
        assert (await post(server, b"{}")).status == 401
        answer = await post(server, b"x" * 100)
        assert (answer.status, answer.headers["retry-after"]) == (429, "30")
        assert (await post(server, target="/other")).status == 202
        clock.now += 30
        assert (await post(server, b"{}", github("k", b"{}"))).status == 202
        assert (await post(server, b"{}")).status == 429


@behaviour_of("allow_ips")
async def test_allow_ips_is_who_may_send_at_all() -> None:
    async with webhooks(
        route(allow_ips=["192.0.2.0/24"]),
        route(path="/own", allow_ips=["192.0.2.7", "127.0.0.0/8"]),
    ) as server:
        answer = await post(server)
        assert (answer.status, answer.json) == (403, {"error": "Forbidden"})
        assert (await post(server, target="/own")).status == 202


@behaviour_of("headers")
async def test_headers_are_the_ones_that_enter_the_event_and_never_a_credential() -> None:
    intake = Executions()
    came = {"X-Kind": "push", "User-Agent": "curl", "Authorization": "Bearer x"}
    async with webhooks(route(headers=["X-Kind"]), intake=intake) as server:
        await post(server, BODY, came)
    assert intake.deliveries[0].event.data["headers"] == {"x-kind": "push"}
    for name in ("Authorization", "Cookie", "X-Hub-Signature-256", "X-Api-Key", "X-Auth-Token"):
        with pytest.raises(ConfigError, match=r"headers\[0\]: .* never enters an event"):
            route(headers=[name])
    with pytest.raises(ConfigError, match="headers must hold x-kind"):
        route(headers=["User-Agent"], filters=[{"field": "X-Kind", "equals": "push"}])


@behaviour_of("filters")
async def test_filters_say_which_deliveries_set_anything_off() -> None:
    intake = Executions()
    made = route(
        filters=[
            {"field": "$.action", "in": ["opened", "reopened"]},
            {"not": {"field": "header.X-Kind", "equals": "bot"}},
        ]
    )
    async with webhooks(made, intake=intake) as server:
        assert (await post(server, b'{"action": "closed"}')).json["status"] == "ignored"
        bot = await post(server, b'{"action": "reopened"}', {"X-Kind": "bot"})
        assert (bot.status, bot.json["status"]) == (202, "ignored")
        assert (await post(server, BODY)).json["status"] == "queued"
    assert len(intake.deliveries) == 1


@behaviour_of("input")
async def test_input_is_what_a_delivery_adds_to_the_input() -> None:
    intake = Executions()
    made = route(input={"pr": "{$.number}", "title": "PR {$.number} {$.action}", "level": 3})
    async with webhooks(made, intake=intake) as server:
        await post(server, BODY)
    assert intake.deliveries[0].inputs == {"pr": 7, "title": "PR 7 opened", "level": 3}
    with pytest.raises(ConfigError, match="may not set 'event'"):
        route(input={"event": "{$}"})


@behaviour_of("dedupe")
async def test_dedupe_is_where_the_name_of_a_delivery_stands() -> None:
    async with webhooks(
        route(dedupe="$.id"), route(path="/other", dedupe="header.X-Request-Id")
    ) as server:
        first = await post(server, b'{"id": "a"}')
        assert (await post(server, b'{"id": "a"}')).json["status"] == "duplicate"
        assert (await post(server, b'{"id": "a", "n": 1}')).status == 409
        assert (await post(server, b'{"id": "b"}')).json["status"] == "queued"
        named = {"X-Request-Id": "r1"}
        assert (await post(server, b"{}", named, target="/other")).json["status"] == "queued"
        assert (await post(server, b"{}", named, target="/other")).json["status"] == "duplicate"
        assert (await post(server, b"[]", named, target="/other")).status == 409
    assert first.json["status"] == "queued"


@behaviour_of("coalesce")
async def test_coalesce_makes_one_of_a_burst() -> None:
    clock, intake = FakeClock(auto=False), Executions()
    made = route(coalesce={"key": "pr-{$.number}", "window": "5s", "max_wait": "9s"})
    async with webhooks(made, intake=intake, clock=clock, ledger=MemoryLedger(clock)) as server:
        for n in range(3):
            body = json.dumps({"number": 7, "n": n}).encode()
            assert (await post(server, body)).json["status"] == "coalesced"
        await clock.advance(5)
        await intake.taken.get()
    assert intake.payloads == [{"number": 7, "n": 2}]


@behaviour_of("respond")
async def test_respond_wait_answers_when_the_execution_has_ended() -> None:
    asked: list[tuple[str, float]] = []

    async def results(execution_id: str, seconds: float) -> Mapping[str, object] | None:
        asked.append((execution_id, seconds))
        return {"status": "completed", "output": {"n": 1}} if len(asked) == 1 else None

    async with webhooks(
        route(respond="wait"), route(path="/ack"), intake=Executions(), results=results
    ) as server:
        done = await post(server, b"[1]")
        late = await post(server, b"[2]")
        acknowledged = await post(server, b"[3]", target="/ack")
    assert (done.status, done.json["result"]["output"]) == (200, {"n": 1})
    assert (late.status, "result" in late.json) == (202, False)
    assert (acknowledged.status, "result" in acknowledged.json) == (202, False)
    assert asked == [
        (done.json["execution_id"], WAIT_SECONDS),
        (late.json["execution_id"], WAIT_SECONDS),
    ]


@behaviour_of("allow_insecure")
async def test_allow_insecure_is_what_an_open_route_asks_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = route(allow_insecure=True, verify="none")
    assert made.is_open
    assert not route(secret="k").is_open
    server = WebhookServer(None, WebhookServerConfig("0.0.0.0", 0))
    server.add_route(made)
    server.add_route(route(path="/unasked"))
    await server.start()
    await server.stop()
    assert [record.__dict__["path"] for record in caplog.records] == ["/unasked"]


# --- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"verfy": "github"}, "unknown key 'verfy', did you mean 'verify'?"),
        ({"max-body": 1}, "unknown key 'max-body', did you mean 'max_body'?"),
        ({"xyz": 1}, "unknown key 'xyz', it may hold source_id, path"),
        ({"verify": "githib", "secret": "x"}, "verify: 'githib' is unknown, did you mean github?"),
        ({"verify": "slack"}, "verify: slack needs a secret or secrets"),
        ({"verify": "none", "secret": "x"}, "verify: none takes no secret"),
        ({"secret": "x", "secrets": ["y"]}, "write secret or secrets, not both"),
        ({"secrets": ["x", " "]}, "the secret is empty"),
        ({"secrets": "x"}, "secrets must be a list"),
        ({"secrets": ["x"] * 9}, "secrets may hold 8 at most"),
        ({"verify": "standard", "secret": "whsec_!"}, "the secret is no base64"),
        ({"verify": "basic", "secret": "x"}, "the secret must be user:password"),
        ({"hmac": {"header": "X"}, "secret": "x"}, "hmac is for verify: hmac, not github"),
        (
            {"verify": "hmac", "secret": "x", "hmac": {"heder": "X"}},
            "has the unknown key 'heder', did you mean 'header'?",
        ),
        (
            {"verify": "hmac", "secret": "x", "hmac": {"digest": "md5"}},
            "'md5' is not a valid Digest",
        ),
        ({"tolerance": 300}, "tolerance: 300 has no unit"),
        ({"tolerance": "0s"}, "tolerance: '0s' is no time at all"),
        ({"read_timeout": "soon"}, "read_timeout: 'soon' is no duration"),
        ({"max_body": "1 GB"}, "max_body: '1 GB' is no size"),
        ({"max_body": "65MiB"}, "max_body: '65MiB' is too large, the most is 64MiB"),
        ({"max_body": True}, "max_body: True is no size"),
        ({"rate": "60"}, "rate: '60' is no rate, write a number and s, m or h"),
        ({"allow_ips": ["here"]}, "allow_ips[0]: 'here' is no address or network"),
        ({"allow_ips": "::1"}, "allow_ips must be a list"),
        ({"filters": [{"field": "action"}]}, "filters[0]: {'field': 'action'} is no place"),
        ({"input": ["a"]}, "input: ['a'] must be a mapping"),
        ({"input": {"a": "{$.b"}}, "holds a brace without its partner"),
        ({"dedupe": "id"}, "dedupe: 'id' is no place, write $.id"),
        ({"coalesce": {"window": "5s"}}, "needs key"),
        ({"coalesce": {"key": "$.a", "windw": "5s"}}, "did you mean 'window'?"),
        (
            {"coalesce": {"key": "$.a", "window": "5s", "max_wait": "1s"}},
            "max_wait that is shorter",
        ),
        ({"respond": "later"}, "respond: 'later' is unknown, write ack or wait"),
        ({"methods": []}, None),
        ({"path": ""}, "must say its path"),
    ],
)
def test_a_mistake_is_told_with_its_route_and_key(
    keys: dict[str, Any], sentence: str | None
) -> None:
    if sentence is None:
        assert route(**keys).methods == ("POST",)
        return
    with pytest.raises(ConfigError) as caught:
        route(**keys)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(("webhook route /hook: ", "a webhook route"))


def test_every_key_has_a_behaviour_and_hive_yaml_knows_the_same_keys() -> None:
    assert set(BEHAVIOURS) == set(KEYS) == set(WebhookRouteConfig.model_fields)
