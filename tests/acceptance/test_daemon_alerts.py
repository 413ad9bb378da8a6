"""A daemon that calls for help: incidents reach the command that hive.yaml names, and outlive the process."""

from __future__ import annotations

import json
import sys

import pytest

from tests.acceptance.test_daemon_health import write_agent
from tests.fakes.daemon_process import Place

NODE = {"id": "work", "node_type": "function", "function": "steps:work", "max_retries": 1}
FAILS = "async def work():\n    raise ValueError('job 17 is broken')\n"
WORKS = "async def work():\n    return {}\n"
PAGER = """
import socket
import sys

with open({told!r}, "a") as told:
    told.write(sys.stdin.read())
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
    manager.sendto(b"PAGED=1", {manager!r})
"""


@pytest.fixture
def pager(place: Place) -> list[str]:
    """A command that adds what it reads to a file, and says so where the test listens."""
    told, manager = str(place.path / "told.jsonl"), str(place.manager.path)
    return [sys.executable, "-c", PAGER.format(told=told, manager=manager)]


def told(place: Place) -> list[tuple[str, str]]:
    path = place.path / "told.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    documents = [json.loads(line) for line in lines]
    return [(each["type"], each["data"]["entry_point"]) for each in documents]


def test_failures_in_a_row_reach_the_pager_once_and_a_success_after_a_restart_too(
    place: Place, pager: list[str]
) -> None:
    document = {"graph": {"nodes": [NODE], "terminal_nodes": ["work"]}}
    folder = write_agent(place, "broken", document, FAILS)
    place.write(agents=[str(folder)], alerts=[{"command": pager}])
    daemon = place.start().ready()
    for _ in range(3):
        assert place.settled(place.trigger("broken/default"))["status"] == "failed"
    opened = [("incident.opened", "broken/default")]
    place.manager.wait_until(lambda: told(place) == opened, "the pager")
    daemon.kill()
    (folder / "steps.py").write_text(WORKS, encoding="utf-8")
    daemon = place.start().ready()
    [incident] = place.get("/v1/incidents")["items"]
    assert (incident["pattern"], incident["error"]) == ("failures", "valueerror: job # is broken")
    assert place.settled(place.trigger("broken/default"))["status"] == "completed"
    over = [*opened, ("incident.resolved", "broken/default")]
    place.manager.wait_until(lambda: told(place) == over, "the pager")
    types = [message.event for message in place.messages("/v1/events?until=caught_up")]
    assert types.count("incident_opened") == types.count("incident_resolved") == 1
    assert daemon.terminate() == 0
    assert place.log.count('"alert"') == 2 or place.log.count(" alert ") == 2
