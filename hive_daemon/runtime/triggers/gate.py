"""Whether a timer that is due may start an execution: a pure decision, and the reason when it may not."""

from __future__ import annotations

from dataclasses import dataclass

from hive_daemon.runtime.triggers.timer_config import Overlap
from hive_daemon.storage.timer_values import TimerOutcome, TimerSkip


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one timer. `idle_timeout_seconds` None or 0 means no idle gate."""

    overlap: Overlap
    idle_timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """How things stand when the timer is due.

    `idle_seconds` is the smallest over the running executions of the timer's graph, inf when nothing runs. `running`
    and `queued` count the executions of the timer's own entry point; `waiting` says that its session waits for a
    person.
    """

    is_paused: bool = False
    is_draining: bool = False
    idle_seconds: float = float("inf")
    running: int = 0
    queued: int = 0
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Admit:
    """The timer may start an execution; `replaces` if what runs is cancelled for it."""

    replaces: bool = False


def decide(policy: Policy, reading: Reading) -> Admit | TimerSkip:
    """Say whether a due timer may start an execution, and if not, why."""
    if reading.is_draining:
        return TimerSkip(TimerOutcome.SKIPPED_PAUSED, "the daemon is draining")
    if reading.is_paused:
        return TimerSkip(TimerOutcome.SKIPPED_PAUSED, "the timer was paused")
    if reading.waiting:
        return TimerSkip(TimerOutcome.SKIPPED_OVERLAP, "its session waits for a person")
    if policy.idle_timeout_seconds and reading.idle_seconds < policy.idle_timeout_seconds:
        return TimerSkip(
            TimerOutcome.SKIPPED_IDLE,
            f"the agent was active {reading.idle_seconds:.0f} s ago, "
            f"less than idle_timeout_seconds {policy.idle_timeout_seconds:g}",
        )
    return _overlap(policy.overlap, reading)


def _overlap(overlap: Overlap, reading: Reading) -> Admit | TimerSkip:
    busy = reading.running + reading.queued
    if overlap is Overlap.CANCEL_OTHER:
        return Admit(replaces=busy > 0)
    if overlap is Overlap.SKIP and busy:
        return TimerSkip(TimerOutcome.SKIPPED_OVERLAP, "its last execution still runs")
    if overlap is Overlap.BUFFER_ONE and reading.queued:
        return TimerSkip(TimerOutcome.SKIPPED_OVERLAP, "one execution waits already")
    return Admit()
