"""The timers of one agent: one heap, one sleeper, one durable row for every due instant.

Interval timers keep time by a steady clock (the wall clock as it was at start, moved on by the monotonic one), so that
a step of the wall clock moves none of them; cron timers keep time by the wall clock, and no instant of theirs fires
twice, whichever way it steps.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from hive_daemon.clock import LOOK_AGAIN_SECONDS, Clock, iso_z
from hive_daemon.errors import StorageFull, StorageUnavailable, TimerNotFound
from hive_daemon.runtime.triggers.catchup import CatchUp, missed
from hive_daemon.runtime.triggers.schedule import IntervalSchedule, Schedule
from hive_daemon.runtime.triggers.timer_config import TimerRules
from hive_daemon.storage.ports import TimerLease
from hive_daemon.storage.timer_values import (
    TimerFire,
    TimerOutcome,
    TimerRow,
    TimerSkip,
    TimerSpec,
)
from hive_daemon.tasks import Scope

logger = logging.getLogger(__name__)

LATE_SECONDS = 5.0
"""From here on a due instant counts as missed, and the catch-up policy decides."""

RETRY_SECONDS = 1.0


@dataclass(slots=True)
class Timer:
    """One timer: when it is due next, by its own clock, and whether it is paused."""

    timer_id: str
    entry_point: str
    rules: TimerRules
    schedule: Schedule
    signature: str
    next_at: float | None = None
    last_scheduled: float | None = None
    is_paused: bool = False
    is_cancelled: bool = False

    @property
    def is_steady(self) -> bool:
        """Whether it keeps time by the steady clock."""
        return isinstance(self.schedule, IntervalSchedule)

    def cancel(self) -> None:
        """Let it fire no more, until the next start."""
        self.is_cancelled = True

    def done(self) -> bool:
        """Say whether it will never fire again."""
        return self.is_cancelled or self.next_at is None


@dataclass(frozen=True, slots=True)
class Due:
    """A due instant of a timer, on its way to the stream. `reason` is told to the execution; `skip` starts none."""

    timer: Timer
    scheduled_at: float
    next_at: float | None
    late_by: float
    reason: str = "scheduled"
    skip: TimerSkip | None = None

    def settled(self, action: TimerSkip) -> TimerFire:
        """Return how the ledger notes that nothing starts."""
        return TimerFire(self.timer.timer_id, self.scheduled_at, self.next_at, action)


Fire = Callable[[Due], Awaitable[None]]


@dataclass(slots=True)
class TimerSource:
    """Watches the timers of one agent and hands each due instant to `fire`, once."""

    agent: str
    clock: Clock
    ledger: TimerLease
    fire: Fire
    timers: dict[str, Timer] = field(default_factory=dict)
    _steady: list[tuple[float, str]] = field(default_factory=list)
    _wall: list[tuple[float, str]] = field(default_factory=list)
    _offset: float = 0.0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _scope: Scope = field(default_factory=lambda: Scope("timers"))
    _pausing: Scope = field(default_factory=lambda: Scope("pausing"))
    _is_running: bool = False

    # --- life -------------------------------------------------------------------------------

    async def start(self, timers: Iterable[Timer]) -> None:
        """Begin with these timers: learn from the ledger where they were, and catch up what was missed."""
        self._offset = self.clock.time() - self.clock.monotonic()
        self._is_running = True
        await self.add(timers)
        self._scope.spawn("sleeper", self._sleep())

    async def add(self, timers: Iterable[Timer]) -> None:
        """Watch further timers."""
        fresh = list(timers)
        self.timers.update({timer.timer_id: timer for timer in fresh})
        specs = [self._spec(timer) for timer in self.timers.values()]
        known = {row.timer_id: row for row in await self.ledger.sync(self.agent, specs)}
        for timer in fresh:
            self._resume(timer, known[timer.timer_id])
        self._wake.set()

    async def remove(self, timer_ids: Iterable[str]) -> None:
        """Watch these timers no more; their history stays."""
        for timer_id in timer_ids:
            timer = self.timers.pop(timer_id, None)
            if timer is not None:
                timer.cancel()
        await self.ledger.sync(self.agent, [self._spec(timer) for timer in self.timers.values()])

    async def stop(self) -> None:
        """Let nothing fire any more."""
        self._is_running = False
        await self._scope.close()
        await self._pausing.drain(None)

    def _spec(self, timer: Timer) -> TimerSpec:
        anchor = round(self.clock.time(), 3)
        return TimerSpec(timer.timer_id, self.agent, timer.entry_point, timer.signature, anchor)

    def _resume(self, timer: Timer, row: TimerRow) -> None:
        if isinstance(timer.schedule, IntervalSchedule):
            timer.schedule = IntervalSchedule(
                timer.schedule.period_seconds, row.anchor, timer.schedule.zone
            )
        timer.is_paused = row.paused_at is not None
        timer.last_scheduled = row.last_scheduled
        now = self._now(timer)
        # An interval's anchor is occurrence 0: the first one to fire comes a period later.
        begin = max(row.last_scheduled or row.anchor, row.anchor)
        timer.next_at = timer.schedule.next_after(max(now, begin))
        if timer.rules.run_immediately:
            self._hand_over(timer, round(now, 3), "run_immediately")
        elif row.last_scheduled is not None and not timer.is_paused:
            self._catch_up(timer, row.last_scheduled, now)
        self._push(timer)

    # --- time -------------------------------------------------------------------------------

    def _now(self, timer: Timer) -> float:
        return self._steady_now() if timer.is_steady else self.clock.time()

    def _steady_now(self) -> float:
        return self.clock.monotonic() + self._offset

    def _push(self, timer: Timer) -> None:
        if timer.next_at is not None:
            heap = self._steady if timer.is_steady else self._wall
            heapq.heappush(heap, (timer.next_at, timer.timer_id))

    async def _sleep(self) -> None:
        while True:
            self._wake.clear()
            left = min(
                self._fire_due(self._steady, self._steady_now()),
                self._fire_due(self._wall, self.clock.time()),
                LOOK_AGAIN_SECONDS,
            )
            await self._doze(left)

    async def _doze(self, seconds: float) -> None:
        """Sleep, but no longer than until somebody adds a timer."""
        nap = self._scope.spawn("nap", self.clock.sleep(seconds))
        call = self._scope.spawn("call", self._wake.wait())
        await asyncio.wait([nap, call], return_when=asyncio.FIRST_COMPLETED)
        nap.cancel()
        call.cancel()

    def _fire_due(self, heap: list[tuple[float, str]], now: float) -> float:
        """Hand over what is due; answer how long nothing will be."""
        while heap and heap[0][0] <= now:
            due, timer_id = heapq.heappop(heap)
            timer = self.timers.get(timer_id)
            if timer is not None and timer.next_at == due and not timer.is_cancelled:
                self._advance(timer, due, now)
        return heap[0][0] - now if heap else LOOK_AGAIN_SECONDS

    def _advance(self, timer: Timer, due: float, now: float) -> None:
        timer.next_at = timer.schedule.next_after(max(due, now))
        if now - due > LATE_SECONDS:
            self._catch_up(timer, max(timer.last_scheduled or 0.0, due - 0.001), now)
        else:
            self._hand_over(timer, due)
        self._push(timer)

    def _catch_up(self, timer: Timer, last: float, now: float) -> None:
        rules = timer.rules
        plan = missed(timer.schedule, last, now, rules.catchup, rules.catchup_window)
        for instant in plan.missed:
            reason = f"nobody was there; catchup is {rules.catchup}"
            if plan.missed_count > len(plan.missed) and instant == plan.missed[0]:
                reason += f", and {plan.missed_count - len(plan.missed)} before it"
            skip = TimerSkip(TimerOutcome.MISSED, reason)
            due = Due(timer, instant, timer.next_at, now - instant, skip=skip)
            self._scope.spawn("missed", self._until_settled(due))
        for instant in plan.fire:
            reason = "caught up" if rules.catchup is not CatchUp.NONE else "scheduled"
            self._hand_over(timer, instant, reason)
        timer.last_scheduled = now

    def _hand_over(self, timer: Timer, instant: float, reason: str = "scheduled") -> None:
        timer.last_scheduled = max(timer.last_scheduled or 0.0, instant)
        late = max(0.0, self._now(timer) - instant)
        due = Due(timer, instant, timer.next_at, late, reason)
        self._scope.spawn(f"{timer.timer_id} {iso_z(instant)}", self._until_settled(due))

    async def _until_settled(self, due: Due) -> None:
        """Settle a due instant; while the store cannot be written, try again: it is not lost."""
        while self._is_running:
            try:
                if due.skip is not None:
                    await self.ledger.fire(due.settled(due.skip))
                else:
                    await self.fire(due)
                return
            except (StorageFull, StorageUnavailable) as error:
                logger.warning("timer waits for the store", extra={"error": str(error)})
                await self.clock.sleep(RETRY_SECONDS)

    # --- pausing ----------------------------------------------------------------------------

    def set_paused(
        self, timer_ids: Iterable[str], paused: bool, *, by: str = "", note: str = ""
    ) -> asyncio.Task[None]:
        """Pause or resume timers, named by id or entry point: at once in memory; the task answered makes it durable.

        Raises TimerNotFound: then nothing has changed.
        """
        wanted = [self._named(name) for name in timer_ids]
        for timer in wanted:
            timer.is_paused = paused
        ids = [timer.timer_id for timer in wanted]
        write = self.ledger.set_paused(ids, paused, by=by, note=note)
        return self._pausing.spawn("pause", _awaited(write))

    def _named(self, name: str) -> Timer:
        if name in self.timers:
            return self.timers[name]
        for timer in self.timers.values():
            if timer.entry_point == name:
                return timer
        raise TimerNotFound(subject=name)

    @property
    def next_fire(self) -> Mapping[str, float]:
        """When each timer fires next, by entry point, on the monotonic clock."""
        steady, wall = self._steady_now(), self.clock.time()
        mono = self.clock.monotonic()
        return {
            timer.entry_point: mono + timer.next_at - (steady if timer.is_steady else wall)
            for timer in self.timers.values()
            if timer.next_at is not None
        }


async def _awaited(work: Awaitable[None]) -> None:
    await work
