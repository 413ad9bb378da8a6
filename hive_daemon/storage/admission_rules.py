"""Deciding under which rules a submission is taken in: pure, the same for every back end.

A back end answers what stands (`Standing`) and carries out the `Verdict`, both in the transaction of the submission.
Nothing is written before the verdict is complete, so a refusal leaves nothing behind and uses up no rate.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from hive_daemon.errors import Busy, HiveError, QueueFull, RateLimited
from hive_daemon.storage.admission import (
    Admission,
    Batch,
    Debounce,
    Depth,
    Explained,
    HeldBy,
    Queued,
    Rate,
    Strategy,
)
from hive_daemon.storage.values import EventRecord, Limits, Submission

SOONEST = 1.0
LATEST = 3_600.0
"""Bounds of what is told to somebody who asks when to come back, in seconds."""

REFUSALS = (Busy, QueueFull, RateLimited)
"""What `decide` raises."""

_ROUNDING = 1e-6
_TAKES_OVER = frozenset({Strategy.INTERRUPT, Strategy.ROLLBACK})
_OPEN_BATCH = b'{"batch": ['
_END_BATCH = b"]}"


def refusal_event(given: EventRecord, refusal: HiveError) -> EventRecord:
    """Return the event of a refusal: what was given for it, with its `reason` and `code`."""
    data = {**json.loads(given.data), "reason": str(refusal), "code": refusal.code}
    return replace(given, data=json.dumps(data).encode())


class Meter(StrEnum):
    """What a rate is kept for."""

    RATE = "rate"
    THROTTLE = "throttle"


@dataclass(frozen=True, slots=True)
class Open:
    """An execution of a group that runs or is queued; `seq` is its last step."""

    execution_id: str
    session_id: str
    ordinal: int
    is_running: bool
    is_joined: bool
    seq: int
    carry_from: int | None


@dataclass(frozen=True, slots=True)
class Held:
    """A queued execution that still takes others in; `gathered` counts what it holds, `slot_at` is its throttle's."""

    row: int
    execution_id: str
    session_id: str
    input: bytes
    first_at: float
    due_at: float
    slot_at: float | None
    gathered: int


class Standing(Protocol):
    """What the store knows at the moment of a submission, of its lane and its group."""

    def arrival(self, meter: Meter, key: str) -> float:
        """Return the theoretical arrival time that a rate stands at; 0 for one that is not in use."""

    def held(self, hold_key: str) -> Held | None:
        """Return the execution of the lane that still takes in what has this key."""

    def group(self) -> Sequence[Open]:
        """Return what is open in the group, oldest first."""

    def excess(self, admission: Admission) -> int:
        """Return how many wait in the lane beyond its free slots, or any smaller number below `queue_max`."""

    def depth(self) -> Depth:
        """Return how much waits in the lane."""


