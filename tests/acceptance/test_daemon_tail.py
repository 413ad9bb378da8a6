"""`hive sessions tail -f` over lost connections and restarts of the daemon: every durable event once, in order."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from typing import IO, Any

import pytest

from tests.fakes.daemon_process import Place
from tests.fakes.gate import Gate
from tests.fakes.relay import opened_relay


def read_until(lines: IO[str], shown: list[Any], kind: str) -> None:
    """Read events until one of this type comes."""
    for line in lines:
        shown.append(json.loads(line))
        if shown[-1]["type"] == kind:
            return
    raise AssertionError(f"the tail ended before {kind}: {shown}")


def stored(place: Place, session_id: str) -> list[tuple[int, str]]:
    """Return number and type of every durable event of a session."""
    with closing(sqlite3.connect(place.state / "hive.db")) as db:
        return db.execute(
            "SELECT events.seq, events.type FROM events JOIN executions ON executions.n = events.x"
            " WHERE executions.session_id = ? ORDER BY events.seq",
            (session_id,),
        ).fetchall()


def test_a_tail_shows_every_durable_event_once_over_lost_connections_and_restarts(
    place: Place, gate: Gate
) -> None:
    agents = [str(place.path / "agents" / "witness")]
    place.write(agents=agents, shutdown={"drain_seconds": 0.2}, recovery={"max_attempts": 10})
    daemon = place.start().ready()
    name = place.trigger("witness/hold", n=1)
    gate.guest()
    shown: list[Any] = []
    way = place.path / "relay"
    tail = ("--json", "--socket", str(way), "sessions", "tail", "-f", "--from-seq", "1", name)
    with opened_relay(way, place.socket) as relay, place.hive_running(*tail) as process:
        assert process.stdout is not None
        read_until(process.stdout, shown, "node_started")
        relay.cut()
        daemon.kill()
        daemon = place.start().ready()
        gate.guest()
        read_until(process.stdout, shown, "execution_resurrected")
        relay.cut()
        daemon.signal(signal.SIGTERM)
        assert daemon.ended() == 0
        daemon = place.start().ready()
        guest = gate.guest()
        read_until(process.stdout, shown, "execution_resumed")
        relay.cut()
        guest.let_through()
        shown += [json.loads(line) for line in process.stdout]
        assert process.wait() == 0
        assert relay.connections >= 3
    durable = [(event["seq"], event["type"]) for event in shown if event["seq"] is not None]
    assert durable == stored(place, name)
    assert durable[-1][1] == "execution_completed"
    assert daemon.terminate() == 0


@pytest.mark.parametrize("how", ["--wait", "--follow"])
def test_a_trigger_that_waits_outlives_a_kill_and_a_restart_of_the_daemon(
    place: Place, gate: Gate, how: str
) -> None:
    place.write(agents=[str(place.path / "agents" / "witness")], shutdown={"drain_seconds": 0})
    daemon = place.start().ready()
    with place.hive_running("trigger", "witness/hold", "--set", "n=1", how) as waiting:
        gate.guest()
        daemon.kill()
        daemon = place.start().ready()
        gate.guest()
        assert daemon.terminate() == 0
        place.start().ready()
        gate.guest().let_through("through")
        output, said = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, said
    assert "through" in output
    assert len(place.get("/v1/executions")["items"]) == 1


def test_a_tail_of_what_ended_before_it_began_shows_everything_and_ends(place: Place) -> None:
    place.start().ready()
    name = place.trigger("witness/work", n=1)
    place.settled(name)
    ran = place.hive("--json", "sessions", "tail", "-f", "--from-seq", "1", name)
    shown = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.returncode == 0, ran.stderr
    durable = [(event["seq"], event["type"]) for event in shown if event["seq"] is not None]
    assert durable == stored(place, name)
