"""The HTTP of the command line, against a socket that answers whatever a test says."""

import socket
import threading
from contextlib import contextmanager

import pytest

from hive_cli.http1 import BrokenOff, Connection, NotHttp


@contextmanager
def peer(tmp_path, answer):
    """A socket that reads a request's head, answers so and hangs up; yields (connection, what it heard)."""
    path, heard = str(tmp_path / "peer.sock"), []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve():
            client, _ = listener.accept()
            with client:
                heard.append(client.recv(65_536))
                client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with Connection(path, 5) as connection:
            connection.connect()
            yield connection, heard
        thread.join(5)


def get(connection):
    return connection.ask("GET", "/v1/stats", {}, None)


def test_a_request_is_one_that_any_server_understands(tmp_path):
    with peer(tmp_path, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (connection, heard):
        connection.ask("POST", "/v1/drain", {"Idempotency-Key": "k"}, b"{}").read()
    assert heard == [
        b"POST /v1/drain HTTP/1.1\r\nHost: hived\r\nConnection: close\r\nIdempotency-Key: k\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    ]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody and more",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\nT: 1\r\n\r\n",
        b"HTTP/1.0 200\r\n\r\nbody",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
    ],
)
def test_bodies_of_every_framing(tmp_path, answer):
    with peer(tmp_path, answer) as (connection, _):
        response = get(connection)
        assert (response.status, response.read()) == (200, b"body")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nbody",
    ],
)
def test_an_answer_that_was_cut_short_never_looks_complete(tmp_path, answer):
    with peer(tmp_path, answer) as (connection, _), pytest.raises(BrokenOff):
        get(connection).read()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_what_is_not_http_is_told_apart(tmp_path, answer):
    with peer(tmp_path, answer) as (connection, _), pytest.raises((NotHttp, BrokenPipeError)):
        get(connection).read()


def test_lines_come_one_by_one(tmp_path):
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n4\r\nc\nde\r\n0\r\n\r\n"
    )
    with peer(tmp_path, answer) as (connection, _):
        assert list(get(connection).lines()) == [b"a\n", b"bc\n"]


def test_a_value_cannot_forge_a_header(tmp_path):
    with (
        Connection(str(tmp_path / "none"), 1) as connection,
        pytest.raises(ValueError, match="line break"),
    ):
        connection.ask("GET", "/", {"Idempotency-Key": "k\r\nX: y"}, None)


def test_an_answer_that_does_not_come_is_a_timeout(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "mute.sock"))
        listener.listen()
        with Connection(str(tmp_path / "mute.sock"), 0.05) as connection:
            connection.connect()
            with pytest.raises(TimeoutError):
                get(connection)
