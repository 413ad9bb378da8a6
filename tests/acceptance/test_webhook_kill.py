"""Webhooks of a daemon that is killed: what was answered 202 runs, once, and is known again by the next life."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes.daemon_process import Place
from tests.fakes.raw_http import signature

SECRET = "t0p-s3cret"
LIVES, DELIVERIES = 5, 100


@pytest.fixture
def port(place: Place) -> int:
    """The port of a daemon whose `mail` entry point runs on each webhook of its only route."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found: int = free.getsockname()[1]
    listens = {"event_types": ["webhook_received"], "filter_stream": "mail"}
    place.write(
        agents=[
            {
                "path": str(place.path / "agents" / "witness"),
                "entry_points": {
                    "mail": {
                        "trigger_type": "event",
                        "trigger_config": listens,
                        "entry_node": "noted",
                        "isolation_level": "isolated",
                        "max_concurrent": 50,
                    }
                },
                "webhook_routes": [{"source_id": "mail", "path": "/mail", "secret": SECRET}],
            }
        ],
        http={"listen": f"127.0.0.1:{found}"},
    )
    return found


def deliver(client: http.client.HTTPConnection, number: int) -> tuple[int, str]:
    """Send a delivery by its own name; return the status and the execution."""
    body = json.dumps({"number": number}).encode()
    headers = {
        "X-Hub-Signature-256": signature(body, SECRET),
        "X-GitHub-Delivery": f"delivery-{number}",
    }
    client.request("POST", "/mail", body, headers)
    with client.getresponse() as response:
        answer = json.loads(response.read())
    return response.status, answer.get("execution_id", "")


def executions(state: Path) -> dict[str, str]:
    """Return the status of each webhook's execution, by id."""
    with closing(sqlite3.connect(state / "hive.db")) as db:
        rows = db.execute("SELECT id, status FROM executions WHERE source = 'webhook'")
        return dict(rows.fetchall())


def test_three_equal_deliveries_one_after_kill_9_are_one_execution(place: Place, port: int) -> None:
    answers = []
    for tries in (2, 1):
        daemon = place.start(LIFE="1").ready()
        with closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
            answers += [deliver(client, 1) for _ in range(tries)]
        if tries == 2:
            daemon.kill()
    assert {status for status, _ in answers} == {202}
    [name] = {execution_id for _, execution_id in answers}
    assert place.settled(name)["status"] == "completed"
    assert list(executions(place.state)) == [name]


def test_kill_9_right_after_a_202_loses_none_of_500_deliveries(place: Place, port: int) -> None:
    promised: dict[int, str] = {}
    for life in range(LIVES):
        daemon = place.start(LIFE="1").ready()
        with closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
            for number in range(life * DELIVERIES, (life + 1) * DELIVERIES):
                status, promised[number] = deliver(client, number)
                assert status == 202
            daemon.kill()
    assert len(set(promised.values())) == LIVES * DELIVERIES
    place.start(LIFE="1").ready()
    for name in promised.values():
        assert place.settled(name)["status"] == "completed"
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
        again = [deliver(client, number)[1] for number in promised]
    assert again == list(promised.values())
    assert set(executions(place.state)) == set(promised.values())
