"""The daemon and its service manager: READY, WATCHDOG, STOPPING, signals, exit codes, one owner of state and socket.

Nobody here looks at a watch: what is at a gate that stays shut never ends by itself, so that a daemon that ends at all
has left it behind. One that its deadline had to end by force, before it had put everything away, exits with 1.
"""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPException

import pytest

from tests.fakes.daemon_process import Place, slow_agent
from tests.fakes.gate import Gate
from tests.fakes.tcp_port import tcp_port


def witness(place: Place) -> str:
    return str(place.path / "agents" / "witness")


def statuses(place: Place) -> dict[str, str]:
    """Return what the store of a daemon that is gone says of each execution."""
    with closing(sqlite3.connect(place.state / "hive.db")) as db:
        return dict(db.execute("SELECT id, status FROM executions").fetchall())


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


# --- what the service manager hears -------------------------------------------------------------


def test_ready_is_said_when_the_control_socket_and_the_webhook_port_answer(place: Place) -> None:
    route = {"source_id": "mail", "path": "/mail"}
    place.write(agents=[{"path": witness(place), "webhook_routes": [route]}])
    daemon = place.start().ready()
    assert place.get("/v1/ready")["status"] == "ready"
    with socket.create_connection(("127.0.0.1", tcp_port(place))) as client:
        client.sendall(b"GET /mail HTTP/1.1\r\nHost: hived\r\nConnection: close\r\n\r\n")
        assert client.recv(64).startswith(b"HTTP/1.1 405")
    assert f"MAINPID={daemon.pid}" in daemon.said
    assert place.socket.stat().st_mode & 0o777 == 0o660


def test_the_watchdog_is_fed_while_the_daemon_lives(place: Place) -> None:
    daemon = place.start(WATCHDOG_USEC="100000").ready()
    place.manager.wait_until(lambda: daemon.said.count("WATCHDOG=1") > 3, "the watchdog's food")
    assert daemon.terminate() == 0


def test_without_a_watchdog_nothing_feeds_one(place: Place) -> None:
    daemon = place.start().ready()
    daemon.hears("STATUS=0 running, 0 queued, 1 agents")
    assert daemon.terminate() == 0
    assert "WATCHDOG=1" not in daemon.said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_answered_with_stopping_and_exit_0(
    place: Place, number: signal.Signals
) -> None:
    daemon = place.start().ready()
    daemon.signal(number)
    assert daemon.ended() == 0
    order = [line for line in daemon.said if line in ("READY=1", "STOPPING=1")]
    assert order == ["READY=1", "STOPPING=1"]
    assert not place.socket.exists()


# --- stopping -----------------------------------------------------------------------------------


def test_what_ends_within_the_drain_is_completed(place: Place, gate: Gate) -> None:
    daemon = place.start().ready()
    name = place.trigger("witness/hold", n=1)
    guest = gate.guest()
    daemon.signal(signal.SIGTERM)
    daemon.hears("STOPPING=1")
    guest.let_through()
    assert daemon.ended() == 0
    assert statuses(place) == {name: "completed"}


def test_while_it_drains_new_work_is_refused_and_reading_goes_on(place: Place, gate: Gate) -> None:
    daemon = place.start().ready()
    name = place.trigger("witness/hold", n=1)
    guest = gate.guest()
    daemon.signal(signal.SIGTERM)
    daemon.hears("STOPPING=1")
    status, answer = place.ask("POST", "/v1/entry-points/witness/hold/trigger", {"input": {}})
    assert (status, answer["error"]["code"]) == (503, "draining")
    refused = place.hive("trigger", "witness/hold")
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "stopping" in refused.stderr
    assert place.get(f"/v1/executions/{name}")["status"] == "running"
    assert place.get("/v1/stats")["state"] == "draining"
    guest.let_through()
    assert daemon.ended() == 0
    assert statuses(place) == {name: "completed"}