@dataclass(frozen=True, slots=True)
class TakenIn:
    """How a held execution takes a submission in; `is_full` if it takes in no more."""

    held: Held
    input: bytes
    gathered: int
    due_at: float
    expires_at: float | None
    is_full: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to write for a submission that is taken in.

    `submission` is put in the place of the one that was given, None for the same. `arrivals` are the rates to set. With
    `taken_in` nothing else is to be done. `hold_key` is set while it takes others in.
    """

    submission: Submission | None = None
    key: str = ""
    arrivals: tuple[tuple[Meter, str, float], ...] = ()
    taken_in: TakenIn | None = None
    gives_way: tuple[str, ...] = ()
    carry_from: int | None = None
    due_at: float | None = None
    slot_at: float | None = None
    expires_at: float | None = None
    hold: str | None = None
    hold_key: str | None = None
    gathered: int = 0


UNBOUND = Verdict()
"""The verdict on what comes without rules."""


def spend(rate: Rate, arrival: float, now: float) -> tuple[float, float]:
    """Return how long to wait for the next slot of a rate, and its theoretical arrival time once that is taken.

    The virtual scheduling form of the generic cell rate algorithm, ITU-T I.371 annex A.
    """
    interval = rate.seconds / rate.limit
    at = max(now, arrival - (rate.seconds - interval))
    wait = at - now
    return (wait if wait > _ROUNDING else 0.0), max(arrival, at) + interval


def decide(submission: Submission, standing: Standing, now: float) -> Verdict:
    """Say how a submission is taken in. Raises RateLimited, QueueFull, Busy."""
    rules = submission.admission
    if rules is None:
        return UNBOUND
    arrivals = []
    if rules.rate is not None:
        arrivals.append((Meter.RATE, rules.rate.key, _pass(submission, rules.rate, standing, now)))
    if rules.hold is not None:
        hold_key = _hold_key(submission, rules.hold)
        held = standing.held(hold_key)
        if held is not None:
            taken_in = _take_in(rules, held, submission, now)
            return Verdict(arrivals=tuple(arrivals), taken_in=taken_in)
    slot_at = None
    if rules.throttle is not None:
        known = standing.arrival(Meter.THROTTLE, rules.throttle.key)
        wait, arrival = spend(rules.throttle, known, now)
        arrivals.append((Meter.THROTTLE, rules.throttle.key, arrival))
        slot_at = now + wait if wait else None
    verdict = _concur(submission, rules, standing, now)
    verdict = replace(verdict, arrivals=tuple(arrivals), slot_at=slot_at)
    if rules.hold is not None:
        verdict = _hold(submission, verdict, rules.hold, now)
    due_at = max((at for at in (verdict.due_at, slot_at) if at is not None), default=None)
    return replace(verdict, due_at=due_at, expires_at=_expiry(rules, due_at, now))


# --- rates ----------------------------------------------------------------------------------------


def _pass(submission: Submission, rate: Rate, standing: Standing, now: float) -> float:
    # A rate that only refuses is never ahead by more than its burst, unless the clock went back.
    known = min(standing.arrival(Meter.RATE, rate.key), now + rate.seconds)
    wait, arrival = spend(rate, known, now)
    if wait:
        raise RateLimited(
            f"{submission.lane} takes {rate.limit} in {rate.seconds:g} s and had them",
            hint=f"try again in {wait:.1f} s",
            subject=submission.lane,
            retry_after=wait,
        )
    return arrival


# --- debounce and batch ---------------------------------------------------------------------------


def _hold_key(submission: Submission, hold: Debounce | Batch) -> str:
    names_session = not submission.is_new_session and not submission.is_joined
    return f"{hold.key}\n{submission.session_id}" if names_session else hold.key


def _take_in(rules: Admission, held: Held, submission: Submission, now: float) -> TakenIn:
    gathered = held.gathered + 1
    match rules.hold:
        case Batch(most):
            is_full = gathered >= most
            given = held.input[: -len(_END_BATCH)] + b", " + submission.input + _END_BATCH
            due_at = max(now, held.slot_at or now) if is_full else held.due_at
        case Debounce(seconds, longest):
            is_full = False
            given = submission.input
            due_at = max(held.due_at, min(now + seconds, held.first_at + longest))
        case None:
            raise AssertionError("only a hold takes in")
    return TakenIn(held, given, gathered, due_at, _expiry(rules, due_at, now), is_full)


def _hold(submission: Submission, verdict: Verdict, hold: Debounce | Batch, now: float) -> Verdict:
    key = _hold_key(submission, hold)
    if isinstance(hold, Debounce):
        due_at = now + min(hold.seconds, hold.max_seconds)
        return replace(verdict, due_at=due_at, hold="debounce", hold_key=key, gathered=1)
    given = _OPEN_BATCH + submission.input + _END_BATCH
    first = replace(verdict.submission or submission, input=given)
    verdict = replace(verdict, submission=first, hold="batch", gathered=1)
    if hold.most <= 1:
        return verdict
    return replace(verdict, due_at=now + hold.seconds, hold_key=key)


def _expiry(rules: Admission, due_at: float | None, now: float) -> float | None:
    if rules.queue_seconds is None:
        return None
    return max(now, due_at or now) + rules.queue_seconds


# --- concurrency ----------------------------------------------------------------------------------


def _concur(submission: Submission, rules: Admission, standing: Standing, now: float) -> Verdict:
    strategy = rules.strategy
    gives_way: Sequence[Open] = ()
    if strategy is not Strategy.QUEUE and rules.limit is not None:
        group = standing.group()
        if len(group) >= rules.limit:
            gives_way = _gives_way(submission, rules, group)
    freed = sum(not one.is_running for one in gives_way)
    if rules.queue_max is not None and standing.excess(rules) - freed >= rules.queue_max:
        raise _full(submission, standing.depth(), now)
    names = tuple(one.execution_id for one in gives_way)
    verdict = Verdict(key=rules.key, gives_way=names)
    if not gives_way or strategy not in _TAKES_OVER or submission.is_joined:
        return verdict
    if submission.is_new_session:
        session_id = gives_way[-1].session_id
        submission = replace(submission, session_id=session_id, is_new_session=False)
    mine = [one for one in gives_way if one.session_id == submission.session_id]
    if not mine:
        return verdict
    carry_from = _rolled_back(mine) if strategy is Strategy.ROLLBACK else _carried_on(mine)
    return replace(verdict, submission=submission, carry_from=carry_from)


def _gives_way(submission: Submission, rules: Admission, group: Sequence[Open]) -> list[Open]:
    if rules.strategy is Strategy.REJECT:
        of_key = f" of {rules.key!r}" if rules.key else ""
        raise Busy(
            f"{submission.lane} runs {rules.limit}{of_key} at once and has {len(group)}",
            hint="try again when one of them has ended",
            subject=submission.lane,
        )
    is_kept = rules.strategy is Strategy.KEEP_NEWEST
    return [one for one in group if not one.is_joined and not (is_kept and one.is_running)]


def _carried_on(mine: Sequence[Open]) -> int:
    """Return up to where memory is taken from for what goes on where others are interrupted."""
    newest = max(mine, key=lambda one: one.ordinal)
    if not newest.seq and newest.carry_from is not None:
        return newest.carry_from
    return newest.ordinal


def _rolled_back(mine: Sequence[Open]) -> int:
    """Return up to where memory is taken from for what begins where the others began."""
    oldest = min(mine, key=lambda one: one.ordinal)
    return oldest.ordinal - 1 if oldest.carry_from is None else oldest.carry_from


def _full(submission: Submission, depth: Depth, now: float) -> QueueFull:
    """Say that a queue is full. By Little's law a place is free after the age of the oldest over the depth."""
    age = 0.0 if depth.oldest_at is None else max(0.0, now - depth.oldest_at)
    wait = min(max(age / max(depth.count, 1), SOONEST), LATEST)
    return QueueFull(
        f"{depth.count} wait for {submission.lane}, the oldest for {age:.0f} s",
        hint=f"try again in {wait:.0f} s",
        subject=submission.lane,
        retry_after=wait,
        depth=depth.count,
        oldest_age=age,
    )


