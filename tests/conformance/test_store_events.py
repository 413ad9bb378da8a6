"""Numbering events and telling the listener, on every back end."""

from __future__ import annotations

import asyncio
from typing import Any

from hive_daemon.status import ExecutionStatus as S
from hive_daemon.storage.event_values import Notice
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import EventFilter
from tests.conformance.conftest import Backend
from tests.fakes.store_kit import (
    ROOMY,
    Ear,
    SetClock,
    begin,
    ending,
    event,
    step,
    submission,
)

EVERYTHING = EventFilter()


async def test_events_are_dense_per_execution_and_increasing_over_the_store(store: Store) -> None:
    one, two = await begin(store), await begin(store)
    for seq in (1, 2):
        for claim in (one, two):
            given = step(seq, events=tuple(event(f"{seq}{n}") for n in range(seq)))
            await store.executions.commit(claim.fence, given)
    found = await store.executions.history(EVERYTHING)
    assert [e.seq for e in found] == sorted({e.seq for e in found})
    for claim in (one, two):
        mine = [e for e in found if e.execution_id == claim.execution_id]
        assert [e.execution_seq for e in mine] == [1, 2, 3]
        assert [e.type for e in mine] == ["10", "20", "21"]


async def test_an_event_carries_who_it_is_of(store: Store) -> None:
    claim = await begin(store, correlation_id="c", causation=("a",))
    given = event("tool_started", node_id=None, timestamp=7.5, data=b'{"n": 1}')
    await store.executions.commit(claim.fence, step(1, events=(given,)))
    (stored,) = await store.executions.history(EVERYTHING)
    assert (stored.type, stored.node_id, stored.timestamp, stored.data) == (
        "tool_started", None, 7.5, b'{"n": 1}',
    )  # fmt: skip
    assert (stored.agent, stored.graph_id, stored.stream_id) == ("triage", "triage-graph", "main")
    assert (stored.execution_id, stored.session_id) == (claim.execution_id, claim.session_id)
    assert (stored.correlation_id, stored.causation) == ("c", ("a",))


async def test_numbers_of_events_go_on_after_a_restart(
    backend: Backend, ear: Ear, clock: SetClock
) -> None:
    async with backend.open(ear, clock) as store:
        claim = await begin(store)
        await store.executions.commit(claim.fence, step(1, events=(event("a"),)))
    async with backend.open(ear, clock) as store:
        await store.lease.sweep("next life", 9)
        (again,) = await store.queue.claim("next life", ROOMY)
        assert (again.seq, again.event_seq) == (1, 1)
        await store.executions.commit(again.fence, step(2, events=(event("b"),)))
    first, second = ear.events
    assert second.seq > first.seq
    assert (first.execution_seq, second.execution_seq) == (1, 2)


async def test_numbers_of_pruned_events_are_not_given_again(
    backend: Backend, ear: Ear, clock: SetClock
) -> None:
    async with backend.open(ear, clock) as store:
        claim = await begin(store)
        last = step(1, events=(event(), event()), ending=ending(S.COMPLETED))
        await store.executions.commit(claim.fence, last)
        await store.executions.prune([claim.execution_id])
    async with backend.open(ear, clock) as store:
        claim = await begin(store)
        await store.executions.commit(claim.fence, step(1, events=(event(),)))
    numbers = [e.seq for e in ear.events]
    assert numbers == sorted(set(numbers))


async def test_the_listener_is_told_of_steps_in_the_order_of_their_commits(
    store: Store, ear: Ear
) -> None:
    claims = [await begin(store) for _ in range(5)]
    await asyncio.gather(
        *(
            store.executions.commit(claim.fence, step(seq, events=(event(),)))
            for seq in (1, 2, 3)
            for claim in claims
        )
    )
    assert [(fence, s.seq) for fence, s, _ in ear.commits if s is not None] == [
        (claim.fence, seq) for seq in (1, 2, 3) for claim in claims
    ]
    assert list(ear.events) == await store.executions.history(EVERYTHING)


async def test_the_listener_knows_before_the_caller_goes_on(store: Store, ear: Ear) -> None:
    claim = await begin(store)
    given = step(1, events=(event(),))
    await store.executions.commit(claim.fence, given)
    ((fence, told, events),) = ear.commits
    assert (fence, told) == (claim.fence, given)
    assert list(events) == await store.executions.history(EVERYTHING)


