"""People and a daemon that comes and goes: questions and pauses outlive it, and sessions go on word for word."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.daemon_process import Hived, Place, opened_place
from tests.fakes.openai_server import Call, FakeOpenAI, Reply, Request

_NUMBERS = itertools.count()
PATH = ["intake", "room", "confirm", "prepare", "badge"]
QUESTION = "May the guest come in?"


def calls(tool: str, **arguments: Any) -> Reply:
    """A turn that calls a tool."""
    return Reply(calls=(Call(tool, arguments, f"call_{next(_NUMBERS)}"),))


def sets(**outputs: str) -> Reply:
    """A turn that sets outputs."""
    return Reply(
        calls=tuple(
            Call("set_output", {"key": key, "value": value}, f"call_{next(_NUMBERS)}")
            for key, value in outputs.items()
        )
    )


def asks(question: str, *options: str) -> Reply:
    """A turn that asks somebody."""
    return calls("ask_user", question=question, options=list(options))


KNOWN = sets(guest="Ada", purpose="fire drill")
BADGE = sets(badge="ADA")


class Receptionist:
    """The model: it plays each node's part by a script, and says that it is done past its end."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Reply]] = {}

    def __call__(self, request: Request) -> Reply:
        part = re.findall(r"PART: (\w+)\.", json.dumps(request.messages[0]))[-1]
        left = self.parts.get(part)
        return left.pop(0) if left else Reply(text="done")


