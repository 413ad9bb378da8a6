"""The fenced step commit and what it leaves behind, on every back end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hive_daemon.errors import (
    AlreadyRegistered,
    Fenced,
    IdempotencyConflict,
    SessionNotFound,
    StateConflict,
)
from hive_daemon.status import ExecutionStatus as S
from hive_daemon.storage.event_values import CancelOrder
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import Dedupe, EventFilter, Fence, StateWrite, StepCommit
from tests.conformance.conftest import Backend
from tests.fakes.store_kit import (
    NODE,
    ROOMY,
    Ear,
    SetClock,
    begin,
    bring_to,
    checkpoint,
    claimed,
    ending,
    event,
    following,
    session,
    step,
    submission,
)

EVERYTHING = EventFilter()


# --- the fence ------------------------------------------------------------------------------------


async def test_a_step_is_there_when_it_is_acknowledged(store: Store, clock: SetClock) -> None:
    claim = await begin(store)
    clock.now += 1
    await store.executions.commit(claim.fence, step(1, steps=4))
    row = await store.executions.load(claim.execution_id)
    assert (row.seq, row.steps, row.node_id, row.status) == (1, 4, "parse", S.RUNNING)
    assert (row.attempts, row.updated_at) == (0, clock.now)


async def test_a_step_survives_the_store(backend: Backend, ear: Ear, clock: SetClock) -> None:
    async with backend.open(ear, clock) as store:
        claim = await begin(store)
        await store.executions.commit(claim.fence, step(1, events=(event(),)))
    async with backend.open(ear, clock) as store:
        assert (await store.executions.load(claim.execution_id)).seq == 1
        assert len(await store.executions.history(EVERYTHING)) == 1


async def test_what_a_step_does_not_say_stays(store: Store) -> None:
    claim = await begin(store)
    await store.executions.commit(claim.fence, step(1, steps=4))
    await store.executions.commit(claim.fence, StepCommit(2))
    row = await store.executions.load(claim.execution_id)
    assert (row.seq, row.steps, row.node_id) == (2, 4, "parse")


async def test_an_older_claim_cannot_write(store: Store) -> None:
    old = await begin(store)
    await store.lease.sweep("next life", 9)
    (new,) = await store.queue.claim("next life", ROOMY)
    with pytest.raises(Fenced):
        await store.executions.commit(old.fence, step(1, events=(event(),)))
    await store.executions.commit(new.fence, step(1))
    assert await store.executions.history(EVERYTHING) == []


async def test_an_older_claim_cannot_repeat_what_a_newer_one_wrote(store: Store) -> None:
    old = await begin(store)
    await store.lease.sweep("next life", 9)
    (new,) = await store.queue.claim("next life", ROOMY)
    await store.executions.commit(new.fence, step(1))
    with pytest.raises(Fenced):
        await store.executions.commit(old.fence, step(1))


@pytest.mark.parametrize("status", sorted(set(S) - {S.RUNNING}))
async def test_what_does_not_run_cannot_be_written(store: Store, status: S) -> None:
    claim = await bring_to(store, status)
    seq = (await store.executions.load(claim.execution_id)).seq
    with pytest.raises(Fenced):
        await store.executions.commit(claim.fence, step(seq + 1))
    row = await store.executions.load(claim.execution_id)
    assert (row.seq, row.status) == (seq, status)


@pytest.mark.parametrize("seq", [0, 2, 3])
async def test_a_step_out_of_turn_is_refused(store: Store, seq: int) -> None:
    claim = await begin(store)
    with pytest.raises(Fenced):
        await store.executions.commit(claim.fence, step(seq, events=(event(),)))
    assert (await store.executions.load(claim.execution_id)).seq == 0
    assert await store.executions.history(EVERYTHING) == []


async def test_the_same_step_again_is_a_success_without_effect(store: Store, ear: Ear) -> None:
    claim = await begin(store)
    once = step(1, events=(event(),), records={"k": b"1"}, spawn=(submission(),))
    await store.executions.commit(claim.fence, once)
    told = len(ear.commits)
    await store.executions.commit(claim.fence, once)
    assert len(ear.commits) == told
    assert len(await store.executions.history(EVERYTHING)) == 1
    assert len(await claimed(store)) == 1


async def test_the_last_step_again_is_a_success_too(store: Store, ear: Ear) -> None:
    claim = await begin(store)
    last = step(1, ending=ending(S.COMPLETED), events=(event("execution_completed"),))
    await store.executions.commit(claim.fence, last)
    await store.executions.commit(claim.fence, last)
    assert len(ear.events) == 1


async def test_a_step_with_shared_state_again_is_a_success_though_versions_moved(
    store: Store,
) -> None:
    claim = await begin(store)
    once = step(1, state=(StateWrite("g", "k", b"1", expect=0),))
    await store.executions.commit(claim.fence, once)
    await store.executions.commit(claim.fence, once)
    assert await store.sessions.state(["g"]) == {("g", "k"): (b"1", 1)}


async def test_steps_may_queue_one_behind_the_other_and_be_repeated(store: Store) -> None:
    claim = await begin(store)
    order = (1, 2, 1, 3, 2, 3)
    given = [step(seq, events=(event(str(seq)),)) for seq in order]
    await asyncio.gather(*(store.executions.commit(claim.fence, one) for one in given))
    assert [e.type for e in await store.executions.history(EVERYTHING)] == ["1", "2", "3"]


async def test_a_step_that_an_earlier_claim_committed_is_not_taken_for_a_repetition(
    store: Store,
) -> None:
    claim = await begin(store)
    await store.executions.commit(claim.fence, step(1))
    await store.queue.release(claim.fence)
    (again,) = await store.queue.claim(NODE, ROOMY)
    with pytest.raises(Fenced):
        await store.executions.commit(again.fence, step(1))


async def test_an_unknown_fence_is_refused(store: Store) -> None:
    with pytest.raises(Fenced):
        await store.executions.commit(Fence(session(1), 1, 1), step(1))


async def test_the_fence_of_a_pruned_execution_writes_nowhere(store: Store) -> None:
    gone = await bring_to(store, S.COMPLETED)
    await store.executions.prune([gone.execution_id])
    new = await begin(store)
    with pytest.raises(Fenced):
        await store.executions.commit(gone.fence, step(1))
    assert (await store.executions.load(new.execution_id)).seq == 0


# --- all or nothing -------------------------------------------------------------------------------

FULL_STEP = StepCommit(
    1,
    "parse",
    checkpoint(1),
    events=(event(),),
    records={"k": b"1"},
    state=(StateWrite("g", "free", b"1", expect=0),),
    steps=1,
)


async def _refused_spawn(store: Store, kind: str) -> StepCommit:
    if kind == "stale version":
        await store.sessions.write_state([StateWrite("g", "k", b"x")])
        stale = StateWrite("g", "k", b"y", expect=0)
        return replace(FULL_STEP, state=(*FULL_STEP.state, stale))
    if kind == "taken session":
        taken = (await bring_to(store, S.COMPLETED)).session_id
        return replace(FULL_STEP, spawn=(submission(), submission(session_id=taken)))
    if kind == "missing session":
        return replace(FULL_STEP, spawn=(submission(), following(session(404))))
    used = Dedupe("n", "k", "hash", 60)
    await store.queue.submit(submission(dedupe=used, stream_id="side"))
    other = submission(dedupe=replace(used, body_hash="other"))
    return replace(FULL_STEP, spawn=(submission(), other))


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("stale version", StateConflict),
        ("taken session", AlreadyRegistered),
        ("missing session", SessionNotFound),
        ("other body", IdempotencyConflict),
    ],
)
async def test_a_step_that_cannot_be_written_whole_is_not_written_at_all(
    store: Store, ear: Ear, kind: str, error: type[Exception]
) -> None:
    refused = await _refused_spawn(store, kind)
    claim = await begin(store)
    await claimed(store)
    ear.commits.clear()
    with pytest.raises(error):
        await store.executions.commit(claim.fence, refused)
    row = await store.executions.load(claim.execution_id)
    assert (row.seq, row.node_id, row.steps) == (0, None, 0)
    assert await store.sessions.restore(claim.execution_id) is None
    assert await store.sessions.records(claim.session_id, "") == {}
    assert ("g", "free") not in await store.sessions.state(["g"])
    assert await store.executions.history(EVERYTHING) == []
    assert ear.commits == []
    assert await claimed(store) == []


async def test_a_step_that_was_refused_may_be_written_in_another_way(store: Store) -> None:
    refused = await _refused_spawn(store, "stale version")
    claim = await begin(store)
    with pytest.raises(StateConflict):
        await store.executions.commit(claim.fence, refused)
    await store.executions.commit(claim.fence, FULL_STEP)
    assert (await store.executions.load(claim.execution_id)).seq == 1


async def test_one_refused_step_disturbs_no_other(store: Store) -> None:
    claims = [await begin(store) for _ in range(9)]
    steps = [
        step(1, events=(event(f"e{n}"),), spawn=(following(session(404)),) if n % 3 == 1 else ())
        for n in range(9)
    ]
    outcomes = await asyncio.gather(
        *(store.executions.commit(c.fence, s) for c, s in zip(claims, steps, strict=True)),
        return_exceptions=True,
    )
    assert [isinstance(o, SessionNotFound) for o in outcomes] == [n % 3 == 1 for n in range(9)]
    found = await store.executions.history(EVERYTHING)
    assert [e.type for e in found] == ["e0", "e2", "e3", "e5", "e6", "e8"]
    assert [e.seq for e in found] == list(range(found[0].seq, found[0].seq + 6))


# --- what a step leaves ---------------------------------------------------------------------------


async def test_what_a_step_spawns_is_queued_with_it(store: Store, ear: Ear) -> None:
    claim = await begin(store)
    ear.lanes.clear()
    child = submission(stream_id="side", causation=("ev:1",))
    await store.executions.commit(claim.fence, step(1, spawn=(child,)))
    assert ear.lanes == ["triage/side"]
    assert await claimed(store) == [child.session_id]


async def test_what_a_step_spawns_is_deduplicated(store: Store) -> None:
    one, two = await begin(store), await begin(store)
    key = Dedupe("n", "ev:1", "h", 60)
    for claim in (one, two):
        await store.executions.commit(claim.fence, step(1, spawn=(submission(dedupe=key),)))
    assert len(await claimed(store)) == 1


async def test_what_a_step_cancels_is_cancelled_with_it(store: Store, ear: Ear) -> None:
    source = await begin(store, correlation_id="c")
    runs = await begin(store, stream_id="side", correlation_id="c")
    waits, other = (submission(stream_id="side", correlation_id=c) for c in ("c", "d"))
    elsewhere = submission(stream_id="main", correlation_id="c")
    for each in (waits, other, elsewhere):
        await store.queue.submit(each)
    order = CancelOrder("triage/side", "called back", correlation_id="c", spares="nobody")
    await store.executions.commit(source.fence, step(1, cancels=(order,)))
    (beat,) = (await store.lease.heartbeat(NODE)).cancelled
    assert beat == (runs.execution_id, "called back")
    statuses = {
        name: (await store.executions.load(name)).status
        for name in (waits.session_id, other.session_id, elsewhere.session_id, runs.execution_id)
    }
    assert list(statuses.values()) == [S.CANCELLED, S.QUEUED, S.QUEUED, S.RUNNING]
    told = [e for e in ear.events if e.type == "execution_cancelled"]
    assert [e.execution_id for e in told] == [waits.session_id]


async def test_a_step_cancels_by_session_or_everything_but_never_who_is_spared(
    store: Store,
) -> None:
    source = await begin(store)
    beside = following(source.session_id, stream_id="side", is_joined=True)
    other = submission(stream_id="side")
    for each in (beside, other):
        await store.queue.submit(each)
    by_session = CancelOrder("triage/side", "1", session_id=source.session_id)
    await store.executions.commit(source.fence, step(1, cancels=(by_session,)))
    assert await claimed(store) == [other.session_id]
    everything = CancelOrder("triage/side", "2", is_all=True, spares=other.session_id)
    await store.executions.commit(source.fence, step(2, cancels=(everything,)))
    assert (await store.lease.heartbeat(NODE)).cancelled == ()


async def test_a_step_that_is_refused_cancels_nothing(store: Store) -> None:
    source, other = await begin(store), await begin(store, stream_id="side")
    order = CancelOrder("triage/side", "called back", is_all=True)
    nowhere = following(session(0xDEAD))
    with pytest.raises(SessionNotFound):
        await store.executions.commit(source.fence, step(1, cancels=(order,), spawn=(nowhere,)))
    assert (await store.lease.heartbeat(NODE)).cancelled == ()
    assert (await store.executions.load(other.execution_id)).cancel_reason is None


async def test_an_order_reaches_what_was_spawned_before_it_and_nothing_after(store: Store) -> None:
    claim = await begin(store)
    children = [submission(stream_id="side") for _ in range(3)]
    order = CancelOrder("triage/side", "called back", is_all=True, after=2)
    given = step(1, spawn=tuple(children), cancels=(order,))
    await store.executions.commit(claim.fence, given)
    assert await claimed(store) == [children[2].session_id]


async def test_records_are_set_and_deleted_with_the_step(store: Store) -> None:
    claim = await begin(store)
    given = {"conversation/1": b"a", "conversation/2": b"b", "data/x": b"c"}
    await store.executions.commit(claim.fence, step(1, records=given))
    assert await store.sessions.records(claim.session_id, "") == given
    changed = {"conversation/1": None, "conversation/2": b"B", "absent": None}
    await store.executions.commit(claim.fence, step(2, records=changed))
    found = await store.sessions.records(claim.session_id, "conversation/")
    assert found == {"conversation/2": b"B"}


async def test_records_belong_to_the_session_of_every_execution_in_it(store: Store) -> None:
    first = await bring_to(store, S.COMPLETED, session_id=session(1))
    await store.queue.submit(following(session(1)))
    (second,) = await store.queue.claim(NODE, ROOMY)
    await store.executions.commit(second.fence, step(1, records={"k": b"1"}))
    assert await store.sessions.records(first.session_id, "k") == {"k": b"1"}
    assert await store.sessions.records(session(2), "") == {}


async def test_records_come_by_key_and_by_prefix(store: Store) -> None:
    claim = await begin(store)
    keys = ["a", "a/1", "a/10", "a/2", "aé", "b", "ab"]
    await store.executions.commit(claim.fence, step(1, records=dict.fromkeys(keys, b"1")))
    found = await store.sessions.records(claim.session_id, "a/")
    assert list(found) == ["a/1", "a/10", "a/2"]
    assert list(await store.sessions.records(claim.session_id, "")) == sorted(keys)


async def test_a_version_that_was_read_must_still_stand(store: Store) -> None:
    await store.sessions.write_state([StateWrite("g", "k", b"1", expect=0)])
    assert await store.sessions.state(["g"]) == {("g", "k"): (b"1", 1)}
    await store.sessions.write_state([StateWrite("g", "k", b"2", expect=1)])
    with pytest.raises(StateConflict):
        await store.sessions.write_state([StateWrite("g", "k", b"3", expect=1)])
    with pytest.raises(StateConflict):
        await store.sessions.write_state([StateWrite("g", "k", b"3", expect=0)])
    assert await store.sessions.state(["g"]) == {("g", "k"): (b"2", 2)}


async def test_shared_keys_are_set_all_or_none(store: Store) -> None:
    await store.sessions.write_state([StateWrite("g", "b", b"1")])
    writes = [StateWrite("g", "a", b"2", expect=0), StateWrite("g", "b", b"2", expect=0)]
    with pytest.raises(StateConflict):
        await store.sessions.write_state(writes)
    assert await store.sessions.state(["g"]) == {("g", "b"): (b"1", 1)}


async def test_a_key_may_be_set_regardless(store: Store) -> None:
    for value in (b"1", b"2", b"3"):
        await store.sessions.write_state([StateWrite("g", "k", value)])
    assert await store.sessions.state(["g"]) == {("g", "k"): (b"3", 3)}


async def test_of_many_that_read_the_same_version_one_wins(store: Store) -> None:
    writes = [StateWrite("g", "k", str(n).encode(), expect=0) for n in range(10)]
    outcomes = await asyncio.gather(
        *(store.sessions.write_state([write]) for write in writes), return_exceptions=True
    )
    assert outcomes[0] is None
    assert all(isinstance(outcome, StateConflict) for outcome in outcomes[1:])


async def test_state_is_read_by_scope_and_cleared_by_scope(store: Store) -> None:
    for scope in ("g", "g/s", "h"):
        await store.sessions.write_state([StateWrite(scope, "k", scope.encode())])
    found = await store.sessions.state(["g", "h"])
    assert found == {("g", "k"): (b"g", 1), ("h", "k"): (b"h", 1)}
    await store.sessions.clear_state("g")
    assert set(await store.sessions.state(["g", "g/s", "h"])) == {("g/s", "k"), ("h", "k")}
    assert await store.sessions.state([]) == {}
