"""Webhooks of a daemon that is killed: what was answered 202 runs, once, and is known again by the next life."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.daemon_process import ROOT, SECONDS, Place
from tests.fakes.raw_http import signature
from tests.fakes.tcp_port import tcp_port
from tests.fakes.webhook_lives import SECRET, life

DEATHS = 500


@pytest.fixture
def mailbox(place: Place) -> Place:
    """A place whose daemon runs the `mail` entry point on each webhook of its only route."""
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
    )
    return place


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


def test_three_equal_deliveries_one_after_kill_9_are_one_execution(mailbox: Place) -> None:
    answers = []
    for tries in (2, 1):
        daemon = mailbox.start(LIFE="1").ready()
        with closing(http.client.HTTPConnection("127.0.0.1", tcp_port(mailbox))) as client:
            answers += [deliver(client, 1) for _ in range(tries)]
        if tries == 2:
            daemon.kill()
    assert {status for status, _ in answers} == {202}
    [name] = {execution_id for _, execution_id in answers}
    assert mailbox.settled(name)["status"] == "completed"
    assert list(executions(mailbox.state)) == [name]


@dataclass
class Lives:
    """The lives of a small server at one store, one after the other (see `tests.fakes.webhook_lives`)."""

    process: subprocess.Popen[str]

    def begin(self) -> tuple[int, int]:
        """Begin the next life; answer its pid and its port once it listens."""
        self._write("live\n")
        ready, pid, port = self._read().split()
        assert ready == "ready"
        return int(pid), int(port)

    def kill(self, pid: int) -> None:
        """Kill a life with SIGKILL and wait until it is gone."""
        os.kill(pid, signal.SIGKILL)
        assert self._read() == f"ended {signal.SIGKILL.value}\n"

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Lives]:
    """Lives at the store in `tmp_path`."""
    command = [sys.executable, "-m", "tests.fakes.webhook_lives", str(tmp_path)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Lives(process)
        finally:
            # The life that a failed test left, and the process that waits for it, are one group.
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_9_right_after_each_of_500_202s_loses_none(tmp_path: Path, lives: Lives) -> None:
    promised: dict[int, str] = {}
    for number in range(DEATHS):
        pid, port = lives.begin()
        with closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
            status, promised[number] = deliver(client, number)
            lives.kill(pid)
        assert status == 202
    assert len(set(promised.values())) == DEATHS
    ended, again = asyncio.run(last_life(tmp_path, promised))
    assert ended == {name: number for number, name in promised.items()}
    assert again == promised
    assert executions(tmp_path) == dict.fromkeys(promised.values(), "completed")


async def last_life(
    directory: Path, promised: Mapping[int, str]
) -> tuple[dict[str, object], dict[int, str]]:
    """Let everything end; return what each execution put out, and how each delivery is answered that comes again."""
    async with life(directory) as runtime:
        results = [await runtime.wait_for_completion(name, SECONDS) for name in promised.values()]
        assert runtime.webhook_server is not None
        port = runtime.webhook_server.port or 0
        again = await asyncio.to_thread(deliver_all, port, promised)
    outputs = [result and result.output.get("answer") for result in results]
    return dict(zip(promised.values(), outputs, strict=True)), again


def deliver_all(port: int, numbers: Iterable[int]) -> dict[int, str]:
    """Send deliveries one after the other; return their executions."""
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
        return {number: deliver(client, number)[1] for number in numbers}
