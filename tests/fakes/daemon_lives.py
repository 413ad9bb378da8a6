"""A `hived` that is killed many times: `python -m tests.fakes.daemon_lives`, one line of stdin for each life.

A line holds the words of the command line, as JSON. Everything is imported once; each life is a process of its own,
forked from there, that runs the very `main` of `hived`. `begun PID` is said, and `ended STATUS` when it is dead.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from signal import SIGKILL

from tests.fakes.daemon_process import Place


class Lives:
    """The lives of a `hived` at a place, one after the other."""

    def __init__(self, place: Place, process: subprocess.Popen[str]) -> None:
        self._place, self._process = place, process

    def begin(self) -> int:
        """Begin a life; return its process once it is ready."""
        manager, words = self._place.manager, self._place.words
        before = len(manager.heard)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        said, pid = self._said()
        assert said == "begun"
        manager.wait_until(lambda: "READY=1" in "\n".join(manager.heard[before:]), "READY")
        return pid

    def kill(self, pid: int) -> None:
        """End a life with SIGKILL, and wait until it is dead."""
        os.kill(pid, SIGKILL)
        assert self._said() == ("ended", SIGKILL)

    def _said(self) -> tuple[str, int]:
        assert self._process.stdout is not None
        word, _, number = self._process.stdout.readline().partition(" ")
        return word, int(number)


@contextmanager
def lives_at(place: Place) -> Iterator[Lives]:
    """Lives at a place; none is left over."""
    around = place.surroundings(NOTIFY_SOCKET=str(place.manager.path))
    with (
        (place.path / "log").open("ab") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.daemon_lives"],
            env=around,
            cwd=place.path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield Lives(place, process)
        finally:
            # The life that a failed test left, and the process that waits for it, are one group.
            os.killpg(process.pid, SIGKILL)


def main() -> None:
    """Begin a life for each line, and wait until it is dead."""
    from hive_daemon.daemon.main import main as hived

    for needed in ("uvloop", "hive_daemon.daemon.app"):
        import_module(needed)
    for number, line in enumerate(sys.stdin, start=1):
        pid = os.fork()
        if pid == 0:
            os.environ["LIFE"] = str(number)
            os.dup2(2, 1)
            hived(json.loads(line))
        os.write(1, f"begun {pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(1, f"ended {status}\n".encode())


if __name__ == "__main__":
    main()
