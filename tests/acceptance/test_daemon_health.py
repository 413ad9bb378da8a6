"""A daemon that tells the truth about itself: pages for orchestrators, a blocked loop, a key that is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.daemon_process import Place
from tests.fakes.openai_server import Call, Failure, FakeOpenAI, Reply

SAYS = Reply(calls=(Call("set_output", {"key": "said", "value": "yes"}),))


def write_agent(place: Place, name: str, document: dict[str, object], steps: str = "") -> Path:
    folder = place.path / "agents" / name
    folder.mkdir(parents=True)
    (folder / "steps.py").write_text(steps, encoding="utf-8")
    goal = {"id": "goal", "name": "Goal", "description": "what it is for"}
    whole = {"agent": {"id": name}, "goal": goal, **document}
    (folder / "agent.json").write_text(json.dumps(whole), encoding="utf-8")
    return folder


# --- pages -------------------------------------------------------------------------------------


def _asked(place: Place, path: str, method: str = "GET") -> tuple[int, str]:
    detail = place.get("/v1/health")["checks"]["http"]["detail"]
    (port,) = re.findall(r"port (\d+)", detail)
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_pages_that_are_wanted_are_answered_without_a_route_and_without_details(
    place: Place,
) -> None:
    place.write(
        agents=[str(place.path / "agents" / "witness"), str(place.path / "agents" / "gone")],
        http={"listen": "127.0.0.1:0", "health": True, "metrics": True},
    )
    place.start().ready()
    status, text = _asked(place, "/livez")
    assert (status, json.loads(text)["status"]) == (200, "degraded")
    assert set(json.loads(text)["checks"].values()) == {True, False}
    assert "gone" not in text
    status, text = _asked(place, "/readyz")
    assert (status, json.loads(text)["status"]) == (200, "ready")
    status, text = _asked(place, "/metrics")
    assert status == 200
    assert "\nhive_ready 1.0\n" in text
    assert _asked(place, "/livez", "POST")[0] == 405
    assert _asked(place, "/v1/health")[0] == 404


def test_pages_that_nobody_wants_open_no_port(place: Place) -> None:
    place.start().ready()
    detail = place.get("/v1/health")["checks"]["http"]["detail"]
    assert detail == "not needed: no agent has a webhook route"
    for path in ("/livez", "/readyz"):
        assert place.get(path)["checks"]["store"]["ok"]


def test_a_daemon_that_answers_is_examined_where_its_state_is(place: Place) -> None:
    place.start().ready()
    place.state.chmod(0o755)
    examined = place.hive("doctor", "--json")
    (found,) = [
        each for each in json.loads(examined.stdout)["findings"] if each["id"] == "state_open"
    ]
    assert str(place.state) in found["subject"]


# --- a blocked loop ----------------------------------------------------------------------------

BLOCKING = """
import time


async def block():
    sit_still()


def sit_still():
    time.sleep(600)
"""


def test_a_blocked_loop_ends_the_daemon_with_70_and_the_next_start_takes_the_work_up(
    place: Place,
) -> None:
    node = {"id": "block", "node_type": "function", "function": "steps:block"}
    document = {"graph": {"nodes": [node], "terminal_nodes": ["block"]}}
    folder = write_agent(place, "blocker", document, BLOCKING)
    place.write(agents=[str(folder)], health={"loop_blocked_seconds": 1})
    daemon = place.start().ready()
    name = place.trigger("blocker/default")
    assert daemon.ended() == 70
    assert "the event loop was blocked" in place.log
    assert "sit_still" in place.log
    (folder / "steps.py").write_text("async def block():\n    return {}\n", encoding="utf-8")
    place.write(agents=[str(folder)])
    place.start().ready()
    assert place.settled(name)["status"] == "completed"


# --- a refused key -----------------------------------------------------------------------------


class Model:
    """A model server in a thread of its own."""

    def __init__(self) -> None:
        self.fake = FakeOpenAI(otherwise=Failure(401))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="model server")

    def __enter__(self) -> Model:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.fake.__aenter__(), self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.fake.__aexit__(None, None, None), self._loop).result(
            30
        )
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def model() -> Iterator[Model]:
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(Model())


def test_three_refused_keys_degrade_the_agent_and_pause_its_timers_until_a_call_succeeds(
    place: Place, model: Model
) -> None:
    node = {"id": "talk", "node_type": "event_loop", "output_keys": ["said"]}
    timer = {"id": "daily", "trigger_type": "timer", "trigger_config": {"cron": "0 9 * * *"}}
    entry = {**timer, "name": "Daily", "entry_node": "talk"}
    graph = {"nodes": [node], "terminal_nodes": ["talk"], "async_entry_points": [entry]}
    document = {"graph": graph}
    folder = write_agent(place, "talker", document)
    place.write(
        agents=[str(folder)],
        llm={"model": "openai/gpt-4o", "api_key": "sk-wrong", "api_base": model.fake.base_url},
    )
    place.start().ready()

    def run() -> str:
        return str(place.settled(place.trigger("talker/default"))["status"])

    assert [run(), run()] == ["failed", "failed"]
    assert place.get("/v1/status")["agents"][0]["state"] == "ready"
    assert run() == "failed"
    (agent,) = place.get("/v1/status")["agents"]
    assert (agent["state"], agent["consecutive_failures"]) == ("degraded", 3)
    assert agent["provider"] == {"state": "refused", "refusals": 3}
    (listed,) = place.get("/v1/agents")["items"]
    assert (listed["state"], listed["reason"]) == ("degraded", agent["degraded"][0])
    assert place.get("/v1/stats")["agents"]["degraded"] == 1
    assert place.get("/v1/health")["status"] == "degraded"
    (paused,) = place.get("/v1/timers")["items"]
    assert paused["paused"]["by"] == "hived"
    assert "refused the key 3 times in a row" in paused["paused"]["note"]
    shown = place.hive("status")
    assert shown.returncode == 1
    assert "refused" in shown.stdout
    assert "sk-wrong" not in place.log + shown.stdout
    assert place.log.count("agent is degraded") == 1
    (incident,) = place.get("/v1/incidents")["items"]
    assert (incident["pattern"], incident["severity"]) == ("provider_auth", "critical")

    model.fake.script(SAYS, Reply(text="Done."))
    assert run() == "completed"
    (agent,) = place.get("/v1/status")["agents"]
    assert (agent["state"], agent["provider"]["state"]) == ("ready", "ok")
    assert place.get("/v1/timers")["items"][0]["paused"] is None
    assert place.hive("status").returncode == 0
    assert place.get("/v1/incidents")["items"] == []


# --- the model in force ------------------------------------------------------------------------


def test_check_asks_for_the_key_of_the_model_that_is_in_force(place: Place) -> None:
    node = {"id": "talk", "node_type": "event_loop", "output_keys": ["said"]}
    graph = {"nodes": [node], "terminal_nodes": ["talk"], "default_model": "anthropic/claude-x"}
    folder = write_agent(place, "talker", {"graph": graph})
    place.write(agents=[str(folder)])
    assert "'anthropic/claude-x' needs a key, set ANTHROPIC_API_KEY" in place.refused("--check")[1]
    place.write(agents=[{"path": str(folder), "model": "scripted"}])
    code, told = place.refused("--check")
    assert code == 0
    assert "needs a key" not in told
