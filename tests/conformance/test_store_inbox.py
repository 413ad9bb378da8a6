"""What people say to executions, and which process owns what runs, on every back end."""

from __future__ import annotations

import json

import pytest

from hive_daemon.errors import ExecutionNotFound, SessionNotFound
from hive_daemon.status import ExecutionStatus as S
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import (
    Beat,
    Claim,
    EventFilter,
    InboxItem,
    Injected,
    StepCommit,
    Swept,
)
from tests.conformance.conftest import Backend
from tests.fakes.store_kit import (
    LANE,
    NODE,
    ROOMY,
    Ear,
    SetClock,
    begin,
    bring_to,
    claimed,
    ending,
    following,
    session,
    status_of,
    step,
    submission,
)

ASK = b'{"kind": "input", "node_id": "ask", "question": "Which?"}'
SEVERAL = json.dumps(
    {
        "kind": "waiting_approval",
        "node_id": "pay",
        "nodes": [
            {"kind": "waiting_approval", "node_id": "pay"},
            {"kind": "paused", "node_id": "rest"},
            {"kind": "waiting_input", "node_id": "ask"},
        ],
    }
).encode()
"""What three branches wait for."""
PARKED = [S.PAUSED, S.WAITING_INPUT, S.WAITING_APPROVAL]
TERMINAL = [S.COMPLETED, S.FAILED, S.CANCELLED, S.RECOVERY_EXHAUSTED]


# --- cancel -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [S.QUEUED, S.INTERRUPTED, *PARKED])
async def test_what_does_not_run_is_cancelled_at_once(
    store: Store, clock: SetClock, ear: Ear, status: S
) -> None:
    claim = await bring_to(store, status)
    clock.now += 3
    assert await store.inbox.cancel(claim.execution_id, "no need", "ann") is S.CANCELLED
    row = await store.executions.load(claim.execution_id)
    assert (row.status, row.error, row.error_code) == (S.CANCELLED, "no need", "cancelled")
    assert (row.cancel_reason, row.ended_at, row.waiting) == ("no need", clock.now, None)
    assert row.cancelled_by == "ann"
    assert [e.type for e in ear.events] == ["execution_cancelled"]
    assert json.loads(ear.events[0].data) == {"reason": "no need"}
    assert await claimed(store) == []


async def test_what_runs_is_marked_and_runs_until_its_owner_stopped_it(store: Store) -> None:
    claim = await begin(store)
    assert await store.inbox.cancel(claim.execution_id, "stop") is S.RUNNING
    row = await store.executions.load(claim.execution_id)
    assert (row.status, row.cancel_reason) == (S.RUNNING, "stop")
    await store.executions.commit(claim.fence, step(1, ending=ending(S.CANCELLED)))
    assert await status_of(store, claim.execution_id) is S.CANCELLED


@pytest.mark.parametrize("by", ["ann", ""])
async def test_the_first_order_stands(store: Store, by: str) -> None:
    claim = await begin(store)
    await store.inbox.cancel(claim.execution_id, "first", by)
    await store.inbox.cancel(claim.execution_id, "second", "bob")
    row = await store.executions.load(claim.execution_id)
    assert (row.cancel_reason, row.cancelled_by) == ("first", by)


@pytest.mark.parametrize("status", TERMINAL)
async def test_what_is_terminal_stays_as_it_is(store: Store, ear: Ear, status: S) -> None:
    claim = await bring_to(store, status)
    before = await store.executions.load(claim.execution_id)
    told = len(ear.commits)
    assert await store.inbox.cancel(claim.execution_id, "too late") is status
    assert await store.executions.load(claim.execution_id) == before
    assert len(ear.commits) == told


async def test_what_is_not_there_cannot_be_cancelled(store: Store) -> None:
    with pytest.raises(ExecutionNotFound):
        await store.inbox.cancel(session(404), "why")


async def test_an_order_to_cancel_outlives_the_owner(store: Store) -> None:
    claim = await begin(store)
    await store.inbox.cancel(claim.execution_id, "stop")
    await store.lease.sweep("next life", 9)
    (again,) = await store.queue.claim("next life", ROOMY)
    assert again.cancel_reason == "stop"


async def test_a_cancelled_execution_numbers_its_event_after_those_of_its_steps(
    store: Store,
) -> None:
    claim = await bring_to(store, S.PAUSED)
    await store.inbox.cancel(claim.execution_id, "no need")
    found = await store.executions.history(EventFilter(execution_id=claim.execution_id))
    assert [(e.type, e.execution_seq) for e in found] == [("execution_cancelled", 1)]


# --- inject -------------------------------------------------------------------------------------


