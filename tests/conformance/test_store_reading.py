"""Reading what the store holds, forgetting it, and large values, on every back end."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from hive_daemon.errors import ExecutionNotFound, NotFound
from hive_daemon.status import ExecutionStatus as S
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import (
    MAX_PAGE,
    Claim,
    EventFilter,
    ExecutionFilter,
    StateWrite,
    StoredEvent,
)
from tests.fakes.store_kit import (
    NODE,
    ROOMY,
    begin,
    bring_to,
    checkpoint,
    ending,
    event,
    following,
    session,
    status_of,
    step,
    submission,
)

LARGE = b'"' + b"large " * 60_000 + b'"'


async def found(store: Store, **wanted: object) -> list[str]:
    """Return the ids that a filter finds."""
    rows = await store.executions.query(ExecutionFilter(**wanted))  # type: ignore[arg-type]
    return [row.execution_id for row in rows]


# --- query --------------------------------------------------------------------------------------


async def test_an_execution_that_is_not_there_cannot_be_loaded(store: Store) -> None:
    with pytest.raises(ExecutionNotFound):
        await store.executions.load(session(404))


async def test_executions_come_newest_first(store: Store) -> None:
    names = [(await store.queue.submit(submission())).execution_id for _ in range(3)]
    assert await found(store) == names[::-1]


async def test_a_row_is_the_same_listed_and_loaded(store: Store) -> None:
    claim = await bring_to(store, S.PAUSED)
    (row,) = await store.executions.query(ExecutionFilter())
    assert row == await store.executions.load(claim.execution_id)


async def test_pages_follow_one_another_without_gap_or_repetition(store: Store) -> None:
    names = [(await store.queue.submit(submission())).execution_id for _ in range(7)]
    pages: list[str] = []
    before = None
    while True:
        rows = await store.executions.query(ExecutionFilter(before=before, limit=3))
        if not rows:
            break
        pages += [row.execution_id for row in rows]
        before = rows[-1].n
        await store.queue.submit(submission())
    assert pages == names[::-1]


async def test_every_field_of_a_filter_must_match(store: Store) -> None:
    a = await bring_to(store, S.COMPLETED, session_id=session(0xA1))
    b = await bring_to(store, S.FAILED, session_id=session(0xA2), stream_id="side")
    c = await bring_to(store, S.COMPLETED, session_id=session(0xB1), agent="digest")
    d = (await store.queue.submit(following(session(0xA1)))).execution_id
    assert await found(store, agent="triage") == [d, b.execution_id, a.execution_id]
    assert await found(store, stream_id="main", agent="triage") == [d, a.execution_id]
    assert await found(store, session_id=session(0xA1)) == [d, session(0xA1)]
    assert await found(store, statuses=(S.COMPLETED,)) == [c.execution_id, a.execution_id]
    assert await found(store, statuses=(S.QUEUED, S.FAILED)) == [d, b.execution_id]
    assert await found(store, statuses=(S.QUEUED,)) == [d]
    assert await found(store, agent="triage", statuses=(S.COMPLETED,)) == [a.execution_id]
    assert await found(store, agent="nobody") == []


async def test_executions_are_found_by_the_beginning_of_their_id(store: Store) -> None:
    for number in (0x10, 0x11, 0x20):
        await store.queue.submit(submission(session_id=session(number)))
    await store.queue.submit(following(session(0x10)))
    assert await found(store, id_prefix=session(0x10)) == [f"{session(0x10)}-2", session(0x10)]
    assert len(await found(store, id_prefix=session(0x10)[:-1])) == 3
    assert len(await found(store, id_prefix="session_")) == 4
    assert len(await found(store, id_prefix="")) == 4
    assert await found(store, id_prefix="session_2027") == []
    assert await found(store, id_prefix="%") == []


async def test_the_latest_of_a_session_is_its_latest_main_execution(store: Store) -> None:
    for number in (1, 2):
        await bring_to(store, S.COMPLETED, session_id=session(number))
    await store.queue.submit(following(session(1)))
    await store.queue.submit(following(session(1), is_joined=True))
    assert await found(store, latest_of_session=True) == [f"{session(1)}-2", session(2)]
    assert await found(store, latest_of_session=True, statuses=(S.COMPLETED,)) == [session(2)]


async def test_of_joined_executions_alone_the_last_stands_for_the_session(store: Store) -> None:
    main = await bring_to(store, S.COMPLETED, session_id=session(1))
    for _ in range(2):
        await store.queue.submit(following(session(1), is_joined=True))
    await store.executions.prune([main.execution_id])
    assert await found(store, latest_of_session=True) == [f"{session(1)}-3"]


async def test_a_page_has_at_most_its_size(store: Store) -> None:
    await asyncio.gather(*(store.queue.submit(submission()) for _ in range(MAX_PAGE + 3)))
    assert len(await found(store)) == ExecutionFilter().limit
    assert len(await found(store, limit=10_000)) == MAX_PAGE
    assert await found(store, limit=0) == []
    assert await found(store, limit=-1) == []


# --- history ------------------------------------------------------------------------------------


async def _story(store: Store) -> list[StoredEvent]:
    """Make events of several executions; answer them in order."""
    claims = [
        await begin(store),
        await begin(store, stream_id="side"),
        await begin(store, agent="digest"),
    ]
    for seq in (1, 2):
        for claim in claims:
            given = (event("node_started"), event("node_completed", node_id=f"n{seq}"))
            await store.executions.commit(claim.fence, step(seq, events=given))
    return await store.executions.history(EventFilter())


async def test_history_comes_in_order_and_in_full(store: Store) -> None:
    story = await _story(store)
    assert len(story) == 12
    assert [e.seq for e in story] == sorted(e.seq for e in story)


async def test_history_goes_on_after_a_number(store: Store) -> None:
    story = await _story(store)
    after = await store.executions.history(EventFilter(after_seq=story[4].seq))
    assert after == story[5:]
    assert await store.executions.history(EventFilter(after_seq=story[-1].seq)) == []


@pytest.mark.parametrize("field", ["agent", "session_id", "execution_id", "stream_id", "node_id"])
async def test_history_by_one_field(store: Store, field: str) -> None:
    story = await _story(store)
    for value in {getattr(e, field) for e in story}:
        wanted = EventFilter(**{field: value})
        assert await store.executions.history(wanted) == [
            e for e in story if getattr(e, field) == value
        ]


async def test_history_by_types_and_by_several_fields(store: Store) -> None:
    story = await _story(store)
    types = ("node_started", "unheard_of")
    assert await store.executions.history(EventFilter(types=types)) == [
        e for e in story if e.type == "node_started"
    ]
    wanted = EventFilter(agent="triage", stream_id="side", node_id="n2", after_seq=story[3].seq)
    assert [e.node_id for e in await store.executions.history(wanted)] == ["n2"]


async def test_history_has_pages(store: Store) -> None:
    story = await _story(store)
    pages: list[StoredEvent] = []
    while True:
        after = pages[-1].seq if pages else 0
        page = await store.executions.history(EventFilter(after_seq=after, limit=5))
        if not page:
            break
        pages += page
    assert pages == story


async def test_the_newest_events_come_in_order_too(store: Store) -> None:
    story = await _story(store)
    assert await store.executions.history(EventFilter(newest=True, limit=3)) == story[-3:]
    mine = [e for e in story if e.session_id == story[0].session_id]
    wanted = EventFilter(session_id=story[0].session_id, newest=True, limit=3)
    assert await store.executions.history(wanted) == mine[-3:]
    wanted = EventFilter(newest=True, limit=50, after_seq=story[-2].seq)
    assert await store.executions.history(wanted) == story[-1:]


async def test_a_page_of_history_has_at_most_its_size(store: Store) -> None:
    claim = await begin(store)
    many = tuple(event(str(n)) for n in range(MAX_PAGE + 3))
    await store.executions.commit(claim.fence, step(1, events=many))
    assert len(await store.executions.history(EventFilter(limit=10_000))) == MAX_PAGE
    assert await store.executions.history(EventFilter(limit=0)) == []


# --- prune --------------------------------------------------------------------------------------


async def _rich(store: Store, number: int, status: S = S.COMPLETED) -> Claim:
    """Make an execution with everything that can belong to one."""
    claim = await begin(store, session_id=session(number))
    item = await store.inbox.inject(claim.session_id, "ask", "hello", key="k")
    full = step(
        1,
        events=(event(),),
        records={"k": b"1"},
        taken=(item.item_id,),
        ending=ending(status, result=LARGE),
        checkpoint=checkpoint(1, patch=LARGE),
    )
    await store.executions.commit(claim.fence, full)
    return claim


async def test_pruning_forgets_everything_of_an_execution(store: Store) -> None:
    claim = await _rich(store, 1)
    kept = await _rich(store, 2)
    assert await store.executions.prune([claim.execution_id]) == 1
    with pytest.raises(ExecutionNotFound):
        await store.executions.load(claim.execution_id)
    assert await found(store) == [kept.execution_id]
    assert await store.executions.history(EventFilter(session_id=session(1))) == []
    assert await store.sessions.checkpoints(session(1)) == []
    assert await store.sessions.records(session(1), "") == {}
    assert (await store.executions.load(kept.execution_id)).result == LARGE
    (row,) = await store.sessions.checkpoints(session(2))
    assert row.patch == LARGE


@pytest.mark.parametrize("status", [status for status in S if not status.is_terminal])
async def test_what_is_not_terminal_is_never_pruned(store: Store, status: S) -> None:
    claim = await bring_to(store, status)
    assert await store.executions.prune([claim.execution_id]) == 0
    assert await status_of(store, claim.execution_id) is status


@pytest.mark.parametrize("status", [status for status in S if status.is_terminal])
async def test_what_is_terminal_is_pruned(store: Store, status: S) -> None:
    claim = await bring_to(store, status)
    assert await store.executions.prune([claim.execution_id]) == 1


async def test_pruning_answers_how_many_it_forgot(store: Store) -> None:
    one, two = await bring_to(store, S.COMPLETED), await bring_to(store, S.FAILED)
    parked = await bring_to(store, S.PAUSED)
    names = [one.execution_id, parked.execution_id, session(404), two.execution_id]
    assert await store.executions.prune([*names, one.execution_id]) == 2
    assert await store.executions.prune(names) == 0
    assert await store.executions.prune([]) == 0


async def test_what_a_session_owns_stays_while_one_of_its_executions_does(store: Store) -> None:
    first = await _rich(store, 1)
    await store.queue.submit(following(session(1)))
    (second,) = await store.queue.claim(NODE, ROOMY)
    await store.executions.commit(second.fence, step(1, ending=ending(S.COMPLETED)))
    await store.executions.prune([first.execution_id])
    assert await store.sessions.records(session(1), "") == {"k": b"1"}
    assert not (await store.inbox.inject(session(1), "ask", "again", key="k")).woke
    await store.executions.prune([second.execution_id])
    assert await store.sessions.records(session(1), "") == {}


async def test_shared_state_is_not_pruned(store: Store) -> None:
    claim = await begin(store)
    write = StateWrite("graph", "k", LARGE)
    last = step(1, state=(write,), ending=ending(S.COMPLETED))
    await store.executions.commit(claim.fence, last)
    await store.executions.prune([claim.execution_id])
    assert await store.sessions.state(["graph"]) == {("graph", "k"): (LARGE, 1)}


async def test_rows_are_numbered_on_after_the_newest_was_pruned(store: Store) -> None:
    claim = await bring_to(store, S.COMPLETED)
    n = (await store.executions.load(claim.execution_id)).n
    await store.executions.prune([claim.execution_id])
    newer = await store.queue.submit(submission())
    assert (await store.executions.load(newer.execution_id)).n > n


# --- figures and blobs --------------------------------------------------------------------------


async def test_the_figures_count_what_has_not_ended(store: Store) -> None:
    for status in (S.COMPLETED, S.PAUSED, S.FAILED):
        await bring_to(store, status)
    await store.queue.submit(submission())
    claim = (await store.queue.claim(NODE, ROOMY))[0]
    await store.executions.commit(claim.fence, step(1, events=(event(), event())))
    await store.queue.submit(submission())
    stats = await store.executions.stats()
    assert dict(stats.by_status) == {"paused": 1, "running": 1, "queued": 1}
    assert stats.last_seq == (await store.executions.history(EventFilter()))[-1].seq
    assert stats.commits > 0
    assert 0 <= stats.commit_seconds_p50 <= stats.commit_seconds_p99
    assert stats.size_bytes >= 0


@pytest.mark.parametrize("content", [b"", b"small", LARGE])
async def test_a_blob_is_found_by_the_hash_of_its_content(store: Store, content: bytes) -> None:
    key = await store.blobs.put_if_absent(content)
    assert key == hashlib.sha256(content).hexdigest()
    assert await store.blobs.get(key) == content
    assert await store.blobs.put_if_absent(content) == key


async def test_a_blob_that_is_not_there(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.blobs.get("0" * 64)
    assert not await store.blobs.delete("0" * 64)


async def test_a_deleted_blob_is_gone(store: Store) -> None:
    key = await store.blobs.put_if_absent(b"content")
    await store.blobs.put_if_absent(b"content")
    assert await store.blobs.delete(key)
    assert not await store.blobs.delete(key)
    with pytest.raises(NotFound):
        await store.blobs.get(key)


async def test_a_blob_that_a_row_refers_to_stays(store: Store) -> None:
    submitted = await store.queue.submit(submission(input=LARGE))
    key = await store.blobs.put_if_absent(LARGE)
    assert not await store.blobs.delete(key)
    assert (await store.executions.load(submitted.execution_id)).input == LARGE


async def test_a_blob_of_one_s_own_outlives_the_rows_with_the_same_content(store: Store) -> None:
    key = await store.blobs.put_if_absent(LARGE)
    claim = await begin(store, input=LARGE)
    await store.executions.commit(claim.fence, step(1, ending=ending(S.COMPLETED)))
    await store.executions.prune([claim.execution_id])
    assert await store.blobs.get(key) == LARGE


@pytest.mark.parametrize("size", [0, 1, 2_047, 2_048, 2_049, 262_143, 262_144, 262_145])
@pytest.mark.parametrize("first", [b"{", b"\x01", b"\x02"])
async def test_values_of_every_size_come_back_as_they_were(
    store: Store, size: int, first: bytes
) -> None:
    value = (first + bytes(range(256)) * (size // 256 + 1))[:size]
    claim = await begin(store, input=value, state=value)
    assert (claim.input, claim.state) == (value, value)
    full = step(
        1,
        checkpoint=checkpoint(1, walk=value, patch=value),
        events=(event(data=value),),
        records={"k": value},
        state=(StateWrite("g", "k", value),),
        ending=ending(S.COMPLETED, result=value, waiting=value),
    )
    await store.executions.commit(claim.fence, full)
    row = await store.executions.load(claim.execution_id)
    assert (row.input, row.result, row.waiting) == (value, value, value)
    (kept,) = await store.sessions.checkpoints(claim.session_id)
    assert (kept.walk, kept.patch) == (value, value)
    (told,) = await store.executions.history(EventFilter())
    assert told.data == value
    assert await store.sessions.records(claim.session_id, "") == {"k": value}
    assert await store.sessions.state(["g"]) == {("g", "k"): (value, 1)}
