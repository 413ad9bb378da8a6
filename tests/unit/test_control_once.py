"""Notes of requests: found again for seven days, not taken for another request's, one at a time."""

import asyncio

import pytest

from hive_daemon.control.once import Note, Once
from hive_daemon.errors import IdempotencyConflict
from tests.fakes.memory_store import MemoryDisk, open_memory
from tests.fakes.store_kit import Ear, SetClock

SESSION = "session_20260302_090000_1a2b3c4d"
OTHER = "session_20260302_090000_ffffffff"
DAY = 24 * 3600.0


def note(at, digest="d"):
    return Note(digest, at, SESSION, 5.0, 1)


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
async def once(clock):
    async with open_memory(Ear(), clock) as store:
        yield Once(store.sessions, clock)


async def test_a_request_is_known_again_by_its_key(once, clock):
    await once.keep(SESSION, "k", note(clock.time()))
    assert await once.recall(SESSION, "k", "d") == note(clock.time())


async def test_another_key_or_session_is_another_request(once, clock):
    await once.keep(SESSION, "k", note(clock.time()))
    assert await once.recall(SESSION, "k2", "d") is None
    assert await once.recall(OTHER, "k", "d") is None


async def test_another_body_is_a_conflict(once, clock):
    await once.keep(SESSION, "k", note(clock.time()))
    with pytest.raises(IdempotencyConflict, match="was used with another request"):
        await once.recall(SESSION, "k", "other")


async def test_what_a_request_came_to_is_kept(once, clock):
    await once.keep(SESSION, "k", note(clock.time()))
    await once.complete(SESSION, "k", note(clock.time()), f"{SESSION}-2")
    known = await once.recall(SESSION, "k", "d")
    assert known.done == f"{SESSION}-2"


async def test_after_seven_days_a_key_is_new(once, clock):
    await once.keep(SESSION, "k", note(clock.time()))
    clock.now += 7 * DAY - 1
    assert await once.recall(SESSION, "k", "d") is not None
    clock.now += 1
    assert await once.recall(SESSION, "k", "other") is None


async def test_notes_outlive_the_process(clock):
    disk = MemoryDisk()
    async with open_memory(Ear(), clock, disk) as store:
        await Once(store.sessions, clock).keep(SESSION, "k", note(clock.time()))
    async with open_memory(Ear(), clock, disk) as store:
        assert await Once(store.sessions, clock).recall(SESSION, "k", "d") is not None


async def test_requests_about_one_session_take_turns_and_others_do_not_wait(once):
    order = []

    async def take(session, name):
        async with once.turn(session):
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    await asyncio.gather(take(SESSION, "a"), take(SESSION, "b"), take(OTHER, "c"))
    assert order.index("a ends") < order.index("b begins")
    assert order.index("c begins") < order.index("a ends")
