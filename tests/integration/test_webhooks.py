"""The webhook server over real sockets: signed requests in, events out, and nothing for anybody else."""

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from hive_daemon.errors import (
    BudgetExceeded,
    Busy,
    Draining,
    HiveError,
    IdempotencyConflict,
    InvalidInput,
    NotRunning,
    QueueFull,
    RateLimited,
    StorageFull,
    StorageUnavailable,
)
from hive_daemon.http.limits import ListenerLimits
from hive_daemon.ids import new_session_id
from hive_daemon.runtime.encoding import dumps
from hive_daemon.runtime.event_bus import AgentEvent, EventBus, EventType
from hive_daemon.runtime.webhook_server import (
    Delivery,
    WebhookRoute,
    WebhookServer,
    WebhookServerConfig,
)
from hive_daemon.storage.ports import Store
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.values import (
    Dedupe,
    ExecutionFilter,
    Fence,
    StepCommit,
    StoredEvent,
    Submission,
)
from tests.fakes.raw_http import RawAnswer, RawClient, ask, request, signature

SECRET = "It's a Secret to Everybody"
BODY = b'{"action": "opened", "number": 7}'
SIGNED = signature(BODY, SECRET)
NAME = "X-Hub-Signature-256"
HEX = SIGNED.removeprefix("sha256=")


@dataclass
class Inbox:
    """An intake that keeps what it is given, or fails as it is told."""

    deliveries: list[Delivery] = field(default_factory=list)
    ids: list[str] = field(default_factory=lambda: ["session_20260302_090000_0000000a"])
    error: Exception | None = None

    async def __call__(self, delivery: Delivery) -> list[str]:
        if self.error is not None:
            raise self.error
        self.deliveries.append(delivery)
        return self.ids

    @property
    def event(self) -> AgentEvent:
        [delivery] = self.deliveries
        return delivery.event


@asynccontextmanager
async def serving(
    *routes: WebhookRoute, intake: Any = None, bus: EventBus | None = None, limits: Any = None
) -> AsyncIterator[WebhookServer]:
    config = WebhookServerConfig(port=0, limits=limits or ListenerLimits())
    server = WebhookServer(bus, config, intake)
    for route in routes or (WebhookRoute("github", "/hook", secret=SECRET),):
        server.add_route(route)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def post(
    server: WebhookServer,
    body: bytes = BODY,
    headers: Sequence[tuple[str, str | bytes]] = (),
    *,
    method: str = "POST",
    target: str | bytes = "/hook",
) -> RawAnswer:
    answer = await ask(server.port or 0, request(method, target, body, headers))
    assert answer is not None
    return answer


async def post_signed(server: WebhookServer, body: bytes = BODY, **options: Any) -> RawAnswer:
    headers = [(NAME, signature(body, SECRET)), *options.pop("headers", ())]
    return await post(server, body, headers, **options)


# --- what is taken ----------------------------------------------------------------------------


async def test_a_signed_request_is_accepted_with_its_execution() -> None:
    inbox = Inbox()
    async with serving(intake=inbox) as server:
        answer = await post_signed(server)
    name = answer.json["delivery_id"]
    assert (answer.status, answer.json) == (
        202,
        {
            "delivery_id": name,
            "status": "queued",
            "execution_ids": inbox.ids,
            "execution_id": inbox.ids[0],
        },
    )
    assert name.startswith("dlv_")


async def test_without_executions_there_is_no_single_id() -> None:
    async with serving(intake=Inbox(ids=[])) as server:
        answer = await post_signed(server)
    assert answer.json["execution_ids"] == []
    assert "execution_id" not in answer.json


