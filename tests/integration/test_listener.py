"""The TCP listener against senders that are slow, endless, ambiguous or many. Real sockets, short deadlines."""

import asyncio
import errno
import gzip
import logging
import os
import resource
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus

import pytest
import uvloop
from aiohttp import web

from hive_daemon.http.answers import RequestRefused, json_answer
from hive_daemon.http.body import read_body
from hive_daemon.http.limits import BURST, RESERVED_DESCRIPTORS, ListenerLimits, connection_limit
from hive_daemon.http.listener import Listener
from tests.fakes.raw_http import RawAnswer, RawClient, ask, request

QUICK = ListenerLimits(
    head_seconds=0.3, body_seconds=0.3, idle_seconds=0.6, linger_seconds=0.2, max_body=10_000
)
PATIENT = replace(QUICK, head_seconds=60.0, body_seconds=60.0, idle_seconds=60.0)
CLOSES_SECONDS = 20.0
"""How long a test waits for a close before it gives up; no deadline here is near it."""


async def echo(asked: web.BaseRequest) -> web.StreamResponse:
    """Answer how long the body is; what is not asked at /hook is answered unread."""
    if asked.raw_path != "/hook":
        return json_answer(404, {"error": "Not found"})
    return json_answer(202, {"bytes": len(await read_body(asked))})


class Slow:
    """A handler that answers when it is told to."""

    def __init__(self) -> None:
        self.began = asyncio.Semaphore(0)
        self.go_on = asyncio.Event()
        self.was_cancelled = False

    async def __call__(self, asked: web.BaseRequest) -> web.StreamResponse:
        await read_body(asked)
        self.began.release()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return json_answer(202, {"slow": True})


@asynccontextmanager
async def listening(
    limits: ListenerLimits = QUICK,
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] = echo,
) -> AsyncIterator[tuple[Listener, int]]:
    listener = Listener("127.0.0.1", 0, limits)
    await listener.start(handler)
    port = listener.port
    assert port
    try:
        yield listener, port
    finally:
        await listener.stop(0.2)
    assert listener.connections == 0


async def close_of(client: RawClient) -> bytes:
    return await asyncio.wait_for(client.closed(), CLOSES_SECONDS)


async def answers_to(port: int, data: bytes) -> list[RawAnswer]:
    async with await RawClient.open(port) as client:
        await client.send(data)
        return await asyncio.wait_for(client.answers(), CLOSES_SECONDS)


async def status_on(client: RawClient) -> int | None:
    answer = await client.answer()
    return answer.status if answer else None


async def status_of(port: int, data: bytes) -> int | None:
    answer = await ask(port, data)
    return answer.status if answer else None


async def statuses(port: int, data: bytes) -> list[int]:
    return [answer.status for answer in await answers_to(port, data)]


# --- opening and closing ----------------------------------------------------------------------


async def test_port_0_becomes_a_real_port_and_none_after_the_stop() -> None:
    listener = Listener("127.0.0.1", 0)
    assert listener.port is None
    await listener.start(echo)
    answer = await ask(listener.port or 0, request(body=b"{}"))
    assert answer is not None
    assert answer.json == {"bytes": 2}
    await listener.stop()
    assert listener.port is None


async def test_a_taken_port_is_told_with_its_errno() -> None:
    async with listening() as (_, port):
        second = Listener("127.0.0.1", port)
        with pytest.raises(
            OSError, match=rf"cannot listen on 127.0.0.1 port {port}: Address"
        ) as error:
            await second.start(echo)
        assert error.value.errno == errno.EADDRINUSE
        assert second.port is None


async def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1 port 0") as error:
        await Listener("192.0.2.1", 0).start(echo)
    assert error.value.errno == errno.EADDRNOTAVAIL


