"""Webhooks over the control API and by the real `hive`: what is there, what would be, what came, and once more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hive_daemon.errors import QueueFull
from hive_daemon.runtime.webhook_delivery import Delivery
from hive_daemon.runtime.webhook_schemes import Check, Verify, proof
from tests.fakes.control_client import Client
from tests.fakes.control_host import Host, running_host
from tests.fakes.hive_command import run_hive
from tests.fakes.webhook_bench import post

SECRET = "s3cret-of-pager"
ROUTE = "/hooks/pager"
BODY = b'{"n": 7, "token": "xyzz0WbapA4vBCDEFasx0q6G"}'
Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with running_host(tmp_path) as host:
        host.gate.is_open.set()
        yield host


@pytest.fixture
def client(host: Host) -> Client:
    return Client(host.socket)


@pytest.fixture
def hive(host: Host) -> Run:
    async def run(*words: str) -> tuple[int | None, str, str]:
        return await run_hive(host.socket, "webhooks", *words)

    return run


async def deliver(host: Host, name: str, body: bytes = BODY) -> Any:
    """Send a genuine delivery by its own name; return what its sender is told."""
    headers = proof(Check(Verify.GITHUB, (SECRET.encode(),)), body, 0, name)
    return (await post(host.webhooks, body, headers, target=ROUTE)).json


async def items(client: Client, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get(f"/v1/webhooks/deliveries{query}")).json[
        "items"
    ]
    return found


# --- routes -------------------------------------------------------------------------------------


async def test_a_route_is_listed_with_its_agent_its_listeners_and_its_answers(
    host: Host, client: Client
) -> None:
    await deliver(host, "d-1")
    await post(host.webhooks, BODY, target=ROUTE)
    reply = await client.get("/v1/webhooks")
    [route] = reply.json["items"]
    assert (route["path"], route["agent"], route["entry_points"]) == (ROUTE, "ops", ["ops/alert"])
    assert (route["verify"], route["secrets"], route["answered"]) == (
        "github",
        1,
        {"202": 1, "401": 1},
    )
    assert SECRET.encode() not in reply.content


# --- trying a route out -------------------------------------------------------------------------


async def test_a_trial_starts_nothing_and_tells_every_check(host: Host, client: Client) -> None:
    reply = await client.post(
        "/v1/webhooks/test", {"route": "pager", "payload": BODY.decode(), "sign": True}
    )
    told = reply.json
    assert (told["status"], told["outcome"], told["answer"]) == (202, "queued", None)
    assert told["entry_points"] == ["ops/alert"]
    assert {each["result"] for each in told["checks"]} == {"passes"}
    assert await items(client) == []
    assert (await client.get("/v1/executions")).json["items"] == []
    for secret in (SECRET.encode(), b"sha256=", b"xyzz0Wbap"):
        assert secret not in reply.content


async def test_an_unsigned_trial_of_a_guarded_route_would_be_401(client: Client) -> None:
    told = (await client.post("/v1/webhooks/test", {"route": ROUTE, "payload": "{}"})).json
    assert (told["status"], told["outcome"]) == (401, "refused")


async def test_a_trial_that_is_sent_runs_what_listens_once_for_each_key(
    host: Host, client: Client
) -> None:
    body = {"route": ROUTE, "payload": '{"n": 1}', "sign": True, "send": True}
    body["headers"] = {"X-GitHub-Event": "push"}
    first = (await client.post("/v1/webhooks/test", body, key="k1")).json
    again = (await client.post("/v1/webhooks/test", body, key="k1")).json
    assert (first["status"], first["outcome"], again["outcome"]) == (202, "queued", "duplicate")
    [name] = first["answer"]["execution_ids"]
    assert again["answer"]["execution_ids"] == [name]
    execution = (await client.get(f"/v1/executions/{name}?wait=15")).json
    assert execution["input"]["event"]["data"]["headers"]["x-github-event"] == "push"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"payload": "{}"}, 404, "no webhook route"),
        ({"route": ROUTE}, 400, "no payload"),
        ({"route": "nope", "payload": "{}"}, 404, "'nope'"),
        ({"route": ROUTE, "payload": {}}, 400, "payload is an object"),
        ({"route": ROUTE, "payload": "{}", "headers": {"Host": "x"}}, 400, '"Host"'),
        ({"route": ROUTE, "payload": "{}", "headers": {"X-A": "b\r\nC: d"}}, 400, '"X-A"'),
        ({"route": ROUTE, "payload": "{}", "headers": {"X A": "b"}}, 400, '"X A"'),
        (
            {"route": ROUTE, "payload": "{}", "headers": {f"X-{n}": "" for n in range(33)}},
            400,
            "33 headers",
        ),
    ],
)
async def test_a_trial_that_makes_no_sense_says_so(
    client: Client, body: Any, status: int, words: str
) -> None:
    reply = await client.post("/v1/webhooks/test", body)
    assert reply.status == status
    assert words in reply.error["message"]


# --- deliveries ---------------------------------------------------------------------------------


async def test_deliveries_are_listed_newest_first_page_by_page(host: Host, client: Client) -> None:
    for n in range(5):
        await deliver(host, f"d-{n}")
    seen, query = [], "?limit=2"
    while True:
        page = (await client.get(f"/v1/webhooks/deliveries{query}")).json
        seen += [each["key"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        query = f"?limit=2&cursor={page['next_cursor']}"
    assert seen == ["d-4", "d-3", "d-2", "d-1", "d-0"]
    assert (await client.get("/v1/webhooks/deliveries?limit=5")).json["next_cursor"] is None


async def test_lists_of_deliveries_keep_what_matches(host: Host, client: Client) -> None:
    await deliver(host, "d-1")
    assert len(await items(client, "?route=pager&status=queued&since=1h")) == 1
    assert len(await items(client, f"?route={ROUTE}")) == 1
    assert await items(client, "?route=/gone") == []
    assert await items(client, "?status=ignored&status=failed") == []
    assert (await client.get("/v1/webhooks/deliveries?route=nope")).status == 404
    for wrong in ("status=done", "since=2", "cursor=k1"):
        assert (await client.get(f"/v1/webhooks/deliveries?{wrong}")).status == 400


async def test_a_delivery_is_shown_with_what_it_carried_and_no_secret(
    host: Host, client: Client
) -> None:
    told = await deliver(host, "d-1")
    assert "data" not in (await items(client))[0]
    reply = await client.get(f"/v1/webhooks/deliveries/{told['delivery_id']}")
    assert reply.json["data"]["payload"] == {"n": 7, "token": "[redacted]"}
    assert reply.json["execution_ids"] == told["execution_ids"]
    assert (await client.get(f"/v1/webhooks/deliveries/dlv_{'0' * 32}")).status == 404
    assert (await client.get("/v1/webhooks/deliveries/latest")).status == 400


# --- replays ------------------------------------------------------------------------------------


async def test_a_replay_is_a_new_delivery_that_runs_again_once_for_each_key(
    host: Host, client: Client
) -> None:
    told = await deliver(host, "d-1")
    body = {"ids": [told["delivery_id"]]}
    [first] = (await client.post("/v1/webhooks/replay", body, key="k1")).json["items"]
    [again] = (await client.post("/v1/webhooks/replay", body, key="k1")).json["items"]
    assert (first["status"], first["replay_of"]) == ("queued", told["delivery_id"])
    assert first["execution_ids"] != told["execution_ids"]
    assert (again["status"], again["execution_ids"]) == ("duplicate", first["execution_ids"])
    newest, _ = await items(client)
    assert (newest["delivery_id"], newest["replay_of"]) == (
        first["delivery_id"],
        told["delivery_id"],
    )


async def test_what_was_refused_is_replayed_once_there_is_room(host: Host, client: Client) -> None:
    door = host.webhooks.doors[ROUTE]

    async def full(_delivery: Delivery) -> list[str]:
        raise QueueFull("4 wait", depth=4, retry_after=2.0)

    host.webhooks.add_route(door.route, full)
    refused = await deliver(host, "d-1")
    assert refused == {"error": "The queue is full", "depth": 4}
    host.webhooks.add_route(door.route, door.intake)
    await deliver(host, "d-2")
    [row] = await items(client, "?status=refused")
    assert row["reason"] == "queue_full: 4 wait"
    wanted = {"since": "1h", "route": "pager", "status": "refused"}
    [would] = (await client.post("/v1/webhooks/replay", {**wanted, "dry_run": True})).json["items"]
    assert (would["status"], would["delivery_id"]) == ("queued", None)
    [done] = (await client.post("/v1/webhooks/replay", wanted)).json["items"]
    assert (done["status"], done["replay_of"]) == ("queued", row["delivery_id"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"ids": []}, 400),
        ({"ids": ["x"]}, 400),
        ({"ids": [f"dlv_{'0' * 32}"]}, 404),
        ({"ids": [f"dlv_{'0' * 32}"], "since": "1h"}, 400),
        ({"ids": [f"dlv_{'0' * 32}"], "status": "refused"}, 400),
        ({"since": "soon"}, 400),
        ({"since": "1h", "status": "gone"}, 400),
        ({"since": "1h", "route": "nope"}, 404),
    ],
)
async def test_a_replay_of_nothing_in_particular_is_refused(
    client: Client, body: Any, status: int
) -> None:
    assert (await client.post("/v1/webhooks/replay", body)).status == status


# --- the command line ---------------------------------------------------------------------------


async def test_hive_lists_the_routes(host: Host, hive: Run) -> None:
    await post(host.webhooks, BODY, target=ROUTE)
    code, out, _ = await hive("routes")
    assert code == 0
    assert out.splitlines()[1].split() == [
        ROUTE,
        "pager",
        "ops",
        "github",
        "0",
        "401:1",
        "ops/alert",
    ]


async def test_hive_tries_a_payload_and_tells_the_answer_by_its_exit_code(
    host: Host, hive: Run, tmp_path: Path
) -> None:
    file = tmp_path / "payload.json"
    file.write_bytes(BODY)
    code, out, err = await hive("test", ROUTE, "--payload", str(file))
    assert (code, err) == (1, "")
    assert "would be 401 refused" in out
    header = ("--header", "X-GitHub-Delivery: gh-1")
    code, out, _ = await hive("test", ROUTE, "--payload", str(file), "--sign", *header)
    assert code == 0
    assert "would be 202 queued" in out
    assert "gh-1" in out
    assert SECRET not in out
    code, out, _ = await hive("test", ROUTE, "--payload", str(file), "--sign", "--send", "--json")
    assert (code, json.loads(out)["answer"]["status"]) == (0, "queued")


async def test_hive_lists_shows_and_replays_deliveries(host: Host, hive: Run) -> None:
    told = await deliver(host, "d-1")
    code, out, _ = await hive("deliveries", "--route", "pager", "--since", "1h", "-n", "5")
    (_, line) = out.splitlines()
    assert code == 0
    assert line.split()[0] == told["delivery_id"]
    assert line.split()[-1] == told["execution_id"]
    code, out, _ = await hive("show", told["delivery_id"])
    assert code == 0
    assert '"n": 7' in out
    assert "xyzz0Wbap" not in out
    code, out, _ = await hive("replay", "--since", "1h", "--dry-run")
    assert (code, len(out.splitlines())) == (0, 2)
    code, out, _ = await hive("replay", told["delivery_id"], "--json")
    assert (code, json.loads(out)["items"][0]["status"]) == (0, "queued")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("test", ROUTE), "there is no payload"),
        (("test", ROUTE, "--payload", "nowhere"), "--payload nowhere: there is no such file"),
        (("test", ROUTE, "--payload", "x", "--header", "y"), "is not NAME:VALUE"),
        (("show", "x"), '"x" is not the id of a delivery'),
        (("replay",), "say which deliveries"),
        (("replay", "x"), '"x" is not the id of a delivery'),
        (("replay", "x", "--since", "1h"), "say which deliveries"),
        (("replay", "--since", "1"), '"1" is not a duration'),
        (("deliveries", "--since", "1"), '"1" is not a duration'),
    ],
)
async def test_what_makes_no_sense_is_not_sent(
    hive: Run, words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    file = tmp_path / "x"
    file.write_text("{}")
    code, _, err = await hive(
        *(str(file) if word == "x" and "test" in words else word for word in words)
    )
    assert code == 2
    assert said in err