async def test_the_event_tells_what_came_and_of_which_source() -> None:
    inbox = Inbox()
    came = [
        ("Content-Type", "application/json"),
        ("X-GitHub-Event", "pull_request"),
        ("X-GitHub-Delivery", "d-17"),
        ("User-Agent", "GitHub-Hookshot/1"),
    ]
    async with serving(intake=inbox) as server:
        await post_signed(server, headers=came, target="/hook?team=ops&team=dev")
    assert (inbox.event.type, inbox.event.stream_id) == (EventType.WEBHOOK_RECEIVED, "github")
    assert inbox.event.data == {
        "path": "/hook",
        "method": "POST",
        "headers": {
            "content-type": "application/json",
            "x-github-event": "pull_request",
            "x-github-delivery": "d-17",
            "user-agent": "GitHub-Hookshot/1",
        },
        "payload": {"action": "opened", "number": 7},
        "query_params": {"team": "ops"},
    }
    [delivery] = inbox.deliveries
    assert (delivery.delivery_id, delivery.body_hash) == ("d-17", hashlib.sha256(BODY).hexdigest())


async def test_credentials_of_the_sender_stay_outside() -> None:
    inbox = Inbox()
    came = [
        ("Authorization", "Bearer canary"),
        ("Proxy-Authorization", "Basic canary"),
        ("Cookie", "session=canary"),
        ("X-Api-Key", "canary"),
        ("X-Gitlab-Token", "canary"),
        ("X-Slack-Signature", "v0=canary"),
        ("Stripe-Signature", "t=1,v1=canary"),
        ("X-Forwarded-For", "canary"),
    ]
    query = (
        "token=canary&api_key=canary&key=canary&sig=canary&X-Amz-Signature=canary&Password=canary"
    )
    async with serving(intake=inbox) as server:
        answer = await post_signed(server, headers=came, target=f"/hook?{query}&ref=main")
    assert answer.status == 202
    assert "canary" not in json.dumps(inbox.event.to_dict())
    assert HEX not in json.dumps(inbox.event.to_dict())
    assert inbox.event.data["query_params"] == {"ref": "main"}


async def test_an_open_route_takes_what_nobody_signed() -> None:
    inbox = Inbox()
    async with serving(WebhookRoute("slack", "/hook"), intake=inbox) as server:
        answer = await post(server, b"", headers=[(NAME, "sha256=nonsense")])
    assert answer.status == 202
    assert inbox.event.data["payload"] == {}


async def test_a_route_takes_the_methods_it_lists() -> None:
    inbox = Inbox()
    async with serving(WebhookRoute("meta", "/hook", ["get", "POST"]), intake=inbox) as server:
        answer = await post(server, b"", method="GET", target="/hook?hub.challenge=17")
    assert answer.status == 202
    assert inbox.event.data["method"] == "GET"


async def test_a_packed_body_is_signed_as_it_came_and_unpacked_afterwards() -> None:
    inbox = Inbox()
    packed = gzip.compress(BODY)
    came = [("Content-Encoding", "gzip")]
    async with serving(intake=inbox) as server:
        assert (await post(server, packed, [(NAME, SIGNED), *came])).status == 401
        assert (await post_signed(server, packed, headers=came)).status == 202
    assert inbox.event.data["payload"] == json.loads(BODY)
    assert inbox.deliveries[0].body_hash == hashlib.sha256(BODY).hexdigest()


async def test_an_unsigned_bomb_is_not_even_unpacked() -> None:
    bomb = gzip.compress(b"0" * 5_000_000)
    came = [("Content-Encoding", "gzip")]
    async with serving(intake=Inbox()) as server:
        assert (await post(server, bomb, came)).status == 401
        assert (await post_signed(server, bomb, headers=came)).status == 413
        assert (await post_signed(server, b"x", headers=came)).status == 400
        assert (await post_signed(server, b"x", headers=[("Content-Encoding", "br")])).status == 415


async def test_a_secret_may_hold_any_bytes() -> None:
    secret = b"gr\xfcn \xe2\x82\xac"
    route = WebhookRoute("x", "/hook", secret=secret.decode("utf-8", "surrogateescape"))
    async with serving(route, intake=Inbox()) as server:
        answer = await post(server, BODY, [(NAME, signature(BODY, secret))])
    assert answer.status == 202


