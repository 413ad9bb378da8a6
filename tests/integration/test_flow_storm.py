"""Five thousand triggers over keys, strategies and `kill -9`: limits hold, no slot leaks, no trigger is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hive_daemon.clock import SYSTEM_CLOCK
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.values import MAX_PAGE, ExecutionFilter, ExecutionRow
from tests.fakes.store_kit import Ear

TRIGGERS = 5_000
KILLS = 8
SEED = 20_260_302
GIVES_WAY = {"interrupt", "rollback", "newest", "single"}


@dataclass
class Heard:
    """What the lives of the worker said."""

    taken: dict[int, str] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    is_done: bool = False

    def hear(self, line: str) -> None:
        """Take one line."""
        what, _, rest = line.partition(" ")
        if what == "taken":
            number, execution_id = rest.split()
            assert self.taken.setdefault(int(number), execution_id) == execution_id
        elif what == "refused":
            number, code = rest.split()
            self.refused[int(number)] = code
        elif what == "done":
            self.is_done = True
        else:
            getattr(self, what).append(line)

    def unanswered(self) -> list[int]:
        """Return the triggers of which nobody knows what became."""
        return [n for n in range(TRIGGERS) if n not in self.taken and n not in self.refused]


def live(directory: Path, heard: Heard, lines: int | None) -> None:
    """Let a worker live until it has said so many lines, then kill it; None: until it is done."""
    reader, writer = os.pipe()
    manner = "last" if lines is None else "cut"
    command = [sys.executable, "-m", "tests.integration.flow_worker", str(directory), str(writer)]
    child = subprocess.Popen(
        [*command, str(SEED), manner], pass_fds=(writer,), stdin=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert child.stdin is not None
    with child.stdin as given:
        given.write(" ".join(map(str, heard.unanswered())))
    with os.fdopen(reader) as told:
        for count, line in enumerate(whole(told), 1):
            heard.hear(line)
            if count == lines:
                child.send_signal(signal.SIGKILL)
    assert child.wait() == (0 if lines is None else -signal.SIGKILL)


def whole(told: Iterator[str]) -> Iterator[str]:
    """Yield the lines that were written to the end."""
    return (line.rstrip("\n") for line in told if line.endswith("\n"))


async def all_rows(directory: Path) -> list[ExecutionRow]:
    """Read every execution."""
    rows: list[ExecutionRow] = []
    async with open_sqlite(directory, Ear(), SYSTEM_CLOCK) as store:
        before: int | None = None
        while True:
            page = await store.executions.query(ExecutionFilter(before=before, limit=MAX_PAGE))
            rows += page
            if len(page) < MAX_PAGE:
                return rows
            before = page[-1].n


@pytest.mark.slow
async def test_limits_hold_no_slot_leaks_and_no_trigger_is_lost(tmp_path: Path) -> None:
    dice, heard = random.Random(SEED), Heard()
    for _ in range(KILLS):
        live(tmp_path, heard, dice.randrange(50, TRIGGERS // KILLS))
    live(tmp_path, heard, None)
    assert (heard.is_done, heard.broken, heard.left) == (True, [], [])
    assert heard.unanswered() == []
    rows = {row.execution_id: row for row in await all_rows(tmp_path)}
    assert set(heard.taken.values()) <= set(rows)
    ends = {(row.entry_point, row.status) for row in rows.values()}
    ended = {ExecutionStatus.COMPLETED, ExecutionStatus.CANCELLED}
    assert {status for _, status in ends} == ended
    assert {name for name, status in ends if status is ExecutionStatus.CANCELLED} <= GIVES_WAY
    assert set(heard.refused.values()) == {"busy", "queue_full", "rate_limited"}