async def test_a_listener_starts_again_on_its_port_at_once() -> None:
    async with listening() as (_, port):
        assert await ask(port, request()) is not None
    again = Listener("127.0.0.1", port)
    await again.start(echo)
    assert await ask(port, request()) is not None
    await again.stop()


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="no IPv6 here")
async def test_it_listens_on_ip6() -> None:
    listener = Listener("::1", 0)
    await listener.start(echo)
    async with await RawClient.open(listener.port or 0, "::1") as client:
        await client.send(request())
        assert await status_on(client) == 202
    assert listener.is_loopback
    await listener.stop()


async def test_a_name_is_listened_on_by_its_ip4_address() -> None:
    listener = Listener("localhost", 0)
    await listener.start(echo)
    assert await ask(listener.port or 0, request()) is not None
    assert listener.is_loopback
    await listener.stop()


async def test_all_networks_are_no_loopback() -> None:
    listener = Listener("0.0.0.0", 0)
    await listener.start(echo)
    assert not listener.is_loopback
    await listener.stop()


async def test_stopping_what_never_started_does_nothing() -> None:
    await Listener("127.0.0.1", 0).stop()


# --- time -------------------------------------------------------------------------------------


async def test_a_sender_of_nothing_is_closed_without_a_word() -> None:
    async with listening() as (_, port), await RawClient.open(port) as client:
        assert await close_of(client) == b""


@pytest.mark.parametrize(
    "half",
    [
        b"P",
        b"POST /hook",
        b"POST /hook HTTP/1.1\r\nHost: x\r\nX-Slow: a",
        b"POST /hook HTTP/1.1\r\nHost: x\r\n",
    ],
)
async def test_half_a_head_is_timed_out(half: bytes) -> None:
    async with listening() as (_, port):
        [answer] = await answers_to(port, half)
        assert (answer.status, answer.json) == (408, {"error": "Request Timeout"})


@pytest.mark.parametrize(
    "half",
    [
        request(body=b"{", length=20),
        request(body=b"", length=20),
        request(headers=[("Transfer-Encoding", "chunked")], length=-1),
        request(body=b"5\r\nab", headers=[("Transfer-Encoding", "chunked")], length=-1),
        request(body=b"2\r\nab\r\n0\r\n", headers=[("Transfer-Encoding", "chunked")], length=-1),
    ],
    ids=["half", "none", "no chunk", "stalled chunk", "no end"],
)
async def test_half_a_body_is_timed_out(half: bytes) -> None:
    async with listening() as (_, port):
        [answer] = await answers_to(port, half)
        assert (answer.status, answer.headers["connection"]) == (408, "close")


@pytest.mark.parametrize("opening", [b"POST /hook HTTP/1.1\r\nX: ", request(length=5_000)])
async def test_dripping_bytes_win_no_time(opening: bytes) -> None:
    async with listening() as (_, port), await RawClient.open(port) as client:
        await client.send(opening)
        answering = asyncio.ensure_future(client.answers())
        for _ in range(5_000):
            await client.send(b"a")
            done, _ = await asyncio.wait({answering}, timeout=0.01)
            if done:
                break
        assert [answer.status for answer in await answering] == [408]


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async with listening() as (_, port), await RawClient.open(port) as client:
        await client.send(request())
        assert await status_on(client) == 202
        assert await close_of(client) == b""


async def test_a_further_request_has_its_own_deadline_from_its_first_byte() -> None:
    async with (
        listening(replace(QUICK, idle_seconds=60.0)) as (_, port),
        await RawClient.open(port) as client,
    ):
        await client.send(request())
        await client.answer()
        await client.send(b"POST /hook HT")
        [answer] = await asyncio.wait_for(client.answers(), CLOSES_SECONDS)
        assert answer.status == 408


async def test_an_answer_may_take_longer_than_any_deadline_of_the_sender() -> None:
    slow = Slow()
    async with (
        listening(replace(QUICK, head_seconds=0.05, idle_seconds=0.05), slow) as (_, port),
        await RawClient.open(port) as late,
        await RawClient.open(port) as idle,
    ):
        await late.send(request(body=b"{}"))
        await slow.began.acquire()
        # Whoever came at the same time has been closed by now.
        assert await close_of(idle) == b""
        slow.go_on.set()
        assert await status_on(late) == 202


