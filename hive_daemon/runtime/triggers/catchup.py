"""What to do with the occurrences of a timer that nobody was there to fire: the daemon was down, the machine asleep.

A decision, so pure: the ledger's last instant and *now* are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hive_daemon.runtime.triggers.schedule import Schedule

MOST_CAUGHT_UP = 10
"""The most runs that catching up starts for one timer (reliability R21)."""


class CatchUp(StrEnum):
    """Which missed occurrences are fired late."""

    NONE = "none"
    ONE = "one"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class MissedPlan:
    """What becomes of the occurrences between the last one on record and now."""

    fire: tuple[float, ...]
    """To be fired now, each under its own instant, the oldest first."""
    missed: tuple[float, ...]
    """The newest of those that will not run, the oldest first; at most `cap` of them."""
    missed_count: int
    """How many will not run, all of them counted."""


def missed(
    schedule: Schedule,
    last_scheduled: float,
    now: float,
    policy: CatchUp,
    window_seconds: float,
    cap: int = MOST_CAUGHT_UP,
) -> MissedPlan:
    """Say which occurrences in (last_scheduled, now] to fire late, and how many are lost.

    `one` fires the newest, `all` the newest `cap`; neither fires one that is more than `window_seconds` late.
    Law: `len(fire) + missed_count` is the number of occurrences in the span. Ask after a gap (a start, a resume
    from suspend); a tick that is on time is fired, not asked about.
    """
    wanted = {CatchUp.NONE: 0, CatchUp.ONE: 1, CatchUp.ALL: cap}[policy]
    recent = schedule.newest(last_scheduled, now, wanted + cap)
    fresh = tuple(due for due in recent if now - due <= window_seconds)
    fire = fresh[-wanted:] if wanted else ()
    lost = recent[: len(recent) - len(fire)]
    total = schedule.count(last_scheduled, now)
    return MissedPlan(fire=fire, missed=lost[-cap:], missed_count=total - len(fire))
