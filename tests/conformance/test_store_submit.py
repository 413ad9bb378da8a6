"""Accepting executions, on every back end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hive_daemon.errors import (
    AlreadyRegistered,
    BudgetExceeded,
    IdempotencyConflict,
    SessionNotFound,
)
from hive_daemon.status import ExecutionStatus as S
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import Dedupe, Submitted
from tests.conformance.conftest import Backend
from tests.fakes.store_kit import (
    LANE,
    Ear,
    SetClock,
    begin,
    bring_to,
    claimed,
    following,
    session,
    status_of,
    submission,
)

KEY = Dedupe("triage/default", "delivery-1", "hash-1", window_seconds=60)


async def test_what_was_submitted_is_there_as_it_was_given(store: Store, clock: SetClock) -> None:
    given = submission(priority=3, causation=("a", "b"), correlation_id="c-1", trace_id="t-1")
    submitted = await store.queue.submit(given)
    row = await store.executions.load(submitted.execution_id)
    assert submitted == Submitted(given.session_id, given.session_id, True)
    assert (row.status, row.input, row.causation) == (S.QUEUED, given.input, ("a", "b"))
    assert (row.correlation_id, row.trace_id, row.created_at) == ("c-1", "t-1", clock.now)
    assert (row.ordinal, row.seq, row.attempts, row.started_at) == (1, 0, 0, None)


async def test_without_a_correlation_id_the_execution_is_its_own(store: Store) -> None:
    submitted = await store.queue.submit(submission())
    row = await store.executions.load(submitted.execution_id)
    assert row.correlation_id == submitted.execution_id


async def test_what_was_submitted_survives_the_store(
    backend: Backend, ear: Ear, clock: SetClock
) -> None:
    async with backend.open(ear, clock) as store:
        submitted = await store.queue.submit(submission())
    async with backend.open(ear, clock) as store:
        assert await status_of(store, submitted.execution_id) is S.QUEUED


async def test_a_lane_is_told_when_something_is_queued(store: Store, ear: Ear) -> None:
    await store.queue.submit(submission())
    assert ear.lanes == [LANE]


async def test_the_same_key_is_the_same_execution(store: Store) -> None:
    first = await store.queue.submit(submission(dedupe=KEY))
    again = await store.queue.submit(submission(dedupe=KEY))
    assert again == replace(first, created=False)
    assert len(await claimed(store)) == 1


async def test_the_same_key_at_the_same_moment_is_the_same_execution(store: Store) -> None:
    answers = await asyncio.gather(*(store.queue.submit(submission(dedupe=KEY)) for _ in range(20)))
    assert len({answer.execution_id for answer in answers}) == 1
    assert [answer.created for answer in answers] == [True] + [False] * 19


async def test_the_same_key_with_another_body_is_a_conflict(store: Store) -> None:
    await store.queue.submit(submission(dedupe=KEY))
    with pytest.raises(IdempotencyConflict):
        await store.queue.submit(submission(dedupe=replace(KEY, body_hash="hash-2")))
    assert len(await claimed(store)) == 1


async def test_what_is_refused_is_answered_only_as_the_same_as_one_before(store: Store) -> None:
    refusal = BudgetExceeded("it is spent")
    with pytest.raises(BudgetExceeded):
        await store.queue.submit(submission(dedupe=KEY, refusal=refusal))
    first = await store.queue.submit(submission(dedupe=KEY))
    again = await store.queue.submit(submission(dedupe=KEY, refusal=refusal))
    assert again == replace(first, created=False)
    with pytest.raises(BudgetExceeded):
        await store.queue.submit(submission(refusal=refusal))
    assert len(await claimed(store)) == 1


async def test_the_same_key_in_another_namespace_is_another_execution(store: Store) -> None:
    first = await store.queue.submit(submission(dedupe=KEY))
    other = await store.queue.submit(submission(dedupe=replace(KEY, namespace="digest/default")))
    assert other.created
    assert other.execution_id != first.execution_id


async def test_a_key_is_free_again_after_its_window(store: Store, clock: SetClock) -> None:
    first = await store.queue.submit(submission(dedupe=KEY))
    clock.now += 59.9
    assert not (await store.queue.submit(submission(dedupe=KEY))).created
    clock.now += 0.1
    later = await store.queue.submit(submission(dedupe=replace(KEY, body_hash="hash-2")))
    assert later.created
    assert later.execution_id != first.execution_id


async def test_a_key_holds_over_a_restart(backend: Backend, ear: Ear, clock: SetClock) -> None:
    async with backend.open(ear, clock) as store:
        first = await store.queue.submit(submission(dedupe=KEY))
    async with backend.open(ear, clock) as store:
        again = await store.queue.submit(submission(dedupe=KEY))
    assert again == replace(first, created=False)


async def test_a_key_holds_though_its_execution_was_pruned(store: Store) -> None:
    await bring_to(store, S.COMPLETED, session_id=session(1))
    second = await store.queue.submit(following(session(1), dedupe=KEY))
    await store.inbox.cancel(second.execution_id, "no need")
    await store.executions.prune([second.execution_id])
    again = await store.queue.submit(following(session(1), dedupe=KEY))
    assert again == Submitted(f"{session(1)}-2", session(1), False)


async def test_keys_still_hold_when_the_clock_goes_back(store: Store, clock: SetClock) -> None:
    await store.queue.submit(submission(dedupe=KEY))
    clock.now -= 10_000
    assert not (await store.queue.submit(submission(dedupe=KEY))).created


async def test_the_ids_of_a_session_count_up(store: Store) -> None:
    ids = [(await store.queue.submit(submission(session_id=session(1)))).execution_id]
    ids += [(await store.queue.submit(following(session(1)))).execution_id for _ in range(2)]
    assert ids == [session(1), f"{session(1)}-2", f"{session(1)}-3"]


async def test_the_ids_of_a_session_count_up_when_many_ask_at_once(store: Store) -> None:
    await store.queue.submit(submission(session_id=session(1)))
    answers = await asyncio.gather(*(store.queue.submit(following(session(1))) for _ in range(20)))
    assert [a.execution_id for a in answers] == [f"{session(1)}-{n}" for n in range(2, 22)]


async def test_an_id_is_not_given_again_after_its_execution_was_pruned(store: Store) -> None:
    await store.queue.submit(submission(session_id=session(1)))
    second = await store.queue.submit(following(session(1)))
    await store.inbox.cancel(second.execution_id, "no need")
    await store.executions.prune([second.execution_id])
    third = await store.queue.submit(following(session(1)))
    assert third.execution_id == f"{session(1)}-3"


async def test_a_new_session_needs_an_id_of_its_own(store: Store) -> None:
    await store.queue.submit(submission(session_id=session(1)))
    with pytest.raises(AlreadyRegistered):
        await store.queue.submit(submission(session_id=session(1)))
    assert await claimed(store) == [session(1)]


async def test_a_session_that_is_not_there_cannot_be_continued(store: Store) -> None:
    with pytest.raises(SessionNotFound):
        await store.queue.submit(following(session(1)))
    assert await claimed(store) == []


async def test_what_is_replaced_is_cancelled_in_the_same_moment(store: Store) -> None:
    parked = (await bring_to(store, S.PAUSED)).execution_id
    old = (await store.queue.submit(submission())).execution_id
    newer = await store.queue.submit(submission(replaces=(old, parked)))
    rows = [await store.executions.load(name) for name in (old, parked)]
    assert [(row.status, row.cancel_reason) for row in rows] == [
        (S.CANCELLED, f"replaced by {newer.execution_id}")
    ] * 2


async def test_a_running_execution_that_is_replaced_is_marked(store: Store) -> None:
    running = await begin(store)
    newer = await store.queue.submit(submission(replaces=(running.execution_id,)))
    row = await store.executions.load(running.execution_id)
    assert (row.status, row.cancel_reason) == (S.RUNNING, f"replaced by {newer.execution_id}")


async def test_what_is_to_be_replaced_and_is_not_there_is_not_missed(store: Store) -> None:
    submitted = await store.queue.submit(submission(replaces=(session(77),)))
    assert await status_of(store, submitted.execution_id) is S.QUEUED


async def test_either_key_makes_it_the_same_and_both_name_it_from_then_on(store: Store) -> None:
    mine = replace(KEY, namespace="flow", body_hash="")
    first = await store.queue.submit(submission(once=mine))
    again = await store.queue.submit(submission(dedupe=KEY, once=mine))
    by_key = await store.queue.submit(submission(dedupe=KEY))
    assert again == by_key == replace(first, created=False)
