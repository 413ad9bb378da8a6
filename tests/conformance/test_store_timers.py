"""The timers' ledger, on every back end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from hive_daemon.errors import AlreadyRegistered, TimerNotFound
from hive_daemon.status import ExecutionStatus as S
from hive_daemon.storage.ports import Store
from hive_daemon.storage.timer_values import (
    KEPT_OCCURRENCES,
    Occurrence,
    TimerFire,
    TimerOutcome,
    TimerRow,
    TimerSkip,
    TimerSpec,
)
from hive_daemon.storage.values import Dedupe
from tests.conformance.conftest import Backend
from tests.fakes.store_kit import Ear, SetClock, bring_to, claimed, submission

REPORT = TimerSpec("triage/report", "triage", "report", "every 5m", 1_000.0)
OTHER = TimerSpec("triage/other", "triage", "other", "cron 0 9 * * *", 2_000.0)
FOREIGN = TimerSpec("digest/report", "digest", "report", "every 1h", 3_000.0)
FRESH = TimerRow(
    "triage/report", "triage", "report", "every 5m", 1_000.0,
    None, None, None, None, None, None, 0, 0, 0, None, "", "",
)  # fmt: skip


def fire(at: float, **changes: Any) -> TimerFire:
    """Return a due instant of the report that starts an execution."""
    given: dict[str, Any] = {
        "timer_id": REPORT.timer_id,
        "scheduled_at": at,
        "next_at": at + 300,
        "action": submission(stream_id="main", source="timer"),
    }
    return TimerFire(**{**given, **changes})


def skip(at: float, outcome: TimerOutcome = TimerOutcome.SKIPPED_IDLE) -> TimerFire:
    """Return a due instant of the report that starts nothing."""
    return fire(at, action=TimerSkip(outcome, "busy"))


async def row_of(store: Store, timer_id: str = REPORT.timer_id) -> TimerRow:
    """Return one row of the ledger."""
    return next(row for row in await store.timers.rows() if row.timer_id == timer_id)


# --- sync ---------------------------------------------------------------------------------------


async def test_a_new_timer_has_no_past(store: Store) -> None:
    assert await store.timers.sync("triage", [REPORT]) == [FRESH]
    assert await store.timers.rows() == [FRESH]


async def test_rows_are_answered_by_agent_in_order_of_their_ids(store: Store) -> None:
    await store.timers.sync("digest", [FOREIGN])
    synced = await store.timers.sync("triage", [REPORT, OTHER])
    assert [row.timer_id for row in synced] == ["triage/other", "triage/report"]
    assert await store.timers.rows("triage") == synced
    ids = [row.timer_id for row in await store.timers.rows()]
    assert ids == ["digest/report", "triage/other", "triage/report"]
    assert await store.timers.rows("nobody") == []


async def test_the_same_signature_goes_on_in_its_phase(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    await store.timers.fire(fire(1_300.0))
    before = await row_of(store)
    assert await store.timers.sync("triage", [replace(REPORT, anchor=9_999.0)]) == [before]


async def test_a_changed_signature_begins_a_new_phase_and_keeps_the_past(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    await store.timers.fire(fire(1_300.0))
    await store.timers.set_paused([REPORT.timer_id], True, by="me", note="n")
    before = await row_of(store)
    changed = replace(REPORT, signature="every 1m", anchor=5_000.0)
    (row,) = await store.timers.sync("triage", [changed])
    assert row == replace(
        before, signature="every 1m", anchor=5_000.0, last_scheduled=None, next_at=None
    )
    assert (row.fired, row.last_outcome, row.paused_by) == (1, "fired", "me")
    assert len(await store.timers.occurrences(REPORT.timer_id)) == 1


async def test_a_timer_no_longer_named_is_not_answered_but_remembered(store: Store) -> None:
    await store.timers.sync("triage", [REPORT, OTHER])
    await store.timers.fire(fire(1_300.0))
    before = await row_of(store)
    assert [r.timer_id for r in await store.timers.sync("triage", [OTHER])] == [OTHER.timer_id]
    assert [r.timer_id for r in await store.timers.rows()] == [OTHER.timer_id]
    assert len(await store.timers.occurrences(REPORT.timer_id)) == 1
    assert await store.timers.sync("triage", [REPORT]) == [before]


async def test_an_agent_s_timers_are_its_own(store: Store) -> None:
    await store.timers.sync("digest", [FOREIGN])
    await store.timers.sync("triage", [])
    assert [row.timer_id for row in await store.timers.rows()] == [FOREIGN.timer_id]


# --- fire ---------------------------------------------------------------------------------------


async def test_a_fire_submits_in_the_same_moment(store: Store, clock: SetClock, ear: Ear) -> None:
    await store.timers.sync("triage", [REPORT])
    submitted = await store.timers.fire(fire(1_300.0))
    assert submitted is not None
    name = submitted.execution_id
    assert ear.lanes == ["triage/main"]
    assert await claimed(store) == [name]
    assert await store.timers.occurrences(REPORT.timer_id) == [
        Occurrence(REPORT.timer_id, 1_300.0, clock.now, TimerOutcome.FIRED, "", name)
    ]
    assert await row_of(store) == replace(
        FRESH,
        last_scheduled=1_300.0,
        next_at=1_600.0,
        last_outcome="fired",
        last_reason="",
        last_at=clock.now,
        last_execution_id=name,
        fired=1,
    )


async def test_an_instant_is_settled_once(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    outcomes = await asyncio.gather(*(store.timers.fire(fire(1_300.0)) for _ in range(10)))
    assert sum(outcome is not None for outcome in outcomes) == 1
    assert len(await claimed(store)) == 1
    assert len(await store.timers.occurrences(REPORT.timer_id)) == 1
    assert (await row_of(store)).fired == 1


async def test_an_instant_is_settled_once_over_a_restart(
    backend: Backend, ear: Ear, clock: SetClock
) -> None:
    async with backend.open(ear, clock) as store:
        await store.timers.sync("triage", [REPORT])
        await store.timers.fire(fire(1_300.0))
    async with backend.open(ear, clock) as store:
        assert await store.timers.fire(fire(1_300.0)) is None
        assert len(await claimed(store)) == 1


async def test_an_instant_is_settled_once_though_the_clock_went_back(
    store: Store, clock: SetClock
) -> None:
    await store.timers.sync("triage", [REPORT])
    await store.timers.fire(fire(1_300.0))
    clock.now -= 5_000
    assert await store.timers.fire(fire(1_300.0)) is None


async def test_a_skipped_instant_is_settled_too(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    assert await store.timers.fire(skip(1_300.0)) is None
    assert await store.timers.fire(fire(1_300.0)) is None
    assert await claimed(store) == []
    (row,) = await store.timers.occurrences(REPORT.timer_id)
    assert (row.outcome, row.reason, row.execution_id) == (
        TimerOutcome.SKIPPED_IDLE, "busy", None,
    )  # fmt: skip


@pytest.mark.parametrize("outcome", TimerOutcome)
async def test_every_outcome_is_counted_as_what_it_is(store: Store, outcome: TimerOutcome) -> None:
    await store.timers.sync("triage", [REPORT])
    await store.timers.fire(skip(1_300.0, outcome))
    row = await row_of(store)
    is_fired, is_missed = outcome is TimerOutcome.FIRED, outcome is TimerOutcome.MISSED
    counted = (row.fired, row.missed, row.skipped)
    assert counted == (is_fired, is_missed, not (is_fired or is_missed))
    assert (row.last_outcome, row.last_reason) == (outcome.value, "busy")


async def test_a_skip_leaves_the_last_execution_in_sight(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    submitted = await store.timers.fire(fire(1_300.0))
    await store.timers.fire(skip(1_600.0))
    row = await row_of(store)
    assert submitted is not None
    assert (row.last_execution_id, row.last_outcome) == (submitted.execution_id, "skipped_idle")


async def test_a_late_settlement_of_an_older_instant_moves_nothing_back(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    await store.timers.fire(fire(1_600.0))
    await store.timers.fire(skip(1_300.0, TimerOutcome.MISSED))
    row = await row_of(store)
    assert (row.last_scheduled, row.next_at, row.missed) == (1_600.0, 1_900.0, 1)


async def test_a_last_instant_has_none_after_it(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    await store.timers.fire(fire(1_300.0, next_at=None))
    assert (await row_of(store)).next_at is None


async def test_a_fire_that_cannot_submit_settles_nothing(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    taken = (await bring_to(store, S.COMPLETED)).session_id
    with pytest.raises(AlreadyRegistered):
        await store.timers.fire(fire(1_300.0, action=submission(session_id=taken)))
    assert await row_of(store) == FRESH
    assert await store.timers.occurrences(REPORT.timer_id) == []
    assert await store.timers.fire(fire(1_300.0)) is not None


async def test_a_fire_answers_the_first_execution_of_a_repeated_key(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    key = Dedupe("triage/report", "tm:report:1300", "h", 60)
    first = await store.queue.submit(submission(dedupe=key))
    submitted = await store.timers.fire(fire(1_300.0, action=submission(dedupe=key)))
    assert submitted == replace(first, created=False)
    assert len(await claimed(store)) == 1


async def test_a_timer_that_was_never_known_does_not_fire(store: Store) -> None:
    with pytest.raises(TimerNotFound):
        await store.timers.fire(fire(1_300.0))
    assert await claimed(store) == []
    assert await store.timers.occurrences(REPORT.timer_id) == []


# --- pause --------------------------------------------------------------------------------------


async def test_a_pause_holds_over_restarts_until_the_opposite_is_said(
    backend: Backend, ear: Ear, clock: SetClock
) -> None:
    async with backend.open(ear, clock) as store:
        await store.timers.sync("triage", [REPORT, OTHER])
        await store.timers.set_paused([REPORT.timer_id], True, by="me", note="deploy")
    paused_at, clock.now = clock.now, clock.now + 100
    async with backend.open(ear, clock) as store:
        rows = await store.timers.sync("triage", [REPORT, OTHER])
        assert [(r.paused_at, r.paused_by, r.note) for r in rows] == [
            (None, "", ""),
            (paused_at, "me", "deploy"),
        ]
        await store.timers.set_paused([REPORT.timer_id], False, by="me", note="done")
        row = await row_of(store)
        assert (row.paused_at, row.paused_by, row.note) == (None, "", "")


async def test_timers_are_paused_all_or_none(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    with pytest.raises(TimerNotFound):
        await store.timers.set_paused([REPORT.timer_id, "triage/none"], True)
    assert await row_of(store) == FRESH


async def test_pausing_none_changes_nothing(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    await store.timers.set_paused([], True)
    assert await store.timers.rows() == [FRESH]


# --- occurrences --------------------------------------------------------------------------------


async def test_occurrences_come_newest_first(store: Store) -> None:
    await store.timers.sync("triage", [REPORT, OTHER])
    for at in (1_300.0, 1_900.0, 1_600.0):
        await store.timers.fire(skip(at))
    await store.timers.fire(fire(7_000.0, timer_id=OTHER.timer_id))
    found = await store.timers.occurrences(REPORT.timer_id)
    assert [row.scheduled_at for row in found] == [1_900.0, 1_600.0, 1_300.0]
    assert await store.timers.occurrences(REPORT.timer_id, limit=2) == found[:2]
    assert await store.timers.occurrences(REPORT.timer_id, limit=0) == []
    assert await store.timers.occurrences("triage/none") == []


async def test_old_instants_stay_settled_however_many_there_were(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    count = KEPT_OCCURRENCES + 200
    await asyncio.gather(*(store.timers.fire(skip(float(n))) for n in range(count)))
    for settled in (0.0, 100.0, 199.0, 200.0, count - 1.0):
        assert await store.timers.fire(fire(settled)) is None
    assert await claimed(store) == []
    assert await store.timers.fire(fire(float(count))) is not None
    assert (await row_of(store)).skipped == count
    newest = await store.timers.occurrences(REPORT.timer_id, limit=500)
    assert [row.scheduled_at for row in newest] == [float(count - n) for n in range(500)]
