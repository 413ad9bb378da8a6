"""kill -9 at any moment: what was acknowledged is there, whole and once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hive_daemon.storage.ports import Store
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.values import EventFilter, ExecutionFilter, ExecutionRow, StoredEvent
from tests.fakes.store_kit import Ear

ROUNDS = 10
WORKERS = 50
MOST_LINES = 20 * WORKERS
"""Before it has said so many, a child is killed: at some moment of its work, whatever the speed of the machine."""
EVENTS_PER_STEP = 3


@dataclass
class Ledger:
    """What the children said: which key they tried, which id it got, which steps were acknowledged."""

    tried: set[str] = field(default_factory=set)
    ids: dict[str, str] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)

    def hear(self, line: str) -> None:
        """Note one line of a child."""
        kind, *words = line.split()
        if kind == "trying":
            self.tried.add(words[0])
        elif kind == "submitted":
            key, name = words
            assert self.ids.setdefault(key, name) == name, "one key, two executions"
        elif kind == "committed":
            name, seq = words[0], int(words[1])
            self.steps[name] = max(seq, self.steps.get(name, 0))


def run_child_and_kill_it(directory: Path, ledger: Ledger, number: int, lines: int) -> int:
    """Let a child work until it has said so many lines, then kill it; answer how many it said."""
    again = sorted(ledger.tried - set(ledger.ids)) + sorted(ledger.ids)[-20:]
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "tests.integration.store_worker", str(directory), str(writer)]
    child = subprocess.Popen([*command, str(number), str(WORKERS), *again], pass_fds=(writer,))
    os.close(writer)
    said = 0
    with os.fdopen(reader) as pipe:
        # The last line may be torn: it acknowledged nothing.
        for said, line in enumerate((line for line in pipe if line.endswith("\n")), start=1):
            ledger.hear(line)
            if said == lines:
                child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    return said


async def everything(store: Store) -> tuple[list[ExecutionRow], list[StoredEvent]]:
    """Return all executions and all events."""
    rows: list[ExecutionRow] = []
    before = None
    while page := await store.executions.query(ExecutionFilter(before=before, limit=500)):
        rows += page
        before = page[-1].n
    events: list[StoredEvent] = []
    after = 0
    while found := await store.executions.history(EventFilter(after_seq=after)):
        events += found
        after = found[-1].seq
    return rows, events


async def look(directory: Path) -> tuple[list[ExecutionRow], list[StoredEvent]]:
    async with open_sqlite(directory, Ear()) as store:
        return await everything(store)


def check_integrity(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.slow
def test_kill_9_loses_nothing_that_was_acknowledged_and_doubles_nothing(tmp_path: Path) -> None:
    dice, ledger = random.Random(20_260_302), Ledger()
    heard = 0
    for number in range(ROUNDS):
        lines = dice.randrange(WORKERS, MOST_LINES)
        heard += run_child_and_kill_it(tmp_path / "state", ledger, number, lines)
        rows, events = asyncio.run(look(tmp_path / "state"))
        check_integrity(tmp_path / "state" / "hive.db")
        by_name = {row.execution_id: row for row in rows}
        assert len(by_name) == len(rows)

        keys = Counter(row.input for row in rows)
        assert {key for key, times in keys.items() if times > 1} == set()
        missing = {key for key, name in ledger.ids.items() if name not in by_name}
        assert missing == set()
        assert all(by_name[name].input == key.encode() for key, name in ledger.ids.items())

        late = {name: seq for name, seq in ledger.steps.items() if by_name[name].seq < seq}
        assert late == {}
        counted = Counter(event.execution_id for event in events)
        assert {row.execution_id: row.seq * EVENTS_PER_STEP for row in rows if row.seq} == counted
        assert all(
            (event.execution_seq - 1) // EVENTS_PER_STEP + 1 == int(event.data) for event in events
        )
        numbers = [event.seq for event in events]
        assert numbers == sorted(set(numbers))
    assert heard >= ROUNDS * WORKERS
    assert ledger.steps


MAKE = """
import os, random, signal, sys, time
from pathlib import Path
from hive_daemon.storage.sqlite.database import open_writer, own, prepare_database, prepare_directory

dice = random.Random(7)
for number in range(int(sys.argv[2])):
    directory = Path(sys.argv[1]) / str(number)
    for _ in range(3):
        child = os.fork()
        if child == 0:
            prepare_directory(directory)
            with own(directory):
                prepare_database(directory / "hive.db")
                open_writer(directory / "hive.db")
                signal.pause()
        time.sleep(dice.uniform(0, 0.012))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
"""


@pytest.mark.slow
def test_kill_9_while_a_database_is_made_leaves_a_state_that_opens(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", MAKE, str(tmp_path), "40"], check=True)
    for number in range(40):
        assert asyncio.run(look(tmp_path / str(number))) == ([], [])
        check_integrity(tmp_path / str(number) / "hive.db")
        left = {path.name for path in (tmp_path / str(number)).iterdir()}
        assert left == {"hive.db", "hive.lock"}


OWN = """
import sys
from pathlib import Path
from hive_daemon.errors import StateLocked
from hive_daemon.storage.sqlite.database import own, prepare_directory

prepare_directory(Path(sys.argv[1]))
sys.stdin.readline()
try:
    with own(Path(sys.argv[1])):
        print("owner", flush=True)
        sys.stdin.read()
except StateLocked as error:
    print(error.subject, flush=True)
"""


@pytest.mark.slow
def test_of_six_that_begin_at_once_one_owns_the_directory(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWN, str(tmp_path / "state")]
    with ExitStack() as stack:
        six = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(6)
        ]
        for one in six:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        said = [one.stdout.readline().strip() for one in six if one.stdout is not None]
    assert sorted(word == "owner" for word in said) == [False] * 5 + [True]
