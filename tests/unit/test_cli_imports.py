"""What the command line must not load."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.control_server import control_server

ROOT = Path(__file__).parent.parent.parent
HEAVY = {"aiohttp", "pydantic", "litellm", "sqlite3", "rich", "ssl", "email", "asyncio", "yaml"}
REPORT = """
import json, sys
from hive_cli.app import main
code = main(sys.argv[1:])
sys.stderr.write(json.dumps([code, sorted(sys.modules)]))
"""


def loaded(*arguments, socket=None):
    """The modules that a command leaves loaded, after it ended well."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "HIVE_SOCKET": str(socket or "/nonexistent")},
        check=True,
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0
    return set(modules)


def ours(modules):
    return {name for name in modules if name.startswith("hive_daemon.")}


def test_importing_the_command_line_loads_nothing_heavy():
    report = "import hive_cli, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert not HEAVY & set(json.loads(done.stdout))


def test_help_loads_nothing_heavy():
    modules = loaded("--help")
    assert not HEAVY & modules
    assert ours(modules) == {"hive_daemon.control", "hive_daemon.control.wire"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["stats"],
        ["stats", "--json"],
        ["trigger", "triage", "--set", "a=1"],
        ["timers", "list"],
        ["events"],
    ],
)
def test_commands_load_nothing_heavy(tmp_path, arguments):
    with control_server(tmp_path) as server:
        modules = loaded(*arguments, socket=server.path)
    assert not HEAVY & modules
    assert ours(modules) == {"hive_daemon.control", "hive_daemon.control.wire"}
