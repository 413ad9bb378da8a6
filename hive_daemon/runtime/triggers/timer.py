"""One timer while its agent runs, and a due instant of it on its way to the stream."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hive_daemon.runtime.triggers.schedule import Schedule
from hive_daemon.runtime.triggers.timer_config import TimerRules
from hive_daemon.storage.timer_values import TimerFire, TimerRow, TimerSkip

SCHEDULED = "scheduled"
"""Why an instant is due that comes at its time."""


@dataclass(slots=True)
class Timer:
    """One timer: when it is due next, by its own clock, and whether it is paused.

    `next_at` and `last_scheduled` are nominal instants: what is due then begins when the schedule's `delay` is over.
    `remaining` is how many more executions it begins, None for any number; `turn` keeps its due instants in order.
    """

    timer_id: str
    entry_point: str
    rules: TimerRules
    schedule: Schedule
    signature: str
    next_at: float | None = None
    last_scheduled: float | None = None
    is_paused: bool = False
    paused_until: float | None = None
    remaining: int | None = None
    is_cancelled: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_steady(self) -> bool:
        """Whether it keeps time by the steady clock."""
        return self.schedule.is_steady

    @property
    def begins_at(self) -> float | None:
        """When what is due next begins, None if nothing is."""
        return None if self.next_at is None else self.next_at + self.schedule.delay

    def take_over(self, row: TimerRow) -> None:
        """Go on where the ledger knows it to be."""
        self.schedule = self.schedule.anchored_at(row.anchor)
        self.is_paused = row.paused_at is not None
        self.paused_until = row.paused_until
        self.remaining = row.remaining
        self.last_scheduled = row.last_scheduled

    def holds(self, instant: float) -> bool:
        """Say whether it is paused at an instant."""
        if not self.is_paused:
            return False
        return self.paused_until is None or instant < self.paused_until

    def pause(self, until: float | None = None) -> None:
        """Pause it, until an instant or until somebody resumes it."""
        self.is_paused, self.paused_until = True, until

    def resume(self) -> None:
        """End its pause."""
        self.is_paused, self.paused_until = False, None

    def use_one(self) -> bool:
        """Note that it began an execution; say whether that was its last one."""
        if self.remaining is None:
            return False
        self.remaining = max(0, self.remaining - 1)
        if self.remaining == 0:
            self.next_at = None
        return self.remaining == 0

    def cancel(self) -> None:
        """Let it fire no more, until the next start."""
        self.is_cancelled = True

    def done(self) -> bool:
        """Say whether it will never fire again."""
        return self.is_cancelled or self.next_at is None


@dataclass(frozen=True, slots=True)
class Due:
    """A due instant of a timer, on its way to the stream. `reason` is told to the execution; `skip` starts none.

    One that `queues` waits its turn behind what runs, whatever the timer does otherwise. `again` is somebody's order,
    see `TimerFire`.
    """

    timer: Timer
    scheduled_at: float
    next_at: float | None
    late_by: float
    reason: str = SCHEDULED
    skip: TimerSkip | None = None
    queues: bool = False
    again: bool = False

    def settled(self, action: TimerSkip) -> TimerFire:
        """Return how the ledger notes that nothing starts."""
        return TimerFire(self.timer.timer_id, self.scheduled_at, self.next_at, action, self.late_by)
