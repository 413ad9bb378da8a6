"""Laws of timers that run, whatever happens to the clock, to the process and to the timer meanwhile."""

import asyncio
from collections import Counter
from datetime import UTC

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.runtime.triggers.catchup import MOST_CAUGHT_UP
from hive_daemon.runtime.triggers.timer import Timer
from hive_daemon.runtime.triggers.timer_config import TimerConfig
from hive_daemon.runtime.triggers.timer_source import TimerSource
from hive_daemon.storage.timer_values import TimerOutcome, TimerSkip
from tests.fakes.clock import FakeClock
from tests.fakes.memory_store import MemoryDisk, open_memory
from tests.fakes.store_kit import Ear

NOW = 1_772_442_000.0
TIMER = "a/t"
PAUSED = TimerSkip(TimerOutcome.SKIPPED_PAUSED, "paused")

moves = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(1, 200)),
        st.tuples(st.just("step"), st.integers(-300, 300)),
        st.tuples(st.just("pause"), st.booleans()),
        st.tuples(st.just("stay away"), st.integers(0, 400)),
    ),
    max_size=12,
)
configs = st.fixed_dictionaries(
    {},
    optional={
        "catchup": st.sampled_from(["none", "one", "all"]),
        "run_immediately": st.booleans(),
    },
)


class Life:
    """A timer over several lives of its process."""

    def __init__(self, config):
        self.clock = FakeClock(NOW, auto=False)
        self.config = TimerConfig.read(config)
        self.disk = MemoryDisk()
        self.handed_over = []
        self.lived = []

    async def play(self, script):
        """Live through the moves; begin anew after each absence; answer the ledger."""
        lives = [[]]
        for move in script:
            if move[0] == "stay away":
                lives.append([move])
            else:
                lives[-1].append(move)
        for life in lives:
            await self._live(life)
        async with open_memory(Ear(), self.clock, self.disk) as store:
            return await store.timers.occurrences(TIMER, 500)

    async def _live(self, script):
        async with open_memory(Ear(), self.clock, self.disk) as store:
            self.store = store
            source = TimerSource("a", self.clock, store.timers, self._fire)
            if script and script[0][0] == "stay away":
                await self.clock.advance(script.pop(0)[1])
            self.lived.append([self.clock.monotonic()] * 2)
            schedule = self.config.schedule(UTC, self.clock.time())
            await source.start([Timer(TIMER, "t", self.config.rules, schedule, "signature")])
            await self.clock.advance(0)
            for kind, how in script:
                if kind == "pass":
                    await self.clock.advance(how)
                elif kind == "step":
                    self.clock.jump(how)
                else:
                    await source.set_paused([TIMER], how)
            self.lived[-1][1] = self.clock.monotonic()
            await source.stop()

    async def _fire(self, due):
        if due.skip is not None:
            await self.store.timers.fire(due.settled(due.skip))
            return
        self.handed_over.append(due)
        fired = TimerSkip(TimerOutcome.FIRED, due.reason)
        await self.store.timers.fire(
            due.settled(PAUSED if due.timer.holds(due.scheduled_at) else fired)
        )


@settings(max_examples=60, deadline=None)
@given(configs, moves)
def test_no_instant_of_an_interval_is_settled_twice_and_all_are_of_its_phase(config, script):
    life = Life({"every": "1m", **config})
    ledger = asyncio.run(life.play(script))
    counts = Counter(round(row.scheduled_at, 3) for row in ledger)
    assert set(counts.values()) <= {1}
    strays = {at for at in counts if round((at - NOW) % 60, 3) not in (0.0, 60.0)}
    immediately = {
        round(due.scheduled_at, 3) for due in life.handed_over if due.reason == "run_immediately"
    }
    assert strays <= immediately


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.just("pass"), st.integers(1, 200)), min_size=1, max_size=8), st.data())
def test_while_somebody_is_there_no_instant_of_an_interval_is_passed_over(script, data):
    places = st.integers(0, len(script))
    for _ in range(data.draw(st.integers(0, 3))):
        script.insert(data.draw(places), ("step", data.draw(st.integers(-5000, 5000))))
    life = Life({"every": "1m"})
    ledger = asyncio.run(life.play(script))
    seconds = sum(how for kind, how in script if kind == "pass")
    assert sorted(round(row.scheduled_at - NOW, 3) for row in ledger) == [
        60.0 * n for n in range(1, seconds // 60 + 1)
    ]


@settings(max_examples=60, deadline=None)
@given(configs, moves)
def test_no_instant_of_a_cron_timer_is_settled_twice_however_the_clock_steps(config, script):
    life = Life({"cron": "*/2 * * * *", **config})
    ledger = asyncio.run(life.play(script))
    counts = Counter(round(row.scheduled_at, 3) for row in ledger)
    assert set(counts.values()) <= {1}
    immediately = {
        round(due.scheduled_at, 3) for due in life.handed_over if due.reason == "run_immediately"
    }
    assert {at for at in counts if at % 120} <= immediately


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 900), st.integers(1, 900), st.sampled_from(["none", "one", "all"]))
def test_what_was_missed_is_caught_up_as_the_policy_says(before, away, catchup):
    life = Life({"every": "1m", "catchup": catchup})
    ledger = asyncio.run(life.play([("pass", before), ("stay away", away), ("pass", 1)]))
    fired = sorted(
        round(row.scheduled_at - NOW) for row in ledger if row.outcome is TimerOutcome.FIRED
    )
    seen = [60 * n for n in range(1, before // 60 + 1)]
    missed = [60 * n for n in range(before // 60 + 1, (before + away) // 60 + 1)]
    then = [60 * n for n in range((before + away) // 60 + 1, (before + away + 1) // 60 + 1)]
    late = {"none": [], "one": missed[-1:], "all": missed[-MOST_CAUGHT_UP:]}[catchup]
    assert fired == seen + late + then


quiet_moves = moves.map(lambda script: [move for move in script if move[0] != "step"])


@settings(max_examples=80, deadline=None)
@given(configs, quiet_moves)
def test_every_instant_of_an_interval_has_its_row_whoever_was_there(config, script):
    life = Life({"every": "1m", **config})
    ledger = asyncio.run(life.play([*script, ("stay away", 1), ("pass", 1)]))
    seconds = 2 + sum(how for kind, how in script if kind in ("pass", "stay away"))
    rows = sorted(round(row.scheduled_at - NOW, 3) for row in ledger)
    immediately = {
        round(due.scheduled_at - NOW, 3)
        for due in life.handed_over
        if due.reason == "run_immediately"
    }
    due = {60.0 * n for n in range(1, seconds // 60 + 1)}
    assert due <= set(rows)
    assert set(rows) - due <= immediately