async def test_a_step_without_events_is_told_too(store: Store, ear: Ear) -> None:
    claim = await begin(store)
    await store.executions.commit(claim.fence, step(1))
    assert ear.commits == [(claim.fence, step(1), ())]


async def test_events_outside_a_step_are_told_alone(store: Store, ear: Ear) -> None:
    submitted = await store.queue.submit(submission())
    await store.inbox.cancel(submitted.execution_id, "no need")
    ((fence, told, events),) = ear.commits
    assert (fence, told, [e.type for e in events]) == (None, None, ["execution_cancelled"])


class BadEar(Ear):
    """A listener that fails whenever it is told of a step."""

    def committed(self, fence, step, events) -> None:  # type: ignore[no-untyped-def]
        super().committed(fence, step, events)
        raise RuntimeError("no ear for this")


async def test_what_a_listener_raises_disturbs_nobody(backend: Backend, clock: SetClock) -> None:
    heard: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: heard.append(str(context["exception"])))
    async with backend.open(BadEar(), clock) as store:
        claims = [await begin(store) for _ in range(3)]
        await asyncio.gather(*(store.executions.commit(c.fence, step(1)) for c in claims))
        await store.executions.commit(claims[0].fence, step(2))
    assert heard == ["no ear for this"] * 4


# --- notices ------------------------------------------------------------------------------------


def notice(**changes: Any) -> Notice:
    """Return a notice of a trigger that was skipped."""
    given: dict[str, Any] = {
        "type": "trigger_skipped",
        "timestamp": 6.0,
        "agent": "triage",
        "graph_id": "triage-graph",
        "stream_id": "main",
        "data": b'{"reason": "busy"}',
    }
    return Notice(**{**given, **changes})


async def test_a_notice_is_numbered_among_the_events_of_executions(store: Store, ear: Ear) -> None:
    claim = await begin(store)
    await store.executions.commit(claim.fence, step(1, events=(event("a"),)))
    await store.notices.post(notice(causation=("a/x", "a/y"), correlation_id="c", node_id="n"))
    await store.executions.commit(claim.fence, step(2, events=(event("b"),)))
    found = await store.executions.history(EVERYTHING)
    assert [(e.seq, e.type) for e in found] == [(1, "a"), (2, "trigger_skipped"), (3, "b")]
    assert list(ear.events) == found
    told = found[1]
    assert (told.execution_id, told.session_id, told.execution_seq) == ("", "", 0)
    assert (told.agent, told.graph_id, told.stream_id) == ("triage", "triage-graph", "main")
    assert (told.causation, told.correlation_id) == (("a/x", "a/y"), "c")
    assert (told.node_id, told.timestamp, told.data) == ("n", 6.0, b'{"reason": "busy"}')


async def test_notices_are_filtered_like_events_and_are_of_no_session(store: Store) -> None:
    claim = await begin(store)
    await store.executions.commit(claim.fence, step(1, events=(event("a"), event("b"))))
    await store.notices.post(notice())
    await store.notices.post(notice(type="trigger_suppressed", stream_id="side", agent="digest"))

    async def types(**wanted: Any) -> list[str]:
        return [e.type for e in await store.executions.history(EventFilter(**wanted))]

    assert await types(limit=3) == ["a", "b", "trigger_skipped"]
    assert await types(limit=3, newest=True) == ["b", "trigger_skipped", "trigger_suppressed"]
    assert await types(agent="triage") == ["a", "b", "trigger_skipped"]
    assert await types(stream_id="side") == ["trigger_suppressed"]
    assert await types(types=("trigger_skipped", "b")) == ["b", "trigger_skipped"]
    assert await types(after_seq=3) == ["trigger_suppressed"]
    assert await types(session_id=claim.session_id) == ["a", "b"]
    assert await types(execution_id=claim.execution_id) == ["a", "b"]


async def test_numbers_of_notices_go_on_after_a_restart(
    backend: Backend, ear: Ear, clock: SetClock
) -> None:
    async with backend.open(ear, clock) as store:
        await store.notices.post(notice())
    async with backend.open(ear, clock) as store:
        await store.notices.post(notice())
        assert [e.seq for e in await store.executions.history(EVERYTHING)] == [1, 2]