async def test_a_request_that_arrives_in_pieces_is_answered() -> None:
    whole = request(body=b'{"a": 1}')
    async with listening() as (_, port), await RawClient.open(port) as client:
        for start in range(0, len(whole), 7):
            await client.send(whole[start : start + 7])
            await asyncio.sleep(0)
        answer = await client.answer()
        assert answer is not None
        assert answer.json == {"bytes": 8}


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with listening() as (_, port), await RawClient.open(port) as client:
        await client.send(b"".join(request(body=b"x" * size) for size in range(50)))
        answers = [await client.answer() for _ in range(50)]
        assert [answer.json["bytes"] for answer in answers if answer] == list(range(50))


# --- size -------------------------------------------------------------------------------------


async def test_an_announced_oversize_is_refused_before_any_of_it_came() -> None:
    async with listening(PATIENT) as (_, port):
        answer = await ask(port, request(length=2_000_000_000))
        assert answer is not None
        assert (answer.status, answer.headers["connection"]) == (413, "close")


async def test_an_oversize_without_announcement_is_refused_at_the_limit() -> None:
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    async with listening(PATIENT) as (_, port), await RawClient.open(port) as client:
        await client.send(request(headers=[("Transfer-Encoding", "chunked")], length=-1))
        await client.send(chunk * 3)
        assert await status_on(client) == 413


async def test_the_rest_of_an_oversize_is_not_read() -> None:
    async with listening(PATIENT) as (_, port), await RawClient.open(port) as client:
        await client.send(request(length=2_000_000_000))
        assert await status_on(client) == 413
        pouring = asyncio.ensure_future(pour(client))
        await close_of(client)
        assert await pouring < 50_000_000


async def pour(client: RawClient) -> int:
    """Send without end; return how much was taken before the connection broke."""
    poured = 0
    while not client.is_broken:
        await client.send(b"x" * 65_536)
        poured += 65_536
    return poured


@pytest.mark.parametrize(("size", "status"), [(10_000, 202), (10_001, 413)])
async def test_the_limit_of_a_body_is_exact(size: int, status: int) -> None:
    async with listening() as (_, port):
        assert await status_of(port, request(body=b"x" * size)) == status


async def test_a_large_body_in_one_piece_is_not_taken_for_a_head() -> None:
    async with listening(replace(QUICK, max_body=5_000_000)) as (_, port):
        answer = await ask(port, request(body=b"x" * 3_000_000))
        assert answer is not None
        assert answer.json == {"bytes": 3_000_000}


async def test_a_head_without_end_is_refused_long_before_its_deadline() -> None:
    lines = b"".join(b"X-%d: %s\r\n" % (n, b"a" * 4000) for n in range(30))
    async with listening(PATIENT) as (_, port):
        assert await statuses(port, b"POST /hook HTTP/1.1\r\n" + lines) == [431]


async def test_a_body_is_invited_only_where_it_is_wanted() -> None:
    expecting = [("Expect", "100-continue")]
    async with listening(PATIENT) as (_, port):
        async with await RawClient.open(port) as client:
            await client.send(request(headers=expecting, length=2))
            invited = await client.answer()
            await client.send(b"{}")
            answer = await client.answer()
        assert invited is not None
        assert answer is not None
        assert (invited.status, answer.status) == (100, 202)
        refused = await ask(port, request(headers=expecting, length=2_000_000))
        assert refused is not None
        assert refused.status == 413
        unread = await ask(port, request(target="/nope", headers=expecting, length=2))
        assert unread is not None
        assert unread.status == 404


async def test_after_an_unread_small_body_the_connection_goes_on() -> None:
    async with listening(PATIENT) as (_, port), await RawClient.open(port) as client:
        await client.send(request(target="/nope", length=100))
        first = await client.answer()
        await client.send(b"x" * 100 + request())
        second = await client.answer()
        assert first is not None
        assert second is not None
        assert (first.status, second.status) == (404, 202)


