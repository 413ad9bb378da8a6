"""The watch over the event loop: a blocked one is noticed, a slow or a stopped one is spared."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

from hive_daemon.daemon.loop_watch import EXIT_BLOCKED, LoopWatch
from hive_daemon.tasks import Scope

_BLOCKED_DAEMON = """
import asyncio, time
from hive_daemon.daemon.loop_watch import LoopWatch
from hive_daemon.tasks import Scope

def stuck_in_agent_code():
    time.sleep(600)

async def main():
    watch, scope = LoopWatch(0.4), Scope("test")
    watch.start()
    scope.spawn("beat", watch.beat())
    await asyncio.sleep(0)
    stuck_in_agent_code()

asyncio.run(main())
"""


def test_a_blocked_loop_ends_the_process_with_70_and_shows_where_it_hangs() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _BLOCKED_DAEMON], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == EXIT_BLOCKED == 70
    assert "the event loop was blocked" in ended.stderr
    assert "stuck_in_agent_code" in ended.stderr


async def test_a_loop_that_gives_signs_of_life_is_left_alone() -> None:
    blocked: list[float] = []
    watch, scope = LoopWatch(30.0, on_blocked=blocked.append), Scope("test")
    watch.start()
    scope.spawn("beat", watch.beat())
    await asyncio.sleep(0)
    watch.stop()
    await scope.close()
    assert blocked == []


class _Stepped:
    """A clock whose time is what the test says; a thread may read it."""

    def __init__(self) -> None:
        self.now = 100.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def test_a_loop_that_is_late_says_how_late() -> None:
    clock = _Stepped()
    watch = LoopWatch(30.0, clock)
    clock.now += 5.0
    assert watch.lag == 4.0


async def test_the_lag_of_the_last_minute_is_remembered() -> None:
    clock = _Stepped()
    watch, scope = LoopWatch(30.0, clock), Scope("test")
    scope.spawn("beat", watch.beat())
    await asyncio.sleep(0)
    clock.now += 7.0
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await scope.close()
    assert watch.lag == 7.0


def test_a_process_that_was_stopped_as_a_whole_is_spared() -> None:
    """The thread finds that it overslept, as after SIGSTOP, and gives the loop its full time again."""
    clock, blocked, looked = _Stepped(), list[float](), threading.Event()
    watch = LoopWatch(0.04, clock, on_blocked=blocked.append)
    looks = 0

    def jumping() -> float:
        nonlocal looks
        if threading.current_thread().name == "loop watch":
            looks += 1
            clock.now += 1000.0
            if looks > 10:
                looked.set()
        return clock.now

    clock.monotonic = jumping  # type: ignore[method-assign]
    watch.start()
    assert looked.wait(30)
    watch.stop()
    assert blocked == []
