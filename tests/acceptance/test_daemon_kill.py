"""kill -9 of the daemon at any moment: every acknowledged execution ends, no node that was done runs again."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPException

import pytest

from tests.fakes.daemon_process import Hived, Place
from tests.fakes.gate import Gate

KILLS = 50
KILLS_OF_MODELS = 15
RESTARTS = 6
SEED = 20_260_302
LIFE_SECONDS = 0.35
"""The longest life after READY, where nobody counts what is acknowledged."""
LAST_SECONDS = 0.05
"""The longest a life goes on after its last acknowledgement."""
START_SECONDS = 0.7
"""Within this a life ends that is cut while it starts: every fifth."""
MOST_PER_LIFE = 24
MOST_PATIENCE = 5.0
WORK_NODES = frozenset({"first", "left", "right", "last"})

Run = tuple[str, str]
"""A node of an execution. No node of these graphs is visited twice."""


@dataclass
class Ledger:
    """What clients know: what they asked for, what was acknowledged, which nodes were shown completed in which life."""

    asked: dict[str, int] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    done_in_life: dict[Run, int] = field(default_factory=dict)
    seen: list[int] = field(default_factory=lambda: [0])
    news: threading.Condition = field(default_factory=threading.Condition)

    def acknowledge(self, key: str, execution_id: str) -> None:
        """Note an answer; a repeated key has the same one."""
        with self.news:
            assert self.acknowledged.setdefault(key, execution_id) == execution_id
            self.news.notify_all()

    def wait_for(self, many: int) -> None:
        """Wait until so many answers came, or no more is coming for a while: a slow machine has few to give."""
        with self.news:
            self.news.wait_for(lambda: len(self.acknowledged) >= many, MOST_PATIENCE)

    def show(self, life: int, event: dict[str, str]) -> None:
        """Note an event that the store or the event stream showed during, or after, a life."""
        if event["type"] == "node_completed":
            self.done_in_life.setdefault((event["execution_id"], event["node_id"]), life)


def send_load(place: Place, ledger: Ledger, address: str) -> None:
    """Trigger until the daemon is gone: first what was asked and never answered, then something new."""
    unanswered = [key for key in ledger.asked if key not in ledger.acknowledged]
    fresh = [f"key-{len(ledger.asked) + n}" for n in range(MOST_PER_LIFE)]
    for key in (*unanswered, *fresh):
        number = ledger.asked.setdefault(key, len(ledger.asked))
        target, body = f"/v1/entry-points/{address}/trigger", {"input": {"n": number}}
        try:
            status, answer = place.ask("POST", target, body, key)
        except (OSError, HTTPException, json.JSONDecodeError):
            return
        if status == 503:
            assert answer["error"]["code"] == "draining"
            return
        assert status == 202, answer
        ledger.acknowledge(key, answer["execution_id"])


def watch(place: Place, ledger: Ledger, life: int) -> None:
    """Read the event stream from where the last one broke off until this one does."""
    try:
        for message in place.messages("/v1/events?live=false", str(ledger.seen[-1])):
            if message.id is not None:
                ledger.seen.append(int(message.id))
                ledger.show(life, json.loads(message.data))
    except (OSError, HTTPException):
        return


def live_and_die(
    place: Place, ledger: Ledger, life: int, dice: random.Random, address: str
) -> None:
    """Start a daemon, load it, kill it at some moment."""
    daemon = place.start()
    clients: list[threading.Thread] = []
    if dice.random() < 0.2:
        wait_at_most(daemon, dice.uniform(0.0, START_SECONDS))
    else:
        daemon.ready()
        clients = [
            threading.Thread(target=send_load, args=(place, ledger, address)),
            threading.Thread(target=watch, args=(place, ledger, life)),
        ]
        known = len(ledger.acknowledged)
        for client in clients:
            client.start()
        ledger.wait_for(known + dice.randrange(MOST_PER_LIFE))
        wait_at_most(daemon, dice.uniform(0.0, LAST_SECONDS))
    daemon.kill()
    for client in clients:
        client.join()


def die_at_work(place: Place, gate: Gate, ledger: Ledger, address: str) -> None:
    """Kill a daemon while a node, or a tool, is surely in the middle of its work."""
    daemon = place.start(GATED="yes").ready()
    ledger.asked["caught"] = len(ledger.asked)
    ledger.acknowledge("caught", place.trigger(address, key="caught", n=ledger.asked["caught"]))
    gate.guest()
    daemon.kill()


def wait_at_most(daemon: Hived, seconds: float) -> None:
    """Let it live for a while: any moment will do, this is where it is hit, not something waited for."""
    time.sleep(seconds)
    assert daemon.process.poll() is None, daemon.place.log


def look_into_the_store(place: Place, ledger: Ledger, life: int) -> None:
    """Check the database that a killed daemon left, and note what it holds as done."""
    if not (place.state / "hive.db").exists():
        return
    with closing(sqlite3.connect(place.state / "hive.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = db.execute(
            "SELECT executions.id, events.node_id FROM events JOIN executions ON executions.n = events.x"
            " WHERE events.type = 'node_completed'"
        )
        for execution_id, node_id in rows:
            ledger.done_in_life.setdefault((execution_id, node_id), life)


def read_witness(place: Place) -> Counter[tuple[str, str, int]]:
    """Count the runs of each node by life."""
    lines = (place.path / "witness").read_text().splitlines()
    words = [line.split() for line in lines]
    return Counter((execution, node, int(life)) for execution, node, life, _ in words)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_9_loses_no_acknowledged_execution_and_repeats_no_node_that_was_done(
    place: Place, gate: Gate
) -> None:
    place.write(
        agents=[str(place.path / "agents" / "witness")],
        recovery={"max_attempts": 100},
        log={"level": "WARNING"},
    )
    dice, ledger = random.Random(SEED), Ledger()
    for life in range(1, KILLS):
        live_and_die(place, ledger, life, dice, "witness/work")
        look_into_the_store(place, ledger, life)
    die_at_work(place, gate, ledger, "witness/work")
    look_into_the_store(place, ledger, KILLS)

    last = place.start().ready()
    send_load(place, ledger, "witness/work")
    ended = [place.settled(execution_id) for execution_id in ledger.acknowledged.values()]
    assert [row for row in ended if row["status"] != "completed"] == []
    assert len(ledger.acknowledged) == len(ledger.asked) > KILLS

    runs = read_witness(place)
    assert {run: times for run, times in runs.items() if times > 1} == {}
    again = {
        (execution, node, life): ledger.done_in_life[execution, node]
        for execution, node, life in runs
        if ledger.done_in_life.get((execution, node), life) < life
    }
    assert again == {}
    every = {(execution, node) for execution, node, _ in runs}
    lost = {
        (execution, node)
        for execution in ledger.acknowledged.values()
        for node in WORK_NODES
        if (execution, node) not in every
    }
    assert lost == set()

    drained = place.messages("/v1/events?until=caught_up")
    assert any(message.event == "stream.end" for message in drained)
    assert last.terminate() == 0
    look_into_the_store(place, ledger, KILLS + 1)
    with closing(sqlite3.connect(place.state / "hive.db")) as db:
        heard = db.execute("SELECT entry_point, count(*) FROM executions GROUP BY 1").fetchall()
    # Each completion set off exactly one execution of the entry point that listens for it.
    assert dict(heard) == {"work": len(ledger.acknowledged), "after": len(ledger.acknowledged)}
    # The kills hit nodes at work, the last one for certain.
    assert len(runs) > len(every)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_restarts_in_good_order_lose_nothing_and_count_for_no_crash(place: Place) -> None:
    place.write(
        agents=[str(place.path / "agents" / "witness")],
        shutdown={"drain_seconds": 0},
        recovery={"max_attempts": 1},
        log={"level": "WARNING"},
    )
    dice, ledger = random.Random(SEED), Ledger()
    for life in range(1, RESTARTS + 1):
        daemon = place.start().ready()
        client = threading.Thread(target=send_load, args=(place, ledger, "witness/work"))
        client.start()
        wait_at_most(daemon, dice.uniform(0.0, LIFE_SECONDS))
        assert daemon.terminate() == 0
        client.join()
        look_into_the_store(place, ledger, life)
    place.start().ready()
    send_load(place, ledger, "witness/work")
    ended = [place.settled(name) for name in ledger.acknowledged.values()]
    assert [row for row in ended if row["status"] != "completed"] == []
    assert len(ledger.acknowledged) == len(ledger.asked)
    runs = read_witness(place)
    assert max(runs.values()) == 1
    assert [run for run in runs if ledger.done_in_life.get(run[:2], run[2]) < run[2]] == []
    assert place.log == ""


@dataclass(frozen=True)
class Use:
    """One use of the tool, as it wrote it down."""

    key: str
    step: int
    life: int

    @property
    def execution_id(self) -> str:
        return self.key.partition(":")[0]


def answered_steps(place: Place) -> set[tuple[str, int]]:
    """Return the uses of the tool whose answers the store holds."""
    if not (place.state / "hive.db").exists():
        return set()
    with closing(sqlite3.connect(place.state / "hive.db")) as db:
        rows = db.execute(
            "SELECT executions.id, events.data FROM events JOIN executions ON executions.n = events.x"
            " WHERE events.type = 'tool_call_completed'"
        ).fetchall()
    told = [(name, json.loads(data)) for name, data in rows]
    return {
        (name, data["tool_input"]["step"]) for name, data in told if data["tool_name"] == "note"
    }


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kill_9_amid_a_models_turns_repeats_no_tool_call_that_was_answered(
    place: Place, gate: Gate
) -> None:
    talker = {"path": str(place.agent("talker")), "model": "scripted:script.json"}
    place.write(agents=[talker], recovery={"max_attempts": 100}, log={"level": "WARNING"})
    dice, ledger = random.Random(SEED), Ledger()
    answered_in: dict[tuple[str, int], int] = {}
    for life in range(1, KILLS_OF_MODELS):
        live_and_die(place, ledger, life, dice, "talker/talk")
        for step in answered_steps(place):
            answered_in.setdefault(step, life)
    die_at_work(place, gate, ledger, "talker/talk")
    for step in answered_steps(place):
        answered_in.setdefault(step, KILLS_OF_MODELS)
    place.start().ready()
    ended = [place.settled(name) for name in ledger.acknowledged.values()]
    assert [row for row in ended if row["status"] != "completed"] == []

    words = [line.split() for line in (place.path / "witness").read_text().splitlines()]
    uses = [Use(key, int(step), int(life)) for key, step, life in words]
    again = [
        use for use in uses if answered_in.get((use.execution_id, use.step), use.life) < use.life
    ]
    assert again == []
    assert {use: n for use, n in Counter(uses).items() if n > 1} == {}
    keys = {(use.execution_id, use.step, use.key) for use in uses}
    # One key for one call, over all lives: whoever keeps it sees each call once.
    assert len(keys) == len({(use.execution_id, use.step) for use in uses})
    assert {step for _, step, _ in keys} == {0, 1, 2, 3}
    # The last kill hit a tool at work for certain: it is on record, and was not answered then.
    caught = {(use.execution_id, use.step) for use in uses if use.life == KILLS_OF_MODELS}
    assert any(answered_in.get(step, KILLS_OF_MODELS + 1) > KILLS_OF_MODELS for step in caught)
