"""What 10,000 timers cost: to load, to hold, to wait for, and to hand over when they are due.

"decide" is the time from a due instant on the heap to its hand-over, on a clock that jumps, so that nothing but the
decision is measured. "due in one second" spreads `--due` instants over one second of the real clock: "handed over" is
how late each is, "ended" how long after its instant its durable execution has ended, without the readable files and
with them. The figures to reach: load < 1 s, < 10 MB, idle < 0.02 % of a core, handed over p99 < 20 ms, ended p99
< 1,000 ms.

    python -m tests.benchmarks.bench_timers [--timers 10000] [--due 1000] [--seconds 5] [--directory DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.node import NodeSpec
from hive_daemon.observability.logging import configure_logging
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig
from hive_daemon.runtime.triggers.timer import Due, Timer
from hive_daemon.runtime.triggers.timer_config import TimerConfig
from hive_daemon.runtime.triggers.timer_source import Fire, TimerSource
from hive_daemon.storage.mirror_fold import MirrorMode
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.timer_values import (
    EVERYTHING,
    Occurrence,
    Span,
    TimerFire,
    TimerRow,
    TimerSpec,
)
from hive_daemon.storage.values import Submitted
from tests.fakes.still_clock import StillClock
from tests.fakes.store_kit import Ear

DAY_SECONDS = 24 * 3600.0
LEAD_SECONDS = 1.0


class Ledger:
    """Knows every timer and settles every instant at once."""

    def __init__(self, anchor: Callable[[int], float]) -> None:
        self._anchor = anchor

    async def sync(self, agent: str, specs: Sequence[TimerSpec]) -> list[TimerRow]:
        """Answer a row for each timer."""
        return [_row(spec, self._anchor(n)) for n, spec in enumerate(specs)]

    async def fire(self, fire: TimerFire) -> Submitted | None:
        """Settle nothing."""
        return None

    async def account(self, timer_ids: Sequence[str]) -> list[TimerRow]:
        """Answer nothing."""
        return []

    async def set_paused(
        self,
        timer_ids: Sequence[str],
        paused: bool,
        *,
        by: str = "",
        note: str = "",
        until: float | None = None,
    ) -> None:
        """Take no note."""

    async def rows(self, agent: str | None = None) -> list[TimerRow]:
        """Answer nothing."""
        return []

    async def occurrences(
        self, timer_id: str, limit: int = 50, span: Span = EVERYTHING
    ) -> list[Occurrence]:
        """Answer nothing."""
        return []


def _row(spec: TimerSpec, anchor: float) -> TimerRow:
    return TimerRow(
        timer_id=spec.timer_id,
        agent=spec.agent,
        entry_point=spec.entry_point,
        signature=spec.signature,
        anchor=anchor,
        last_scheduled=None,
        next_at=None,
        last_outcome=None,
        last_reason=None,
        last_at=None,
        last_execution_id=None,
        fired=0,
        skipped=0,
        missed=0,
        paused_at=None,
        paused_by="",
        note="",
    )


@dataclass
class Taken:
    """Takes what is due, and how late it came."""

    clock: Clock
    wanted: int
    late: list[float] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, due: Due) -> None:
        self.late.append(self.clock.time() - due.scheduled_at)
        if len(self.late) >= self.wanted:
            self.done.set()


async def nobody(due: Due) -> None:
    """Take no note of what is due."""


def timers(count: int, clock: Clock, config: Callable[[int], dict[str, object]]) -> list[Timer]:
    """Make timers from what people write."""
    made = []
    for n in range(count):
        read = TimerConfig.read(config(n))
        schedule = read.schedule(UTC, clock.time())
        made.append(Timer(f"bench/t{n}", f"t{n}", read.rules, schedule, "signature"))
    return made


def interval(n: int) -> dict[str, object]:
    """Return a timer of a day's period."""
    return {"every": "1d"}


def cron(n: int) -> dict[str, object]:
    """Return a timer at a time of the day of its own."""
    return {"cron": f"{n % 60} {n // 60 % 24} * * *"}


# --- the cases --------------------------------------------------------------------------------


async def load(count: int, config: Callable[[int], dict[str, object]]) -> tuple[float, float]:
    """Return the seconds that loading takes, and the MB that the timers hold."""
    clock = SYSTEM_CLOCK
    anchor = clock.time()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    source = TimerSource("bench", clock, Ledger(lambda n: anchor), nobody)
    await source.start(timers(count, clock, config))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await source.stop()
    again = TimerSource("bench", clock, Ledger(lambda n: anchor), nobody)
    began = time.perf_counter()
    await again.start(timers(count, clock, config))
    took = time.perf_counter() - began
    await again.stop()
    return took, (held - before) / 2**20


async def sync_with_store(count: int, directory: Path) -> float:
    """Return the seconds that the real ledger takes to know every timer."""
    async with open_sqlite(directory, Ear()) as store:
        source = TimerSource("bench", SYSTEM_CLOCK, store.timers, nobody)
        began = time.perf_counter()
        await source.start(timers(count, SYSTEM_CLOCK, interval))
        took = time.perf_counter() - began
        await source.stop()
    return took


