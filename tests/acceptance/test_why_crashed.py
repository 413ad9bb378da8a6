"""`hive why` about what a killed daemon left behind: while it is down, when it is back, when it came back too often."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.test_daemon_health import write_agent
from tests.fakes.daemon_process import Place
from tests.fakes.gate import Gate


def why(place: Place, id: str) -> dict[str, Any]:
    """Ask the real command, which reads the store when the daemon is down."""
    done = place.hive("why", id, "--json", HIVE_STATE_DIR=str(place.state))
    assert done.returncode == 0, done.stderr
    story: dict[str, Any] = json.loads(done.stdout)
    return story


@pytest.mark.timeout(60)
def test_what_was_running_when_the_daemon_was_killed(place: Place, gate: Gate) -> None:
    daemon = place.start().ready()
    name = place.trigger("witness/hold", n=1)
    gate.guest()
    # A node is at work before its start is durable: only from then on there is something to go on with.
    told = place.messages(f"/v1/sessions/{name}/events")
    assert any(message.event == "node_started" for message in told)
    daemon.kill()
    down = why(place, name)
    assert down["cause"] == "daemon_down"
    assert f"the daemon ended while {name} ran" in down["answer"]
    listed = place.hive("ps", "--json", HIVE_STATE_DIR=str(place.state))
    assert [line["held_by"] for line in json.loads(listed.stdout)["items"]] == ["daemon_down"]

    place.start().ready()
    gate.guest().let_through()
    assert place.settled(name)["status"] == "completed"
    done = why(place, name)
    assert done["cause"] == "resurrected"
    assert "though the process ended while it ran: it went on at node hold" in done["answer"]


BLOCKING = """
import time


async def block():
    sit_still()


def sit_still():
    time.sleep(600)
"""


@pytest.mark.timeout(90)
def test_the_node_that_blocked_the_event_loop_is_named(place: Place) -> None:
    node = {"id": "block", "node_type": "function", "function": "steps:block"}
    document = {"graph": {"nodes": [node], "terminal_nodes": ["block"]}}
    folder = write_agent(place, "blocker", document, BLOCKING)
    limits = {"health": {"loop_blocked_seconds": 1}, "recovery": {"max_attempts": 1}}
    place.write(agents=[str(folder)], **limits)
    daemon = place.start().ready()
    name = place.trigger("blocker/default")
    assert daemon.ended() == 70
    blamed = f"by node block of {name}, in sit_still ({folder / 'steps.py'}:10)"
    down = why(place, name)
    assert f"the daemon ended while {name} ran at node block (its event loop" in down["answer"]
    assert blamed in down["answer"]
    examined = place.hive("doctor", "--json", HIVE_STATE_DIR=str(place.state))
    findings = {each["id"]: each for each in json.loads(examined.stdout)["findings"]}
    assert blamed in findings["loop_blocked"]["cause"]
    assert findings["loop_blocked"]["command"] == f"hive why {name}"

    place.start().ready()
    assert place.settled(name)["status"] == "recovery_exhausted"
    assert place.log.count("the daemon before ended itself") == 1
    story = why(place, name)
    assert f"{name} is not tried again at node block: the process ended once" in story["answer"]
    assert blamed in story["answer"]
    (told,) = [link for link in story["chain"] if "ended itself (70)" in link["text"]]
    assert blamed in told["text"]
    assert told["at"] is not None


@pytest.mark.timeout(60)
def test_what_took_the_daemon_down_too_often(place: Place, gate: Gate) -> None:
    place.write(agents=[str(place.path / "agents" / "witness")], recovery={"max_attempts": 1})
    daemon = place.start().ready()
    name = place.trigger("witness/hold", n=1)
    gate.guest()
    daemon.kill()
    place.start().ready()
    assert place.settled(name)["status"] == "recovery_exhausted"
    story = why(place, name)
    assert story["cause"] == "recovery_exhausted"
    assert "is not tried again" in story["answer"]
    assert story["remedy"] == f"hive sessions resume {name}"