async def test_an_unread_body_that_stalls_is_waited_for_a_moment_only() -> None:
    async with listening(replace(PATIENT, linger_seconds=0.1)) as (_, port):
        assert await statuses(port, request(target="/nope", body=b"x", length=100)) == [404]


async def test_a_body_cut_short_by_the_sender_sets_nothing_off() -> None:
    reached = []

    async def handler(asked: web.BaseRequest) -> web.StreamResponse:
        await read_body(asked)
        reached.append(asked)
        return json_answer(202, {})

    async with listening(QUICK, handler) as (_, port), await RawClient.open(port) as client:
        await client.send(request(body=b"{", length=20))
        client.finish()
        await close_of(client)
    assert reached == []


# --- what two readers might read differently --------------------------------------------------

START = b"POST /hook HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
ONE_CHUNK = b"2\r\n{}\r\n0\r\n\r\n"

AMBIGUOUS = {
    "length and chunks": START + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "chunks and length": START + CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": START + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "the same length twice": START + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": START + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a plus": START + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": START + b"Content-Length: -2\r\n\r\n{}",
    "a length in hex": START + b"Content-Length: 0x2\r\n\r\n{}",
    "a length with a point": START + b"Content-Length: 2.0\r\n\r\n{}",
    "a length in Arabic digits": START + b"Content-Length: \xd9\xa2\r\n\r\n{}",
    "a length beyond 64 bits": START + b"Content-Length: 36893488147419103234\r\n\r\n{}",
    "an empty length": START + b"Content-Length: \r\n\r\n{}",
    "a space before the colon": START + b"Content-Length : 2\r\n\r\n{}",
    "a coding that is none": START + b"Transfer-Encoding: xchunked\r\n\r\n" + ONE_CHUNK,
    "identity as a coding": START + b"Transfer-Encoding: identity\r\n\r\n{}",
    "a coding after chunked": START + b"Transfer-Encoding: chunked, identity\r\n\r\n" + ONE_CHUNK,
    "a coding before chunked": START + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + ONE_CHUNK,
    "chunked twice": START + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + ONE_CHUNK,
    "two codings": START + CHUNKED + b"Transfer-Encoding: x\r\n\r\n" + ONE_CHUNK,
    "a coding behind a vertical tab": START + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + ONE_CHUNK,
    "a coding with a space before its colon": START + b"Transfer-Encoding : chunked\r\n\r\n" + ONE_CHUNK,
    "chunks in HTTP/1.0": b"POST /hook HTTP/1.0\r\nHost: x\r\n" + CHUNKED + b"\r\n" + ONE_CHUNK,
    "a chunk size that is none": START + CHUNKED + b"\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk size": START + CHUNKED + b"\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a chunk size with a prefix": START + CHUNKED + b"\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk size beyond 64 bits": START + CHUNKED + b"\r\n10000000000000002\r\n{}\r\n0\r\n\r\n",
    "chunks with bare line feeds": START + CHUNKED + b"\r\n2\n{}\n0\n\n",
    "a chunk longer than it says": START + CHUNKED + b"\r\n2\r\n{}AA0\r\n\r\n",
    "a folded header": START + b"X-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}",
    "a folded coding": START + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + ONE_CHUNK,
    "bare line feeds": b"POST /hook HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}",
    "a bare carriage return": b"POST /hook HTTP/1.1\r\nHost: x\rX: y\r\nContent-Length: 2\r\n\r\n{}",
    "NUL in a value": START + b"X-A: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    "NUL in a name": START + b"X\0A: b\r\nContent-Length: 2\r\n\r\n{}",
    "NUL in the target": b"POST /ho\0ok HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    "a header without a colon": START + b"nonsense\r\nContent-Length: 2\r\n\r\n{}",
    "two hosts": START + b"Host: y\r\nContent-Length: 2\r\n\r\n{}",
    "no host": b"POST /hook HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/0.9": b"GET /hook\r\n\r\n",
    "HTTP/1.2": b"POST /hook HTTP/1.2\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/3.0": b"POST /hook HTTP/3.0\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method in small letters": b"post /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    "a method that is none": b"FROB /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    "a target with raw bytes": b"POST /\xff\xfe HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    "a target with a space": b"POST /ho ok HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    "an absolute target that is broken": b"POST http://[::x/hook HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100,
    "a long target": b"POST /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    "a long header": START + b"X: " + b"a" * 9000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    "many headers": START + b"X: a\r\n" * 200 + b"Content-Length: 2\r\n\r\n{}",
}  # fmt: skip


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_what_two_readers_might_read_differently_is_refused(name: str) -> None:
    accepted = []

    async def handler(asked: web.BaseRequest) -> web.StreamResponse:
        accepted.append(await read_body(asked))
        return json_answer(202, {})

    async with listening(PATIENT, handler) as (_, port):
        answers = await answers_to(port, AMBIGUOUS[name] + request(target="/smuggled"))
    assert ({answer.status for answer in answers}, accepted) == ({400}, [])


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n" + request(body=b"{}"),
        START + CHUNKED + b"\r\n" + ONE_CHUNK,
        b"POST /hook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\tChunked \r\n\r\n" + ONE_CHUNK,
        b"POST /hook HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /hook HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_what_every_reader_reads_alike_is_taken(data: bytes) -> None:
    async with listening(PATIENT) as (_, port):
        answer = await ask(port, data)
        assert answer is not None
        assert answer.json == {"bytes": 2}


