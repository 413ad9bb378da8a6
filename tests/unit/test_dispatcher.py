"""The dispatcher: when it looks for work, and that no free slot is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hive_daemon.runtime.dispatcher import Dispatcher, Slots
from hive_daemon.storage.values import Claim, Fence, Limits
from tests.fakes.still_clock import StillClock

LANE = "agent/api"


class Queue:
    """A queue whose answers the test gives."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[asyncio.Future[list[Claim]]] = asyncio.Queue()
        self.lanes: list[list[str]] = []

    async def claim(self, node: str, limits: Limits) -> list[Claim]:
        answer: asyncio.Future[list[Claim]] = asyncio.get_running_loop().create_future()
        self.lanes.append(list(limits.lanes))
        self.asked.put_nowait(answer)
        return await answer

    async def release(self, fence: Fence) -> None:
        raise AssertionError("nothing is given back here")


class Lane:
    """A stream with two slots, of which none is taken and nothing is known to wait."""

    limit = 2
    queued_count = 0
    background_count = 0
    group_limit: int | None = None
    delays = False

    def __init__(self, lane: str = LANE) -> None:
        self.lane = lane
        self.orders: list[tuple[str, str]] = []

    def get_active_count(self) -> int:
        return 0

    def ordered(self, execution_id: str, reason: str) -> None:
        self.orders.append((execution_id, reason))


@pytest.fixture
async def queue() -> Queue:
    return Queue()


@pytest.fixture
async def dispatcher(queue: Queue) -> AsyncIterator[Dispatcher]:
    dispatcher = Dispatcher(queue, "node", StillClock(), Slots(10))  # type: ignore[arg-type]
    dispatcher.start()
    yield dispatcher
    await dispatcher.stop()


async def next_claim(queue: Queue) -> asyncio.Future[list[Claim]]:
    async with asyncio.timeout(10):
        return await queue.asked.get()


async def test_a_slot_that_becomes_free_during_a_claim_is_not_forgotten(
    queue: Queue, dispatcher: Dispatcher
) -> None:
    dispatcher.register(Lane())  # type: ignore[arg-type]
    first = await next_claim(queue)
    dispatcher.freed()
    first.set_result([])
    second = await next_claim(queue)
    second.set_result([])


async def test_a_lane_with_free_slots_and_nothing_queued_is_left_alone(
    queue: Queue, dispatcher: Dispatcher
) -> None:
    dispatcher.register(Lane())  # type: ignore[arg-type]
    (await next_claim(queue)).set_result([])
    dispatcher.register(Lane("agent/other"))  # type: ignore[arg-type]
    (await next_claim(queue)).set_result([])
    assert queue.lanes == [[LANE], ["agent/other"]]


async def test_a_cancellation_found_in_the_store_reaches_the_stream(
    dispatcher: Dispatcher, queue: Queue
) -> None:
    lane = Lane()
    dispatcher.register(lane)  # type: ignore[arg-type]
    (await next_claim(queue)).set_result([])
    dispatcher.ordered("session_x", "no longer needed")
    assert lane.orders == [("session_x", "no longer needed")]