async def test_a_server_of_its_own_publishes_on_the_bus() -> None:
    bus = EventBus()
    heard: list[AgentEvent] = []

    async def hear(event: AgentEvent) -> None:
        heard.append(event)

    bus.subscribe([EventType.WEBHOOK_RECEIVED], hear, filter_stream="github")
    async with serving(bus=bus) as server:
        answer = await post_signed(server)
    assert answer.json["execution_ids"] == []
    assert "execution_id" not in answer.json
    assert [event.data["payload"]["number"] for event in heard] == [7]


async def test_with_nobody_listening_a_delivery_is_accepted_all_the_same() -> None:
    async with serving(bus=EventBus()) as server:
        assert (await post_signed(server)).status == 202


# --- routes come and go -----------------------------------------------------------------------


async def test_routes_come_and_go_while_the_server_runs() -> None:
    one, other = Inbox(), Inbox()
    async with serving(WebhookRoute("one", "/one"), intake=one) as server:
        assert (await post(server, target="/other")).status == 404
        server.add_route(WebhookRoute("other", "/other"), other)
        assert (await post(server, target="/other")).status == 202
        server.remove_route("/one")
        assert (await post(server, target="/one")).status == 404
        assert (await post(server, b"{}", target="/other")).status == 202
    assert (len(one.deliveries), len(other.deliveries)) == (0, 2)


async def test_a_route_that_is_removed_in_mid_request_ends_that_request_well() -> None:
    inbox = Inbox()
    expecting = [("Expect", "100-continue")]
    async with (
        serving(WebhookRoute("one", "/one"), intake=inbox) as server,
        await RawClient.open(server.port or 0) as client,
    ):
        await client.send(request(target="/one", headers=expecting, length=2))
        await client.answer()
        server.remove_route("/one")
        await client.send(b"{}")
        answer = await client.answer()
    assert answer is not None
    assert answer.status == 202


async def test_the_real_port_is_told_and_gone_after_the_stop() -> None:
    async with serving(intake=Inbox()) as server:
        port = server.port
        assert port
        assert server.is_running
        await server.start()
        assert server.port == port
    assert (server.port, server.is_running) == (None, False)


async def test_a_server_can_be_started_again() -> None:
    async with serving(intake=Inbox()) as server:
        await server.stop()
        await server.start()
        assert (await post_signed(server)).status == 202


async def test_a_request_under_way_is_finished_by_a_stop() -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(delivery: Delivery) -> list[str]:
        began.set()
        await go_on.wait()
        return ["x"]

    async with serving(intake=slow) as server:
        asking = asyncio.ensure_future(post_signed(server))
        await began.wait()
        stopping = asyncio.ensure_future(server.stop())
        await asyncio.sleep(0)
        go_on.set()
        assert (await asking).status == 202
        await stopping


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]
)
async def test_another_method_is_refused_with_those_that_are_not(method: str) -> None:
    inbox = Inbox()
    async with (
        serving(WebhookRoute("x", "/hook", ["POST", "QUERY"]), intake=inbox) as server,
        await RawClient.open(server.port or 0) as client,
    ):
        await client.send(request(method, "/hook"))
        head = (await client.head()).splitlines()
    assert head[0].split()[1] == "405"
    assert "Allow: POST, QUERY" in head
    assert inbox.deliveries == []


