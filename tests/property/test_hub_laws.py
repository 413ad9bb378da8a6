"""Law: durable events are told in order, the end of an execution not before its files are complete, and no later."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.runtime.events import EventType
from hive_daemon.runtime.hub import STOPS, Hub
from hive_daemon.storage.values import StoredEvent
from tests.fakes.held_files import HeldFiles, stored

KINDS = st.sampled_from(
    [EventType.NODE_STARTED, EventType.EXECUTION_COMPLETED, EventType.EXECUTION_PAUSED]
)
MOVES = st.one_of(
    st.tuples(st.just("commit"), st.lists(KINDS, min_size=1, max_size=4)),
    st.tuples(st.just("answer"), st.integers(0, 9)),
    st.tuples(st.just("turn")),
)


def nobody(lane: str) -> None:
    """Take note of a lane."""


def due(committed: list[StoredEvent], complete: set[str]) -> list[int]:
    """Return the events that may be told: all before the first end whose files are not complete."""
    told = []
    for event in committed:
        if EventType(event.type) in STOPS and event.session_id not in complete:
            break
        told.append(event.seq)
    return told


async def tell(moves: list[tuple[object, ...]]) -> None:
    files, told = HeldFiles(), []
    hub = Hub(files, nobody)
    hub.listen(lambda event: told.append(event.seq))
    hub.start()
    committed: list[StoredEvent] = []
    complete: set[str] = set()
    for move in moves:
        match move:
            case ("commit", list(kinds)):
                first = len(committed) + 1
                events = [stored(n, f"e{n}", kind) for n, kind in enumerate(kinds, first)]
                committed += events
                hub.committed(None, None, events)
            case ("answer", int(which)) if files.asked:
                which %= len(files.asked)
                complete.add(files.asked[which][0])
                files.answer(which)
            case _:
                await asyncio.sleep(0)
        allowed = due(committed, complete)
        assert told == allowed[: len(told)]
    await asyncio.sleep(0)
    assert told == due(committed, complete)
    while files.asked:
        files.answer()
    await hub.flush()
    assert told == [event.seq for event in committed]
    await hub.close()


@given(st.lists(MOVES, max_size=20))
@settings(max_examples=100, deadline=None)
def test_events_are_told_in_order_as_soon_as_files_are_complete(
    moves: list[tuple[object, ...]],
) -> None:
    asyncio.run(tell(moves))
