"""Commands that need no daemon: another process does them, since they load what this program must not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import hive_cli

_MODULE = "hive_daemon.local"


def run_local(*arguments: str) -> int:
    """Run `python -m hive_daemon.local ARGUMENTS…` on our own streams and return its exit code."""
    sys.stdout.flush()
    return subprocess.call([sys.executable, *_words(arguments)])


def become_local(*arguments: str) -> NoReturn:
    """Give our place to `python -m hive_daemon.local ARGUMENTS…`: the keyboard and all signals are its own then."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *_words(arguments)])


def _words(arguments: tuple[str, ...]) -> list[str]:
    home = Path(hive_cli.__file__).resolve().parent.parent
    # -P: a folder called hive_daemon where the user happens to stand must not be run in our place.
    safe = [] if Path.cwd() == home else ["-P"]
    return [*safe, "-m", _MODULE, *arguments]
