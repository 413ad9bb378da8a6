"""Under which rules a submission is taken in, on every back end."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hive_daemon.errors import Busy, IdempotencyConflict, QueueFull, RateLimited
from hive_daemon.status import ExecutionStatus as S
from hive_daemon.storage.admission import Admission, Batch, Debounce, Rate, Strategy
from hive_daemon.storage.ports import Store
from hive_daemon.storage.timer_values import TimerFire, TimerSpec
from hive_daemon.storage.values import Dedupe, ExecutionFilter, Submission
from tests.fakes.store_kit import (
    LANE,
    NODE,
    ROOMY,
    Ear,
    SetClock,
    begin,
    claimed,
    ending,
    event,
    following,
    session,
    status_of,
    step,
    submission,
)

FULL = Admission(limit=1, queue_max=1)


def ruled(rules: Admission, **changes: object) -> Submission:
    """Return a submission under rules."""
    return submission(admission=rules, **changes)


async def count(store: Store) -> int:
    """Return how many executions there are."""
    return len(await store.executions.query(ExecutionFilter(limit=500)))


# --- dedupe and rate ------------------------------------------------------------------------------


async def test_a_key_without_a_body_conflicts_with_none(store: Store) -> None:
    bodies = ("", "h1", "h2")
    keys = [Dedupe("n", "k", body, 60) for body in bodies]
    first = await store.queue.submit(submission(dedupe=keys[0]))
    again = await store.queue.submit(submission(dedupe=keys[1]))
    assert again.execution_id == first.execution_id
    assert not again.created


async def test_two_bodies_of_one_key_conflict_still(store: Store) -> None:
    await store.queue.submit(submission(dedupe=Dedupe("n", "k", "h1", 60)))
    with pytest.raises(IdempotencyConflict):
        await store.queue.submit(submission(dedupe=Dedupe("n", "k", "h2", 60)))


async def test_what_is_above_the_rate_is_refused_until_its_slot(
    store: Store, clock: SetClock
) -> None:
    rules = Admission(rate=Rate(2, 10))
    await store.queue.submit(ruled(rules))
    await store.queue.submit(ruled(rules))
    with pytest.raises(RateLimited) as refusal:
        await store.queue.submit(ruled(rules))
    assert refusal.value.retry_after == pytest.approx(5)
    assert await count(store) == 2
    clock.now += 5
    assert (await store.queue.submit(ruled(rules))).created


async def test_each_key_and_each_lane_has_its_own_rate(store: Store) -> None:
    rules = Admission(rate=Rate(1, 10, "a"))
    await store.queue.submit(ruled(rules))
    assert (await store.queue.submit(ruled(Admission(rate=Rate(1, 10, "b"))))).created
    assert (await store.queue.submit(ruled(rules, stream_id="side"))).created


async def test_a_repeated_key_uses_no_rate(store: Store) -> None:
    rules = Admission(rate=Rate(2, 10))
    key = Dedupe("n", "k", "h", 60)
    for _ in range(5):
        await store.queue.submit(ruled(rules, dedupe=key))
    assert (await store.queue.submit(ruled(rules))).created


async def test_what_is_refused_for_another_reason_uses_no_rate(store: Store) -> None:
    await begin(store)
    busy = Admission(limit=1, strategy=Strategy.REJECT, rate=Rate(1, 10))
    with pytest.raises(Busy):
        await store.queue.submit(ruled(busy))
    assert (await store.queue.submit(ruled(replace(busy, strategy=Strategy.QUEUE)))).created


# --- debounce and batch ---------------------------------------------------------------------------


async def test_a_debounce_takes_the_newest_input_once_it_is_quiet(
    store: Store, clock: SetClock
) -> None:
    rules = Admission(hold=Debounce(10, 60))
    first = await store.queue.submit(ruled(rules, input=b"1"))
    assert first.due_at == clock.now + 10
    clock.now += 9
    second = await store.queue.submit(ruled(rules, input=b"2"))
    assert (second.execution_id, second.created, second.coalesced, second.due_at) == (
        first.execution_id, False, True, clock.now + 10,
    )  # fmt: skip
    clock.now += 9
    assert await claimed(store) == []
    clock.now += 1
    (claim,) = await store.queue.claim(NODE, ROOMY)
    assert (claim.execution_id, claim.input) == (first.execution_id, b"2")
    assert (await store.queue.submit(ruled(rules))).created


async def test_a_debounce_waits_no_longer_than_it_may(store: Store, clock: SetClock) -> None:
    rules = Admission(hold=Debounce(10, 15))
    began = clock.now
    await store.queue.submit(ruled(rules))
    clock.now += 9
    later = await store.queue.submit(ruled(rules))
    assert later.due_at == began + 15


async def test_a_batch_begins_when_it_is_full(store: Store, clock: SetClock) -> None:
    rules = Admission(hold=Batch(3, 60))
    answers = [await store.queue.submit(ruled(rules, input=b'{"n": %d}' % n)) for n in range(3)]
    assert [answer.created for answer in answers] == [True, False, False]
    assert (await store.queue.submit(ruled(rules))).created
    (claim,) = await store.queue.claim(NODE, ROOMY)
    assert json.loads(claim.input) == {"batch": [{"n": 0}, {"n": 1}, {"n": 2}]}


async def test_a_batch_that_is_not_full_begins_in_time(store: Store, clock: SetClock) -> None:
    submitted = await store.queue.submit(ruled(Admission(hold=Batch(3, 60)), input=b"1"))
    assert await claimed(store) == []
    assert await store.queue.next_due([LANE]) == submitted.due_at == clock.now + 60
    clock.now += 60
    (claim,) = await store.queue.claim(NODE, ROOMY)
    assert json.loads(claim.input) == {"batch": [1]}


async def test_a_large_batch_keeps_all_of_it(store: Store) -> None:
    rules = Admission(hold=Batch(4, 60))
    parts = [json.dumps("x" * 150_000 + str(n)).encode() for n in range(4)]
    for part in parts:
        await store.queue.submit(ruled(rules, input=part))
    (claim,) = await store.queue.claim(NODE, ROOMY)
    assert json.loads(claim.input) == {"batch": [json.loads(part) for part in parts]}


async def test_each_key_of_a_hold_gathers_by_itself(store: Store) -> None:
    for key in ("a", "b"):
        rules = Admission(hold=Batch(2, 60, key))
        assert (await store.queue.submit(ruled(rules))).created


async def test_a_session_that_is_named_is_held_by_itself(store: Store) -> None:
    await store.queue.submit(submission(session_id=session(1)))
    await store.queue.submit(submission(session_id=session(2)))
    rules = Admission(hold=Debounce(10, 60))
    one = await store.queue.submit(following(session(1), admission=rules))
    other = await store.queue.submit(following(session(2), admission=rules))
    again = await store.queue.submit(following(session(1), admission=rules))
    assert (one.created, other.created, again.execution_id) == (True, True, one.execution_id)


async def test_a_delivery_that_was_taken_in_is_not_taken_in_twice(store: Store) -> None:
    rules = Admission(hold=Batch(5, 60))
    key = Dedupe("n", "k", "h", 60)
    first = await store.queue.submit(ruled(rules, input=b"1"))
    for _ in range(2):
        answer = await store.queue.submit(ruled(rules, input=b"2", dedupe=key))
        assert answer.execution_id == first.execution_id
    row = await store.executions.load(first.execution_id)
    assert json.loads(row.input) == {"batch": [1, 2]}


async def test_what_is_held_is_cancelled_at_once(store: Store, clock: SetClock) -> None:
    held = await store.queue.submit(ruled(Admission(hold=Debounce(10, 60))))
    assert await store.inbox.cancel(held.execution_id, "no") is S.CANCELLED
    clock.now += 60
    assert await claimed(store) == []


# --- throttle -------------------------------------------------------------------------------------


async def test_a_throttle_delays_what_is_above_it(store: Store, clock: SetClock) -> None:
    rules = Admission(throttle=Rate(1, 10))
    answers = [await store.queue.submit(ruled(rules)) for _ in range(3)]
    assert [a.due_at for a in answers] == [None, clock.now + 10, clock.now + 20]
    assert await claimed(store) == [answers[0].execution_id]
    clock.now += 10
    assert await claimed(store) == [answers[1].execution_id]


# --- concurrency ----------------------------------------------------------------------------------


async def test_a_full_queue_says_how_deep_and_how_old_it_is(store: Store, clock: SetClock) -> None:
    await begin(store)
    await store.queue.submit(ruled(FULL))
    clock.now += 30
    with pytest.raises(QueueFull) as refusal:
        await store.queue.submit(ruled(FULL))
    assert (refusal.value.depth, refusal.value.oldest_age) == (1, 30)
    assert refusal.value.retry_after == 30
    assert await count(store) == 2


async def test_a_burst_that_the_slots_can_take_is_not_refused(store: Store) -> None:
    rules = Admission(limit=3, queue_max=1)
    for _ in range(4):
        assert (await store.queue.submit(ruled(rules))).created
    with pytest.raises(QueueFull):
        await store.queue.submit(ruled(rules))


async def test_a_place_that_became_free_is_given_away(store: Store) -> None:
    claim = await begin(store)
    waiting = await store.queue.submit(ruled(FULL))
    with pytest.raises(QueueFull):
        await store.queue.submit(ruled(FULL))
    await store.executions.commit(claim.fence, step(1, ending=ending(S.COMPLETED)))
    assert await claimed(store) == [waiting.execution_id]
    assert (await store.queue.submit(ruled(FULL))).created


async def test_all_keys_of_a_lane_share_its_queue(store: Store) -> None:
    await begin(store)
    await store.queue.submit(ruled(replace(FULL, key="a", slots=1)))
    with pytest.raises(QueueFull):
        await store.queue.submit(ruled(replace(FULL, key="b", slots=1)))


async def test_reject_refuses_when_the_group_has_no_free_slot(store: Store) -> None:
    rules = Admission(key="a", limit=1, strategy=Strategy.REJECT)
    await store.queue.submit(ruled(rules))
    with pytest.raises(Busy):
        await store.queue.submit(ruled(rules))
    assert (await store.queue.submit(ruled(replace(rules, key="b")))).created


async def test_what_waits_for_a_person_has_freed_its_slot(store: Store) -> None:
    rules = Admission(limit=1, strategy=Strategy.REJECT)
    claim = await begin(store, admission=rules)
    await store.executions.commit(claim.fence, step(1, ending=ending(S.WAITING_INPUT)))
    assert (await store.queue.submit(ruled(rules))).created


async def test_interrupt_goes_on_in_the_session_of_the_newest(store: Store) -> None:
    rules = Admission(limit=1, strategy=Strategy.INTERRUPT)
    running = await begin(store, admission=rules)
    newer = await store.queue.submit(ruled(rules))
    assert (newer.session_id, newer.replaced) == (running.session_id, (running.execution_id,))
    row = await store.executions.load(running.execution_id)
    assert (row.status, row.cancel_reason) == (S.RUNNING, f"replaced by {newer.execution_id}")
    newest = await store.queue.submit(ruled(rules))
    assert newest.replaced == (running.execution_id, newer.execution_id)
    assert await status_of(store, newer.execution_id) is S.CANCELLED
    assert await claimed(store) == []
    await store.executions.commit(running.fence, step(1, ending=ending(S.CANCELLED)))
    (claim,) = await store.queue.claim(NODE, ROOMY)
    # The one between took no step: it would have carried what the first left.
    assert (claim.execution_id, claim.carry_from) == (newest.execution_id, 1)


async def test_rollback_goes_on_from_where_the_session_stood_before(store: Store) -> None:
    first = await begin(store, session_id=session(1))
    await store.executions.commit(first.fence, step(1, ending=ending(S.COMPLETED)))
    rules = Admission(limit=1, strategy=Strategy.ROLLBACK)
    await store.queue.submit(following(session(1), admission=rules))
    for _ in range(2):
        (running,) = await store.queue.claim(NODE, ROOMY)
        newer = await store.queue.submit(ruled(rules))
        await store.executions.commit(running.fence, step(1, ending=ending(S.CANCELLED)))
        row = await store.executions.load(newer.execution_id)
        assert (row.session_id, row.carry_from) == (session(1), 1)


async def test_keep_newest_lets_what_runs_go_on(store: Store) -> None:
    rules = Admission(limit=1, strategy=Strategy.KEEP_NEWEST)
    running = await begin(store, admission=rules)
    waiting = await store.queue.submit(ruled(rules))
    newest = await store.queue.submit(ruled(rules))
    assert newest.replaced == (waiting.execution_id,)
    assert newest.session_id != running.session_id
    assert await status_of(store, waiting.execution_id) is S.CANCELLED
    assert (await store.executions.load(running.execution_id)).cancel_reason is None


async def test_what_joined_a_session_is_not_taken_over(store: Store) -> None:
    rules = Admission(limit=1, strategy=Strategy.INTERRUPT)
    await store.queue.submit(submission(session_id=session(1), stream_id="side"))
    joined = await store.queue.submit(following(session(1), is_joined=True, admission=rules))
    newer = await store.queue.submit(ruled(rules))
    assert newer.replaced == ()
    assert await status_of(store, joined.execution_id) is S.QUEUED


async def test_a_strategy_touches_its_own_group_only(store: Store) -> None:
    rules = Admission(key="a", limit=1, strategy=Strategy.INTERRUPT)
    other = await store.queue.submit(ruled(replace(rules, key="b")))
    await store.queue.submit(ruled(rules))
    assert (await store.queue.submit(ruled(rules))).replaced != ()
    assert await status_of(store, other.execution_id) is S.QUEUED


# --- waiting too long -----------------------------------------------------------------------------


async def test_what_waited_too_long_is_cancelled_and_never_begins(
    store: Store, clock: SetClock, ear: Ear
) -> None:
    late = await store.queue.submit(ruled(Admission(queue_seconds=60)))
    assert await store.queue.next_due([LANE]) == clock.now + 60
    clock.now += 60
    assert await claimed(store) == []
    assert await store.queue.expire() == [late.execution_id]
    row = await store.executions.load(late.execution_id)
    assert (row.status, row.error_code) == (S.CANCELLED, "queue_timeout")
    assert row.error == row.cancel_reason == "waited longer than its queue_timeout of 60 s"
    assert [told.type for told in ear.events] == ["execution_cancelled"]
    assert await store.queue.expire() == []


async def test_patience_counts_from_when_it_is_due(store: Store, clock: SetClock) -> None:
    rules = Admission(queue_seconds=5, hold=Debounce(10, 60))
    submitted = await store.queue.submit(ruled(rules))
    clock.now += 14
    assert await claimed(store) == [submitted.execution_id]


async def test_what_began_once_does_not_expire(store: Store, clock: SetClock) -> None:
    claim = await begin(store, admission=Admission(queue_seconds=5))
    await store.executions.commit(claim.fence, step(1, ending=ending(S.WAITING_INPUT)))
    await store.queue.requeue(claim.execution_id)
    clock.now += 60
    assert await store.queue.expire() == []
    assert await claimed(store) == [claim.execution_id]


# --- submitted by others --------------------------------------------------------------------------


async def test_what_is_refused_to_a_commit_becomes_its_event(store: Store, ear: Ear) -> None:
    await begin(store, stream_id="side")
    claim = await begin(store)
    told = event("trigger_refused", data=b'{"entry_point": "side"}')
    rules = Admission(limit=1, strategy=Strategy.REJECT)
    refused = ruled(rules, stream_id="side", refusal_event=told)
    fine = submission(stream_id="main")
    answers = await store.executions.commit(
        claim.fence, step(1, events=(event(),), spawn=(refused, fine))
    )
    assert answers[0] is None
    assert answers[1] is not None
    _, _, events = ear.commits[-1]
    assert [e.type for e in events] == ["node_completed", "trigger_refused"]
    data = json.loads(events[1].data)
    assert (data["entry_point"], data["code"]) == ("side", "busy")
    assert data["reason"].startswith("triage/side runs 1 at once")
    after = await store.executions.commit(claim.fence, step(2, events=(event(),)))
    assert after == ()
    assert [e.execution_seq for e in ear.events][-3:] == [1, 2, 3]


async def test_a_refusal_without_an_event_fails_the_commit(store: Store) -> None:
    claim = await begin(store)
    rules = Admission(limit=1, strategy=Strategy.REJECT)
    with pytest.raises(Busy):
        await store.executions.commit(claim.fence, step(1, spawn=(ruled(rules),)))
    assert (await store.executions.load(claim.execution_id)).seq == 0


async def test_a_refused_timer_leaves_its_instant_open(store: Store, clock: SetClock) -> None:
    await begin(store)
    await store.timers.sync("triage", [TimerSpec("triage/t", "triage", "default", "s", 0.0)])
    rules = Admission(limit=1, strategy=Strategy.REJECT)
    with pytest.raises(Busy):
        await store.timers.fire(TimerFire("triage/t", 60.0, 120.0, ruled(rules, source="timer")))
    assert await store.timers.occurrences("triage/t") == []
    fired = await store.timers.fire(TimerFire("triage/t", 60.0, 120.0, submission()))
    assert fired is not None