# --- answers and the log ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [*AMBIGUOUS.values(), request(), request(target="/nope"), request(length=99_999)]
)
async def test_no_answer_tells_versions_or_repeats_the_request(data: bytes) -> None:
    async with listening(PATIENT) as (_, port):
        answer = await ask(port, data)
    assert answer is not None
    assert answer.headers["server"] == "hive"
    assert answer.headers["content-type"].startswith("application/json")
    assert len(answer.body) < 100


async def test_bad_requests_leave_no_trace_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with listening() as (_, port):
            for data in AMBIGUOUS.values():
                await ask(port, data)
            await ask(port, request(target="/hook?token=secret", body=b"{", length=9))
            await answers_to(port, b"POST /hook HTT")
    assert caplog.records == []


async def test_a_fault_of_ours_is_logged_once_and_told_without_its_cause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(asked: web.BaseRequest) -> web.StreamResponse:
        raise RuntimeError("/srv/hive/secret")

    async with listening(PATIENT, handler) as (_, port):
        answer = await ask(port, request(target="/hook?token=secret"))
    assert answer is not None
    assert (answer.status, answer.json) == (500, {"error": "Internal error"})
    assert [record.getMessage() for record in caplog.records] == ["a request failed"]
    assert "token" not in caplog.records[0].__dict__.get("path", "")


@pytest.mark.parametrize("faulty", [None, web.Response(headers={"X-Split": "a\r\nb"})])
async def test_an_answer_that_is_none_is_a_fault_of_ours_too(
    faulty: web.Response, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(asked: web.BaseRequest) -> web.StreamResponse:
        return faulty

    async with listening(PATIENT, handler) as (_, port):
        answers = await answers_to(port, request())
    assert [answer.status for answer in answers] in ([], [500])
    assert {answer.headers["server"] for answer in answers} <= {"hive"}
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_a_refusal_of_the_handler_is_answered() -> None:
    async def handler(asked: web.BaseRequest) -> web.StreamResponse:
        raise RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, "Not now", closes=False, retry_after=7)

    async with listening(PATIENT, handler) as (_, port):
        answer = await ask(port, request())
    assert answer is not None
    assert (answer.status, answer.json) == (503, {"error": "Not now"})
    assert answer.headers["retry-after"] == "7"


