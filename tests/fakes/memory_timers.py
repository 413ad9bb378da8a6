"""The in-memory store's timers: the ledger of due instants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hive_daemon.errors import TimerNotFound
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.timer_values import (
    CONFIG_NAME,
    LEDGER_NAME,
    Occurrence,
    Span,
    TimerFire,
    TimerOutcome,
    TimerRow,
    TimerSkip,
    TimerSpec,
)
from hive_daemon.storage.values import Submission, Submitted
from tests.fakes.memory_queue import submit
from tests.fakes.memory_world import World

FAILED = (ExecutionStatus.FAILED, ExecutionStatus.RECOVERY_EXHAUSTED)
PAUSED = TimerSkip(TimerOutcome.SKIPPED_PAUSED, "the timer was paused")


def sync(world: World, agent: str, specs: Sequence[TimerSpec]) -> list[TimerRow]:
    """See `TimerLease.sync`."""
    mine = {timer_id for timer_id, row in world.timers.items() if row.agent == agent}
    world.idle_timers |= mine
    for spec in specs:
        known = world.timers.get(spec.timer_id) or _new_row(spec)
        row = replace(known, entry_point=spec.entry_point, agent=agent)
        if known.signature != spec.signature:
            row = replace(
                row,
                signature=spec.signature,
                anchor=spec.anchor,
                last_scheduled=None,
                next_at=None,
            )
        world.timers[spec.timer_id] = _take_over(world, spec, known, row)
        world.timer_terms[spec.timer_id] = spec
        world.idle_timers -= {spec.timer_id}
    return rows(world, agent)


def _take_over(world: World, spec: TimerSpec, known: TimerRow, row: TimerRow) -> TimerRow:
    """Return the row with what is written of the timer, where that is new."""
    old = world.timer_terms.get(spec.timer_id)
    is_new = old is None or known.signature != spec.signature
    if old is None or is_new or old.remaining != spec.remaining:
        row = replace(row, remaining=spec.remaining)
    was_paused = old is not None and old.starts_paused
    if spec.starts_paused and (is_new or not was_paused) and row.paused_at is None:
        return replace(
            row,
            paused_at=world.now,
            paused_by=CONFIG_NAME,
            note=spec.note,
            paused_until=None,
        )
    if was_paused and not spec.starts_paused and row.paused_by == CONFIG_NAME:
        return _resumed(row)
    return row


def _resumed(row: TimerRow) -> TimerRow:
    return replace(row, paused_at=None, paused_by="", note="", paused_until=None, failures=0)


def _new_row(spec: TimerSpec) -> TimerRow:
    return TimerRow(
        timer_id=spec.timer_id,
        agent=spec.agent,
        entry_point=spec.entry_point,
        signature=spec.signature,
        anchor=spec.anchor,
        last_scheduled=None,
        next_at=None,
        last_outcome=None,
        last_reason=None,
        last_at=None,
        last_execution_id=None,
        fired=0,
        skipped=0,
        missed=0,
        paused_at=None,
        paused_by="",
        note="",
    )


def fire(world: World, due: TimerFire) -> Submitted | None:
    """See `TimerLease.fire`."""
    if isinstance(due.action, Submission):
        _count_ends(world, due.timer_id)
    row = world.timers.get(due.timer_id)
    if row is None:
        raise TimerNotFound(subject=due.timer_id)
    if isinstance(due.action, TimerSkip):
        _pass_over(world, due, due.action)
        return None
    if due.again:
        return _run_again(world, due, due.action)
    if row.paused_at is not None and (row.paused_until or due.scheduled_at + 1) > due.scheduled_at:
        _pass_over(world, due, PAUSED)
        return None
    if row.remaining == 0 or (due.timer_id, due.scheduled_at) in world.occurrences:
        return None
    submitted = submit(world, due.action)
    _write(world, due, due.scheduled_at, TimerSkip(TimerOutcome.FIRED, due.reason), submitted)
    _note(world, due, TimerSkip(TimerOutcome.FIRED, due.reason), submitted)
    row = world.timers[due.timer_id]
    if row.remaining is not None:
        left = row.remaining - 1
        world.timers[due.timer_id] = replace(
            row, remaining=left, next_at=row.next_at if left else None
        )
    return submitted


def _run_again(world: World, due: TimerFire, submission: Submission) -> Submitted | None:
    """Run an instant that has no fired row."""
    place = due.timer_id, due.scheduled_at
    old = world.occurrences.get(place)
    if old is not None and old.outcome is TimerOutcome.FIRED:
        return None
    submitted = submit(world, submission)
    if old is not None:
        del world.occurrences[place]
        _count(world, due.timer_id, old.outcome, -1)
    _write(world, due, due.scheduled_at, TimerSkip(TimerOutcome.FIRED, due.reason), submitted)
    row = world.timers[due.timer_id]
    world.timers[due.timer_id] = replace(row, last_execution_id=submitted.execution_id)
    return submitted


def _pass_over(world: World, due: TimerFire, skip: TimerSkip) -> None:
    """Write the rows of instants that start nothing."""
    fresh = [
        instant
        for instant in (*skip.earlier, due.scheduled_at)
        if (due.timer_id, instant) not in world.occurrences
    ]
    for instant in fresh:
        _write(world, due, instant, skip, None)
    if not fresh:
        return
    _count(world, due.timer_id, skip.outcome, skip.uncounted)
    _note(world, due, skip, None)
    if skip.outcome is TimerOutcome.FAILED:
        row = world.timers[due.timer_id]
        world.timers[due.timer_id] = replace(row, failures=row.failures + 1)
        _pause_if_failing(world, due.timer_id)


def _write(
    world: World, due: TimerFire, instant: float, skip: TimerSkip, submitted: Submitted | None
) -> None:
    name = submitted.execution_id if submitted is not None else None
    late = due.late_by + (due.scheduled_at - instant)
    world.occurrences[due.timer_id, instant] = Occurrence(
        due.timer_id, instant, world.now, skip.outcome, skip.reason, name, late
    )
    _count(world, due.timer_id, skip.outcome, 1)


def _note(world: World, due: TimerFire, skip: TimerSkip, submitted: Submitted | None) -> None:
    row = world.timers[due.timer_id]
    name = submitted.execution_id if submitted is not None else None
    last = row.last_scheduled
    is_latest = last is None or due.scheduled_at >= last
    world.timers[due.timer_id] = replace(
        row,
        last_scheduled=due.scheduled_at if is_latest else last,
        next_at=due.next_at if is_latest else row.next_at,
        last_outcome=skip.outcome.value,
        last_reason=skip.reason,
        last_at=world.now,
        last_execution_id=name or row.last_execution_id,
        last_late_by=due.late_by if name else row.last_late_by,
    )


def _count(world: World, timer_id: str, outcome: TimerOutcome, count: int) -> None:
    row = world.timers[timer_id]
    is_fired, is_missed = outcome is TimerOutcome.FIRED, outcome is TimerOutcome.MISSED
    world.timers[timer_id] = replace(
        row,
        fired=row.fired + count * is_fired,
        skipped=row.skipped + count * (not is_fired and not is_missed),
        missed=row.missed + count * is_missed,
    )


def account(world: World, timer_ids: Sequence[str]) -> list[TimerRow]:
    """See `TimerLease.account`."""
    told = []
    for timer_id in timer_ids:
        if timer_id not in world.timers:
            continue
        _count_ends(world, timer_id)
        if timer_id in world.timer_news:
            world.timer_news -= {timer_id}
            told.append(world.timers[timer_id])
    return told


def _count_ends(world: World, timer_id: str) -> None:
    open_rows = [
        row
        for row in world.occurrences.values()
        if row.timer_id == timer_id and row.execution_id is not None and row.ended is None
    ]
    ends = []
    for row in open_rows:
        entry = world.named(row.execution_id or "")
        if entry is None:
            ends.append((-1.0, row.scheduled_at, ""))
        elif entry.row.ended_at is not None:
            ends.append((entry.row.ended_at, row.scheduled_at, entry.row.status.value))
    for _, at, status in sorted(ends):
        place = timer_id, at
        world.occurrences[place] = replace(world.occurrences[place], ended=status)
        timer = world.timers[timer_id]
        if status in FAILED:
            world.timers[timer_id] = replace(timer, failures=timer.failures + 1)
        elif status == ExecutionStatus.COMPLETED:
            world.timers[timer_id] = replace(timer, failures=0)
    _pause_if_failing(world, timer_id)


def _pause_if_failing(world: World, timer_id: str) -> None:
    row, terms = world.timers.get(timer_id), world.timer_terms.get(timer_id)
    if row is None or terms is None or not 0 < terms.failure_limit <= row.failures:
        return
    if row.paused_at is not None and (row.paused_until is None or row.paused_until > world.now):
        return
    some = "execution" if row.failures == 1 else "executions in a row"
    world.timer_news |= {timer_id}
    world.timers[timer_id] = replace(
        row,
        paused_at=world.now,
        paused_by=LEDGER_NAME,
        note=f"{row.failures} {some} failed",
        paused_until=None,
    )


def set_paused(
    world: World,
    timer_ids: Sequence[str],
    paused: bool,
    by: str,
    note: str,
    until: float | None,
) -> None:
    """See `TimerLease.set_paused`."""
    for timer_id in timer_ids:
        if timer_id not in world.timers:
            raise TimerNotFound(subject=timer_id)
        row = world.timers[timer_id]
        pause = replace(row, paused_at=world.now, paused_by=by, note=note, paused_until=until)
        world.timers[timer_id] = pause if paused else _resumed(row)
        world.timer_news -= {timer_id}


def rows(world: World, agent: str | None) -> list[TimerRow]:
    """See `TimerLease.rows`."""
    return [
        row
        for timer_id, row in sorted(world.timers.items())
        if timer_id not in world.idle_timers and agent in (None, row.agent)
    ]


def occurrences(world: World, timer_id: str, limit: int, span: Span) -> list[Occurrence]:
    """See `TimerLease.occurrences`."""
    mine = [
        replace(row, ended=row.ended or None)
        for (id, at), row in sorted(world.occurrences.items())
        if id == timer_id
        and span.since <= at < span.before
        and (not span.outcomes or row.outcome in span.outcomes)
    ]
    return mine[::-1][: max(limit, 0)]
