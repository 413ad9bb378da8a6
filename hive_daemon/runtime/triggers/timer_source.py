"""The timers of one agent: one heap, one sleeper, one durable row for every due instant.

Interval timers keep time by a steady clock (the wall clock as it was at start, moved on by the monotonic one), so that
a step of the wall clock moves none of them; the others keep time by the wall clock, and no instant of theirs fires
twice, whichever way it steps. Nobody sleeps longer than 30 s without looking at the wall clock. The instants of one
timer are settled in their order, so that what a crash cuts off is found again by the next start.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hive_daemon.clock import LOOK_AGAIN_SECONDS, Clock, iso_z
from hive_daemon.errors import StorageFull, StorageUnavailable, TimerNotFound
from hive_daemon.runtime.triggers.catchup import CatchUp, missed
from hive_daemon.runtime.triggers.timer import SCHEDULED, Due, Timer
from hive_daemon.storage.ports import TimerLease
from hive_daemon.storage.timer_values import (
    KEPT_OCCURRENCES,
    LEDGER_NAME,
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


class Change(StrEnum):
    """What happened to a timer itself."""

    PAUSED = "paused"
    RESUMED = "resumed"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class TimerNews:
    """Something happened to a timer: what, by whom, why, and until when."""

    timer: Timer
    change: Change
    by: str = ""
    reason: str = ""
    until: float | None = None


Fire = Callable[[Due], Awaitable[None]]
Tell = Callable[[TimerNews], None]


def tell_nobody(news: TimerNews) -> None:
    """Keep the news to itself."""


@dataclass(slots=True)
class TimerSource:
    """Watches the timers of one agent and hands each due instant to `fire`, once.

    `fire` settles it in the ledger. A due with a `skip` stands for all instants that share it.
    """

    agent: str
    clock: Clock
    ledger: TimerLease
    fire: Fire
    tell: Tell = tell_nobody
    timers: dict[str, Timer] = field(default_factory=dict)
    _steady: list[tuple[float, str]] = field(default_factory=list)
    _wall: list[tuple[float, str]] = field(default_factory=list)
    _offset: float = 0.0
    _pauses_seen_at: float = -math.inf
    _ticked_at: float | None = None
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
            timer.take_over(known[timer.timer_id])
        await self.account([timer.timer_id for timer in fresh if timer.rules.pause_on_failure])
        for timer in fresh:
            self._begin(timer, known[timer.timer_id].anchor)
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
        rules = timer.rules
        # Cut, not rounded: an instant that is still to come must not lie before the anchor.
        anchor = math.floor(self.clock.time() * 1000) / 1000
        return TimerSpec(
            timer.timer_id,
            self.agent,
            timer.entry_point,
            timer.signature,
            anchor,
            failure_limit=rules.pause_on_failure,
            starts_paused=rules.starts_paused,
            note=rules.note,
            remaining=rules.remaining_actions,
        )

    def _begin(self, timer: Timer, anchor: float) -> None:
        """Reckon from the ledger's last instant: what was missed since, and when it is due next."""
        rules, now = timer.rules, self._now(timer)
        # An interval's anchor is occurrence 0: the first one to fire comes a period later.
        last = max(timer.last_scheduled or anchor, anchor)
        timer.next_at = timer.schedule.next_after(max(now, last))
        if timer.remaining == 0:
            timer.next_at = None
            return
        fires_now = rules.run_immediately and timer.next_at is not None
        is_instead = fires_now and rules.catchup is CatchUp.ONE
        if last < now:
            self._settle_gap(timer, last, now, CatchUp.NONE if is_instead else rules.catchup)
        if fires_now:
            self._hand_over(timer, round(now, 3), "run_immediately")
        self._push(timer)

    # --- time -------------------------------------------------------------------------------

    def _now(self, timer: Timer) -> float:
        """Return the nominal instant that begins now, by the timer's own clock."""
        now = self._steady_now() if timer.is_steady else self.clock.time()
        return now - timer.schedule.delay

    def _steady_now(self) -> float:
        return self.clock.monotonic() + self._offset

    def _push(self, timer: Timer) -> None:
        begins_at = timer.begins_at
        if begins_at is not None:
            heap = self._steady if timer.is_steady else self._wall
            heapq.heappush(heap, (begins_at, timer.timer_id))

    async def _sleep(self) -> None:
        while True:
            self._wake.clear()
            self._ticked_at = self.clock.monotonic()
            left = min(
                self._fire_due(self._steady, self._steady_now()),
                self._fire_due(self._wall, self.clock.time()),
                LOOK_AGAIN_SECONDS,
            )
            self._end_pauses()
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
            begins_at, timer_id = heapq.heappop(heap)
            timer = self.timers.get(timer_id)
            if timer is not None and timer.begins_at == begins_at and not timer.is_cancelled:
                self._advance(timer)
        return heap[0][0] - now if heap else LOOK_AGAIN_SECONDS

    def _advance(self, timer: Timer) -> None:
        due, now = timer.next_at, self._now(timer)
        if due is None:
            return
        if now - due > LATE_SECONDS:
            timer.next_at = timer.schedule.next_after(now)
            last = max(timer.last_scheduled or 0.0, math.nextafter(due, -math.inf))
            self._settle_gap(timer, last, now, timer.rules.catchup)
        else:
            timer.next_at = timer.schedule.next_after(due)
            self._hand_over(timer, due)
        self._push(timer)
        if timer.next_at is None:
            self.tell(TimerNews(timer, Change.DONE, reason="its schedule is over"))

    # --- a gap ------------------------------------------------------------------------------

    def _settle_gap(self, timer: Timer, last: float, now: float, policy: CatchUp) -> None:
        """Settle the instants in (last, now]: those of a pause are skipped, the policy decides on the others."""
        held = last
        if timer.is_paused:
            until = math.inf if timer.paused_until is None else timer.paused_until
            held = max(last, min(now, math.nextafter(until, -math.inf)))
            self._pass_over(
                timer,
                timer.schedule.newest(last, held, KEPT_OCCURRENCES),
                timer.schedule.count(last, held),
                TimerSkip(TimerOutcome.SKIPPED_PAUSED, "the timer was paused"),
            )
        plan = missed(timer.schedule, held, now, policy, timer.rules.catchup_window)
        newest = timer.schedule.newest(held, now, KEPT_OCCURRENCES + len(plan.fire))
        lost = newest[: len(newest) - len(plan.fire)]
        reason = f"nobody was there; catchup is {policy}"
        if policy is not timer.rules.catchup:
            reason = "nobody was there; run_immediately fires instead"
        skip = TimerSkip(TimerOutcome.MISSED, reason)
        self._pass_over(timer, lost, plan.missed_count, skip)
        for instant in plan.fire:
            self._hand_over(timer, instant, "caught up", queues=policy is CatchUp.ALL)
        timer.last_scheduled = now

    def _pass_over(
        self, timer: Timer, instants: tuple[float, ...], count: int, why: TimerSkip
    ) -> None:
        """Write a row for each of the newest instants that start nothing, `count` of them with the older ones."""
        if not instants:
            return
        *earlier, newest = instants
        more = count - len(instants)
        reason = f"{why.reason}; {more} before the oldest row" if more else why.reason
        skip = TimerSkip(why.outcome, reason, tuple(earlier), more)
        late = max(0.0, self._now(timer) - newest)
        due = Due(timer, newest, timer.next_at, late, skip=skip)
        self._scope.spawn(f"{timer.timer_id} missed", self._until_settled(due))

    def _hand_over(
        self, timer: Timer, instant: float, reason: str = SCHEDULED, *, queues: bool = False
    ) -> None:
        timer.last_scheduled = max(timer.last_scheduled or 0.0, instant)
        late = max(0.0, self._now(timer) - instant)
        due = Due(timer, instant, timer.next_at, late, reason, queues=queues)
        self._scope.spawn(f"{timer.timer_id} {iso_z(instant)}", self._until_settled(due))

    async def _until_settled(self, due: Due) -> None:
        """Settle a due instant in its turn; while the store cannot be written, try again: it is not lost."""
        async with due.timer.turn:
            while self._is_running:
                try:
                    await self.fire(due)
                    return
                except (StorageFull, StorageUnavailable) as error:
                    logger.warning("timer waits for the store", extra={"error": str(error)})
                    await self.clock.sleep(RETRY_SECONDS)

    # --- pausing ----------------------------------------------------------------------------

    async def account(self, timer_ids: Iterable[str]) -> None:
        """Have the ledger count how executions ended, and take over the pauses that follow from it."""
        ids = list(timer_ids)
        for row in await self.ledger.account(ids) if ids else ():
            self._was_paused(row)

    def _was_paused(self, row: TimerRow) -> None:
        timer = self.timers.get(row.timer_id)
        if timer is not None:
            timer.pause()
            self.tell(TimerNews(timer, Change.PAUSED, row.paused_by, row.note))

    def set_paused(
        self,
        timer_ids: Iterable[str],
        paused: bool,
        *,
        by: str = "",
        note: str = "",
        until: float | None = None,
    ) -> asyncio.Task[None]:
        """Pause or resume timers, named by id or entry point: at once in memory; the task answered makes it durable.

        Raises TimerNotFound: then nothing has changed.
        """
        wanted = [self._named(name) for name in timer_ids]
        for timer in wanted:
            is_news = paused or timer.is_paused
            timer.pause(until) if paused else timer.resume()
            if is_news:
                change = Change.PAUSED if paused else Change.RESUMED
                self.tell(TimerNews(timer, change, by, note, until))
        ids = [timer.timer_id for timer in wanted]
        write = self.ledger.set_paused(ids, paused, by=by, note=note, until=until)
        return self._pausing.spawn("pause", _awaited(write))

    def _end_pauses(self) -> None:
        """Write down which pauses are over: `Timer.holds` says so by itself, this is for whoever reads the ledger."""
        if self.clock.monotonic() - self._pauses_seen_at < LOOK_AGAIN_SECONDS:
            return
        self._pauses_seen_at, now = self.clock.monotonic(), self.clock.time()
        over = [
            timer.timer_id
            for timer in self.timers.values()
            if timer.paused_until is not None and timer.paused_until <= now
        ]
        if over:
            self.set_paused(over, False, by=LEDGER_NAME, note="its pause is over")

    def _named(self, name: str) -> Timer:
        if name in self.timers:
            return self.timers[name]
        for timer in self.timers.values():
            if timer.entry_point == name:
                return timer
        raise TimerNotFound(subject=name)

    @property
    def tick_age(self) -> float:
        """How long ago the clock was last looked at, in seconds; more than 30 means that the sleeper is stuck."""
        return 0.0 if self._ticked_at is None else self.clock.monotonic() - self._ticked_at

    @property
    def next_fire(self) -> Mapping[str, float]:
        """When each timer fires next, by entry point, on the monotonic clock."""
        steady, wall = self._steady_now(), self.clock.time()
        mono = self.clock.monotonic()
        return {
            timer.entry_point: mono + begins_at - (steady if timer.is_steady else wall)
            for timer in self.timers.values()
            if (begins_at := timer.begins_at) is not None
        }


async def _awaited(work: Awaitable[None]) -> None:
    await work
