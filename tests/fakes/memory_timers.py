"""The in-memory store's timers: the ledger of due instants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hive_daemon.errors import TimerNotFound
from hive_daemon.storage.timer_values import (
    Occurrence,
    TimerFire,
    TimerOutcome,
    TimerRow,
    TimerSkip,
    TimerSpec,
)
from hive_daemon.storage.values import Submission, Submitted
from tests.fakes.memory_queue import submit
from tests.fakes.memory_world import World


def sync(world: World, agent: str, specs: Sequence[TimerSpec]) -> list[TimerRow]:
    """See `TimerLease.sync`."""
    mine = {timer_id for timer_id, row in world.timers.items() if row.agent == agent}
    world.idle_timers |= mine
    for spec in specs:
        known = world.timers.get(spec.timer_id)
        if known is None:
            row = _new_row(spec)
        elif known.signature == spec.signature:
            row = replace(known, entry_point=spec.entry_point)
        else:
            row = replace(
                known,
                entry_point=spec.entry_point,
                signature=spec.signature,
                anchor=spec.anchor,
                last_scheduled=None,
                next_at=None,
            )
        world.timers[spec.timer_id] = replace(row, agent=agent)
        world.idle_timers -= {spec.timer_id}
    return rows(world, agent)


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
    row = world.timers.get(due.timer_id)
    if row is None:
        raise TimerNotFound(subject=due.timer_id)
    if (due.timer_id, due.scheduled_at) in world.occurrences:
        return None
    action = due.action
    submitted = submit(world, action) if isinstance(action, Submission) else None
    skip = action if isinstance(action, TimerSkip) else TimerSkip(TimerOutcome.FIRED, "")
    name = submitted.execution_id if submitted is not None else None
    world.occurrences[due.timer_id, due.scheduled_at] = Occurrence(
        due.timer_id, due.scheduled_at, world.now, skip.outcome, skip.reason, name
    )
    is_fired = skip.outcome is TimerOutcome.FIRED
    is_missed = skip.outcome is TimerOutcome.MISSED
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
        fired=row.fired + is_fired,
        skipped=row.skipped + (not is_fired and not is_missed),
        missed=row.missed + is_missed,
    )
    return submitted


def set_paused(world: World, timer_ids: Sequence[str], paused: bool, by: str, note: str) -> None:
    """See `TimerLease.set_paused`."""
    for timer_id in timer_ids:
        if timer_id not in world.timers:
            raise TimerNotFound(subject=timer_id)
        at, who, what = (world.now, by, note) if paused else (None, "", "")
        row = world.timers[timer_id]
        world.timers[timer_id] = replace(row, paused_at=at, paused_by=who, note=what)


def rows(world: World, agent: str | None) -> list[TimerRow]:
    """See `TimerLease.rows`."""
    return [
        row
        for timer_id, row in sorted(world.timers.items())
        if timer_id not in world.idle_timers and agent in (None, row.agent)
    ]


def occurrences(world: World, timer_id: str, limit: int) -> list[Occurrence]:
    """See `TimerLease.occurrences`."""
    mine = [row for (id, _), row in sorted(world.occurrences.items()) if id == timer_id]
    return mine[::-1][: max(limit, 0)]