async def test_senders_that_break_off_anywhere_leave_no_trace_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = request(body=b"x" * 50_000)
    reset = struct.pack("ii", 1, 0)
    async with listening(PATIENT) as (listener, port):
        for end in (0, 5, 60, 200, 30_000, len(whole), 3 * len(whole)):
            for is_reset in (False, True):
                client = await RawClient.open(port)
                if is_reset:
                    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                await client.send((whole * 3)[:end])
                await client.close()
        assert await status_of(port, request()) == 202
        await until(lambda: listener.connections == 0)
    assert [r for r in caplog.records if r.levelno >= logging.INFO] == []


async def test_a_sender_that_leaves_before_its_answer_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slow = Slow()
    async with listening(PATIENT, slow) as (_, port):
        async with await RawClient.open(port) as gone:
            await gone.send(request(body=b"{}"))
            await slow.began.acquire()
        slow.go_on.set()
        assert await status_of(port, request(body=b"{}")) == 202
    assert not slow.was_cancelled
    assert [r for r in caplog.records if r.levelno >= logging.INFO] == []


# --- many -------------------------------------------------------------------------------------


async def test_when_all_places_are_taken_the_longest_waiting_gives_way() -> None:
    async with (
        listening(replace(PATIENT, connections=2)) as (listener, port),
        await RawClient.open(port) as oldest,
        await RawClient.open(port) as younger,
    ):
        await younger.send(b"POST /hook")
        assert await status_of(port, request()) == 202
        assert await close_of(oldest) == b""
        assert listener.connections <= 2
        await younger.send(b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert await status_on(younger) == 202


async def test_a_request_that_is_being_answered_never_gives_way() -> None:
    slow = Slow()
    async with (
        listening(replace(PATIENT, connections=2), slow) as (_, port),
        await RawClient.open(port) as one,
        await RawClient.open(port) as other,
    ):
        for client in (one, other):
            await client.send(request(body=b"{}"))
            await slow.began.acquire()
        [refused] = await answers_to(port, b"")
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        slow.go_on.set()
        assert (await status_on(one), await status_on(other)) == (202, 202)


async def test_a_body_that_came_in_pieces_is_safe_while_it_is_answered() -> None:
    slow = Slow()
    async with (
        listening(replace(PATIENT, connections=1), slow) as (_, port),
        await RawClient.open(port) as client,
    ):
        await client.send(request(headers=[("Expect", "100-continue")], length=4))
        assert await status_on(client) == 100
        await client.send(b"[ ] ")
        await slow.began.acquire()
        assert await statuses(port, b"") == [503]
        slow.go_on.set()
        assert await status_on(client) == 202


async def test_a_flood_of_idle_connections_keeps_nobody_out() -> None:
    async with listening(replace(PATIENT, connections=20)) as (listener, port):
        flood = [await RawClient.open(port) for _ in range(200)]
        for _ in range(10):
            assert await status_of(port, request(body=b"{}")) == 202
        assert listener.connections <= 20
        for client in flood:
            await client.close()


async def test_sixty_slow_senders_of_each_kind_are_all_closed_and_honest_ones_served() -> None:
    kinds = [
        b"",
        b"POST",
        b"POST /hook HTTP/1.1\r\nX: a",
        request(length=50),
        request(body=b"5\r\nab", headers=[("Transfer-Encoding", "chunked")], length=-1),
        request(target="/nope", body=b"a", length=50),
    ]
    async with listening(QUICK) as (listener, port):
        clients = []
        for _ in range(60):
            for kind in kinds:
                clients.append(await RawClient.open(port))
                await clients[-1].send(kind)
        assert await status_of(port, request(body=b"{}")) == 202
        await asyncio.gather(*(close_of(client) for client in clients))
        assert listener.connections == 0
        for client in clients:
            await client.close()


async def test_running_out_of_descriptors_costs_a_rest_and_no_spinning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with listening(PATIENT) as (_, port):
        early = socket.create_connection(("127.0.0.1", port))
        early.setblocking(False)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        taken = all_descriptors()
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(early, request(body=b"{}"))
            await until(lambda: bool(caplog.records))
            # Were it told again at once, these turns of the loop would fill the log.
            for _ in range(100):
                await asyncio.sleep(0)
            assert len(caplog.records) == 1
        finally:
            for descriptor in taken:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        received = await asyncio.wait_for(loop.sock_recv(early, 100), CLOSES_SECONDS)
        assert received.startswith(b"HTTP/1.1 202 ")
        early.close()


def all_descriptors() -> list[int]:
    """Take every descriptor that is left."""
    taken = []
    while True:
        try:
            taken.append(os.dup(0))
        except OSError:
            return taken


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop run until something holds."""
    while not holds():
        await asyncio.sleep(0)


def test_the_limit_leaves_descriptors_for_the_store() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (160, hard))
        assert connection_limit() == 160 - BURST - RESERVED_DESCRIPTORS
        assert ListenerLimits().connections == 64
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- the end ----------------------------------------------------------------------------------


async def test_a_stop_lets_a_request_end_that_is_being_answered() -> None:
    slow = Slow()
    listener = Listener("127.0.0.1", 0, PATIENT)
    await listener.start(slow)
    async with await RawClient.open(listener.port or 0) as client:
        await client.send(request(body=b"{}"))
        await slow.began.acquire()
        stopping = asyncio.ensure_future(listener.stop(60))
        await asyncio.sleep(0)
        slow.go_on.set()
        assert await status_on(client) == 202
        assert await close_of(client) == b""
        await stopping


async def test_a_stop_closes_what_waits_and_refuses_half_a_body() -> None:
    listener = Listener("127.0.0.1", 0, PATIENT)
    await listener.start(echo)
    port = listener.port or 0
    async with (
        await RawClient.open(port) as silent,
        await RawClient.open(port) as half_head,
        await RawClient.open(port) as half_body,
        await RawClient.open(port) as idle,
    ):
        await half_head.send(b"POST /hook HT")
        await half_body.send(request(headers=[("Expect", "100-continue")], length=10))
        await half_body.answer()
        await idle.send(request())
        await idle.answer()
        await listener.stop(60)
        [refused] = await half_body.answers()
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        for client in (silent, half_head, idle):
            assert await close_of(client) == b""
        with pytest.raises(ConnectionRefusedError):
            await RawClient.open(port)


async def test_a_stop_cuts_what_outlasts_its_grace() -> None:
    slow = Slow()
    listener = Listener("127.0.0.1", 0, PATIENT)
    await listener.start(slow)
    async with await RawClient.open(listener.port or 0) as client:
        await client.send(request(body=b"{}"))
        await slow.began.acquire()
        await listener.stop(0.05)
        assert await close_of(client) == b""
    assert slow.was_cancelled
    assert listener.connections == 0


def test_deadlines_places_and_the_stop_hold_on_uvloop_too() -> None:
    async def scenario() -> None:
        await test_half_a_head_is_timed_out(b"POST /hook")
        await test_half_a_body_is_timed_out(request(length=20))
        await test_a_sender_of_nothing_is_closed_without_a_word()
        await test_when_all_places_are_taken_the_longest_waiting_gives_way()
        await test_a_request_that_is_being_answered_never_gives_way()
        await test_a_large_body_in_one_piece_is_not_taken_for_a_head()
        await test_a_stop_closes_what_waits_and_refuses_half_a_body()
        await test_a_stop_cuts_what_outlasts_its_grace()
        await test_a_taken_port_is_told_with_its_errno()

    uvloop.run(scenario())


async def test_a_packed_body_comes_as_it_was_sent() -> None:
    packed = gzip.compress(b"{}" * 4000)
    async with listening(PATIENT) as (_, port):
        answer = await ask(port, request(body=packed, headers=[("Content-Encoding", "gzip")]))
        assert answer is not None
        assert answer.json == {"bytes": len(packed)}