@dataclass
class House:
    """A place with a daemon, which tests stop and start, and the model server that it talks to."""

    place: Place
    server: FakeOpenAI
    model: Receptionist
    folder: Path
    daemon: Hived | None = None

    async def start(self) -> None:
        """Start the daemon and wait until it is ready."""
        self.daemon = await asyncio.to_thread(lambda: self.place.start().ready())

    async def stop(self) -> None:
        """Stop it in good order."""
        assert self.daemon is not None
        assert await asyncio.to_thread(self.daemon.terminate) == 0

    async def kill(self) -> None:
        """Kill it."""
        assert self.daemon is not None
        await asyncio.to_thread(self.daemon.kill)

    async def begin(self, address: str, **given: str) -> tuple[str, Any]:
        """Trigger an entry point, and return the execution when it is settled."""
        name = await asyncio.to_thread(self.place.trigger, address, **given)
        return name, await self.settled(name)

    async def settled(self, name: str) -> Any:
        """Wait until an execution is settled."""
        return await asyncio.to_thread(self.place.settled, name)

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Order something."""
        return await asyncio.to_thread(self.place.ask, "POST", path, body)

    async def hive(self, *words: str) -> tuple[int, str, str]:
        """Run `hive`; answer exit code, output, complaints."""
        done = await asyncio.to_thread(self.place.hive, *words)
        return done.returncode, done.stdout, done.stderr

    def configure(self, **agent: Any) -> None:
        """Write the configuration; `agent` says more about the reception."""
        self.place.write(
            agents=[{"path": str(self.folder), **agent}],
            llm={
                "model": "openai/fake",
                "api_key": "sk-of-the-test",
                "api_base": self.server.base_url,
            },
        )

    @property
    def sessions(self) -> list[str]:
        """The session directories."""
        folder = self.place.state / "agents" / "reception" / "sessions"
        return sorted(path.name for path in folder.iterdir())

    def dialogue(self) -> list[list[dict[str, Any]]]:
        """What the model was told with each request, without the system prompt."""
        return [request.messages[1:] for request in self.server.requests]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    with opened_place() as place:
        async with FakeOpenAI(strict=True) as server:
            model = Receptionist()
            server.otherwise = model
            house = House(place, server, model, place.agent("reception"))
            house.configure()
            yield house
            await asyncio.to_thread(place.close)


async def waits(house: House, name: str, node: str, question: str, options: list[str]) -> None:
    """The execution waits with this question, and says so in the same words after a restart."""
    shown = await house.settled(name)
    assert shown["status"] == "waiting_input"
    asked = {"kind": "input", "node_id": node, "question": question, "options": options}
    assert shown["waiting"] == {**asked, "nodes": [asked]}


# --- word for word ------------------------------------------------------------------------------

ENDS: dict[str, Callable[[House], Awaitable[None]]] = {"stopped": House.stop, "killed": House.kill}


@pytest.mark.parametrize("end", ENDS)
async def test_a_session_goes_on_word_for_word_however_often_the_daemon_ends(house, end):
    """Two questions of a model, a question of the graph and a pause, with a new daemon after each."""
    house.model.parts = {
        "intake": [asks("Who comes?", "a guest", "a colleague"), asks("Why?"), KNOWN],
        "badge": [BADGE],
    }
    await house.start()

    async def again(node: str, question: str, *options: str) -> None:
        await waits(house, name, node, question, list(options))
        asked = len(house.server.requests)
        await ENDS[end](house)
        await house.start()
        await waits(house, name, node, question, list(options))
        assert len(house.server.requests) == asked

    name, _ = await house.begin("reception/default", note="somebody is at the door")
    await again("intake", "Who comes?", "a guest", "a colleague")
    code, out, err = await house.hive("sessions", "input", name, "It is Ada.")
    assert (code, out.strip()) == (0, name), err
    await again("intake", "Why?")
    status, accepted = await house.post(f"/v1/sessions/{name}/input", {"text": "For the drill."})
    assert (status, accepted["execution_id"]) == (202, name)
    await again("confirm", QUESTION)
    assert (await house.post(f"/v1/sessions/{name}/input", {"text": "yes"}))[0] == 202
    assert (await house.settled(name))["paused_at"] == "prepare"
    await ENDS[end](house)
    await house.start()
    assert (await house.settled(name))["status"] == "paused"
    (house.place.path / "door.json").write_text('{"door": "north"}')
    code, out, err = await house.hive("sessions", "resume", name, "--input", "door.json")
    assert (code, out.strip()) == (0, name), err

    done = await house.settled(name)
    assert (done["status"], done["path"]) == ("completed", PATH)
    assert done["output"] == {
        "note": "somebody is at the door",
        "guest": "Ada",
        "purpose": "fire drill",
        "room": "hall",
        "confirmed": "yes",
        "prepared": "hall is swept",
        "door": "north",
        "badge": "ADA",
    }
    assert house.sessions == [name]
    assert_whole(house.dialogue(), ["It is Ada.", "For the drill."])


def assert_whole(dialogue: list[list[dict[str, Any]]], said: list[str]) -> None:
    """Each request begins with the one before it, word for word, and what people said is in it once."""
    for before, after in itertools.pairwise(dialogue):
        assert after[: len(before)] == before
    texts = [message["content"] for message in dialogue[-1] if message["role"] == "user"]
    assert [text for text in texts if text in said] == said


async def test_who_waits_holds_no_slot_and_asks_no_model(house):
    """Five wait in an entry point with two slots."""
    house.model.parts = {"intake": [asks("Who comes?") for _ in range(5)]}
    await house.start()
    names = [(await house.begin("reception/narrow"))[0] for _ in range(5)]
    for name in names:
        await waits(house, name, "intake", "Who comes?", [])
    assert len(house.server.requests) == 5
    stats = await asyncio.to_thread(house.place.get, "/v1/stats")
    assert (stats["running"], stats["queued"]) == (0, 0)


async def test_input_that_answers_is_used_and_nobody_is_asked(house):
    house.model.parts = {"intake": [KNOWN]}
    await house.start()
    _, shown = await house.begin("reception/default", note="Ada, for the fire drill")
    assert shown["waiting"]["node_id"] == "confirm"
    assert "Ada, for the fire drill" in json.dumps(house.dialogue()[0])


async def test_a_session_goes_back_to_a_checkpoint_in_its_own_directory(house):
    house.model.parts = {"intake": [asks("Who comes?"), KNOWN], "badge": [BADGE]}
    await house.start()
    name, _ = await house.begin("reception/default")
    await house.hive("sessions", "input", name, "It is Ada.")
    await waits(house, name, "confirm", QUESTION, [])
    code, out, err = await house.hive("sessions", "checkpoints", name, "--json")
    assert code == 0, err
    found = {one["next_node"]: one["checkpoint_id"] for one in json.loads(out)["items"]}
    code, out, err = await house.hive("sessions", "resume", name, "--from", found["room"])
    assert (code, out.strip()) == (0, f"{name}-2"), err
    assert (await house.settled(name))["status"] == "cancelled"
    await waits(house, f"{name}-2", "confirm", QUESTION, [])
    assert (await house.post(f"/v1/sessions/{name}/input", {"text": "yes"}))[0] == 202
    assert (await house.settled(f"{name}-2"))["paused_at"] == "prepare"
    await house.stop()
    await house.start()
    assert (await house.post(f"/v1/sessions/{name}/resume", {}))[0] == 202
    done = await house.settled(f"{name}-2")
    assert (done["status"], done["path"], done["output"]["badge"]) == ("completed", PATH, "ADA")
    assert house.sessions == [name]
    assert_whole(house.dialogue(), ["It is Ada."])


# --- several branches that ask ------------------------------------------------------------------


def two_questions(house: House) -> None:
    """Let the reception ask two questions side by side; the answer to one of them goes on to the badge."""
    manifest = house.folder / "agent.json"
    agent = json.loads(manifest.read_text())
    graph, known = agent["graph"], {node["id"]: node for node in agent["graph"]["nodes"]}
    why = {**known["confirm"], "id": "why", "description": "Why?", "output_keys": ["purpose"]}
    badge = {**known["badge"], "input_keys": ["purpose"]}
    ways = [("prepare", "confirm"), ("prepare", "why"), ("why", "badge")]
    graph.update(
        entry_node="prepare",
        pause_nodes=[],
        terminal_nodes=[],
        async_entry_points=[],
        nodes=[known["prepare"], {**known["confirm"], "input_keys": []}, why, badge],
        edges=[
            {"id": f"{a}-{b}", "source": a, "target": b, "condition": "on_success"} for a, b in ways
        ],
    )
    why["input_keys"] = []
    manifest.write_text(json.dumps(agent))


async def test_any_branch_that_asks_is_answered_and_the_others_stay_asked(house):
    house.model.parts = {"badge": [BADGE]}
    two_questions(house)
    await house.start()
    name, shown = await house.begin("reception/default", room="hall")
    assert [one["node_id"] for one in shown["waiting"]["nodes"]] == ["confirm", "why"]
    await house.stop()
    await house.start()
    code, _, err = await house.hive("sessions", "input", name, "For the drill.")
    assert (code, "confirm" in err, "why" in err) == (4, True, True)
    code, out, err = await house.hive("sessions", "input", name, "For the drill.", "--node", "why")
    assert (code, out.strip()) == (0, name), err
    async with asyncio.timeout(30):
        while len((await house.settled(name))["waiting"]["nodes"]) > 1:
            await asyncio.sleep(0.05)
    await waits(house, name, "confirm", QUESTION, [])
    assert "For the drill." in json.dumps(house.dialogue())
    await house.kill()
    await house.start()
    await waits(house, name, "confirm", QUESTION, [])
    assert (await house.hive("sessions", "input", name, "yes"))[0] == 0
    done = await house.settled(name)
    assert (done["status"], done["output"]["confirmed"], done["output"]["badge"]) == (
        "completed",
        "yes",
        "ADA",
    )


# --- on_input -----------------------------------------------------------------------------------


async def test_under_fail_a_question_ends_the_execution_and_a_resume_may_answer_it(house):
    house.model.parts = {"intake": [asks("Who comes?"), KNOWN]}
    await house.start()
    name, failed = await house.begin("reception/strict")
    assert (failed["status"], failed["error_code"]) == ("failed", "input_needed")
    assert failed["error"] == "on_input is fail: nobody is asked 'Who comes?'"
    goes_on = f"hive sessions resume {name} --input FILE"
    assert goes_on in (await house.hive("why", name))[1]
    assert f"try again with `{goes_on}`" in (await house.hive("executions", "wait", name))[2]
    (house.place.path / "answer.json").write_text('{"input": "It is Ada."}')
    code, out, err = await house.hive("sessions", "resume", name, "--input", "answer.json")
    assert (code, out.strip()) == (0, f"{name}-2"), err
    again = await house.settled(f"{name}-2")
    assert (again["error_code"], again["error"]) == (
        "input_needed",
        f"on_input is fail: nobody is asked {QUESTION!r}",
    )
    assert "It is Ada." in json.dumps(house.dialogue()[1])


async def test_under_default_an_agent_runs_to_its_pause_alone(house):
    house.model.parts = {"intake": [asks("Who comes?"), KNOWN]}
    await house.start()
    name, shown = await house.begin("reception/alone")
    assert (shown["status"], shown["paused_at"]) == ("paused", "prepare")
    assert shown["output"]["confirmed"] == "yes"
    assert_whole(house.dialogue(), ["Ada, for the fire drill"])
    told = [
        json.loads(message.data)["data"]["prompt"]
        for message in await asyncio.to_thread(
            lambda: list(house.place.messages(f"/v1/sessions/{name}/events?until=settled"))
        )
        if message.event == "client_input_requested"
    ]
    assert told == ["Who comes?", QUESTION]


async def test_hive_yaml_says_what_a_question_does(house):
    house.model.parts = {"intake": [asks("Who comes?")]}
    house.configure(entry_points={"default": {"on_input": "fail"}, "strict": {"on_input": "park"}})
    await house.start()
    _, failed = await house.begin("reception/default")
    assert failed["error_code"] == "input_needed"
    house.model.parts = {"intake": [asks("Who comes?")]}
    _, parked = await house.begin("reception/strict")
    assert parked["status"] == "waiting_input"


async def test_a_default_without_an_answer_stops_the_start(house):
    house.configure(entry_points={"default": {"on_input": "default"}})
    code, told = await asyncio.to_thread(house.place.refused)
    assert code == 78
    assert "on_input: default needs an answer" in told


# --- a graph that was changed -------------------------------------------------------------------


async def test_a_changed_graph_is_refused_with_both_hashes_until_somebody_accepts_it(house):
    house.model.parts = {"intake": [asks("Who comes?"), KNOWN], "badge": [BADGE]}
    await house.start()
    name, _ = await house.begin("reception/default")
    await house.stop()
    manifest = house.folder / "agent.json"
    agent = json.loads(manifest.read_text())
    agent["graph"]["pause_nodes"] = []
    manifest.write_text(json.dumps(agent))
    await house.start()
    code, _, err = await house.hive("sessions", "input", name, "It is Ada.")
    assert code == 4
    assert len(set(re.findall(r"\b[0-9a-f]{16}\b", err))) == 2
    await waits(house, name, "intake", "Who comes?", [])
    (house.place.path / "answer.json").write_text('{"input": "It is Ada."}')
    words = ("sessions", "resume", name, "--input", "answer.json", "--accept-changed-graph")
    code, out, err = await house.hive(*words)
    assert (code, out.strip()) == (0, name), err
    await waits(house, name, "confirm", QUESTION, [])
    assert (await house.post(f"/v1/sessions/{name}/input", {"text": "yes"}))[0] == 202
    assert (await house.settled(name))["status"] == "completed"
    assert "It is Ada." in json.dumps(house.dialogue())
