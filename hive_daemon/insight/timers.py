"""Why a timer did what it did, or does nothing: from its rows of the ledger to a story. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from hive_daemon.insight.story import Cause, Daemon, Link, Story, span
from hive_daemon.storage.timer_values import CONFIG_NAME, LEDGER_NAME, Occurrence, TimerRow

_CAUSES = {
    "fired": Cause.FIRED,
    "skipped_paused": Cause.TIMER_PAUSED,
    "skipped_idle": Cause.IDLE,
    "skipped_overlap": Cause.OVERLAP,
    "held_budget": Cause.BUDGET,
    "missed": Cause.MISSED,
    "failed": Cause.NOT_STARTED,
}
_NEAR_SECONDS = 60.0
"""How far from a due instant a time may be and still mean it: people write minutes."""


@dataclass(frozen=True, slots=True)
class TimerEvidence:
    """What is known of a timer.

    `rows` are its newest instants, newest first; `trouble` is why its agent does not run, `refusal` why the model
    service does not take its key; `schedule` is when it is due, for people; `is_due` says whether it was to be due at
    the time that is asked about, None if nobody knows; `followed` tells what became of the execution of that instant,
    or of the last one before the timer was paused; `blocker` which execution stood in its way.
    """

    timer_id: str
    now: float
    row: TimerRow | None
    rows: tuple[Occurrence, ...] = ()
    zone: tzinfo = UTC
    daemon: Daemon = Daemon.RUNNING
    trouble: str = ""
    refusal: str = ""
    schedule: str = ""
    next_at: float | None = None
    is_due: bool | None = None
    followed: Story | None = None
    blocker: str = ""


@dataclass(frozen=True, slots=True)
class _End:
    cause: Cause
    answer: str
    remedy: str = ""


def row_at(rows: tuple[Occurrence, ...], at: float) -> Occurrence | None:
    """Return the instant that a time means: the nearest, less than a minute away."""
    nearest = min(rows, key=lambda row: abs(row.scheduled_at - at), default=None)
    if nearest is None or abs(nearest.scheduled_at - at) >= _NEAR_SECONDS:
        return None
    return nearest


def tell_instant(evidence: TimerEvidence, at: float) -> Story:
    """Say what became of the instant of a timer at a time."""
    found = row_at(evidence.rows, at)
    if found is None:
        return _story(evidence, _not_due(evidence, at), ())
    return _told_of(evidence, found)


def tell_timer(evidence: TimerEvidence) -> Story:
    """Say why a timer fires next when it does, or does not fire; and what it did last."""
    end = _standing(evidence)
    if end is not None:
        return _story(evidence, end, (*_history(evidence), *_last_failure(evidence, end)))
    if evidence.rows and evidence.rows[0].outcome != "fired":
        return _told_of(evidence, evidence.rows[0])
    at = evidence.next_at
    soon = (
        "it is due at no time any more"
        if at is None
        else f"it is due next at {_local(evidence, at)}"
    )
    last = ""
    if evidence.rows:
        last = f"; it fired last at {_local(evidence, evidence.rows[0].scheduled_at)}"
    cause = Cause.DONE if at is None else Cause.SCHEDULED
    told = f"{evidence.timer_id} has nothing in its way: {soon}{last}"
    return _story(evidence, _End(cause, told, _describe(evidence)), _history(evidence))


def _standing(evidence: TimerEvidence) -> _End | None:
    """Return what keeps the timer from firing now, None if nothing does."""
    row, name = evidence.row, evidence.timer_id
    if evidence.daemon is Daemon.DOWN:
        told = f"{name} does not fire: the daemon is not running; what it misses follows its catchup at the next start"
        return _End(Cause.DAEMON_DOWN, told, "systemctl start hive-agent")
    if evidence.daemon is Daemon.DRAINING:
        return _End(Cause.DRAINING, f"{name} does not fire: the daemon is draining", "hive health")
    if row is not None and is_paused(row, evidence.now):
        return _paused(evidence, row)
    if evidence.trouble:
        told = f"{name} does not fire: its agent does not run: {evidence.trouble}"
        return _End(Cause.DEGRADED, told, "hive agents list")
    if row is not None and row.remaining == 0:
        told = f"{name} will not fire any more: none of its remaining_actions is left"
        return _End(Cause.DONE, told, _describe(evidence))
    return None


def is_paused(row: TimerRow, now: float) -> bool:
    """Say whether a timer is held at a moment."""
    if row.paused_at is None:
        return False
    return row.paused_until is None or row.paused_until > now


def _paused(evidence: TimerEvidence, row: TimerRow) -> _End:
    since = _local(evidence, row.paused_at or 0.0)
    until = "" if row.paused_until is None else f" until {_local(evidence, row.paused_until)}"
    note = f": {row.note}" if row.note else ""
    resume = f"hive timers resume {evidence.timer_id}"
    if row.paused_by == LEDGER_NAME and evidence.refusal:
        told = f"{evidence.timer_id} was paused by the daemon itself at {since}: {evidence.refusal}"
        return _End(Cause.DEGRADED, told, "hive status")
    if row.paused_by == LEDGER_NAME:
        told = f"{evidence.timer_id} was paused by the daemon itself at {since}{until}{note}"
        return _End(Cause.FAILING, told, resume)
    by = "its configuration" if row.paused_by == CONFIG_NAME else row.paused_by or "somebody"
    told = f"{evidence.timer_id} was paused by {by} at {since}{until}{note}"
    return _End(Cause.TIMER_PAUSED, told, resume)


def _told_of(evidence: TimerEvidence, row: Occurrence) -> Story:
    """Tell of one instant."""
    name, when = evidence.timer_id, _local(evidence, row.scheduled_at)
    cause = _CAUSES.get(str(row.outcome), Cause.SKIPPED)
    links = [
        Link(
            f"{name} was due{f' ({evidence.schedule})' if evidence.schedule else ''}",
            row.scheduled_at,
        )
    ]
    if evidence.blocker and cause in (Cause.OVERLAP, Cause.IDLE):
        links.append(Link(evidence.blocker))
    late = f", {span(row.late_by)} late" if row.late_by >= 1 else ""
    if cause is Cause.FIRED:
        return _fired(evidence, row, links, late)
    write = _SKIPS.get(cause, _skipped)
    links.append(Link(f"it was settled as {row.outcome}{late}: {row.reason}", row.at))
    end = _End(
        cause,
        f"{name} {write(when)}: {row.reason}{_in_the_way(evidence, cause)}",
        _mended(evidence, cause),
    )
    return _story(evidence, end, tuple(links))


def _skipped(when: str) -> str:
    return f"started nothing at {when}"


_SKIPS: dict[Cause, Callable[[str], str]] = {
    Cause.MISSED: lambda when: f"missed {when}",
    Cause.NOT_STARTED: lambda when: f"could start nothing at {when}",
}


def _in_the_way(evidence: TimerEvidence, cause: Cause) -> str:
    return (
        f" ({evidence.blocker})"
        if evidence.blocker and cause in (Cause.OVERLAP, Cause.IDLE)
        else ""
    )


def _mended(evidence: TimerEvidence, cause: Cause) -> str:
    if cause in (Cause.MISSED, Cause.NOT_STARTED):
        return f"hive timers trigger {evidence.timer_id}"
    if cause is Cause.BUDGET:
        return "hive budget status"
    return _describe(evidence)


def _fired(evidence: TimerEvidence, row: Occurrence, links: list[Link], late: str) -> Story:
    why = f": {row.reason}" if row.reason else ""
    links.append(Link(f"it fired{late}{why}", row.at))
    told = f"{evidence.timer_id} fired at {_local(evidence, row.scheduled_at)}{late} and began {row.execution_id}"
    followed = evidence.followed
    if followed is None:
        return _story(evidence, _End(Cause.FIRED, told, _describe(evidence)), tuple(links))
    end = _End(Cause.FIRED, f"{told}; {followed.answer}", followed.remedy)
    return _story(evidence, end, (*links, *followed.links))


def _not_due(evidence: TimerEvidence, at: float) -> _End:
    """Say why there is no row for a time."""
    name, when = evidence.timer_id, _local(evidence, at)
    if evidence.row is None:
        return _End(Cause.NOT_DUE, f"the ledger knows of no instant of {name}", _describe(evidence))
    if at > evidence.now:
        return _End(Cause.NOT_DUE, f"{when} is still to come", f"hive timers next {name}")
    before = next((row for row in evidence.rows if row.scheduled_at <= at), None)
    after = next((row for row in reversed(evidence.rows) if row.scheduled_at > at), None)
    forgotten = evidence.row.forgotten
    if before is None and forgotten is not None and at <= forgotten:
        told = f"{name} was settled at {when}, and its row is forgotten: the ledger keeps the newest instants"
        return _End(Cause.NOT_DUE, told, f"hive timers history {name}")
    if evidence.is_due and after is not None and after.outcome == "missed":
        told = (
            f"{name} missed {when}: {after.reason} (older instants of that gap are counted, and have no "
            f"row; the oldest row is that of {_local(evidence, after.scheduled_at)})"
        )
        return _End(
            Cause.MISSED, told, f"hive timers backfill {name} --start {when.replace(' ', 'T')}"
        )
    near = [
        text
        for text, row in (("the one before was", before), ("the next one was", after))
        if row is not None
        for text in [f"{text} {_local(evidence, row.scheduled_at)} ({row.outcome})"]
    ]
    known = "; ".join(near) if near else "no instant of it was settled yet"
    return _End(
        Cause.NOT_DUE, f"{name} was not due at {when}: {known}", f"hive timers history {name}"
    )


def _history(evidence: TimerEvidence) -> tuple[Link, ...]:
    return tuple(
        Link(
            f"{row.outcome}{f': {row.reason}' if row.reason else ''}"
            f"{f' ({row.execution_id}, {row.ended})' if row.execution_id and row.ended else ''}",
            row.scheduled_at,
        )
        for row in reversed(evidence.rows[:5])
    )


def _last_failure(evidence: TimerEvidence, end: _End) -> tuple[Link, ...]:
    """Say why the last execution of a timer that paused itself failed."""
    if end.cause is not Cause.FAILING or evidence.followed is None:
        return ()
    return (Link(evidence.followed.answer),)


def _describe(evidence: TimerEvidence) -> str:
    return f"hive timers describe {evidence.timer_id}"


def _local(evidence: TimerEvidence, seconds: float) -> str:
    return datetime.fromtimestamp(seconds, evidence.zone).isoformat(" ", "seconds")


def _story(evidence: TimerEvidence, end: _End, links: tuple[Link, ...]) -> Story:
    return Story("timer", evidence.timer_id, end.cause, end.answer, links, end.remedy)
