"""Whose turn it is, and how the queue looks to a person, on every back end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hive_daemon.errors import ExecutionNotFound, IllegalMove
from hive_daemon.status import ExecutionStatus as S
from hive_daemon.storage.admission import Admission, Batch, Debounce, HeldBy, QueueFilter, Rate
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import Limits
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
    step,
    submission,
)

ONE = Limits(total=1, lanes=ROOMY.lanes)


async def keyed(store: Store, *keys: str, **changes: object) -> list[str]:
    """Submit one execution of each key; answer the ids."""
    return [
        (await store.queue.submit(submission(admission=Admission(key=key), **changes))).execution_id
        for key in keys
    ]


async def served(store: Store, limits: Limits = ONE) -> list[str]:
    """Claim one after the other, each ending before the next; answer the ids."""
    names = []
    while True:
        claims = await store.queue.claim(NODE, limits)
        for claim in claims:
            names.append(claim.execution_id)
            await store.executions.commit(claim.fence, step(1, ending=ending(S.COMPLETED)))
        if not claims:
            return names


async def listed(store: Store, **wanted: Any) -> list[str]:
    """Return the ids of what the queue lists."""
    return [queued.execution_id for queued in await store.queue.listing(QueueFilter(**wanted))]


# --- claiming -------------------------------------------------------------------------------------


async def test_the_keys_of_a_lane_take_turns(store: Store) -> None:
    a1, a2, a3, b1, b2, c1 = await keyed(store, "a", "a", "a", "b", "b", "c")
    assert await served(store) == [a1, b1, c1, a2, b2, a3]


async def test_several_slots_at_once_go_round_too(store: Store) -> None:
    a1, _, b1, c1 = await keyed(store, "a", "a", "b", "c")
    assert await claimed(store, replace(ONE, total=3)) == [a1, b1, c1]


async def test_a_turn_survives_the_store(backend: Backend, ear: Ear, clock: SetClock) -> None:
    async with backend.open(ear, clock) as store:
        a1, a2, b1 = await keyed(store, "a", "a", "b")
        (claim,) = await store.queue.claim(NODE, ONE)
        await store.executions.commit(claim.fence, step(1, ending=ending(S.COMPLETED)))
    async with backend.open(ear, clock) as store:
        assert [a1, *await served(store)] == [a1, b1, a2]


async def test_priority_goes_before_the_turn(store: Store) -> None:
    a1, b1 = await keyed(store, "a", "b")
    (a2,) = await keyed(store, "a", priority=5)
    assert await served(store) == [a2, b1, a1]


async def test_a_key_runs_no_more_than_it_may(store: Store) -> None:
    a1, a2, b1 = await keyed(store, "a", "a", "b")
    limits = replace(ROOMY, groups={LANE: 1})
    claims = await store.queue.claim(NODE, limits)
    assert [claim.execution_id for claim in claims] == [a1, b1]
    assert await claimed(store, limits) == []
    await store.executions.commit(claims[0].fence, step(1, ending=ending(S.COMPLETED)))
    assert await claimed(store, limits) == [a2]


async def test_what_has_no_key_is_a_group_too(store: Store) -> None:
    for _ in range(3):
        await store.queue.submit(submission())
    assert len(await claimed(store, replace(ROOMY, groups={LANE: 2}))) == 2


async def test_timers_and_events_leave_slots_for_others(store: Store) -> None:
    for source in ("timer", "event", "timer", "api", "webhook"):
        await store.queue.submit(submission(source=source))
    claims = await store.queue.claim(NODE, replace(ROOMY, background=2))
    assert [claim.source for claim in claims] == ["timer", "event", "api", "webhook"]
    assert await claimed(store, replace(ROOMY, background=2)) == []


async def test_what_is_moved_to_the_front_is_next(store: Store) -> None:
    a1, a2, b1, b2 = await keyed(store, "a", "a", "b", "b")
    (urgent,) = await keyed(store, "a", priority=9)
    await store.queue.to_front(a2)
    await store.queue.to_front(b2)
    assert await listed(store) == [b2, a2, urgent, a1, b1]
    assert await served(store) == [b2, a2, urgent, b1, a1]


async def test_a_held_one_at_the_front_is_held_still(store: Store, clock: SetClock) -> None:
    held = await store.queue.submit(submission(admission=Admission(hold=Debounce(10, 60))))
    other = await store.queue.submit(submission())
    await store.queue.to_front(held.execution_id)
    assert await claimed(store) == [other.execution_id]
    last = await store.queue.submit(submission())
    clock.now += 10
    assert await claimed(store) == [held.execution_id, last.execution_id]


@pytest.mark.parametrize("status", [S.RUNNING, S.COMPLETED, S.PAUSED])
async def test_only_what_is_queued_moves_or_is_explained(store: Store, status: S) -> None:
    claim = await bring_to(store, status)
    with pytest.raises(IllegalMove):
        await store.queue.to_front(claim.execution_id)
    with pytest.raises(IllegalMove):
        await store.queue.explain(claim.execution_id, ROOMY)
    with pytest.raises(ExecutionNotFound):
        await store.queue.to_front(session(99))
    with pytest.raises(ExecutionNotFound):
        await store.queue.explain(session(99), ROOMY)


async def test_a_turn_is_kept_by_what_is_given_back(store: Store) -> None:
    a1, a2 = await keyed(store, "a", "a")
    (claim,) = await store.queue.claim(NODE, ONE)
    await store.queue.release(claim.fence)
    (again,) = await store.queue.claim(NODE, ONE)
    assert (again.execution_id, again.key) == (a1, "a")
    await store.lease.sweep("another", 9)
    assert await claimed(store) == [a1, a2]


async def test_many_that_follow_one_session_come_one_by_one_in_order(store: Store) -> None:
    await begin(store, session_id=session(1))
    names = [(await store.queue.submit(following(session(1)))).execution_id for _ in range(5)]
    urgent = await store.queue.submit(following(session(1), priority=3))
    await store.inbox.cancel(names[0], "no")
    await store.lease.sweep("another", 9)
    assert await served(store) == [urgent.execution_id, session(1), *names[1:]]


async def test_a_session_that_waits_in_a_full_lane_runs_in_another(store: Store) -> None:
    first = await begin(store, session_id=session(1))
    await store.queue.submit(following(session(1)))
    other = await store.queue.submit(following(session(1), stream_id="side"))
    await store.executions.commit(first.fence, step(1, ending=ending(S.COMPLETED)))
    assert await claimed(store, replace(ROOMY, lanes={"triage/side": 1})) == [other.execution_id]


# --- looking --------------------------------------------------------------------------------------


async def test_a_listing_is_in_the_order_of_claiming(store: Store, clock: SetClock) -> None:
    a1, a2, b1 = await keyed(store, "a", "a", "b")
    (high,) = await keyed(store, "b", priority=1)
    late = await store.queue.submit(submission(admission=Admission(hold=Debounce(9, 60))))
    soon = await store.queue.submit(submission(admission=Admission(hold=Batch(9, 5, "h"))))
    found = await store.queue.listing(QueueFilter(lane=LANE))
    assert [one.execution_id for one in found] == [
        high, a1, b1, a2, soon.execution_id, late.execution_id,
    ]  # fmt: skip
    assert [one.position for one in found] == [1, 2, 3, 4, 5, 6]
    assert (found[0].key, found[0].priority, found[4].due_at) == ("b", 1, clock.now + 5)


async def test_a_listing_is_read_in_pages_over_lanes(store: Store) -> None:
    names = {
        lane: [
            (await store.queue.submit(submission(agent=lane[0], stream_id=lane[1]))).execution_id
            for _ in range(3)
        ]
        for lane in (("triage", "side"), ("digest", "main"), ("triage", "main"))
    }
    digest, main, side = (names[lane] for lane in sorted(names))
    assert await listed(store) == [*digest, *main, *side]
    assert await listed(store, agent="triage", offset=2, limit=2) == [main[2], side[0]]
    assert await listed(store, lane="triage/side", offset=1) == side[1:]
    assert await listed(store, lane="triage/side", agent="digest") == []
    assert await listed(store, limit=0) == []
    found = await store.queue.listing(QueueFilter(offset=5, limit=2))
    assert [one.position for one in found] == [3, 1]


async def test_depths_say_how_much_waits_and_since_when(store: Store, clock: SetClock) -> None:
    began = clock.now
    for stream in ("side", "main", "main"):
        await store.queue.submit(submission(stream_id=stream))
        clock.now += 1
    found = [(depth.lane, depth.count, depth.oldest_at) for depth in await store.queue.depths()]
    assert found == [(LANE, 2, began + 1), ("triage/side", 1, began)]


async def test_nothing_held_means_that_it_is_not_its_turn(store: Store) -> None:
    await store.queue.submit(submission())
    second = await store.queue.submit(submission())
    told = await store.queue.explain(second.execution_id, ROOMY)
    assert told.holds == ((HeldBy.TURN, "there is 1 before it"),)
    assert (told.ahead, told.queued.position) == (1, 2)


async def test_every_gate_that_holds_is_named(store: Store) -> None:
    claim = await begin(store, session_id=session(1), source="timer", admission=Admission(key="k"))
    waiting = await store.queue.submit(
        following(session(1), source="event", admission=Admission(key="k"))
    )
    limits = Limits(1, {LANE: 1}, {"triage": 1}, {LANE: 1}, background=1)
    told = await store.queue.explain(waiting.execution_id, limits)
    assert told.holds == (
        (HeldBy.SESSION, f"{claim.execution_id} writes its session"),
        (HeldBy.KEY, "the slots of key 'k' are taken: 1 of 1"),
        (HeldBy.LANE, "the slots of triage/main are taken: 1 of 1"),
        (HeldBy.AGENT, "the slots of triage are taken: 1 of 1"),
        (HeldBy.BACKGROUND, "the slots for timers and events are taken: 1 of 1"),
        (HeldBy.TOTAL, "the slots of all are taken: 1 of 1"),
    )


async def test_what_is_held_until_a_time_says_how_long(store: Store, clock: SetClock) -> None:
    rules = Admission(hold=Batch(5, 20), throttle=Rate(1, 30))
    first = await store.queue.submit(submission(admission=rules))
    told = await store.queue.explain(first.execution_id, ROOMY)
    assert told.holds == ((HeldBy.BATCH, "gathers for 20.0 s more, 1 came so far"),)
    apart = replace(rules, hold=Batch(5, 20, "other"))
    second = await store.queue.submit(submission(admission=apart))
    told = await store.queue.explain(second.execution_id, ROOMY)
    assert [gate for gate, _ in told.holds] == [HeldBy.BATCH, HeldBy.THROTTLE]
    assert told.holds[1][1] == "its slot comes in 30.0 s"


async def test_a_lane_that_nobody_claims_for_is_named(store: Store) -> None:
    submitted = await store.queue.submit(submission(stream_id="gone"))
    told = await store.queue.explain(submitted.execution_id, ROOMY)
    assert told.holds == ((HeldBy.ABSENT, "nobody claims for triage/gone"),)


async def test_the_next_time_is_that_of_the_lanes_asked_for(store: Store, clock: SetClock) -> None:
    assert await store.queue.next_due([LANE]) is None
    for stream, seconds in (("main", 30), ("side", 10)):
        rules = Admission(hold=Debounce(seconds, 60))
        await store.queue.submit(submission(stream_id=stream, admission=rules))
    assert await store.queue.next_due([LANE]) == clock.now + 30
    assert await store.queue.next_due([LANE, "triage/side"]) == clock.now + 10
    assert await store.queue.next_due([]) is None
