"""Claiming executions and giving them back, on every back end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hive_daemon.errors import (
    ExecutionNotFound,
    Fenced,
    HiveError,
    IllegalMove,
)
from hive_daemon.status import ExecutionStatus as S
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import CheckpointKind, Dedupe, Limits
from tests.conformance.conftest import Backend
from tests.fakes.store_kit import (
    LANE,
    NODE,
    ROOMY,
    Ear,
    SetClock,
    begin,
    bring_to,
    checkpoint,
    claimed,
    ending,
    following,
    session,
    status_of,
    step,
    submission,
)

KEY = Dedupe("triage/default", "delivery-1", "hash-1", window_seconds=60)


# --- claiming -------------------------------------------------------------------------------------


async def test_a_claim_says_everything_about_the_execution(store: Store, clock: SetClock) -> None:
    given = submission(state=b'{"memory": {}}', causation=("a",), trace_id="t")
    await store.queue.submit(given)
    clock.now += 5
    (claim,) = await store.queue.claim(NODE, ROOMY)
    assert (claim.execution_id, claim.session_id) == (given.session_id, given.session_id)
    assert (claim.agent, claim.graph_id, claim.entry_point, claim.stream_id, claim.lane) == (
        "triage", "triage-graph", "default", "main", LANE,
    )  # fmt: skip
    assert (claim.input, claim.state, claim.source) == (given.input, given.state, "api")
    assert (claim.causation, claim.trace_id, claim.created_at) == (("a",), "t", clock.now - 5)
    assert (claim.seq, claim.event_seq, claim.attempts, claim.ordinal) == (0, 0, 1, 1)
    assert (claim.was, claim.restore, claim.inbox, claim.cancel_reason) == (None, None, (), None)
    row = await store.executions.load(claim.execution_id)
    assert (row.status, row.started_at, row.attempts) == (S.RUNNING, clock.now, 1)


async def test_an_execution_is_handed_out_once(store: Store) -> None:
    await store.queue.submit(submission())
    batches = await asyncio.gather(*(store.queue.claim(NODE, ROOMY) for _ in range(5)))
    assert sum(len(batch) for batch in batches) == 1


async def test_nothing_queued_gives_nothing(store: Store) -> None:
    assert await store.queue.claim(NODE, ROOMY) == []


async def test_age_decides_among_equals(store: Store) -> None:
    names = [(await store.queue.submit(submission())).execution_id for _ in range(4)]
    assert await claimed(store) == names


async def test_priority_goes_before_age(store: Store) -> None:
    low, high, middle = [
        (await store.queue.submit(submission(priority=priority))).execution_id
        for priority in (-1, 5, 0)
    ]
    assert await claimed(store) == [high, middle, low]


async def test_age_decides_also_when_the_clock_went_back(store: Store, clock: SetClock) -> None:
    first = await store.queue.submit(submission())
    clock.now -= 3_600
    second = await store.queue.submit(submission())
    assert await claimed(store) == [first.execution_id, second.execution_id]


async def test_priority_and_age_decide_across_lanes(store: Store) -> None:
    order = []
    for stream, priority in (("main", 0), ("side", 0), ("main", 0), ("side", 7)):
        given = submission(stream_id=stream, priority=priority)
        order.append((await store.queue.submit(given)).execution_id)
    one_at_a_time = replace(ROOMY, total=3)
    assert await claimed(store, one_at_a_time) == [order[3], order[0], order[1]]


async def test_the_total_limit_is_honoured_at_once_and_over_claims(store: Store) -> None:
    for _ in range(5):
        await store.queue.submit(submission())
    limits = replace(ROOMY, total=3)
    first = await store.queue.claim(NODE, limits)
    assert len(first) == 3
    assert await claimed(store, limits) == []
    await store.executions.commit(first[0].fence, step(1, ending=ending(S.COMPLETED)))
    assert len(await claimed(store, limits)) == 1


async def test_the_limit_of_a_lane_is_honoured_at_once_and_over_claims(store: Store) -> None:
    for stream in ("main", "main", "main", "side"):
        await store.queue.submit(submission(stream_id=stream))
    limits = Limits(total=10, lanes={LANE: 2, "triage/side": 2})
    assert len(await claimed(store, limits)) == 3
    assert await claimed(store, limits) == []


async def test_the_limit_of_an_agent_is_honoured_at_once_and_over_claims(store: Store) -> None:
    for agent, stream in (("triage", "main"), ("triage", "side"), ("digest", "main")) * 2:
        await store.queue.submit(submission(agent=agent, stream_id=stream))
    limits = replace(ROOMY, agents={"triage": 3})
    assert len(await claimed(store, limits)) == 5
    assert await claimed(store, limits) == []


async def test_what_runs_in_lanes_that_are_not_named_counts_too(store: Store) -> None:
    await begin(store, stream_id="side")
    await store.queue.submit(submission())
    assert await claimed(store, Limits(total=1, lanes={LANE: 1})) == []
    assert await claimed(store, Limits(total=9, lanes={LANE: 9}, agents={"triage": 1})) == []


async def test_a_lane_that_is_not_named_is_not_claimed(store: Store) -> None:
    await store.queue.submit(submission(stream_id="side"))
    assert await claimed(store, Limits(total=9, lanes={LANE: 9})) == []


async def test_lowered_limits_take_nothing_away_and_give_nothing(store: Store) -> None:
    for _ in range(3):
        await store.queue.submit(submission())
    assert len(await claimed(store, replace(ROOMY, total=2))) == 2
    assert await claimed(store, Limits(total=1, lanes={LANE: 0})) == []


async def test_a_session_has_one_writer_at_a_time(store: Store) -> None:
    await store.queue.submit(submission(session_id=session(1)))
    await store.queue.submit(following(session(1)))
    other = await store.queue.submit(submission())
    first = await store.queue.claim(NODE, ROOMY)
    assert [claim.execution_id for claim in first] == [session(1), other.execution_id]
    assert await claimed(store) == []
    await store.executions.commit(first[0].fence, step(1, ending=ending(S.COMPLETED)))
    assert await claimed(store) == [f"{session(1)}-2"]


async def test_a_blocked_session_holds_nobody_else_up(store: Store) -> None:
    await store.queue.submit(submission(session_id=session(1)))
    for _ in range(3):
        await store.queue.submit(following(session(1)))
    other = await store.queue.submit(submission())
    assert await claimed(store, replace(ROOMY, total=2)) == [session(1), other.execution_id]


async def test_joined_executions_run_beside_the_writer(store: Store) -> None:
    await store.queue.submit(submission(session_id=session(1)))
    for _ in range(2):
        await store.queue.submit(following(session(1), is_joined=True))
    assert len(await claimed(store)) == 3


async def test_a_joined_execution_keeps_no_writer_out(store: Store) -> None:
    await bring_to(store, S.COMPLETED, session_id=session(1))
    joined = await store.queue.submit(following(session(1), is_joined=True))
    assert await claimed(store) == [joined.execution_id]
    writer = await store.queue.submit(following(session(1)))
    assert await claimed(store) == [writer.execution_id]


async def test_suspects_run_one_at_a_time(store: Store) -> None:
    names = await _suspects(store, 3)
    innocent = await store.queue.submit(submission())
    assert await claimed(store) == [names[0], innocent.execution_id]
    assert await claimed(store) == []


async def test_the_next_suspect_runs_when_the_last_is_cleared(store: Store) -> None:
    first, second = await _suspects(store, 2)
    (claim,) = await store.queue.claim(NODE, ROOMY)
    assert (claim.execution_id, claim.attempts) == (first, 3)
    await store.executions.commit(claim.fence, step(1))
    assert await claimed(store) == [second]


async def test_one_that_only_began_a_node_is_not_cleared(store: Store) -> None:
    await _suspects(store, 2)
    (claim,) = await store.queue.claim(NODE, ROOMY)
    begun = checkpoint(kind=CheckpointKind.NODE_START)
    await store.executions.commit(claim.fence, step(1, checkpoint=begun))
    assert (await store.executions.load(claim.execution_id)).attempts == 3
    assert await claimed(store) == []


async def test_a_caller_that_is_cancelled_leaves_nothing_claimed(store: Store) -> None:
    submitted = await store.queue.submit(submission())
    claiming = asyncio.ensure_future(store.queue.claim("gone", ROOMY))
    await asyncio.sleep(0)
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    # Two further answers: behind the claim, and behind what gives it back.
    await store.lease.heartbeat(NODE)
    await store.lease.heartbeat(NODE)
    (claim,) = await store.queue.claim(NODE, ROOMY)
    assert (claim.execution_id, claim.attempts) == (submitted.execution_id, 1)


async def test_a_caller_that_is_cancelled_may_have_submitted(store: Store) -> None:
    submitting = asyncio.ensure_future(store.queue.submit(submission(dedupe=KEY)))
    await asyncio.sleep(0)
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    again = await store.queue.submit(submission(dedupe=KEY))
    assert await claimed(store) == [again.execution_id]


# --- giving back ----------------------------------------------------------------------------------


async def test_what_is_released_is_claimed_again_as_if_for_the_first_time(
    store: Store, ear: Ear
) -> None:
    claim = await begin(store)
    ear.lanes.clear()
    await store.queue.release(claim.fence)
    assert ear.lanes == [LANE]
    (again,) = await store.queue.claim(NODE, ROOMY)
    assert again.fence == replace(claim.fence, epoch=claim.fence.epoch + 1)
    assert (again.attempts, again.was, again.seq) == (1, None, 0)


async def test_only_the_holder_releases(store: Store) -> None:
    claim = await begin(store)
    await store.queue.release(claim.fence)
    with pytest.raises(Fenced):
        await store.queue.release(claim.fence)
    (again,) = await store.queue.claim(NODE, ROOMY)
    with pytest.raises(Fenced):
        await store.queue.release(claim.fence)
    assert await status_of(store, again.execution_id) is S.RUNNING


RESUMABLE = [S.PAUSED, S.WAITING_INPUT, S.WAITING_APPROVAL, S.INTERRUPTED]


@pytest.mark.parametrize("status", RESUMABLE)
async def test_what_is_parked_or_interrupted_goes_on(store: Store, ear: Ear, status: S) -> None:
    claim = await bring_to(store, status)
    ear.lanes.clear()
    await store.queue.requeue(claim.execution_id)
    assert ear.lanes == [LANE]
    (again,) = await store.queue.claim(NODE, ROOMY)
    assert (again.execution_id, again.was, again.attempts) == (claim.execution_id, status, 1)
    assert (again.seq, again.fence.epoch) == (1, claim.fence.epoch + 1)


@pytest.mark.parametrize("status", sorted(set(S) - set(RESUMABLE)))
async def test_nothing_else_is_requeued(store: Store, status: S) -> None:
    claim = await bring_to(store, status)
    with pytest.raises(IllegalMove):
        await store.queue.requeue(claim.execution_id)
    assert await status_of(store, claim.execution_id) is status


async def test_an_execution_that_is_not_there_is_not_requeued(store: Store) -> None:
    with pytest.raises(ExecutionNotFound):
        await store.queue.requeue(session(9))


async def test_requeueing_takes_a_new_state_and_keeps_the_old_one_without(store: Store) -> None:
    claim = await bring_to(store, S.PAUSED, state=b'"old"')
    await store.queue.requeue(claim.execution_id)
    (again,) = await store.queue.claim(NODE, ROOMY)
    assert again.state == b'"old"'
    await store.executions.commit(again.fence, step(2, ending=ending(S.PAUSED)))
    await store.queue.requeue(claim.execution_id, b'"new"')
    (last,) = await store.queue.claim(NODE, ROOMY)
    assert last.state == b'"new"'


async def test_an_order_to_cancel_that_was_outlived_is_forgotten(store: Store) -> None:
    claim = await begin(store)
    await store.inbox.cancel(claim.execution_id, "stop")
    await store.executions.commit(claim.fence, step(1, ending=ending(S.PAUSED)))
    await store.queue.requeue(claim.execution_id)
    (again,) = await store.queue.claim(NODE, ROOMY)
    assert again.cancel_reason is None


async def test_after_the_store_is_closed_everything_is_refused(
    backend: Backend, ear: Ear, clock: SetClock
) -> None:
    async with backend.open(ear, clock) as store:
        pass
    with pytest.raises(HiveError, match="closed"):
        await store.queue.submit(submission())
    with pytest.raises(HiveError, match="closed"):
        await store.executions.load(session(1))


async def _suspects(store: Store, count: int) -> list[str]:
    """Submit executions that two processes did not survive; answer their ids."""
    names = [(await store.queue.submit(submission())).execution_id for _ in range(count)]
    for life in ("life-1", "life-2"):
        await store.queue.claim(life, ROOMY)
        await store.lease.sweep("next life", 9)
    return names