PATH_TRICKS = [
    "/hook/", "//hook", "/./hook", "/a/../hook", "/%2e/hook", "/hook%2f", "/%68ook", "/hook%00", "/Hook", "/hook;a=b",
    "/hook#x", "/hook%3f", "/hook%20", "http://hive.test/hook", "//evil/hook", "/\\hook", "/hook/.", "/", "*",
    "/../../etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("target", PATH_TRICKS)
async def test_a_path_is_compared_character_by_character(target: str) -> None:
    inbox = Inbox()
    async with serving(intake=inbox) as server:
        answer = await post_signed(server, target=target)
    assert answer.status in (400, 404)
    assert inbox.deliveries == []


async def test_a_path_is_unknown_whatever_the_method_and_signature() -> None:
    async with serving(intake=Inbox()) as server:
        assert (await post(server, method="GET", target="/nope")).json == {"error": "Not found"}


async def test_the_size_is_judged_before_the_signature() -> None:
    limits = ListenerLimits(max_body=100)
    async with serving(intake=Inbox(), limits=limits) as server:
        assert (await post(server, b"x" * 101)).status == 413
        assert (await post(server, b"x" * 100)).status == 401


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Draining(), 503, "5"),
        (NotRunning(), 503, "5"),
        (StorageUnavailable("/srv/hive.db: disk I/O error"), 503, "5"),
        (StorageFull("/srv: no space left"), 507, "60"),
        (QueueFull(), 429, "30"),
        (QueueFull(retry_after=2.5, depth=7), 429, "3"),
        (RateLimited(retry_after=0.2), 429, "1"),
        (BudgetExceeded(), 429, "30"),
        (Busy(), 409, "5"),
        (IdempotencyConflict(), 409, None),
        (InvalidInput("the input cannot be kept"), 400, None),
        (HiveError("/srv"), 500, None),
        (RuntimeError("/srv"), 500, None),
    ],
)
async def test_what_the_intake_refuses_is_told_by_status(
    error: Exception, status: int, retry_after: str | None
) -> None:
    inbox = Inbox(error=error)
    async with serving(intake=inbox) as server, await RawClient.open(server.port or 0) as client:
        await client.send(request("POST", "/hook", BODY, [(NAME, SIGNED)]))
        answer = await client.answer()
        assert answer is not None
        assert (answer.status, answer.headers.get("retry-after")) == (status, retry_after)
        depth = {"depth": error.depth} if isinstance(error, QueueFull) else {}
        assert answer.json == {"error": answer.json["error"], **depth}
        assert b"/srv" not in answer.body
        # The connection is still good.
        inbox.error = None
        await client.send(request("POST", "/hook", BODY, [(NAME, SIGNED)]))
        answer = await client.answer()
        assert answer is not None
        assert answer.status == 202


# --- signatures -------------------------------------------------------------------------------


def sign(body: bytes, secret: str, digest: Any = hashlib.sha256) -> str:
    return hmac.new(secret.encode(), body, digest).hexdigest()


def flipped(text: str, place: int) -> str:
    other = "0" if text[place] != "0" else "1"
    return text[:place] + other + text[place + 1 :]


Sent = list[tuple[str, str | bytes]]

