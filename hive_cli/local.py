"""Commands that need no daemon: another process does them, since they load what this program must not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import hive_cli
from hive_cli.failures import Failure
from hive_cli.render import Json
from hive_daemon.control.wire import ErrorCode

_MODULE = "hive_daemon.local"


def run_local(*arguments: str) -> int:
    """Run `python -m hive_daemon.local ARGUMENTS…` on our own streams and return its exit code."""
    sys.stdout.flush()
    return subprocess.call([sys.executable, *_words(arguments)])


def ask_local(noun: str, *arguments: str) -> Json:
    """Run `python -m hive_daemon.local NOUN --json …` and return the document that it writes. Raises Failure."""
    words = _words((noun, "--json", *arguments))
    ran = subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, check=False)
    try:
        document = json.loads(ran.stdout)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Failure(ErrorCode.ERROR, "the store could not be read")
    error = document.get("error")
    if isinstance(error, dict):
        text, hint = str(error.get("message", "")), str(error.get("hint") or "")
        candidates = [str(one) for one in error.get("candidates") or ()]
        raise Failure(str(error.get("code", "")), text, hint, candidates=candidates)
    return document


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
