"""Under which rules a trigger is taken in: values that travel with a submission, decided where it becomes durable.

A lane is an entry point. Within it the executions with the same `key` are a group: one user, one repository. The rules
are applied in this order: dedupe, rate, debounce or batch, throttle, concurrency.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Strategy(StrEnum):
    """What becomes of a trigger whose group has no free slot.

    queue: it waits. reject: it is refused. interrupt: what runs or waits in the group is cancelled, and it goes on in
    the session of the newest of these. rollback: the same, from where that session stood before. keep_newest: what runs
    goes on, what waits in the group is cancelled for it.
    """

    QUEUE = "queue"
    REJECT = "reject"
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"
    KEEP_NEWEST = "keep_newest"


@dataclass(frozen=True, slots=True)
class Rate:
    """`limit` in `seconds`, for each value of `key` by itself: so many at once, then one every seconds / limit.

    Law: the generic cell rate algorithm (ITU-T I.371) with a burst of `limit`; its state is one number for each key.
    In any stretch of t seconds it lets at most limit · (1 + t / seconds) through.
    """

    limit: int
    seconds: float
    key: str = ""


@dataclass(frozen=True, slots=True)
class Debounce:
    """Begin when nothing came for `seconds`, at the latest `max_seconds` after the first; the newest input wins.

    What names a session to continue is held together only with what names the same; so is a Batch.
    """

    seconds: float
    max_seconds: float
    key: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Gather up to `most` triggers into one execution, which begins then, or `seconds` after the first.

    Its input is `{"batch": [input, …]}`, oldest first.
    """

    most: int
    seconds: float
    key: str = ""


@dataclass(frozen=True, slots=True)
class Admission:
    """The rules of one submission. `key` names its group, empty for the whole lane.

    `limit` is how many of the group may run: a group with fewer open (running or queued) executions has a free slot,
    and without a limit it always has one. `slots` is how many of the lane may run, None for `limit`. `queue_max` bounds
    what waits in the lane, over all groups and beyond those that a free slot of the lane is there for: a burst that
    the slots can take is not refused because nobody has claimed it yet. `queue_seconds` is how long this one may wait
    once it is due before it is cancelled instead. `rate` refuses, `throttle` delays.
    """

    key: str = ""
    limit: int | None = None
    slots: int | None = None
    strategy: Strategy = Strategy.QUEUE
    queue_max: int | None = None
    queue_seconds: float | None = None
    rate: Rate | None = None
    hold: Debounce | Batch | None = None
    throttle: Rate | None = None


class HeldBy(StrEnum):
    """Why a queued execution does not run at this moment, the nearest reason first."""

    DEBOUNCE = "debounce"
    BATCH = "batch"
    THROTTLE = "throttle"
    SESSION = "session"
    KEY = "key"
    LANE = "lane"
    AGENT = "agent"
    BACKGROUND = "background"
    TOTAL = "total"
    QUARANTINE = "quarantine"
    TURN = "turn"
    """Nothing but those before it in the queue."""
    ABSENT = "absent"
    """Nobody claims for its entry point: its agent is not running, or has it no more."""


@dataclass(frozen=True, slots=True)
class Queued:
    """One queued execution as a person sees it; `position` counts from 1 within the lane, in the order of claiming."""

    execution_id: str
    session_id: str
    lane: str
    key: str
    source: str
    priority: int
    created_at: float
    due_at: float | None
    expires_at: float | None
    position: int


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which queued executions to list: of a lane or an agent, from `offset` on, in the order of claiming."""

    lane: str | None = None
    agent: str | None = None
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Explained:
    """Why a queued execution waits: every gate that holds it now, with the figures in words, and its place."""

    queued: Queued
    holds: tuple[tuple[HeldBy, str], ...]
    ahead: int


@dataclass(frozen=True, slots=True)
class Depth:
    """How much waits in a lane and since when; `oldest_at` is None when nothing does."""

    lane: str
    count: int
    oldest_at: float | None
