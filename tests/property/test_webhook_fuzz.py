"""Whatever is sent to a webhook, it is answered below 500 or the connection is closed, and the next one is served."""

import gzip
import json
import re
import socket
import zlib
from collections.abc import Iterator

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hive_daemon.http.answers import RequestRefused
from hive_daemon.http.body import unpack_body
from hive_daemon.http.limits import ListenerLimits
from hive_daemon.runtime.webhook_payload import is_secret_parameter, payload_of, query_of
from hive_daemon.runtime.webhook_schemes import GITHUB_HEADER, Check, Request, Verdict, Verify
from hive_daemon.runtime.webhook_server import WebhookRoute, WebhookServerConfig
from tests.fakes.raw_http import request, signature
from tests.fakes.threaded_webhooks import ThreadedWebhooks, threaded_webhooks

SECRET = "fuzz"
MOMENT = 0.03
LIMITS = ListenerLimits(
    head_seconds=MOMENT,
    body_seconds=MOMENT,
    idle_seconds=MOMENT,
    linger_seconds=MOMENT,
    max_body=5_000,
)
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
over_sockets = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

methods = st.sampled_from(
    ["POST", "GET", "HEAD", "PUT", "OPTIONS", "TRACE", "CONNECT", "PATCH", "X", ""]
)
targets = st.one_of(
    st.sampled_from(
        [b"/hook", b"/open", b"/open?a=b", b"*", b"http://x/open", b"/open#", b"/open?%ff=%", b""]
    ),
    st.binary(max_size=40),
    st.binary(max_size=40).map(lambda tail: b"/open?" + tail),
)
names = st.one_of(
    st.sampled_from(
        [
            *(
                "Content-Encoding",
                "Content-Type",
                "Content-Length",
                "Transfer-Encoding",
                "Trailer",
                "TE",
            ),
            *("Expect", "Connection", "Upgrade", "Host", "User-Agent", "X-GitHub-Delivery"),
            "X-Hub-Signature-256",
        ]
    ),
    st.text(max_size=12),
)
values = st.one_of(
    st.sampled_from(
        [
            b"gzip",
            b"deflate",
            b"br",
            b"100-continue",
            b"close",
            b"upgrade",
            b"websocket",
            b"h2c",
            b"chunked",
            b"0",
            b"",
        ]
    ),
    st.binary(max_size=30),
)
packed = st.binary(max_size=200).map(gzip.compress)
texts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
).map(lambda value: json.dumps(value).encode())
bodies = st.one_of(
    st.binary(max_size=200), packed, texts, st.just(b"[" * 4_000), st.just(b"x" * 6_000)
)


@pytest.fixture(scope="module")
def served() -> Iterator[ThreadedWebhooks]:
    routes = (WebhookRoute("hook", "/hook", secret=SECRET), WebhookRoute("open", "/open"))
    with threaded_webhooks(WebhookServerConfig(port=0, limits=LIMITS), *routes) as served:
        yield served
        assert any(b" 202 " in exchange(served, request(target="/open")) for _ in range(50))
    assert [record.getMessage() for record in served.complaints.records] == []


def exchange(served: ThreadedWebhooks, data: bytes) -> bytes:
    """Send bytes and return everything that comes until the server closes the connection."""
    came = b""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        try:
            connection.sendall(data)
            while chunk := connection.recv(65_536):
                came += chunk
        except ConnectionError:
            pass
    return came


def judge(served: ThreadedWebhooks, data: bytes) -> None:
    served.deliveries.clear()
    came = exchange(served, data)
    assert all(int(status) < 500 for status in STATUS.findall(came)), came
    for delivery in served.deliveries:
        orjson.loads(orjson.dumps(delivery.event.to_dict()))


@over_sockets
@given(methods, targets, st.lists(st.tuples(names, values), max_size=5), bodies)
def test_any_request_is_answered_below_500(
    served: ThreadedWebhooks,
    method: str,
    target: bytes,
    headers: list[tuple[str, bytes]],
    body: bytes,
) -> None:
    judge(served, request(method, target, body, headers))


@over_sockets
@given(bodies, st.data())
def test_a_request_with_anything_changed_is_answered_below_500(
    served: ThreadedWebhooks, body: bytes, data: st.DataObject
) -> None:
    headers = [("X-Hub-Signature-256", signature(body, SECRET)), ("X-GitHub-Delivery", "d")]
    whole = request("POST", "/hook", body, headers)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 30)))
    judge(served, whole[:start] + data.draw(st.binary(max_size=20)) + whole[end:])


@over_sockets
@given(st.binary(max_size=300))
def test_any_bytes_are_answered_below_500(served: ThreadedWebhooks, data: bytes) -> None:
    judge(served, data)


@over_sockets
@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=6))
def test_any_chunks_are_answered_below_500(
    served: ThreadedWebhooks, chunks: list[tuple[bytes, bytes]]
) -> None:
    head = request("POST", "/open", headers=[("Transfer-Encoding", "chunked")], length=-1)
    honest = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk, _ in chunks)
    judge(served, head + honest + b"".join(extra for _, extra in chunks) + b"0\r\n\r\n")


@given(st.binary(max_size=400) | texts)
def test_any_payload_can_be_stored_and_read_back(body: bytes) -> None:
    payload = payload_of(body)
    assert orjson.loads(orjson.dumps({"event": {"data": {"payload": payload}}})) == {
        "event": {"data": {"payload": payload}}
    }


@given(st.text(max_size=60))
def test_no_parameter_that_looks_secret_is_kept(query: str) -> None:
    assert not any(is_secret_parameter(name) for name in query_of(query))


@given(
    st.sampled_from(["gzip", "deflate", "x-gzip", "", "identity"]), st.binary(max_size=300) | packed
)
def test_unpacking_gives_at_most_the_limit_or_refuses(packing: str, taken: bytes) -> None:
    try:
        size = len(unpack_body(taken, packing, 300))
    except RequestRefused as refusal:
        size = 0
        status: int = refusal.status
    else:
        status = 202
    assert size <= 300
    assert status < 500


@given(st.binary(max_size=400))
def test_what_was_packed_comes_back(body: bytes) -> None:
    assert unpack_body(gzip.compress(body), "gzip", 400) == body
    assert unpack_body(zlib.compress(body), "deflate", 400) == body


@given(st.binary(max_size=50), st.binary(min_size=1, max_size=20), st.text(max_size=80))
def test_nothing_but_the_one_text_signs_a_body(body: bytes, key: bytes, given_text: str) -> None:
    right = signature(body, key)
    assert is_signed(body, [right], key)
    assert is_signed(body, [given_text], key) == (given_text == right)
    assert not is_signed(body, [right, given_text], key)


def is_signed(body: bytes, given_texts: list[str], key: bytes) -> bool:
    values = [text.encode() for text in given_texts]
    request = Request({GITHUB_HEADER.lower(): values}, body)
    return Check(Verify.GITHUB, (key,)).judge(request) is Verdict.GENUINE