async def decide(count: int) -> float:
    """Return the seconds from due to handed over, per instant, with every timer due at the same time."""
    clock = StillClock()
    taken = Taken(clock, count)
    anchor = clock.time()
    source = TimerSource("bench", clock, Ledger(lambda n: anchor), taken)
    await source.start(timers(count, clock, interval))
    # The sleeper reads the clock for the first time, and goes to sleep.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    began = time.perf_counter()
    clock.advance(DAY_SECONDS)
    await taken.done.wait()
    took = time.perf_counter() - began
    await source.stop()
    return took / count


async def idle(count: int, seconds: float) -> float:
    """Return the share of a core that waiting for timers takes."""
    anchor = SYSTEM_CLOCK.time()
    source = TimerSource("bench", SYSTEM_CLOCK, Ledger(lambda n: anchor), nobody)
    await source.start(timers(count, SYSTEM_CLOCK, interval))
    await asyncio.sleep(0.2)
    began, before = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    share = (time.process_time() - before) / (time.perf_counter() - began)
    await source.stop()
    return share


async def hand_over(count: int, due: int) -> list[float]:
    """Return how late each of `due` instants was, that fall into one second among `count` timers."""
    begin = SYSTEM_CLOCK.time() + LEAD_SECONDS - DAY_SECONDS
    taken = Taken(SYSTEM_CLOCK, due)
    fire: Fire = taken
    # The others are due half a day later.
    ledger = Ledger(lambda n: begin + (n / due if n < due else DAY_SECONDS / 2))
    source = TimerSource("bench", SYSTEM_CLOCK, ledger, fire)
    await source.start(timers(count, SYSTEM_CLOCK, interval))
    await taken.done.wait()
    await source.stop()
    return sorted(taken.late)


async def work(event: dict[str, object]) -> str:
    """Be the node of an execution."""
    return "done"


async def end_durably(due: int, directory: Path, mirror: MirrorMode) -> list[float]:
    """Return how long after its instant the execution of each timer has ended, due in one second."""
    node = NodeSpec(
        id="work", node_type="function", function=work, input_keys=["event"], output_keys=["answer"]
    )
    graph = GraphSpec(id="bench", entry_node="work", terminal_nodes=["work"], nodes=[node])
    runtime = AgentRuntime(
        graph,
        Goal(id="bench", name="Bench"),
        directory,
        config=AgentRuntimeConfig(mirror=mirror),
    )
    begin = SYSTEM_CLOCK.time()
    seconds = 5
    for n in range(due):
        config = {"every": f"{seconds}s{n * 1000 // due}ms"} if n else {"every": f"{seconds}s"}
        runtime.register_entry_point(
            EntryPointSpec(
                id=f"t{n}",
                trigger_type="timer",
                trigger_config=config,
                isolation_level="isolated",
            )
        )
    ended: dict[str, float] = {}
    done = asyncio.Event()

    def note(event: AgentEvent) -> None:
        if event.stream_id not in ended:
            ended[event.stream_id] = SYSTEM_CLOCK.time()
        if len(ended) >= due:
            done.set()

    runtime.subscribe_to_events([EventType.EXECUTION_COMPLETED], note)
    await runtime.start()
    try:
        if SYSTEM_CLOCK.time() - begin > seconds:
            print("(the runtime took longer to start than the timers' period)", file=sys.stderr)
        await done.wait()
        store = runtime.running().services.store.timers
        late = []
        for name, at in ended.items():
            [*_, first] = await store.occurrences(f"bench/{name}")
            late.append(at - first.scheduled_at)
    finally:
        await runtime.stop(0.0)
    return sorted(late)


# --- the table --------------------------------------------------------------------------------


def _show(name: str, figure: str, limit: str = "") -> None:
    print(f"{name:44}{figure:>16}{limit:>16}", flush=True)


def _ms(late: Sequence[float]) -> str:
    p50, p99 = late[len(late) // 2] * 1e3, late[len(late) * 99 // 100] * 1e3
    return f"{p50:.1f} / {p99:.1f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--timers", type=int, default=10_000)
    parser.add_argument("--due", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to wait when idle")
    parser.add_argument("--directory", default=None, help="where to put the databases")
    chosen = parser.parse_args(arguments)
    configure_logging("error", "json")
    count, due = chosen.timers, chosen.due
    _show(f"{count:,} timers", "", "limit")
    for name, config in (("interval", interval), ("cron", cron)):
        seconds, megabytes = asyncio.run(load(count, config))
        _show(f"load, {name}, s", f"{seconds:.2f}", "1")
        _show(f"hold, {name}, MB", f"{megabytes:.1f}", "10")
    with tempfile.TemporaryDirectory(dir=chosen.directory) as name:
        seconds = asyncio.run(sync_with_store(count, Path(name) / "ledger"))
        _show("load with the durable ledger, s", f"{seconds:.2f}")
        _show("decide, µs per instant", f"{asyncio.run(decide(count)) * 1e6:.1f}")
        _show("idle, % of a core", f"{asyncio.run(idle(count, chosen.seconds)) * 100:.3f}", "0.02")
        late = asyncio.run(hand_over(count, due))
        _show(f"{due:,} due in one second, handed over, ms", _ms(late), "p99 20")
        for mirror, limit in ((MirrorMode.OFF, "p99 1000"), (MirrorMode.FULL, "")):
            late = asyncio.run(end_durably(due, Path(name) / mirror.value, mirror))
            _show(f"… ended, readable files {mirror.value}, ms", _ms(late), limit)
    return 0


if __name__ == "__main__":
    sys.exit(main())
