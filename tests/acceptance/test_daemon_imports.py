"""What the processes load: each starts with what it works with, and litellm comes with the first model call."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

import pytest

from hive_daemon.storage.mirror_remote import PROGRAM
from tests.agents.broken import write
from tests.fakes.daemon_process import Place

HEAVY = {"aiohttp", "pydantic", "litellm", "sqlite3"}
OPTIONAL = {"litellm", "mcp", "opentelemetry"}
SERVERS = {"aiohttp", "prometheus_client", "uvloop", "yaml"}

PROFILED = {"PYTHONPROFILEIMPORTTIME": "1"}

GREETER = """
from framework.graph import Goal, NodeSpec

goal = Goal(id="greeting", name="Greeting", description="Greet.")
greet = NodeSpec(id="greet", node_type="function", function=lambda: "hello", output_keys=["said"])
nodes, edges = [greet], []
"""

_LINE = re.compile(r"^import time:.*\|\s*([\w.]+)$", re.MULTILINE)


def imported(log: str) -> set[str]:
    """Return the top-level packages that `-X importtime` tells of."""
    return {name.partition(".")[0] for name in _LINE.findall(log)}


@pytest.mark.parametrize("words", [("--help",), ("stats",), ("--json", "stats")], ids=" ".join)
def test_the_command_line_loads_nothing_heavy(place: Place, words: tuple[str, ...]) -> None:
    place.start().ready()
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "hive_cli", *words],
        env=place.surroundings(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = imported(ran.stderr)
    assert "hive_cli" in loaded
    assert loaded & HEAVY == set()


def test_the_daemon_loads_litellm_no_sooner_than_a_model_is_called(place: Place) -> None:
    daemon = place.start(PYTHONPROFILEIMPORTTIME="1").ready()
    assert place.settled(place.trigger("witness/work", n=1))["status"] == "completed"
    assert place.hive("stats").returncode == 0
    assert daemon.terminate() == 0
    loaded = imported(place.log)
    assert {"aiohttp", "pydantic", "sqlite3"} <= loaded
    assert loaded & OPTIONAL == set()


def test_a_run_in_the_foreground_loads_no_server_and_no_configuration(place: Place) -> None:
    folder = write(place.path / "greeter", {"agent.py": GREETER})
    ran = place.hive("run", str(folder), **PROFILED)
    assert ran.returncode == 0, ran.stderr
    loaded = imported(ran.stderr)
    assert {"pydantic", "sqlite3"} <= loaded
    assert loaded & (SERVERS | OPTIONAL) == set()


def test_a_program_that_is_run_loads_what_it_imports_itself(place: Place) -> None:
    (place.path / "program.py").write_text("print('hello')\n")
    ran = place.hive("run", "program.py", **PROFILED)
    assert (ran.returncode, ran.stdout) == (0, "hello\n")
    assert imported(ran.stderr) & (HEAVY | SERVERS | {"asyncio"}) == set()


def test_the_process_that_writes_the_mirror_loads_next_to_nothing(place: Place) -> None:
    ours, theirs = socket.socketpair()
    # Nobody feeds it, so it ends once it is there.
    ours.close()
    with theirs:
        ran = subprocess.run(
            [sys.executable, "-m", PROGRAM],
            env=place.surroundings(**PROFILED),
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    loaded = imported(ran.stderr)
    assert {"hive_daemon", "orjson"} <= loaded
    assert loaded & (HEAVY | SERVERS | {"asyncio", "ssl", "subprocess"}) == set()
