"""A story: what became of one thing, and the one chain of causes that led there. Pure values.

Guarantees: a story is made of what the ledger and the store hold, never of guesses and never by a model; `cause` is one
of a closed set of words; the chain is in the order in which things happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class Cause(StrEnum):
    """The nearest reason why a thing is as it is; docs/cli.md says what each means."""

    DAEMON_DOWN = "daemon_down"
    DRAINING = "draining"
    DEGRADED = "degraded"

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
    ABSENT = "absent"

    AT_WORK = "at_work"
    STALLED = "stalled"
    RETRYING = "retrying"
    STOPPING = "stopping"
    RESURRECTED = "resurrected"
    PAUSED = "paused"
    BUDGET = "budget"
    WAITING_INPUT = "waiting_input"
    WAITING_APPROVAL = "waiting_approval"
    INTERRUPTED = "interrupted"

    COMPLETED = "completed"
    FAILED_NODE = "failed_node"
    MODEL_FAILED = "model_failed"
    TIMED_OUT = "timed_out"
    DEAD_END = "dead_end"
    FAILED = "failed"
    CANCELLED = "cancelled"
    QUEUE_TIMEOUT = "queue_timeout"
    RECOVERY_EXHAUSTED = "recovery_exhausted"

    TIMER_PAUSED = "timer_paused"
    FAILING = "failing"
    IDLE = "idle"
    OVERLAP = "overlap"
    MISSED = "missed"
    SKIPPED = "skipped"
    FIRED = "fired"
    NOT_STARTED = "not_started"
    NOT_DUE = "not_due"
    DONE = "done"
    SCHEDULED = "scheduled"

    FILTERED = "filtered"
    DUPLICATE = "duplicate"
    COALESCED = "coalesced"
    SUPERSEDED = "superseded"
    REFUSED = "refused"
    RECEIVED = "received"
    DELIVERED = "delivered"

    SUPPRESSED = "suppressed"
    HAPPENED = "happened"


class Daemon(StrEnum):
    """Where the daemon is, as far as what waits for it is concerned."""

    RUNNING = "running"
    DRAINING = "draining"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Link:
    """One part of a chain: what happened, and when if that is known (wall seconds)."""

    text: str
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """What became of a thing. `answer` is one sentence, `links` what led there, `remedy` a command, empty for none."""

    kind: str
    id: str
    cause: Cause
    answer: str
    links: tuple[Link, ...] = ()
    remedy: str = ""


def moment(seconds: float) -> str:
    """Write wall seconds for a sentence: UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def span(seconds: float) -> str:
    """Write a stretch of time for a sentence, in its two largest units.

    >>> span(3723), span(42), span(0.4)
    ('1 h 2 min', '42 s', 'less than a second')
    """
    if seconds < 1:
        return "less than a second"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    for size, unit, below, lower in _UNITS:
        if whole >= size:
            amount, rest = divmod(whole, size)
            more = f" {rest // below} {lower}" if rest >= below else ""
            return f"{amount} {unit}{more}"
    raise AssertionError("the smallest unit fits")


_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))