BYPASSES: dict[str, Sent] = {
    "no header": [],
    "an empty header": [(NAME, "")],
    "the prefix alone": [(NAME, "sha256=")],
    "no prefix": [(NAME, HEX)],
    "half a prefix": [(NAME, "sha256" + HEX)],
    "the prefix in capitals": [(NAME, "SHA256=" + HEX)],
    "the prefix with a colon": [(NAME, "sha256:" + HEX)],
    "a space after the prefix": [(NAME, "sha256= " + HEX)],
    "the prefix twice": [(NAME, "sha256=" + SIGNED)],
    "hex in capitals": [(NAME, "sha256=" + HEX.upper())],
    "sha1 under the name of sha256": [(NAME, "sha256=" + sign(BODY, SECRET, hashlib.sha1))],
    "sha1 in this header": [(NAME, "sha1=" + sign(BODY, SECRET, hashlib.sha1))],
    "sha1 in its own header": [("X-Hub-Signature", "sha1=" + sign(BODY, SECRET, hashlib.sha1))],
    "sha256 in the header of sha1": [("X-Hub-Signature", SIGNED)],
    "sha512": [(NAME, "sha512=" + sign(BODY, SECRET, hashlib.sha512))],
    "sha512 under the name of sha256": [(NAME, "sha256=" + sign(BODY, SECRET, hashlib.sha512))],
    "md5": [(NAME, "md5=" + sign(BODY, SECRET, hashlib.md5))],
    "one digit less": [(NAME, SIGNED[:-1])],
    "half of it": [(NAME, SIGNED[:39])],
    "one digit": [(NAME, SIGNED[:8])],
    "one digit more": [(NAME, SIGNED + "0")],
    "twice as long": [(NAME, SIGNED + HEX)],
    "something behind a comma": [(NAME, SIGNED + ",x")],
    "a list of two": [(NAME, f"{SIGNED}, {SIGNED}")],
    "a list with a wrong one first": [(NAME, f"sha256={'0' * 64}, {SIGNED}")],
    "the header twice": [(NAME, SIGNED), (NAME, SIGNED)],
    "a wrong header first": [(NAME, "sha256=" + "0" * 64), (NAME, SIGNED)],
    "a wrong header last": [(NAME, SIGNED), (NAME, "sha256=" + "0" * 64)],
    "an empty header first": [(NAME, ""), (NAME, SIGNED)],
    "the header twice in other case": [(NAME, SIGNED), (NAME.lower(), SIGNED)],
    "another secret": [(NAME, signature(BODY, "another"))],
    "an empty secret": [(NAME, signature(BODY, ""))],
    "the secret and a line feed": [(NAME, signature(BODY, SECRET + "\n"))],
    "the secret in capitals": [(NAME, signature(BODY, SECRET.upper()))],
    "of an empty body": [(NAME, signature(b"", SECRET))],
    "of a changed body": [(NAME, signature(BODY.replace(b"7", b"8"), SECRET))],
    "of the body and a line feed": [(NAME, signature(BODY + b"\n", SECRET))],
    "of the body written anew": [(NAME, signature(json.dumps(json.loads(BODY), indent=1).encode(), SECRET))],
    "of the body without spaces": [(NAME, signature(BODY.replace(b" ", b""), SECRET))],
    "of the body in capitals": [(NAME, signature(BODY.upper(), SECRET))],
    "in base64": [(NAME, "sha256=" + base64.b64encode(bytes.fromhex(HEX)).decode())],
    "a hash without a secret": [(NAME, "sha256=" + hashlib.sha256(BODY).hexdigest())],
    "a hash of secret and body": [(NAME, "sha256=" + hashlib.sha256(SECRET.encode() + BODY).hexdigest())],
    "secret and body exchanged": [(NAME, signature(SECRET.encode(), BODY))],
    "the secret itself": [(NAME, "sha256=" + SECRET)],
    "the first digit changed": [(NAME, "sha256=" + flipped(HEX, 0))],
    "the last digit changed": [(NAME, "sha256=" + flipped(HEX, 63))],
    "zeros": [(NAME, "sha256=" + "0" * 64)],
    "in quotes": [(NAME, f'"{SIGNED}"')],
    "bytes that are no text": [(NAME, b"sha256=" + b"\xff" * 64)],
    "letters that are not ASCII": [(NAME, ("sha256=" + "é" * 64).encode())],
    "wide digits": [(NAME, ("sha256=" + "".join(chr(ord(c) + 0xFEE0) for c in HEX)).encode())],
    "a tab within": [(NAME, SIGNED[:20] + "\t" + SIGNED[20:])],
    "as a bearer token": [("Authorization", "Bearer " + SIGNED)],
    "as a cookie": [("Cookie", f"{NAME}={SIGNED}")],
    "Slack's header": [("X-Slack-Signature", "v0=" + HEX), ("X-Slack-Request-Timestamp", "1531420618")],
    "Stripe's header": [("Stripe-Signature", "t=1492774577,v1=" + HEX)],
    "the standard webhooks' header": [("webhook-signature", "v1," + HEX), ("webhook-id", "a")],
    "GitLab's token": [("X-Gitlab-Token", SECRET)],
    "an underscore for a dash": [("X_Hub_Signature_256", SIGNED)],
    "a method that is overridden": [("X-HTTP-Method-Override", "POST")],
}  # fmt: skip