async def _waiting(store: Store, status: S = S.WAITING_INPUT, waiting: bytes = ASK) -> Claim:
    claim = await begin(store)
    await store.executions.commit(claim.fence, step(1, ending=ending(status, waiting=waiting)))
    return claim


@pytest.mark.parametrize("status", [S.WAITING_INPUT, S.WAITING_APPROVAL])
async def test_an_answer_wakes_what_waits_for_it(
    store: Store, ear: Ear, clock: SetClock, status: S
) -> None:
    claim = await _waiting(store, status)
    ear.lanes.clear()
    injected = await store.inbox.inject(claim.session_id, "ask", "the second one")
    assert (injected.execution_id, injected.woke) == (claim.execution_id, True)
    assert ear.lanes == [LANE]
    (again,) = await store.queue.claim(NODE, ROOMY)
    item = InboxItem(injected.item_id, "ask", "the second one", clock.now)
    assert (again.was, again.inbox, again.attempts) == (status, (item,), 1)
    assert (await store.executions.load(claim.execution_id)).waiting is None


async def test_an_answer_for_another_node_wakes_nobody(store: Store) -> None:
    claim = await _waiting(store)
    injected = await store.inbox.inject(claim.session_id, "elsewhere", "hello")
    assert (injected.execution_id, injected.woke) == (None, False)
    assert await status_of(store, claim.execution_id) is S.WAITING_INPUT


@pytest.mark.parametrize("node", ["pay", "ask", ""])
async def test_an_answer_wakes_what_waits_whichever_of_its_nodes_it_is_for(
    store: Store, node: str
) -> None:
    claim = await _waiting(store, S.WAITING_APPROVAL, SEVERAL)
    injected = await store.inbox.inject(claim.session_id, node, "yes")
    assert (injected.execution_id, injected.woke) == (claim.execution_id, True)


@pytest.mark.parametrize("node", ["rest", "elsewhere"])
async def test_a_pause_among_questions_is_no_question(store: Store, node: str) -> None:
    claim = await _waiting(store, S.WAITING_APPROVAL, SEVERAL)
    assert not (await store.inbox.inject(claim.session_id, node, "yes")).woke


@pytest.mark.parametrize(("node", "wakes"), [("pay", True), ("ask", True), ("rest", False)])
async def test_what_was_said_before_it_parked_wakes_it_whichever_node_it_is_for(
    store: Store, node: str, wakes: bool
) -> None:
    claim = await begin(store)
    await store.inbox.inject(claim.session_id, node, "yes")
    waiting = ending(S.WAITING_APPROVAL, waiting=SEVERAL)
    await store.executions.commit(claim.fence, step(1, ending=waiting))
    expected = S.QUEUED if wakes else S.WAITING_APPROVAL
    assert await status_of(store, claim.execution_id) is expected


async def test_what_is_said_to_no_node_answers_no_approval(store: Store) -> None:
    waiting = json.dumps({"kind": "waiting_approval", "node_id": "pay"}).encode()
    claim = await _waiting(store, S.WAITING_APPROVAL, waiting)
    assert not (await store.inbox.inject(claim.session_id, "", "and hurry")).woke
    assert (await store.inbox.inject(claim.session_id, "pay", "yes")).woke


@pytest.mark.parametrize("waiting", [b"{}", b'{"node_id": null}', None])
async def test_what_waits_at_no_node_in_particular_hears_everything(
    store: Store, waiting: bytes | None
) -> None:
    claim = await begin(store)
    last = ending(S.WAITING_INPUT, waiting=waiting)
    await store.executions.commit(claim.fence, step(1, ending=last))
    assert (await store.inbox.inject(claim.session_id, "any", "hello")).woke


@pytest.mark.parametrize("status", [S.QUEUED, S.PAUSED, S.INTERRUPTED, *TERMINAL])
async def test_what_does_not_wait_is_not_woken(store: Store, status: S) -> None:
    claim = await bring_to(store, status)
    injected = await store.inbox.inject(claim.session_id, "ask", "hello")
    assert (injected.execution_id, injected.woke) == (None, False)
    assert await status_of(store, claim.execution_id) is status


async def test_what_runs_is_named_but_not_woken(store: Store) -> None:
    claim = await begin(store)
    injected = await store.inbox.inject(claim.session_id, "ask", "hello")
    assert (injected.execution_id, injected.woke) == (claim.execution_id, False)
    assert await status_of(store, claim.execution_id) is S.RUNNING


async def test_what_was_said_before_it_parked_is_not_lost(store: Store) -> None:
    claim = await begin(store)
    injected = await store.inbox.inject(claim.session_id, "ask", "the second one")
    waiting = ending(S.WAITING_INPUT, waiting=ASK)
    await store.executions.commit(claim.fence, step(1, ending=waiting))
    (again,) = await store.queue.claim(NODE, ROOMY)
    assert again.was is S.WAITING_INPUT
    assert [item.id for item in again.inbox] == [injected.item_id]


