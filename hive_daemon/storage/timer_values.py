"""What the timers' ledger keeps: timers, due instants, and what became of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from hive_daemon.storage.values import Submission

KEPT_OCCURRENCES = 1_000
"""How many due instants of a timer the ledger keeps at least; the older ones stay settled without a row."""


@dataclass(frozen=True, slots=True)
class TimerSpec:
    """A timer that exists now. `signature` changes when its schedule does; `anchor` is where its phase begins.

    After `failure_limit` failed executions in a row it is paused, 0 never. `starts_paused` and `note` are its owner's
    words for how it begins; `remaining` is how many more executions it begins, None for any number.
    """

    timer_id: str
    agent: str
    entry_point: str
    signature: str
    anchor: float
    failure_limit: int = 0
    starts_paused: bool = False
    note: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class TimerRow:
    """What the ledger knows of a timer.

    `last_late_by` is how late the last instant that fired was, in seconds. A pause holds from `paused_at` until
    `paused_until`, for ever if that is None. `failures` counts the executions in a row that failed, `forgotten` is the
    newest instant that is settled though its row is gone.
    """

    timer_id: str
    agent: str
    entry_point: str
    signature: str
    anchor: float
    last_scheduled: float | None
    next_at: float | None
    last_outcome: str | None
    last_reason: str | None
    last_at: float | None
    last_execution_id: str | None
    fired: int
    skipped: int
    missed: int
    paused_at: float | None
    paused_by: str
    note: str
    paused_until: float | None = None
    remaining: int | None = None
    failures: int = 0
    forgotten: float | None = None
    last_late_by: float | None = None


class TimerOutcome(StrEnum):
    """What became of one due instant."""

    FIRED = "fired"
    SKIPPED_PAUSED = "skipped_paused"
    SKIPPED_IDLE = "skipped_idle"
    SKIPPED_OVERLAP = "skipped_overlap"
    HELD_BUDGET = "held_budget"
    MISSED = "missed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TimerSkip:
    """Why a due instant starts nothing.

    `earlier` are instants that shared its fate and get a row each in the same commit; `uncounted` is how many more
    there were, older than all of these, which are counted and get none.
    """

    outcome: TimerOutcome
    reason: str
    earlier: tuple[float, ...] = ()
    uncounted: int = 0


@dataclass(frozen=True, slots=True)
class TimerFire:
    """One due instant and what is to become of it. `next_at` is the instant after it, None if there is none.

    `late_by` is in seconds, `reason` what the row of an execution says. `again` is somebody's order to run an instant
    that was passed over, or that was before the timer was known: no pause holds it, it uses up nothing of `remaining`,
    and the timer's last and next instants stay what they are.
    """

    timer_id: str
    scheduled_at: float
    next_at: float | None
    action: Submission | TimerSkip
    late_by: float = 0.0
    reason: str = ""
    again: bool = False


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One row of the timers' ledger. `ended` is the status its execution ended with, once that was noted."""

    timer_id: str
    scheduled_at: float
    at: float
    outcome: TimerOutcome
    reason: str
    execution_id: str | None
    late_by: float = 0.0
    ended: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Which rows of a timer are wanted: those scheduled in [since, before) with one of these outcomes, () for any."""

    since: float = -math.inf
    before: float = math.inf
    outcomes: tuple[TimerOutcome, ...] = ()


EVERYTHING = Span()
"""Every row of a timer."""

LEDGER_NAME = "hived"
"""Who paused a timer when nobody did: its executions failed too often."""

CONFIG_NAME = "config"
"""Who paused a timer that its owner wrote as paused."""
