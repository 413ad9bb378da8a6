"""A deep queue on SQLite: nothing that is done often looks at all of it, and nothing of it is held in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hive_daemon.status import ExecutionStatus as S
from hive_daemon.storage.admission import QueueFilter
from hive_daemon.storage.sqlite import queue_view, standing, turns
from hive_daemon.storage.sqlite.claim import claim
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.sqlite.tx import Known, Tx
from hive_daemon.storage.values import Limits
from tests.fakes.store_kit import LANE, NODE, Ear, SetClock, ending, session, status_of, step

DEPTH = 100_000
_FILL = """
WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {depth})
INSERT INTO executions (n, id, session_id, ordinal, agent, graph_id, entry_point, stream_id, lane,
    status, joined, stage, background, priority, key, source, correlation, causation, trace_id,
    created_at, updated_at, input, due_at)
SELECT i, {session} || CASE WHEN {ordinal} > 1 THEN '-' || {ordinal} ELSE '' END, {session},
    {ordinal}, 'triage', 'g', 'default', 'main', 'triage/main', 'queued', 0, {stage}, 0, 0, {key},
    'api', '', '[]', '', 1.0, 1.0, CAST('{{}}' AS BLOB), {due} FROM numbers
"""
_EACH = "printf('session_20260302_090000_%08x', i)"
_ONE = "'session_20260302_090000_00000001'"


def fill(directory: Path, **how: object) -> None:
    """Queue DEPTH executions without going through the port."""
    given = {"depth": DEPTH, "session": _EACH, "ordinal": 1, "stage": 0, "key": "''", "due": "NULL"}
    with closing(sqlite3.connect(directory / "hive.db")) as connection:
        connection.execute(_FILL.format(**{**given, **how}))
        connection.execute("INSERT INTO lanes VALUES ('triage/main', '')")
        connection.commit()


@pytest.fixture
async def directory(tmp_path: Path) -> Path:
    """A state directory with an empty database."""
    async with open_sqlite(tmp_path / "state", Ear(), SetClock()):
        pass
    return tmp_path / "state"


@pytest.fixture
def connection(directory: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the empty database."""
    with closing(sqlite3.connect(directory / "hive.db")) as opened:
        yield opened


def plan(connection: sqlite3.Connection, statement: str, *values: object) -> list[str]:
    """Return the steps by which SQLite reads tables for a statement."""
    found = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    return [detail for *_, detail in found if detail.startswith(("SCAN", "SEARCH"))]


STATEMENTS: dict[str, tuple[Any, ...]] = {
    "a lane in order": (turns._IN_ORDER, LANE, 0, 9, 1.0),
    "what was moved": (turns._MOVED, LANE, 0, 9, 1.0),
    "the next key": (turns._NEXT_KEY, LANE, 0, 9, 1.0, 0, "a"),
    "the next level": (turns._NEXT_LEVEL, LANE, 0, 9),
    "what follows": (turns._FOLLOWS, session(1), LANE, "", 0, 0, 1.0),
    "what is behind": (turns._KINDS_BEHIND, session(1), "", "", -1),
    "the best behind": (turns._PROMOTE, session(1), LANE, "", 0),
    "whether any is behind": (turns._IS_ANY_BEHIND,),
    "what is due": (turns._DUE, 1.0, 9),
    "what is late": (turns._LATE, 1.0),
    "what is held": (standing._HELD, LANE, "h", 1.0),
    "the group of a key": (standing._OF_KEY, LANE, "a"),
    "the group of none": (standing._OF_NONE, LANE, ""),
    "the counts of a lane": (standing._COUNT, LANE),
    "a page of the queue": (queue_view._PAGE, LANE, 1.0, 0, 50),
    "the depths": (queue_view._DEPTHS,),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_reads_by_an_index(connection: sqlite3.Connection, name: str) -> None:
    steps = plan(connection, *STATEMENTS[name])
    read = [
        step for step in steps if "executions" in step or step.startswith(("SCAN e", "SEARCH e"))
    ]
    assert all("USING" in step for step in read), read


@pytest.mark.parametrize("name", ["a lane in order", "the next key", "what was moved"])
def test_what_is_claimed_is_read_in_its_order(connection: sqlite3.Connection, name: str) -> None:
    statement, *values = STATEMENTS[name]
    found = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    assert not [detail for *_, detail in found if "TEMP B-TREE" in detail]


DEEP: dict[str, dict[str, object]] = {
    "of many keys": {"key": "'k' || (i % 5000)"},
    "of one key that is full": {"key": "'full'"},
    "held until later": {"stage": 2, "due": "1e12"},
    "behind one session": {"session": _ONE, "ordinal": "i", "stage": "i > 1"},
}


@pytest.mark.parametrize("how", DEEP)
async def test_a_claim_reads_a_few_of_a_deep_queue(directory: Path, how: str) -> None:
    fill(directory, **DEEP[how])
    limits = Limits(2, {LANE: 2}, groups={LANE: 1})
    async with open_sqlite(directory, Ear(), SetClock()) as store:
        await store.queue.claim(NODE, limits)
        with closing(sqlite3.connect(directory / "hive.db")) as connection:
            steps = 0

            def count() -> int:
                nonlocal steps
                steps += 1
                return 0

            connection.set_progress_handler(count, 100)
            room = Limits(4, {LANE: 4}, groups={LANE: 1})
            known = turns_of(connection, room)
        assert steps < 100, f"{known} were found in {steps * 100} steps"


def turns_of(connection: sqlite3.Connection, limits: Limits) -> int:
    """Claim on a connection, and take it back; answer how many there were."""
    connection.isolation_level = None
    connection.execute("BEGIN IMMEDIATE")
    claims = claim(Tx(connection, 2.0, Known(), 1, DEPTH + 1), "another", limits)
    connection.execute("ROLLBACK")
    return len(claims)


async def test_a_deep_queue_is_listed_and_goes_on(directory: Path) -> None:
    fill(directory, key="'k' || (i % 3)")
    async with open_sqlite(directory, Ear(), SetClock()) as store:
        (depth,) = await store.queue.depths()
        assert depth.count == DEPTH
        first = await store.queue.listing(QueueFilter(limit=3))
        assert [queued.key for queued in first] == ["k0", "k1", "k2"]
        (last,) = await store.queue.listing(QueueFilter(offset=DEPTH - 1))
        assert last.position == DEPTH
        told = await store.queue.explain(last.execution_id, Limits(1, {LANE: 1}))
        assert told.ahead == DEPTH - 1
        (claim,) = await store.queue.claim(NODE, Limits(1, {LANE: 1}))
        assert claim.execution_id == first[0].execution_id
        await store.executions.commit(claim.fence, step(1, ending=ending(S.COMPLETED)))
        assert await status_of(store, claim.execution_id) is S.COMPLETED
