"""The deadline of a stop: a process that hangs is ended by force, and says whether anything was lost by it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fakes.daemon_process import ROOT

HANGS = """
import signal
from hive_daemon.daemon.shutdown import Deadline

deadline = Deadline(is_drained={is_drained})
deadline.set(0.81)
signal.pause()
"""

LIVES = """
from hive_daemon.daemon.shutdown import Deadline

deadline = Deadline()
for _ in range(2):
    deadline.set(0.81)
    timer = deadline._timer
    deadline.set(3600)
    timer.join()
deadline.clear()
"""


def ended(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(("is_drained", "code"), [(False, 1), (True, 0)])
def test_a_process_that_hangs_is_ended_by_force_and_its_code_tells_what_was_lost(
    is_drained: bool, code: int
) -> None:
    end = ended(HANGS.format(is_drained=is_drained))
    assert end.returncode == code
    assert "the daemon did not stop in time, it ends by force" in end.stderr


def test_a_deadline_that_is_set_anew_or_cleared_ends_nothing() -> None:
    end = ended(LIVES)
    assert (end.returncode, end.stderr) == (0, "")