async def test_what_was_used_does_not_answer_again(store: Store) -> None:
    claim = await begin(store)
    injected = await store.inbox.inject(claim.session_id, "ask", "the first one")
    waiting = ending(S.WAITING_INPUT, waiting=ASK)
    last = step(1, taken=(injected.item_id,), ending=waiting)
    await store.executions.commit(claim.fence, last)
    assert await status_of(store, claim.execution_id) is S.WAITING_INPUT


async def test_what_was_said_to_another_node_lets_it_park(store: Store) -> None:
    claim = await begin(store)
    await store.inbox.inject(claim.session_id, "elsewhere", "hello")
    waiting = ending(S.WAITING_INPUT, waiting=ASK)
    await store.executions.commit(claim.fence, step(1, ending=waiting))
    assert await status_of(store, claim.execution_id) is S.WAITING_INPUT


async def test_what_was_there_at_the_claim_and_left_does_not_answer_a_later_question(
    store: Store,
) -> None:
    claim = await _waiting(store)
    await store.inbox.inject(claim.session_id, "ask", "stray")
    (again,) = await store.queue.claim(NODE, ROOMY)
    waiting = ending(S.WAITING_APPROVAL, waiting=ASK)
    await store.executions.commit(again.fence, step(2, ending=waiting))
    assert await status_of(store, claim.execution_id) is S.WAITING_APPROVAL


async def test_a_pause_waits_for_its_resume_whatever_was_said(store: Store) -> None:
    claim = await begin(store)
    await store.inbox.inject(claim.session_id, "ask", "hello")
    await store.executions.commit(claim.fence, step(1, ending=ending(S.PAUSED, waiting=ASK)))
    assert await status_of(store, claim.execution_id) is S.PAUSED


async def test_items_come_in_order_until_they_are_taken(store: Store) -> None:
    claim = await begin(store)
    said = [await store.inbox.inject(claim.session_id, "ask", text) for text in ("a", "b", "c")]
    taken = step(1, taken=(said[1].item_id,), ending=ending(S.PAUSED))
    await store.executions.commit(claim.fence, taken)
    await store.queue.requeue(claim.execution_id)
    (again,) = await store.queue.claim(NODE, ROOMY)
    assert [item.content for item in again.inbox] == ["a", "c"]


async def test_one_session_does_not_take_the_items_of_another(store: Store) -> None:
    mine, other = await begin(store), await _waiting(store)
    said = await store.inbox.inject(mine.session_id, "ask", "mine")
    await store.inbox.inject(other.session_id, "ask", "other")
    (again,) = await store.queue.claim(NODE, ROOMY)
    await store.executions.commit(again.fence, StepCommit(2, taken=(said.item_id,)))
    await store.executions.commit(mine.fence, step(1, ending=ending(S.PAUSED)))
    await store.queue.requeue(mine.execution_id)
    (last,) = await store.queue.claim(NODE, ROOMY)
    assert [item.content for item in last.inbox] == ["mine"]


async def test_a_fresh_execution_begins_with_an_empty_inbox(store: Store) -> None:
    claim = await bring_to(store, S.COMPLETED)
    await store.inbox.inject(claim.session_id, "ask", "left over")
    await store.queue.submit(following(claim.session_id))
    (fresh,) = await store.queue.claim(NODE, ROOMY)
    assert fresh.inbox == ()


async def test_the_same_key_is_taken_once(store: Store) -> None:
    claim = await begin(store)
    first = await store.inbox.inject(claim.session_id, "ask", "yes", key="k")
    again = await store.inbox.inject(claim.session_id, "ask", "no", key="k")
    assert again == Injected(first.item_id, None, False)
    other = await store.inbox.inject(claim.session_id, "ask", "no", key="other")
    assert other.item_id != first.item_id


async def test_the_same_key_in_another_session_is_another_key(store: Store) -> None:
    one, two = await begin(store), await begin(store)
    first = await store.inbox.inject(one.session_id, "ask", "yes", key="k")
    second = await store.inbox.inject(two.session_id, "ask", "yes", key="k")
    assert first.item_id != second.item_id


async def test_items_without_a_key_are_all_taken(store: Store) -> None:
    claim = await begin(store)
    said = [await store.inbox.inject(claim.session_id, "ask", "yes") for _ in range(2)]
    assert said[0].item_id != said[1].item_id


async def test_nobody_is_told_in_a_session_that_is_not_there(store: Store) -> None:
    with pytest.raises(SessionNotFound):
        await store.inbox.inject(session(404), "ask", "hello")


