"""Code of an agent that raises what ends a process, under a real daemon: only its node fails."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.fakes.daemon_process import Place

WAYS = {
    "exit": "SystemExit: 3",
    "interrupt": "KeyboardInterrupt: 3",
    "exit_in_thread": "RuntimeError: in_thread raised SystemExit: 3",
    "interrupt_in_thread": "RuntimeError: in_thread raised KeyboardInterrupt: 3",
}

BESIDE = ("task", "callback", "interrupt_in_task", "stop")
"""Ways that lead past the node: it completes."""

LEAVING = """
import asyncio

TASKS = []


def in_thread(way):
    if way.endswith("_in_thread"):
        leave(way)
    return way


async def on_loop(way):
    loop = asyncio.get_running_loop()
    match way:
        case "task":
            TASKS.append(loop.create_task(later("exit")))
        case "interrupt_in_task":
            TASKS.append(loop.create_task(later("interrupt")))
        case "callback":
            loop.call_soon(leave, "exit")
        case "stop":
            loop.stop()
        case _:
            leave(way)
    return "done"


async def later(way):
    leave(way)


def leave(way):
    raise SystemExit(3) if way.startswith("exit") else KeyboardInterrupt(3)
"""


def leaving_agent(place: Place) -> Path:
    """Write an agent whose nodes raise what ends a process."""
    folder = place.path / "agents" / "leaving"
    folder.mkdir(parents=True)
    (folder / "steps.py").write_text(LEAVING, encoding="utf-8")
    node = {"node_type": "function", "input_keys": ["way"], "max_retries": 0}
    nodes = [
        {**node, "id": "first", "function": "steps:in_thread", "output_keys": ["way"]},
        {**node, "id": "second", "function": "steps:on_loop", "output_keys": ["done"]},
    ]
    edge = {"id": "on", "source": "first", "target": "second"}
    graph = {"nodes": nodes, "edges": [edge], "terminal_nodes": ["second"]}
    goal = {"id": "leave", "name": "Leave", "description": "Be gone."}
    document = {"agent": {"id": "leaving"}, "graph": graph, "goal": goal}
    (folder / "agent.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def test_code_of_an_agent_that_would_end_the_process_fails_its_node_only(place: Place) -> None:
    place.write(agents=[str(leaving_agent(place))])
    daemon = place.start().ready()
    for way in ("exit", "interrupt", "exit_in_thread", "interrupt_in_thread"):
        ended = place.settled(place.trigger("leaving/default", way=way))
        assert ended["status"] == "failed"
        assert ended["error"].endswith(WAYS[way])
    for way in BESIDE:
        assert place.settled(place.trigger("leaving/default", way=way))["status"] == "completed"
    daemon.signal(signal.SIGTERM)
    assert daemon.ended() == 0
