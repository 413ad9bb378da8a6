"""The hub: who hears of a commit, when, and what the end of an execution waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar

import pytest

from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.hub import BREATH, Hub
from tests.fakes.held_files import HeldFiles, ReadyFiles, live, stored

PLACE: ContextVar[str] = ContextVar("place", default="nowhere")


def nobody(lane: str) -> None:
    """Take note of a lane."""


class Told(list[str]):
    """What a listener heard, by execution, `+` for what was live."""

    def __call__(self, event: AgentEvent) -> None:
        self.append(f"{event.execution_id}{'' if event.seq else '+'}")


@pytest.fixture
async def files() -> HeldFiles:
    return HeldFiles()


@pytest.fixture
async def hub(files: HeldFiles) -> AsyncIterator[Hub]:
    hub = Hub(files, nobody)
    hub.start()
    yield hub
    await hub.close()


@pytest.fixture
def told(hub: Hub) -> Told:
    told = Told()
    hub.listen(told)
    return told


async def turn() -> None:
    """Let everything happen that is due."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_an_end_waits_for_its_own_files_only(hub: Hub, files: HeldFiles, told: Told) -> None:
    hub.committed(None, None, [stored(1, "first")])
    hub.committed(None, None, [stored(2, "second")])
    await turn()
    assert told == []
    files.answer()
    assert told == ["first"]
    files.answer()
    assert told == ["first", "second"]


async def test_an_end_whose_files_are_complete_keeps_its_place(
    hub: Hub, files: HeldFiles, told: Told
) -> None:
    hub.committed(None, None, [stored(1, "first")])
    hub.committed(None, None, [stored(2, "second"), stored(3, "x", EventType.NODE_STARTED)])
    files.answer(1)
    await turn()
    assert told == []
    files.answer()
    assert told == ["first", "second", "x"]


async def test_files_are_asked_for_when_the_end_commits_and_not_again(
    hub: Hub, files: HeldFiles, told: Told
) -> None:
    hub.committed(None, None, [stored(1, "x", EventType.NODE_STARTED), stored(2, "first")])
    hub.committed(None, None, [stored(3, "second", EventType.EXECUTION_PAUSED)])
    assert [session for session, _ in files.asked] == ["first", "second"]
    await turn()
    files.answer()
    files.answer()
    await hub.flush()
    assert told == ["x", "first", "second"]
    assert files.count == 2


async def test_nobody_hears_of_a_commit_before_its_caller_goes_on(told: Told) -> None:
    hub = Hub(ReadyFiles(), nobody)
    hub.listen(told)
    hub.start()
    hub.committed(None, None, [stored(1, "first")])
    assert told == []
    await hub.flush()
    assert told == ["first"]


async def test_the_end_is_to_be_told_until_its_files_are_complete(
    hub: Hub, files: HeldFiles
) -> None:
    with hub.waiting("first") as stopped:
        hub.committed(None, None, [stored(1, "first")])
        await turn()
        assert hub.is_to_tell("first")
        assert not stopped.done()
        files.answer()
        assert not hub.is_to_tell("first")
        assert stopped.result() is True


async def test_what_is_live_takes_its_place_behind_an_end_that_waits(
    hub: Hub, files: HeldFiles, told: Told
) -> None:
    hub.show(live("early"))
    hub.committed(None, None, [stored(1, "first")])
    await turn()
    hub.show(live("late"))
    assert told == ["early+"]
    files.answer()
    assert told == ["early+", "first", "late+"]


async def test_what_committed_before_the_start_is_told_after_it(files: HeldFiles) -> None:
    hub, told = Hub(files, nobody), Told()
    hub.listen(told)
    hub.committed(None, None, [stored(1, "first")])
    files.answer()
    await turn()
    assert told == []
    hub.start()
    await hub.flush()
    assert told == ["first"]


async def test_nothing_is_told_after_the_close(hub: Hub, files: HeldFiles, told: Told) -> None:
    hub.committed(None, None, [stored(1, "x", EventType.NODE_STARTED), stored(2, "first")])
    await hub.close()
    files.answer()
    await turn()
    assert told == []


async def test_others_get_their_turn_among_many_events(hub: Hub, told: Told) -> None:
    many = range(1, 2 * BREATH + 1)
    hub.committed(None, None, [stored(n, "x", EventType.NODE_STARTED) for n in many])
    heard: list[int] = []
    while len(told) < len(many):
        await asyncio.sleep(0)
        heard.append(len(told))
    assert heard[0] <= BREATH
    assert BREATH in heard


async def test_a_listener_that_would_end_the_process_takes_no_event_from_the_others(
    hub: Hub, files: HeldFiles, told: Told
) -> None:
    def leave(event: AgentEvent) -> None:
        raise SystemExit

    hub.listen(leave)
    hub.committed(None, None, [stored(1, "first"), stored(2, "x", EventType.NODE_STARTED)])
    with pytest.raises(SystemExit):
        files.answer()
    hub.unlisten(2)
    await hub.flush()
    assert told == ["first", "x"]


async def test_a_listener_that_makes_files_complete_is_told_in_order(
    hub: Hub, files: HeldFiles, told: Told
) -> None:
    def answer(event: AgentEvent) -> None:
        if event.execution_id == "first":
            files.answer()

    hub.unlisten(1)
    hub.listen(answer)
    hub.listen(told)
    hub.committed(None, None, [stored(1, "first"), stored(2, "second")])
    await turn()
    files.answer()
    assert told == ["first", "second"]


async def test_listeners_are_called_in_the_context_of_the_start(files: HeldFiles) -> None:
    hub, places = Hub(files, nobody), []
    hub.listen(lambda event: places.append(PLACE.get()))
    token = PLACE.set("at the start")
    hub.start()
    PLACE.reset(token)
    hub.committed(None, None, [stored(1, "x", EventType.NODE_STARTED), stored(2, "first")])
    await turn()
    files.answer()
    await hub.close()
    assert places == ["at the start", "at the start"]