@pytest.mark.parametrize("name", BYPASSES)
async def test_no_bypass_of_the_signature_sets_anything_off(name: str) -> None:
    inbox = Inbox()
    async with serving(intake=inbox) as server:
        answer = await post(server, BODY, BYPASSES[name])
    assert (answer.status, answer.json) == (401, {"error": "Invalid signature"})
    assert inbox.deliveries == []


async def test_a_signature_in_the_query_or_behind_the_body_is_none() -> None:
    inbox = Inbox()
    chunks = b"%x\r\n%s\r\n0\r\n%s: %s\r\n\r\n" % (len(BODY), BODY, NAME.encode(), SIGNED.encode())
    chunked = [("Transfer-Encoding", "chunked"), ("Trailer", NAME)]
    async with serving(intake=inbox) as server:
        assert (await post(server, target=f"/hook?{NAME}={SIGNED}")).status == 401
        answer = await ask(server.port or 0, request("POST", "/hook", chunks, chunked, length=-1))
    assert answer is not None
    assert answer.status == 401
    assert inbox.deliveries == []


@pytest.mark.parametrize(
    "headers",
    [
        [(NAME, SIGNED)],
        [(NAME.lower(), SIGNED)],
        [(NAME.upper(), SIGNED)],
        [(NAME, f"  {SIGNED} \t")],
        [("X-Hub-Signature", "sha1=wrong"), (NAME, SIGNED)],
    ],
)
async def test_the_right_signature_is_taken_however_its_header_is_written(headers: Sent) -> None:
    async with serving(intake=Inbox()) as server:
        assert (await post(server, BODY, headers)).status == 202


async def test_a_signed_body_in_chunks_is_taken() -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
    headers = [(NAME, SIGNED), ("Transfer-Encoding", "chunked")]
    inbox = Inbox()
    async with serving(intake=inbox) as server:
        await ask(server.port or 0, request("POST", "/hook", chunks, headers, length=-1))
    assert inbox.event.data["payload"] == json.loads(BODY)


async def test_bad_signatures_leave_other_routes_alone() -> None:
    routes = (WebhookRoute("a", "/hook", secret=SECRET), WebhookRoute("b", "/other", secret=SECRET))
    async with serving(*routes, intake=Inbox()) as server:
        async with await RawClient.open(server.port or 0) as client:
            await client.send(request("POST", "/hook", BODY, [(NAME, "sha256=0")]) * 100)
            answers = [await client.answer() for _ in range(100)]
        assert {answer.status for answer in answers if answer} == {401}
        assert (await post_signed(server, target="/other")).status == 202


# --- bodies -----------------------------------------------------------------------------------

