"""A Python program run as `python FILE` would run it, with `import framework…` giving the modules of Hive."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence

from hive_daemon import framework_alias


def is_program(path: str) -> bool:
    """Say whether the path means a Python program rather than an agent folder."""
    return path.endswith(".py") and not os.path.isdir(path)


def run_program(path: str, arguments: Sequence[str]) -> int:
    """Run the program as `__main__`, with its arguments, and return 0; what it raises goes on, SystemExit too."""
    framework_alias.install()
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name="__main__")
    return 0
