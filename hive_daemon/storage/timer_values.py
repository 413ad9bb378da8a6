"""What the timers' ledger keeps: timers, due instants, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hive_daemon.storage.values import Submission

KEPT_OCCURRENCES = 1_000
"""How many due instants of a timer the ledger keeps at least; the older ones stay settled without a row."""


@dataclass(frozen=True, slots=True)
class TimerSpec:
    """A timer that exists now. `signature` changes when its schedule does; `anchor` is where its phase begins."""

    timer_id: str
    agent: str
    entry_point: str
    signature: str
    anchor: float


@dataclass(frozen=True, slots=True)
class TimerRow:
    """What the ledger knows of a timer."""

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


class TimerOutcome(StrEnum):
    """What became of one due instant."""

    FIRED = "fired"
    SKIPPED_PAUSED = "skipped_paused"
    SKIPPED_IDLE = "skipped_idle"
    SKIPPED_OVERLAP = "skipped_overlap"
    MISSED = "missed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TimerSkip:
    """Why a due instant starts nothing."""

    outcome: TimerOutcome
    reason: str


@dataclass(frozen=True, slots=True)
class TimerFire:
    """One due instant and what is to become of it. `next_at` is the instant after it, None if there is none."""

    timer_id: str
    scheduled_at: float
    next_at: float | None
    action: Submission | TimerSkip


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One row of the timers' ledger."""

    timer_id: str
    scheduled_at: float
    at: float
    outcome: TimerOutcome
    reason: str
    execution_id: str | None
