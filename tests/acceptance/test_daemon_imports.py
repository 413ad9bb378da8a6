"""What the processes load: the command line starts light, and the daemon imports litellm for a model call only."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.fakes.daemon_process import Place

HEAVY = {"aiohttp", "pydantic", "litellm", "sqlite3"}

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
    assert "litellm" not in loaded