BODIES = {
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep and unfinished": b"[" * 500_000,
    "just too deep": b"[" * 200 + b"]" * 200,
    "a number of 100,000 digits": b"9" * 100_000,
    "a fraction of 100,000 digits": b"0." + b"9" * 100_000,
    "an exponent beyond a double": b"1e400",
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": [-Infinity, Infinity]}',
    "a lone surrogate": b'{"\\ud800": "\\udfff"}',
    "a surrogate in bytes": b'"\xed\xa0\x80"',
    "NUL escaped": b'{"\\u0000": "\\u0000"}',
    "NUL raw": b'"\x00"',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "Latin-1": '{"a": "é"}'.encode("latin-1"),
    "a key twice": b'{"a": 1, "a": {"b": 2}}',
    "100,000 keys": json.dumps({str(n): n for n in range(50_000)}).encode(),
    "keys that collide": json.dumps({str(n * (2**61 - 1)): 0 for n in range(20_000)}).encode(),
    "reserved keys": b'{"resume_session_id": "session_20260101_000000_00000000", "session_state": {"status": 1}}',
    "reserved key at the top": b'{"event": 1, "input": 2, "entry_point": "x", "execution_id": "y"}',
    "prototype": b'{"__proto__": {"a": 1}, "constructor": 1, "__class__": 1}',
    "XML": b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
    "YAML": b"a: !!python/object/apply:os.system ['true']",
    "a pickle": b"cos\nsystem\n(S'true'\ntR.",
    "a form": b"payload=%7B%22a%22%3A1%7D",
    "line separators": '{"a": "\u2028\u2029\x85"}'.encode(),
    "terminal codes": b'{"a": "\\u001b[31m\\r\\n"}',
    "whitespace": b" \n\t\r ",
    "nothing": b"",
    "a large text": b'"' + b"x" * 1_000_000 + b'"',
    "a million brackets in text": b'"' + b"[" * 1_000_000 + b'"',
    "half": b'{"a": ',
    "true": b"true",
    "bytes": bytes(range(256)) * 10,
}


@pytest.mark.parametrize("name", BODIES)
async def test_any_body_becomes_an_event_that_can_be_stored_and_read_back(name: str) -> None:
    inbox = Inbox()
    async with serving(intake=inbox) as server:
        answer = await post_signed(server, BODIES[name])
        assert answer.status == 202
    kept = dumps({"event": inbox.event.to_dict()})
    payload = json.loads(kept, parse_constant=pytest.fail)["event"]["data"]["payload"]
    assert payload == inbox.event.data["payload"]


# --- with the real queue ----------------------------------------------------------------------


class Quiet:
    """Listens to the store and takes no note."""

    def committed(
        self, fence: Fence | None, step: StepCommit | None, events: Sequence[StoredEvent]
    ) -> None: ...

    def queued(self, lane: str) -> None: ...


def queueing(store: Store) -> Callable[[Delivery], Any]:
    async def intake(delivery: Delivery) -> list[str]:
        submission = Submission(
            agent="ops",
            graph_id="g",
            entry_point="hook",
            stream_id="hook",
            session_id=new_session_id(0.0),
            input=dumps({"event": delivery.event.to_dict()}),
            source="webhook",
            dedupe=Dedupe("ops/hook", delivery.delivery_id, delivery.body_hash, 600.0),
        )
        return [(await store.queue.submit(submission)).execution_id]

    return intake


async def test_a_202_means_that_a_row_is_there_and_a_refusal_that_none_is(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path, Quiet()) as store, serving(intake=queueing(store)) as server:
        for header in (NAME, "X-Hub-Signature"):
            await post(server, BODY, [(header, SIGNED), ("X-GitHub-Delivery", "d1")])
        rows = await store.executions.query(ExecutionFilter(limit=10))
    assert len(rows) == 1


async def test_a_delivery_that_comes_again_is_answered_with_the_same_execution(
    tmp_path: Path,
) -> None:
    named = [("X-GitHub-Delivery", "d1")]
    async with open_sqlite(tmp_path, Quiet()) as store, serving(intake=queueing(store)) as server:
        answers = await asyncio.gather(*(post_signed(server, headers=named) for _ in range(5)))
        other = await post_signed(server, b'{"other": 1}', headers=named)
    assert len({answer.json["execution_id"] for answer in answers}) == 1
    assert (other.status, list(other.json)) == (409, ["error"])


async def test_many_connections_at_once_are_all_answered(tmp_path: Path) -> None:
    async def deliver(port: int, first: int) -> list[str]:
        async with await RawClient.open(port) as client:
            ids = []
            for n in range(first, first + 10):
                headers = [(NAME, SIGNED), ("X-GitHub-Delivery", f"d{n}")]
                await client.send(request("POST", "/hook", BODY, headers))
                answer = await client.answer()
                assert answer is not None
                ids.append(answer.json["execution_id"])
            return ids

    async with open_sqlite(tmp_path, Quiet()) as store, serving(intake=queueing(store)) as server:
        port = server.port or 0
        batches = await asyncio.gather(*(deliver(port, n * 10) for n in range(64)))
    assert len({id for batch in batches for id in batch}) == 640


async def test_short_deadlines_hold_for_webhooks_too() -> None:
    limits = replace(ListenerLimits(), body_seconds=0.1)
    inbox = Inbox()
    async with serving(intake=inbox, limits=limits) as server:
        answer = await ask(server.port or 0, request(length=50))
    assert answer is not None
    assert answer.status == 408
    assert inbox.deliveries == []
