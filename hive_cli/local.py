"""Commands that need no daemon: a child process runs them, since they load what this program must not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import hive_cli

_MODULE = "hive_daemon.local"


def run_local(*arguments: str) -> int:
    """Run `python -m hive_daemon.local ARGUMENTS…` on our own streams and return its exit code."""
    home = Path(hive_cli.__file__).resolve().parent.parent
    # -P: a folder called hive_daemon where the user happens to stand must not be run in our place.
    safe = [] if Path.cwd() == home else ["-P"]
    sys.stdout.flush()
    return subprocess.call([sys.executable, *safe, "-m", _MODULE, *arguments])