def test_sigterm_under_load_ends_in_time_and_what_was_interrupted_goes_on_at_the_next_start(
    place: Place, gate: Gate
) -> None:
    three = {"hold": {"max_concurrent": 3}}
    agent = {"path": witness(place), "entry_points": three}
    place.write(agents=[agent], shutdown={"drain_seconds": 0.5})
    daemon = place.start().ready()
    *held, queued = (place.trigger("witness/hold", n=n) for n in range(4))
    deaf = [place.trigger("witness/deaf", n=n) for n in range(2)]
    for _ in (*held, *deaf):
        gate.guest()
    many = [place.trigger("witness/work", n=n) for n in range(200)]
    daemon.signal(signal.SIGTERM)
    # Nobody is let through: that it ends at all is the work of the limit.
    assert daemon.ended() == 0
    left = statuses(place)
    assert {left[name] for name in (*held, *deaf)} == {"interrupted"}
    assert left[queued] == "queued"
    assert {left[name] for name in many} <= {"completed", "queued", "interrupted"}

    daemon = place.start().ready()
    for _ in (*held, *deaf, queued):
        gate.guest().let_through()
    ended = [place.settled(name) for name in (*held, *deaf, queued, *many)]
    assert {row["status"] for row in ended} == {"completed"}
    lines = (place.path / "witness").read_text().splitlines()
    runs = [tuple(line.split()[:2]) for line in lines]
    twice = {run for run in runs if runs.count(run) > 1}
    assert twice <= {(name, "hold") for name in held} | {(name, "deaf") for name in deaf}
    assert daemon.terminate() == 0


def test_a_node_that_swallows_its_cancellation_does_not_hold_the_stop_up(
    place: Place, gate: Gate
) -> None:
    place.write(agents=[witness(place)], shutdown={"drain_seconds": 0})
    daemon = place.start().ready()
    name = place.trigger("witness/numb", n=1)
    gate.guest()
    daemon.signal(signal.SIGTERM)
    assert daemon.ended() == 0
    assert statuses(place) == {name: "interrupted"}


def test_an_interruption_does_not_count_as_a_crash(place: Place, gate: Gate) -> None:
    place.write(
        agents=[witness(place)], shutdown={"drain_seconds": 0}, recovery={"max_attempts": 1}
    )
    name = ""
    for _ in range(3):
        daemon = place.start().ready()
        name = name or place.trigger("witness/hold", n=1)
        gate.guest()
        assert daemon.terminate() == 0
    place.start().ready()
    gate.guest().let_through()
    assert place.settled(name)["status"] == "completed"


def test_a_crash_too_often_is_recovery_exhausted(place: Place, gate: Gate) -> None:
    place.write(agents=[witness(place)], recovery={"max_attempts": 2})
    name = ""
    for _ in range(2):
        daemon = place.start().ready()
        name = name or place.trigger("witness/hold", n=1)
        gate.guest()
        daemon.kill()
    place.start().ready()
    ended = place.settled(name)
    assert (ended["status"], ended["error_code"]) == ("recovery_exhausted", "recovery_exhausted")
    assert gate.is_empty


def test_a_second_signal_ends_the_drain_at_once(place: Place, gate: Gate) -> None:
    place.write(agents=[witness(place)], shutdown={"drain_seconds": 600})
    daemon = place.start().ready()
    name = place.trigger("witness/hold", n=1)
    gate.guest()
    daemon.signal(signal.SIGTERM)
    daemon.hears("STOPPING=1")
    daemon.signal(signal.SIGTERM)
    assert daemon.ended() == 0
    assert statuses(place) == {name: "interrupted"}


def test_a_client_that_never_reads_does_not_hold_the_stop_up(place: Place) -> None:
    place.write(agents=[witness(place)], shutdown={"drain_seconds": 0})
    daemon = place.start().ready()
    # More than a connection buffers: the daemon is left with events that it cannot send.
    last = [place.trigger("witness/brief", n="x" * 50_000) for _ in range(40)][-1]
    place.settled(last)
    with socket.socket(socket.AF_UNIX) as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        idle.connect(str(place.socket))
        idle.sendall(b"GET /v1/events HTTP/1.1\r\nHost: hived\r\n\r\n")
        idle.recv(64)
        daemon.signal(signal.SIGTERM)
        assert daemon.ended() == 0


def test_drain_over_the_control_api_ends_like_a_signal(place: Place) -> None:
    daemon = place.start().ready()
    asked = place.hive("drain")
    assert asked.returncode == 0, asked.stderr
    assert daemon.ended() == 0
    assert "STOPPING=1" in daemon.said


def test_a_crash_ends_the_process_with_exit_1_and_says_why(place: Place, gate: Gate) -> None:
    daemon = place.start().ready()
    place.trigger("witness/hold", n=1)
    gate.guest()
    with suppress(OSError, HTTPException):
        place.trigger("witness/fatal", n=1)
    assert daemon.ended() == 1
    assert "CancelledError" in place.log


# --- the log ------------------------------------------------------------------------------------