# --- explaining -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figures:
    """What stands around a queued execution: how many run of its key, lane, agent, in the background, and at all.

    `writer` is the execution that writes its session now; `hold` is what holds it together with others.
    """

    queued: Queued
    agent: str
    now: float
    hold: str | None
    slot_at: float | None
    gathered: int
    writer: str | None
    of_key: int
    of_lane: int
    of_agent: int
    in_background: int
    is_background: bool
    running: int
    is_suspect: bool
    suspect_runs: bool


def explained(figures: Figures, limits: Limits) -> Explained:
    """Name every gate that holds a queued execution, the nearest first."""
    holds = (*_in_time(figures), *_in_room(figures, limits))
    if not holds:
        ahead = figures.queued.position - 1
        told = f"there is {ahead} before it" if ahead else "it is the next one"
        holds = ((HeldBy.TURN, told),)
    return Explained(figures.queued, holds, figures.queued.position - 1)


def _in_time(figures: Figures) -> Iterable[tuple[HeldBy, str]]:
    due_at, now = figures.queued.due_at, figures.now
    if due_at is None or due_at <= now:
        return
    if figures.hold is not None:
        more = f"gathers for {due_at - now:.1f} s more, {figures.gathered} came so far"
        yield HeldBy(figures.hold), more
    if figures.slot_at is not None and figures.slot_at > now:
        yield HeldBy.THROTTLE, f"its slot comes in {figures.slot_at - now:.1f} s"


def _in_room(figures: Figures, limits: Limits) -> Iterable[tuple[HeldBy, str]]:
    queued = figures.queued
    lane = queued.lane
    if figures.writer is not None:
        yield HeldBy.SESSION, f"{figures.writer} writes its session"
    gates = [
        (HeldBy.KEY, f"of key {queued.key!r}", figures.of_key, limits.groups.get(lane)),
        (HeldBy.LANE, f"of {lane}", figures.of_lane, limits.lanes.get(lane)),
        (HeldBy.AGENT, f"of {figures.agent}", figures.of_agent, limits.agents.get(figures.agent)),
    ]
    if figures.is_background:
        what = "for timers and events"
        gates.append((HeldBy.BACKGROUND, what, figures.in_background, limits.background))
    gates.append((HeldBy.TOTAL, "of all", figures.running, limits.total))
    for gate, what, running, most in gates:
        if most is not None and running >= most:
            yield gate, f"the slots {what} are taken: {running} of {most}"
    if figures.is_suspect and figures.suspect_runs:
        told = "the process ended twice while it ran: it runs when no other such one does"
        yield HeldBy.QUARANTINE, told
    if lane not in limits.lanes:
        yield HeldBy.ABSENT, f"nobody claims for {lane}"
