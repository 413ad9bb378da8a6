"""kill -9 of a real daemon around the instants of a timer: one row and one execution for each, none lost, none twice.

Every life is a whole `hived`; only what it imports is shared (tests/fakes/daemon_lives.py). The instants are found in
the store that a killed daemon left, and the next life ends within a few milliseconds of one.
(The steps of the wall clock are shown on a clock of the test's own, in tests/integration/test_timer_engine.py: this
needs no faketime on the machine.)
"""

from __future__ import annotations

import json
import math
import random
import sqlite3
import time
from contextlib import closing

import pytest

from tests.fakes.daemon_lives import Lives, lives_at
from tests.fakes.daemon_process import Place

KILLS = 50
SEED = 20_260_302
PERIOD_SECONDS = 0.2
AROUND_SECONDS = 0.03
"""So near to an instant a life ends, on either side of it."""
TIMER = "witness/tick"


def write_config(place: Place) -> None:
    """Give the witness agent a timer that is due five times a second."""
    tick = {
        "trigger_type": "timer",
        "trigger_config": {"every": "200ms", "catchup": "all", "catchup_window": "1h"},
        "entry_node": "noted",
        "isolation_level": "isolated",
        "max_concurrent": 20,
    }
    witness = {"path": str(place.path / "agents" / "witness"), "entry_points": {"tick": tick}}
    place.write(agents=[witness], recovery={"max_attempts": 100}, log={"level": "ERROR"})


def anchor_of(place: Place) -> float:
    """Return where the phase of the timer begins."""
    with closing(sqlite3.connect(place.state / "hive.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (anchor,) = db.execute("SELECT anchor FROM timers WHERE id = ?", (TIMER,)).fetchone()
    return float(anchor)


def live_and_die(lives: Lives, anchor: float | None, dice: random.Random) -> None:
    """Start a daemon and kill it around an instant: any moment will do, this is where it is hit."""
    pid = lives.begin()
    now = time.time()
    if anchor is not None:
        due = anchor + math.ceil((now - anchor) / PERIOD_SECONDS + 0.2) * PERIOD_SECONDS
        time.sleep(max(0.0, due - now + dice.uniform(-AROUND_SECONDS, AROUND_SECONDS)))
    lives.kill(pid)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kill_9_around_the_instants_of_a_timer_loses_none_and_doubles_none(place: Place) -> None:
    write_config(place)
    dice, anchor = random.Random(SEED), None
    with lives_at(place) as lives:
        for _ in range(KILLS):
            live_and_die(lives, anchor, dice)
            anchor = anchor_of(place)
    last = place.start().ready()
    place.post("/v1/timers/pause", {"ids": [TIMER]})
    assert last.terminate() == 0
    place.start().ready()
    listed = place.get("/v1/executions?limit=500")["items"]
    ended = [place.settled(one["id"]) for one in listed]
    assert {one["status"] for one in ended} == {"completed"}

    with closing(sqlite3.connect(place.state / "hive.db")) as db:
        rows = db.execute(
            "SELECT scheduled_at, outcome, execution_id FROM occurrences WHERE timer_id = ? ORDER BY 1",
            (TIMER,),
        ).fetchall()
        inputs = dict(db.execute("SELECT id, input FROM executions").fetchall())
        (fired, missed, skipped) = db.execute(
            "SELECT fired, missed, skipped FROM timers WHERE id = ?", (TIMER,)
        ).fetchone()
    assert anchor is not None
    numbers = [round((at - anchor) / PERIOD_SECONDS) for at, _, _ in rows]
    assert numbers == list(range(1, len(rows) + 1)), "each instant has its row, one after the other"
    begun = [execution_id for _, outcome, execution_id in rows if outcome == "fired"]
    assert len(begun) == len(set(begun)) == len(inputs) == fired
    assert set(begun) == set(inputs)
    told = [json.loads(content)["event"]["scheduled_for"] for content in inputs.values()]
    assert len(set(told)) == len(told)
    assert (fired + missed + skipped, fired > KILLS) == (len(rows), True)
    assert {outcome for _, outcome, _ in rows} <= {
        "fired",
        "missed",
        "skipped_paused",
        "skipped_overlap",
    }
