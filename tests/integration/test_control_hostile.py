"""Whatever is sent to the control socket: one clear answer, no trace of the inside, and a daemon that lives on.

Source: reliability.md, S04, S09-S11, S16.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from hive_daemon import __version__
from hive_daemon.control import connections, server
from hive_daemon.control.wire import BODY_LIMIT_BYTES, ErrorCode
from tests.fakes.control_client import Client, becomes
from tests.fakes.control_host import is_root, running_host

ROOT = Path(__file__).parent.parent.parent
TRIGGER = "/v1/entry-points/ops/triage/trigger"


@pytest.fixture
async def host(tmp_path):
    async with running_host(tmp_path) as host:
        yield host


@pytest.fixture
def client(host):
    return Client(host.socket)


async def assert_well(host, client):
    """The daemon answers, and nothing was started."""
    assert (await client.get("/v1/health")).json["status"] == "ok"
    assert (await client.get("/v1/executions")).json["items"] == []
    assert sorted(path.name for path in host.socket.parent.iterdir()) == ["hived.sock", "state"]


def assert_clear(reply, status, code):
    """One object of the contract, one line of text each, and nothing about the inside."""
    assert (reply.status, reply.code) == (status, code)
    assert reply.headers["hive-version"] == __version__
    assert reply.headers["content-type"].startswith("application/json")
    assert "python" not in reply.headers["server"].lower()
    assert "aiohttp" not in reply.headers["server"].lower()
    assert set(reply.error) <= {"code", "message", "hint", "candidates"}
    assert reply.error["message"]
    text = reply.content.decode()
    assert "Traceback" not in text
    assert "\\n" not in text
    assert str(ROOT) not in text


# --- paths and ids --------------------------------------------------------------------------

HOSTILE = [
    "../../etc/passwd",
    "..%2F..%2Fetc%2Fpasswd",
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..",
    ".",
    "%00",
    "a%00b",
    "%0d%0aX-Evil: 1",
    "%ff%fe",
    "%F0%9F%90%9D",
    "a%20b",
    "-rf",
    "~root",
    "$(id)",
    "session_20260302_090000_1a2b3c4d%2f..",
    "x" * 65,
    "x" * 4000,
    "%E2%80%AE",
    "..%5c..%5cetc",
    "session_20260302_090000_1a2b3c4d;drop",
    "%25%2e",
]


@pytest.mark.parametrize("id", HOSTILE)
@pytest.mark.parametrize(
    "path",
    [
        "/v1/executions/{}",
        "/v1/sessions/{}",
        "/v1/sessions/{}/state",
        "/v1/sessions/{}/checkpoints",
        "/v1/sessions/{}/events",
    ],
)
async def test_a_path_as_an_id_names_nothing(host, client, path, id):
    reply = await client.get(path.format(id.replace(" ", "%20")))
    if "/" in id or id in (".", ".."):
        assert_clear(reply, reply.status, reply.code)
        assert reply.status in (400, 404)
    else:
        assert_clear(reply, 400, "invalid")
    await assert_well(host, client)


@pytest.mark.parametrize("id", HOSTILE)
async def test_a_path_as_an_address_starts_nothing(host, client, id):
    for path in (
        "/v1/entry-points/{}/trigger",
        "/v1/entry-points/ops/{}/trigger",
        "/v1/entry-points/{}/triage/trigger",
    ):
        reply = await client.post(path.format(id.replace(" ", "%20")))
        assert reply.status in (400, 404)
        assert_clear(reply, reply.status, reply.code)
    await assert_well(host, client)


@pytest.mark.parametrize("session", ["../../x", "", "a/b", "latest\n", "é", "x" * 65, "."])
async def test_a_path_as_a_session_continues_nothing(host, client, session):
    assert_clear(await client.post(TRIGGER, {"session_id": session}), 400, "invalid")
    await assert_well(host, client)


@pytest.mark.parametrize("node", ["../x", "", "a/b", "x" * 65, "a b"])
async def test_a_path_as_a_node_hears_nothing(host, client, node):
    reply = await client.post("/v1/sessions/latest/input", {"text": "x", "node_id": node})
    assert_clear(reply, 400, "invalid")


@pytest.mark.parametrize("timer", ["../x", "", "a/b/c", "ops/report\n", "ops/ report", "*"])
async def test_a_path_as_a_timer_pauses_nothing(client, timer):
    assert_clear(await client.post("/v1/timers/pause", {"ids": [timer]}), 400, "invalid")
    assert all(one["paused"] is None for one in (await client.get("/v1/timers")).json["items"])


async def test_what_is_not_there_is_not_found(host, client):
    for path in ("/", "/v1", "/v1/", "/v2/stats", "/v1/stats/", "//v1/stats", "/v1/executions//"):
        assert_clear(await client.get(path), 404, "not_found")


async def test_a_method_that_a_path_does_not_have_is_refused_with_those_it_has(client):
    reply = await client.ask("DELETE", "/v1/executions")
    assert_clear(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] == "GET"
    assert (await client.get("/v1/drain")).headers["allow"] == "POST"


# --- bodies ---------------------------------------------------------------------------------

NOT_JSON = [
    b"{",
    b"nonsense",
    b"{'a': 1}",
    b'{"input": NaN}',
    b'{"input": {"x": Infinity}}',
    b'{"input": {"x": 1e400}}',
    b'{"input": {"x": ' + b"9" * 100_000 + b"}}",
    b'{"input": {"x": "\\ud800"}}',
    b'{"input": {}} trailing',
    b'\xef\xbb\xbf{"input": {}}',
    '{"input": {}}'.encode("utf-16"),
    '{"input": {}}'.encode("utf-32"),
    b"\x80\x04\x95}\x94.",
    b"<input/>",
    b"input: !!python/object/apply:os.system [id]",
    b"\x00" * 1000,
    b"[" * 100_000,
    b'{"input":' * 100_000,
    b'{"input": ' + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"}",
]


@pytest.mark.parametrize("body", NOT_JSON, ids=lambda body: body[:12].decode("latin-1"))
async def test_a_body_that_is_not_json_is_refused(host, client, body):
    assert_clear(await client.post(TRIGGER, body), 400, "invalid")
    await assert_well(host, client)


@pytest.mark.parametrize(
    "body",
    [
        [],
        "text",
        1,
        None,
        {"input": []},
        {"input": "text"},
        {"input": None},
        {"session_id": 1},
        {"correlation_id": ["x"]},
        {"correlation_id": "x" * 201},
        {"source": "timer"},
        {"source": 1},
        {"inputs": {}},
        {"resume_session_id": "x"},
        {"session_state": {}},
        {"": 1},
    ],
    ids=str,
)
async def test_a_body_of_another_shape_is_refused(host, client, body):
    sent = b"null" if body is None else body
    assert_clear(await client.post(TRIGGER, sent), 400, "invalid")
    await assert_well(host, client)


async def test_an_unknown_key_is_named_with_the_nearest(client):
    reply = await client.post(TRIGGER, {"imput": {}})
    assert '"imput"' in reply.error["message"]
    assert reply.error["hint"] == "did you mean input?"


@pytest.mark.parametrize(
    "value",
    [
        {"resume_session_id": "session_20200101_000000_00000000", "session_state": {"a": 1}},
        {"status": "completed", "execution_id": "x", "memory": {}, "walk": {}},
        {"__class__": "x", "constructor": {"prototype": 1}},
        {"big": 2**63, "real": 1e30, "tiny": 1e-320},
        {"text": "\x00\x1b[31m\u2028\u202e" + "é" * 1000},
        {"wide": {str(n): n for n in range(10_000)}},
        {"api_key": "sk-live-0123456789abcdef0123456789abcdef"},
    ],
    ids=lambda value: next(iter(value)),
)
async def test_an_input_is_data_whatever_its_keys_say(host, client, value):
    host.gate.is_open.set()
    reply = await client.post(TRIGGER, {"input": value})
    assert reply.status == 202
    name = reply.json["execution_id"]
    execution = (await client.get(f"/v1/executions/{name}?wait=15")).json
    assert (execution["id"], execution["status"]) == (name, "completed")
    assert execution["input"] == {key: json.loads(json.dumps(one)) for key, one in value.items()}


async def test_a_body_that_is_announced_too_large_is_not_read(host, client):
    head = f"POST {TRIGGER} HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_LIMIT_BYTES + 1}\r\n\r\n"
    assert_clear(await client.raw(head.encode()), 413, "too_large")
    await assert_well(host, client)


async def test_a_body_without_end_is_cut(host, client):
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    head = f"POST {TRIGGER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert_clear(await client.raw(head + chunk * 17), 413, "too_large")
    await assert_well(host, client)


async def test_a_body_that_is_as_large_as_allowed_is_taken(host, client):
    host.gate.is_open.set()
    body = b'{"input": {"log": "%s"}}' % (b"x" * (BODY_LIMIT_BYTES - 22))
    assert len(body) == BODY_LIMIT_BYTES
    assert (await client.post(TRIGGER, body)).status == 202


async def test_a_client_that_waits_to_be_asked_for_its_body_is(client):
    async with client.connected() as (reader, writer):
        head = (
            f"POST {TRIGGER} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n"
        )
        writer.write(f"{head}\r\n".encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        assert b"202 Accepted" in await reader.readline()


async def test_a_body_that_does_not_come_is_not_waited_for(host, client, monkeypatch):
    monkeypatch.setattr(server, "BODY_SECONDS", 0.05)
    head = f"POST {TRIGGER} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{{"
    assert_clear(await client.raw(head.encode()), 400, "invalid")
    await assert_well(host, client)


async def test_a_body_where_none_is_expected_is_looked_at_all_the_same(client):
    assert (await client.ask("GET", "/v1/stats", {})).status == 200
    assert_clear(await client.ask("GET", "/v1/stats", {"a": 1}), 400, "invalid")


# --- parameters and headers -----------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/v1/executions?limit=0",
        "/v1/executions?limit=501",
        "/v1/executions?limit=x",
        "/v1/executions?limit=-1",
        "/v1/executions?limit=",
        "/v1/executions?limit=%C2%B2",
        "/v1/executions?limit=1&limit=2",
        "/v1/executions?cursor=nonsense",
        "/v1/executions?cursor=kabc",
        "/v1/executions?cursor=n99999999999999999999",
        "/v1/timers?cursor=n1",
        "/v1/executions?status=done",
        "/v1/executions?status=",
        "/v1/executions?entry_point=a/b/c",
        "/v1/executions?agent=..",
        "/v1/executions?session_id=..",
        "/v1/executions?nonsense=1",
        "/v1/stats?x",
        "/v1/executions/latest?wait=61",
        "/v1/executions/latest?wait=-1",
        "/v1/executions/latest?wait=nan",
        "/v1/executions/latest?wait=1e1",
        "/v1/events?after=-1",
        "/v1/events?after=1.5",
        "/v1/events?last=10001",
        "/v1/events?until=never2",
        "/v1/events?live=1",
        "/v1/events?type=",
        "/v1/executions?agent=ops&agent=desk",
    ],
)
async def test_a_parameter_that_does_not_fit_is_refused_by_name(client, path):
    assert_clear(await client.get(path), 400, "invalid")


@pytest.mark.parametrize("id", ["", "-1", "x", "1" * 5000, "1.0", "٣"])
async def test_a_last_event_id_that_is_none_is_refused(client, id):
    head = b"GET /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nLast-Event-ID: %b\r\n\r\n"
    reply = await client.raw(head % id.encode()) if id else None
    if reply is not None:
        assert_clear(reply, 400, "invalid")


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 201, "é", "\x7f"])
async def test_an_idempotency_key_that_is_none_is_refused(host, client, key):
    head = (
        b"POST /v1/entry-points/ops/triage/trigger HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Idempotency-Key: %b\r\nContent-Length: 0\r\n\r\n"
    )
    assert_clear(await client.raw(head % key.encode()), 400, "invalid")
    await assert_well(host, client)


async def test_two_idempotency_keys_are_refused(client):
    head = (
        f"POST {TRIGGER} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n"
        "Idempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n"
    )
    assert_clear(await client.raw(head.encode()), 400, "invalid")


@pytest.mark.parametrize("header", ["Origin", "Referer"])
async def test_a_request_of_a_web_page_is_refused(host, client, header):
    reply = await client.post(TRIGGER, {}, headers={header: "http://localhost"})
    assert_clear(reply, 403, "denied")
    assert header in reply.error["message"]
    await assert_well(host, client)


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /v1/stats HTTP/9.9\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET /v1/stats HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
        b"POST /v1/drain HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /v1/drain HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /v1/stats HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=lambda sent: sent[:20].decode("latin-1"),
)
async def test_what_is_not_http_is_answered_as_any_other_mistake(host, client, sent):
    reply = await client.raw(sent)
    assert_clear(reply, 400, "invalid")
    assert not host.stop.asked
    await assert_well(host, client)


async def test_requests_may_follow_each_other_on_one_connection(client):
    async with client.connected() as (reader, writer):
        for _ in range(3):
            writer.write(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            await reader.readuntil(b"}}}")


# --- faults of our own ----------------------------------------------------------------------


async def test_a_fault_of_our_own_is_logged_and_not_shown(host, client, monkeypatch, caplog):
    async def broken():
        raise KeyError("/elsewhere/secret/path")

    monkeypatch.setattr(host.services.store.executions, "stats", broken)
    reply = await client.get("/v1/stats")
    assert_clear(reply, 500, "error")
    assert "secret" not in reply.content.decode()
    assert "/elsewhere/secret/path" in caplog.text


async def test_secrets_in_an_error_are_not_shown(host, client):
    host.degrade(
        "broken", "the model refused Authorization: Bearer sk-live-0123456789abcdef01234567"
    )
    for reply in (
        await client.post("/v1/entry-points/broken/x/trigger"),
        await client.get("/v1/agents"),
        await client.get("/v1/health"),
    ):
        assert "0123456789abcdef" not in reply.content.decode()


# --- connections ----------------------------------------------------------------------------


async def test_half_open_connections_give_way_to_whole_ones(host, client, monkeypatch):
    limit = host.control._door._most
    idle = [await asyncio.open_unix_connection(str(host.socket)) for _ in range(limit + 20)]
    for _, writer in idle:
        writer.write(b"GET /v1/st")
    assert (await client.get("/v1/stats")).status == 200
    for _, writer in idle:
        writer.close()


async def test_a_client_that_never_asks_is_cut(host, client, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    async with client.connected() as (reader, writer):
        writer.write(b"GET /v1/sta")
        assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_when_all_are_being_answered_a_new_client_is_told_to_come_back(host, client):
    name = (await client.post(TRIGGER)).json["execution_id"]
    await host.gate.entered.wait()
    host.control._door._most = 3
    waiting = [asyncio.create_task(client.get(f"/v1/executions/{name}?wait=60")) for _ in range(3)]
    door = host.control._door
    await becomes(lambda: sum(one.is_busy for one in door.connections) == 3)
    reply = await client.raw(b"")
    assert_clear(reply, 503, "refused")
    host.gate.is_open.set()
    assert {(await one).json["status"] for one in waiting} == {"completed"}


async def test_clients_that_come_and_go_leave_nothing_behind(host, client):
    """Source: reliability.md, R48."""
    await client.get("/v1/health")
    before = len(os.listdir("/proc/self/fd"))
    for cut in (0, 10, 60, 120):
        for _ in range(25):
            async with client.connected() as (_, writer):
                whole = f"POST {TRIGGER} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}"
                writer.write(whole.encode()[:cut])
    await becomes(lambda: not host.control._door.connections)
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert (await client.get("/v1/health")).json["status"] == "ok"


def test_there_are_never_more_connections_than_a_quarter_of_the_descriptors():
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert connections.connection_limit() <= max(connections.LEAST_CONNECTIONS, soft // 4)


# --- other users ----------------------------------------------------------------------------

ASK_AS = """
import os, socket, sys
path, uid, gid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.setgroups([int(group) for group in sys.argv[4:]])
os.setgid(gid)
os.setuid(uid)
with socket.socket(socket.AF_UNIX) as connection:
    try:
        connection.connect(path)
    except PermissionError:
        sys.exit(13)
    connection.sendall(b"GET /v1/stats HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    sys.stdout.write(connection.makefile().readline())
"""
needs_root = pytest.mark.skipif(not is_root(), reason="only root can become another user")


async def ask_as(host, uid, gid, *groups):
    """Ask as somebody else; answer the exit code and the first line."""
    for directory in (host.socket.parent, *host.socket.parent.parents):
        if directory.owner() == "root" and directory != Path("/"):
            directory.chmod(directory.stat().st_mode | 0o011)
    arguments = [str(host.socket), str(uid), str(gid), *map(str, groups)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ASK_AS, *arguments, stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode().strip()


@needs_root
async def test_another_user_cannot_connect(host):
    assert await ask_as(host, 65534, 65534) == (13, "")


@needs_root
async def test_another_user_is_refused_even_if_the_mode_was_opened_by_mistake(host):
    host.socket.chmod(0o666)
    assert await ask_as(host, 65534, 65534) == (0, "HTTP/1.1 403 Forbidden")


@needs_root
@pytest.mark.parametrize(
    ("allowed", "who"),
    [
        ({"allow_uids": (65534,)}, (65534, 65534)),
        ({"allow_gids": (4321,)}, (65534, 4321)),
        ({"allow_gids": (4321,)}, (65534, 65534, 4321, 4322)),
    ],
)
async def test_a_user_that_the_configuration_names_is_answered(tmp_path, allowed, who):
    async with running_host(tmp_path, **allowed) as host:
        host.socket.chmod(0o666)
        assert await ask_as(host, *who) == (0, "HTTP/1.1 200 OK")


def test_every_code_that_travels_has_a_status():
    assert all(code.http_status for code in ErrorCode if code not in list(ErrorCode)[-4:])
