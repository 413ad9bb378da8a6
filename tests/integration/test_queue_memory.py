"""A hundred thousand queued triggers take little memory, while they come and when a daemon begins with them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

QUEUED = 100_000
MOST_BYTES = 50 * 1024 * 1024


def work(directory: Path, count: int) -> dict[str, int]:
    """Let a process queue so many, and answer what it says of itself."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.integration.queue_worker", str(directory), str(count)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    answer: dict[str, int] = json.loads(ran.stdout)
    return answer


@pytest.mark.slow
def test_a_hundred_thousand_queued_triggers_stay_within_50_mb(tmp_path: Path) -> None:
    filled, again = work(tmp_path, QUEUED), work(tmp_path, 0)
    for life in (filled, again):
        assert life["queued"] >= QUEUED
        assert life["after"] - life["before"] < MOST_BYTES
