"""How executions end, and what rebuilds those that go on, on every back end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hive_daemon.errors import (
    ExecutionNotFound,
    IllegalMove,
)
from hive_daemon.status import ExecutionStatus as S
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import (
    Checkpoint,
    CheckpointKind,
    Restore,
    StepCommit,
)
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

# --- endings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [S.COMPLETED, S.FAILED, S.CANCELLED, S.RECOVERY_EXHAUSTED])
async def test_a_terminal_ending_says_all_about_itself(
    store: Store, clock: SetClock, status: S
) -> None:
    claim = await begin(store)
    clock.now += 9
    given = ending(status, result=b'{"n": 1}', error="why", error_code="code")
    await store.executions.commit(claim.fence, step(1, ending=given))
    row = await store.executions.load(claim.execution_id)
    assert (row.status, row.result, row.error, row.error_code) == (
        status, b'{"n": 1}', "why", "code",
    )  # fmt: skip
    assert (row.ended_at, row.waiting) == (clock.now, None)
    assert row.status.is_terminal


@pytest.mark.parametrize("status", [S.QUEUED, S.RUNNING])
async def test_what_runs_cannot_end_as_if_it_had_not_begun(store: Store, status: S) -> None:
    claim = await begin(store)
    with pytest.raises(IllegalMove):
        await store.executions.commit(claim.fence, step(1, ending=ending(status)))
    assert (await store.executions.load(claim.execution_id)).seq == 0


@pytest.mark.parametrize("status", [S.PAUSED, S.WAITING_INPUT, S.WAITING_APPROVAL, S.INTERRUPTED])
async def test_what_parks_has_not_ended(store: Store, status: S) -> None:
    claim = await begin(store)
    question = b'{"kind": "input", "node_id": "ask", "question": "Which?"}'
    await store.executions.commit(claim.fence, step(1, ending=ending(status, waiting=question)))
    row = await store.executions.load(claim.execution_id)
    assert (row.status, row.waiting, row.ended_at) == (status, question, None)
    assert await claimed(store) == []


async def test_an_ending_frees_the_slot_and_the_session(store: Store) -> None:
    claim = await bring_to(store, S.PAUSED, session_id=session(1))
    await store.queue.submit(following(session(1)))
    assert await claimed(store, replace(ROOMY, total=1)) == [f"{claim.session_id}-2"]


async def test_an_interruption_does_not_count_as_an_attempt(store: Store) -> None:
    name = (await store.queue.submit(submission())).execution_id
    for seq in range(1, 6):
        (claim,) = await store.queue.claim(NODE, ROOMY)
        assert (claim.execution_id, claim.attempts) == (name, 1)
        last = StepCommit(seq, ending=ending(S.INTERRUPTED))
        await store.executions.commit(claim.fence, last)
        assert (await store.lease.sweep("next life", 1)).requeued == (name,)


async def test_a_claim_after_progress_begins_counting_anew(store: Store) -> None:
    claim = await begin(store)
    await store.lease.sweep("next life", 9)
    (claim,) = await store.queue.claim(NODE, ROOMY)
    assert claim.attempts == 2
    await store.executions.commit(claim.fence, step(1))
    await store.lease.sweep("next life", 9)
    (claim,) = await store.queue.claim(NODE, ROOMY)
    assert claim.attempts == 1


@pytest.mark.parametrize("taken", [None, checkpoint(kind=CheckpointKind.NODE_START)])
async def test_a_step_that_finishes_no_node_is_no_progress(
    store: Store, taken: Checkpoint | None
) -> None:
    claim = await begin(store)
    await store.executions.commit(claim.fence, step(1, checkpoint=taken))
    assert (await store.executions.load(claim.execution_id)).attempts == 1


async def test_an_ending_keeps_an_earlier_result_unless_it_has_its_own(store: Store) -> None:
    claim = await begin(store)
    await store.executions.commit(claim.fence, step(1, ending=ending(S.PAUSED, result=b'"half"')))
    await store.queue.requeue(claim.execution_id)
    (again,) = await store.queue.claim(NODE, ROOMY)
    await store.executions.commit(again.fence, step(2, ending=ending(S.FAILED, error="e")))
    row = await store.executions.load(claim.execution_id)
    assert (row.result, row.error, row.waiting) == (b'"half"', "e", None)


# --- checkpoints and restoring --------------------------------------------------------------------


async def test_an_execution_without_a_checkpoint_has_nothing_to_restore(store: Store) -> None:
    claim = await begin(store)
    await store.executions.commit(claim.fence, StepCommit(1))
    assert await store.sessions.restore(claim.execution_id) is None
    with pytest.raises(ExecutionNotFound):
        await store.sessions.restore(session(404))


async def test_a_restore_is_the_last_snapshot_and_the_patches_since(store: Store) -> None:
    claim = await begin(store)
    for seq in range(1, 7):
        taken = checkpoint(seq, is_snapshot=seq in (3, 5))
        await store.executions.commit(claim.fence, step(seq, checkpoint=taken))
    starts = {1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 6: 5}
    for seq, start in starts.items():
        wanted = Restore(
            checkpoint(seq).walk, tuple(checkpoint(n).patch for n in range(start, seq + 1))
        )
        assert await store.sessions.restore(claim.execution_id, seq) == wanted
    assert await store.sessions.restore(claim.execution_id) == await store.sessions.restore(
        claim.execution_id, 6
    )
    assert await store.sessions.restore(claim.execution_id, 0) is None


async def test_a_restore_at_a_step_without_a_checkpoint_is_the_one_before(store: Store) -> None:
    claim = await begin(store)
    await store.executions.commit(claim.fence, step(1))
    await store.executions.commit(claim.fence, StepCommit(2))
    found = await store.sessions.restore(claim.execution_id, 2)
    assert found == Restore(checkpoint(1).walk, (checkpoint(1).patch,))


async def test_a_claim_brings_what_rebuilds_the_execution(store: Store) -> None:
    claim = await begin(store)
    for seq in (1, 2):
        await store.executions.commit(claim.fence, step(seq))
    await store.lease.sweep("next life", 9)
    (again,) = await store.queue.claim(NODE, ROOMY)
    assert again.was is S.RUNNING
    assert again.restore == await store.sessions.restore(claim.execution_id)
    assert again.restore is not None


async def test_a_claim_in_the_same_breath_as_the_commit_brings_it_too(store: Store) -> None:
    claim = await begin(store)
    _, _, (again,) = await asyncio.gather(
        store.executions.commit(claim.fence, step(1)),
        store.queue.release(claim.fence),
        store.queue.claim(NODE, ROOMY),
    )
    assert again.restore == Restore(checkpoint(1).walk, (checkpoint(1).patch,))


async def test_checkpoints_are_listed_execution_by_execution(store: Store, clock: SetClock) -> None:
    first = await bring_to(store, S.COMPLETED, session_id=session(1))
    await store.queue.submit(following(session(1)))
    (second,) = await store.queue.claim(NODE, ROOMY)
    for seq in (1, 2):
        taken = checkpoint(seq, next_node="route", is_snapshot=seq == 2)
        await store.executions.commit(second.fence, step(seq, checkpoint=taken))
    rows = await store.sessions.checkpoints(session(1))
    assert [(row.execution_id, row.seq) for row in rows] == [
        (first.execution_id, 1),
        (second.execution_id, 1),
        (second.execution_id, 2),
    ]
    last = rows[-1]
    assert (last.kind, last.node_id, last.next_node) == (
        CheckpointKind.NODE_COMPLETE, "parse", "route",
    )  # fmt: skip
    assert (last.walk, last.patch, last.is_snapshot, last.created_at) == (
        checkpoint(2).walk, checkpoint(2).patch, True, clock.now,
    )  # fmt: skip
    assert await store.sessions.checkpoints(session(2)) == []


@pytest.mark.parametrize("keep", [1, 2, 3, 8])
async def test_pruning_checkpoints_keeps_what_rebuilds_the_kept_ones(
    store: Store, keep: int
) -> None:
    claim = await begin(store)
    for seq in range(1, 8):
        taken = checkpoint(seq, is_snapshot=seq in (3, 6))
        await store.executions.commit(claim.fence, step(seq, checkpoint=taken))
    before = {seq: await store.sessions.restore(claim.execution_id, seq) for seq in range(1, 9)}
    last = step(8, keep=keep, ending=ending(S.COMPLETED))
    await store.executions.commit(claim.fence, last)
    before[8] = Restore(checkpoint(8).walk, tuple(checkpoint(n).patch for n in (6, 7, 8)))
    for seq in range(9 - keep, 9):
        assert await store.sessions.restore(claim.execution_id, seq) == before[seq]
    kept = [row.seq for row in await store.sessions.checkpoints(claim.session_id)]
    assert kept == list(range({1: 6, 2: 6, 3: 6, 8: 1}[keep], 9))


async def test_without_a_snapshot_no_checkpoint_is_pruned(store: Store) -> None:
    claim = await begin(store)
    for seq in range(1, 5):
        await store.executions.commit(claim.fence, step(seq, keep=1))
    assert len(await store.sessions.checkpoints(claim.session_id)) == 4


async def test_a_hint_is_given_when_what_would_be_waited_for_is_there(
    store: Store, ear: Ear
) -> None:
    claim = await begin(store)
    await store.inbox.inject(claim.session_id, "ask", "the second one")
    ear.lanes.clear()
    waiting = ending(S.WAITING_INPUT, waiting=b'{"node_id": "ask"}')
    await store.executions.commit(claim.fence, step(1, ending=waiting))
    assert ear.lanes == [LANE]
    assert await status_of(store, claim.execution_id) is S.QUEUED