async def test_what_was_said_survives_the_store(
    backend: Backend, ear: Ear, clock: SetClock
) -> None:
    async with backend.open(ear, clock) as store:
        claim = await begin(store)
        await store.inbox.inject(claim.session_id, "ask", "hello", key="k")
    async with backend.open(ear, clock) as store:
        await store.lease.sweep("next life", 9)
        (again,) = await store.queue.claim("next life", ROOMY)
        assert [item.content for item in again.inbox] == ["hello"]
        assert not (await store.inbox.inject(claim.session_id, "ask", "hello", key="k")).woke


# --- leases -------------------------------------------------------------------------------------


async def test_a_heartbeat_says_what_is_to_be_cancelled_of_its_own(store: Store) -> None:
    mine = [await begin(store) for _ in range(3)]
    await store.queue.submit(submission())
    (other,) = await store.queue.claim("another", ROOMY)
    for claim in (mine[0], mine[2], other):
        await store.inbox.cancel(claim.execution_id, f"stop {claim.execution_id}")
    ordered = tuple((c.execution_id, f"stop {c.execution_id}") for c in (mine[0], mine[2]))
    assert await store.lease.heartbeat(NODE) == Beat(True, ordered)
    await store.executions.commit(mine[0].fence, step(1, ending=ending(S.CANCELLED)))
    assert await store.lease.heartbeat(NODE) == Beat(True, ordered[1:])


async def test_a_sweep_queues_what_others_left_running(store: Store, ear: Ear) -> None:
    claims = [await begin(store) for _ in range(2)]
    ear.lanes.clear()
    swept = await store.lease.sweep("next life", 3)
    assert swept == Swept(tuple(claim.execution_id for claim in claims))
    assert ear.lanes == [LANE]
    again = await store.queue.claim("next life", ROOMY)
    assert [(c.was, c.attempts) for c in again] == [(S.RUNNING, 2)] * 2


async def test_a_sweep_queues_what_others_left_interrupted(store: Store) -> None:
    claim = await bring_to(store, S.INTERRUPTED)
    assert await store.lease.sweep("next life", 3) == Swept((claim.execution_id,))
    (again,) = await store.queue.claim("next life", ROOMY)
    assert again.was is S.INTERRUPTED


async def test_a_sweep_touches_nothing_of_its_own(store: Store) -> None:
    running = await begin(store)
    interrupted = await bring_to(store, S.INTERRUPTED)
    assert await store.lease.sweep(NODE, 1) == Swept()
    assert await status_of(store, running.execution_id) is S.RUNNING
    assert await status_of(store, interrupted.execution_id) is S.INTERRUPTED


@pytest.mark.parametrize("status", [S.QUEUED, *PARKED, *TERMINAL])
async def test_a_sweep_leaves_alone_what_nobody_ran(store: Store, status: S) -> None:
    claim = await bring_to(store, status)
    assert await store.lease.sweep("next life", 1) == Swept()
    assert await status_of(store, claim.execution_id) is status


async def test_what_took_too_many_processes_down_is_given_up(
    store: Store, ear: Ear, clock: SetClock
) -> None:
    name = (await store.queue.submit(submission())).execution_id
    for life in range(3):
        (claim,) = await store.queue.claim(f"life-{life}", ROOMY)
        assert claim.attempts == life + 1
        clock.now += 10
        swept = await store.lease.sweep(f"life-{life + 1}", 3)
    assert swept == Swept((), (name,))
    row = await store.executions.load(name)
    assert (row.status, row.error_code) == (S.RECOVERY_EXHAUSTED, "recovery_exhausted")
    assert row.ended_at == clock.now
    (told,) = ear.events
    assert (told.type, told.execution_id) == ("execution_failed", name)
    assert json.loads(told.data) == {"error": row.error, "code": "recovery_exhausted"}
    assert await claimed(store) == []


async def test_progress_between_crashes_saves_an_execution(store: Store) -> None:
    await store.queue.submit(submission())
    for life in range(6):
        (claim,) = await store.queue.claim(f"life-{life}", ROOMY)
        await store.executions.commit(claim.fence, step(claim.seq + 1))
        assert (await store.lease.sweep(f"life-{life + 1}", 2)).exhausted == ()


async def test_every_other_row_survives_a_crash_and_a_sweep(
    backend: Backend, ear: Ear, clock: SetClock
) -> None:
    async with backend.open(ear, clock) as store:
        claims = [await bring_to(store, status) for status in [*PARKED, *TERMINAL]]
        running = await begin(store)
    async with backend.open(ear, clock) as store:
        assert await store.lease.sweep("next life", 3) == Swept((running.execution_id,))
        found = [await status_of(store, claim.execution_id) for claim in claims]
        assert found == [*PARKED, *TERMINAL]
