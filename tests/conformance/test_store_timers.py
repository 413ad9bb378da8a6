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
    Span,
    TimerFire,
    TimerOutcome,
    TimerRow,
    TimerSkip,
    TimerSpec,
)
from hive_daemon.storage.values import Dedupe, Limits, StepCommit
from tests.conformance.conftest import Backend
from tests.fakes.store_kit import Ear, SetClock, bring_to, claimed, ending, submission

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
        last_late_by=0.0,
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


async def test_a_span_and_outcomes_narrow_the_history(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    for at in (1_300.0, 1_600.0, 1_900.0):
        await store.timers.fire(skip(at))
    await store.timers.fire(skip(2_200.0, TimerOutcome.MISSED))
    found = await store.timers.occurrences(REPORT.timer_id, 50, Span(1_600.0, 2_200.0))
    assert [row.scheduled_at for row in found] == [1_900.0, 1_600.0]
    missed = Span(outcomes=(TimerOutcome.MISSED, TimerOutcome.FIRED))
    found = await store.timers.occurrences(REPORT.timer_id, 50, missed)
    assert [row.scheduled_at for row in found] == [2_200.0]


# --- lateness, and instants that share a fate -----------------------------------------------------


async def test_a_row_says_how_late_it_was_settled_and_why(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    await store.timers.fire(fire(1_300.0, late_by=12.5, reason="caught up"))
    (row,) = await store.timers.occurrences(REPORT.timer_id)
    assert (row.late_by, row.reason, row.outcome) == (12.5, "caught up", "fired")
    assert (await row_of(store)).last_late_by == 12.5


async def test_missed_instants_get_a_row_each_and_those_without_one_are_counted(
    store: Store,
) -> None:
    await store.timers.sync("triage", [REPORT])
    lost = TimerSkip(TimerOutcome.MISSED, "nobody was there", (1_300.0, 1_600.0), uncounted=7)
    await store.timers.fire(fire(1_900.0, action=lost, late_by=10.0))
    found = await store.timers.occurrences(REPORT.timer_id)
    assert [(row.scheduled_at, row.late_by) for row in found] == [
        (1_900.0, 10.0),
        (1_600.0, 310.0),
        (1_300.0, 610.0),
    ]
    row = await row_of(store)
    assert (row.missed, row.last_scheduled) == (10, 1_900.0)
    await store.timers.fire(fire(1_900.0, action=lost))
    assert (await row_of(store)).missed == 10


# --- what remains ---------------------------------------------------------------------------------


async def test_each_fire_takes_one_of_what_remains_and_then_it_is_done(
    backend: Backend, ear: Ear, clock: SetClock
) -> None:
    limited = replace(REPORT, remaining=2)
    async with backend.open(ear, clock) as store:
        await store.timers.sync("triage", [limited])
        await store.timers.fire(fire(1_300.0))
        await store.timers.fire(skip(1_600.0))
        assert (await row_of(store)).remaining == 1
    async with backend.open(ear, clock) as store:
        (row,) = await store.timers.sync("triage", [limited])
        assert row.remaining == 1
        assert await store.timers.fire(fire(1_900.0)) is not None
        row = await row_of(store)
        assert (row.remaining, row.next_at, row.fired) == (0, None, 2)
        assert await store.timers.fire(fire(2_200.0)) is None
        assert len(await claimed(store)) == 2
        assert len(await store.timers.occurrences(REPORT.timer_id)) == 3


async def test_a_fire_that_cannot_submit_takes_nothing_of_what_remains(store: Store) -> None:
    await store.timers.sync("triage", [replace(REPORT, remaining=1)])
    taken = (await bring_to(store, S.COMPLETED)).session_id
    with pytest.raises(AlreadyRegistered):
        await store.timers.fire(fire(1_300.0, action=submission(session_id=taken)))
    assert (await row_of(store)).remaining == 1


@pytest.mark.parametrize("change", [{"remaining": 5}, {"signature": "every 1m", "remaining": 5}])
async def test_a_new_number_of_what_remains_is_taken_over(
    store: Store, change: dict[str, Any]
) -> None:
    limited = replace(REPORT, remaining=1)
    await store.timers.sync("triage", [limited])
    await store.timers.fire(fire(1_300.0))
    (row,) = await store.timers.sync("triage", [replace(limited, **change)])
    assert row.remaining == 5


# --- a pause with an end, and one that is written ---------------------------------------------------


async def test_a_pause_with_an_end_holds_the_instants_before_it(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    await store.timers.set_paused([REPORT.timer_id], True, by="me", until=1_600.0)
    assert (await row_of(store)).paused_until == 1_600.0
    assert await store.timers.fire(fire(1_300.0)) is None
    assert await store.timers.fire(fire(1_600.0)) is not None
    outcomes = [row.outcome for row in await store.timers.occurrences(REPORT.timer_id)]
    assert outcomes == [TimerOutcome.FIRED, TimerOutcome.SKIPPED_PAUSED]


async def test_a_paused_timer_fires_nothing_whoever_asks(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    await store.timers.set_paused([REPORT.timer_id], True, by="me")
    assert await store.timers.fire(fire(1_300.0)) is None
    assert await claimed(store) == []
    (row,) = await store.timers.occurrences(REPORT.timer_id)
    assert (row.outcome, row.reason) == (TimerOutcome.SKIPPED_PAUSED, "the timer was paused")


async def test_a_timer_written_as_paused_begins_so_and_a_resume_holds(
    backend: Backend, ear: Ear, clock: SetClock
) -> None:
    written = replace(REPORT, starts_paused=True, note="not before May")
    async with backend.open(ear, clock) as store:
        (row,) = await store.timers.sync("triage", [written])
        assert (row.paused_at, row.paused_by, row.note) == (clock.now, "config", "not before May")
        await store.timers.set_paused([REPORT.timer_id], False)
    async with backend.open(ear, clock) as store:
        (row,) = await store.timers.sync("triage", [written])
        assert row.paused_at is None
        (row,) = await store.timers.sync("triage", [replace(written, signature="every 1m")])
        assert row.paused_by == "config"


async def test_the_word_paused_taken_out_resumes_what_it_paused_and_nothing_else(
    store: Store,
) -> None:
    written = replace(REPORT, starts_paused=True)
    await store.timers.sync("triage", [written])
    (row,) = await store.timers.sync("triage", [REPORT])
    assert row.paused_at is None
    await store.timers.sync("triage", [written])
    await store.timers.set_paused([REPORT.timer_id], True, by="me")
    (row,) = await store.timers.sync("triage", [REPORT])
    assert row.paused_by == "me"


# --- failures in a row ------------------------------------------------------------------------------

LIMIT = 3
FRAGILE = replace(REPORT, failure_limit=LIMIT)


async def run(store: Store, at: float, status: S) -> None:
    """Fire at an instant, and let the execution end so."""
    assert await store.timers.fire(fire(at)) is not None
    (claim,) = await store.queue.claim("node", Limits(100, {"triage/main": 100}))
    step = StepCommit(claim.seq + 1, ending=ending(status))
    await store.executions.commit(claim.fence, step)


async def test_failures_in_a_row_pause_a_timer_and_that_is_told_once(
    store: Store, clock: SetClock
) -> None:
    await store.timers.sync("triage", [FRAGILE])
    for n in range(LIMIT):
        assert await store.timers.account([REPORT.timer_id]) == []
        await run(store, 1_300.0 + n, S.FAILED)
    (row,) = await store.timers.account([REPORT.timer_id])
    assert (row.paused_at, row.paused_by, row.failures) == (clock.now, "hived", LIMIT)
    assert row.note == "3 executions in a row failed"
    assert await store.timers.account([REPORT.timer_id]) == []


async def test_failures_are_counted_though_nobody_heard_of_them(
    backend: Backend, ear: Ear, clock: SetClock
) -> None:
    for n in range(LIMIT):
        async with backend.open(ear, clock) as store:
            await store.timers.sync("triage", [FRAGILE])
            await run(store, 1_300.0 + n, S.FAILED)
    async with backend.open(ear, clock) as store:
        # The next instant finds out by itself, in the commit that would have fired.
        assert await store.timers.fire(fire(2_000.0)) is None
        assert (await row_of(store)).paused_by == "hived"
        assert (await store.timers.occurrences(REPORT.timer_id))[0].outcome == "skipped_paused"
        assert len(await store.timers.account([REPORT.timer_id])) == 1


@pytest.mark.parametrize(
    ("ends", "failures"),
    [
        ((S.FAILED, S.COMPLETED, S.FAILED), 1),
        ((S.FAILED, S.CANCELLED, S.FAILED), 2),
        ((S.RECOVERY_EXHAUSTED, S.FAILED), 2),
        ((S.FAILED, S.PAUSED), 1),
    ],
)
async def test_a_success_begins_the_count_anew_and_a_cancellation_does_not_count(
    store: Store, ends: tuple[S, ...], failures: int
) -> None:
    await store.timers.sync("triage", [FRAGILE])
    for n, status in enumerate(ends):
        await run(store, 1_300.0 + n, status)
    await store.timers.account([REPORT.timer_id])
    assert (await row_of(store)).failures == failures
    ended = [row.ended for row in await store.timers.occurrences(REPORT.timer_id)]
    assert ended[::-1] == [None if s is S.PAUSED else s.value for s in ends]


async def test_what_could_not_be_started_is_a_failure_too(store: Store) -> None:
    await store.timers.sync("triage", [FRAGILE])
    for n in range(LIMIT):
        await store.timers.fire(skip(1_300.0 + n, TimerOutcome.FAILED))
    assert [row.failures for row in await store.timers.account([REPORT.timer_id])] == [LIMIT]


async def test_resuming_begins_the_count_anew(store: Store) -> None:
    await store.timers.sync("triage", [FRAGILE])
    for n in range(LIMIT):
        await store.timers.fire(skip(1_300.0 + n, TimerOutcome.FAILED))
    await store.timers.set_paused([REPORT.timer_id], False)
    assert (await row_of(store)).failures == 0
    assert await store.timers.fire(fire(2_000.0)) is not None


async def test_without_a_limit_failures_pause_nothing(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    for n in range(20):
        await store.timers.fire(skip(1_300.0 + n, TimerOutcome.FAILED))
    assert await store.timers.account([REPORT.timer_id]) == []
    assert (await row_of(store)).paused_at is None


# --- again ------------------------------------------------------------------------------------------


async def test_an_instant_that_was_passed_over_runs_again_by_order(store: Store) -> None:
    await store.timers.sync("triage", [replace(REPORT, remaining=1)])
    await store.timers.set_paused([REPORT.timer_id], True, by="me")
    await store.timers.fire(fire(1_300.0))
    before = await row_of(store)
    submitted = await store.timers.fire(fire(1_300.0, again=True, reason="backfill"))
    assert submitted is not None
    (row,) = await store.timers.occurrences(REPORT.timer_id)
    assert (row.outcome, row.reason, row.execution_id) == (
        "fired", "backfill", submitted.execution_id,
    )  # fmt: skip
    assert await row_of(store) == replace(
        before, fired=1, skipped=0, last_execution_id=submitted.execution_id
    )


async def test_what_fired_does_not_fire_again_by_any_order(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    await store.timers.fire(fire(1_300.0))
    assert await store.timers.fire(fire(1_300.0, again=True)) is None
    assert len(await claimed(store)) == 1


async def test_an_order_that_cannot_submit_leaves_the_row_as_it_was(store: Store) -> None:
    await store.timers.sync("triage", [REPORT])
    await store.timers.fire(skip(1_300.0))
    taken = (await bring_to(store, S.COMPLETED)).session_id
    with pytest.raises(AlreadyRegistered):
        await store.timers.fire(fire(1_300.0, again=True, action=submission(session_id=taken)))
    (row,) = await store.timers.occurrences(REPORT.timer_id)
    assert row.outcome is TimerOutcome.SKIPPED_IDLE
    assert (await row_of(store)).skipped == 1