def test_sighup_opens_a_log_file_anew_that_was_moved_away(place: Place) -> None:
    log, moved = place.path / "hived.log", place.path / "hived.log.old"
    place.write(agents=[witness(place)], log={"file": str(log), "format": "json"})
    daemon = place.start().ready()
    log.rename(moved)
    daemon.signal(signal.SIGHUP)
    daemon.signal(signal.SIGTERM)
    assert daemon.ended() == 0
    said = [json.loads(line)["message"] for line in log.read_text().splitlines()]
    assert said[0] == "logs reopened"
    assert said[-1] == "stopped"
    assert "ready" in moved.read_text()
    assert place.log == ""


def test_sighup_without_a_log_file_disturbs_nothing(place: Place) -> None:
    daemon = place.start().ready()
    daemon.signal(signal.SIGHUP)
    assert place.get("/v1/health")["status"] == "ok"
    assert daemon.terminate() == 0


# --- exit codes, and who owns what ---------------------------------------------------------------


def test_wrong_usage_is_exit_2(place: Place) -> None:
    code, said = place.refused("--colour")
    assert (code, "--colour" in said) == (2, True)


def test_a_state_directory_that_is_owned_is_exit_75_and_the_owner_is_named(place: Place) -> None:
    owner = place.start().ready()
    code, said = place.refused("--socket", str(place.path / "other.sock"))
    assert code == 75
    assert str(owner.pid) in said
    assert str(place.state) in said
    assert place.get("/v1/health")["status"] == "ok"


def test_a_control_socket_that_is_alive_is_exit_69_and_left_alone(place: Place) -> None:
    owner = place.start().ready()
    code, said = place.refused("--state-dir", str(place.path / "other"))
    assert code == 69
    assert str(place.socket) in said
    assert place.get("/v1/stats")["pid"] == owner.pid


def test_a_daemon_that_cannot_listen_runs_nothing(place: Place, gate: Gate) -> None:
    daemon = place.start().ready()
    place.trigger("witness/hold", n=1)
    gate.guest()
    daemon.kill()
    other = place.path / "other"
    place.state.rename(other)
    place.start().ready()
    assert place.refused("--state-dir", str(other))[0] == 69
    assert gate.is_empty
    assert (place.path / "witness").read_text().count("\n") == 1


def test_a_stale_control_socket_is_replaced(place: Place) -> None:
    place.start().ready().kill()
    assert place.socket.exists()
    daemon = place.start().ready()
    assert place.get("/v1/stats")["pid"] == daemon.pid


def test_a_file_in_the_place_of_the_socket_is_exit_69_and_kept(place: Place) -> None:
    place.socket.write_text("mine")
    code, said = place.refused()
    assert (code, str(place.socket) in said) == (69, True)
    assert place.socket.read_text() == "mine"


def test_a_webhook_port_that_is_taken_is_exit_69(place: Place) -> None:
    route = {"source_id": "mail", "path": "/mail"}
    with taken_port() as port:
        place.write(
            agents=[{"path": witness(place), "webhook_routes": [route]}],
            http={"listen": f"127.0.0.1:{port}"},
        )
        code, said = place.refused()
    assert (code, f"port {port}" in said) == (69, True)
    assert not place.socket.exists()


def test_a_state_that_cannot_be_used_is_exit_1_and_one_sentence(place: Place) -> None:
    place.state.write_text("a file")
    code, said = place.refused()
    assert code == 1
    assert str(place.state) in said
    assert "--state-dir" in said
    assert "Traceback" not in said


def test_a_state_of_a_newer_version_is_exit_78_and_untouched(place: Place) -> None:
    place.start().ready().terminate()
    path = place.state / "hive.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
        db.commit()
    before = path.read_bytes()
    code, said = place.refused()
    assert (code, "99" in said) == (78, True)
    assert path.read_bytes() == before


def test_a_state_that_is_no_database_is_exit_78_and_kept(place: Place) -> None:
    place.state.mkdir()
    path = place.state / "hive.db"
    path.write_bytes(b"not a database" * 500)
    code, said = place.refused()
    assert (code, str(path) in said, "hive doctor --fix" in said) == (78, True, True)
    assert path.read_bytes() == b"not a database" * 500


def test_a_signal_while_an_agent_still_loads_ends_the_daemon(place: Place, gate: Gate) -> None:
    place.write(agents=[str(slow_agent(place))])
    daemon = place.start()
    gate.guest()
    daemon.signal(signal.SIGTERM)
    assert daemon.ended() == 0
    assert "READY=1" not in daemon.said
