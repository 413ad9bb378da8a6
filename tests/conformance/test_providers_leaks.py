"""Thousands of calls, one in twenty broken off by the service or left by the caller: nothing is left behind."""

import asyncio
import gc
import os
from contextlib import aclosing, suppress
from pathlib import Path

import pytest

from hive_daemon.llm.failures import CallUnavailable
from hive_daemon.llm.litellm_provider import QUIET_WARNING
from hive_daemon.llm.provider import LLMProvider
from hive_daemon.llm.stream_events import FinishEvent, TextDeltaEvent
from tests.fakes.model_stages import (
    ASKED,
    HttpStage,
    LiteLLMStage,
    NativeStage,
    until_no_connection_is_open,
)
from tests.fakes.openai_server import Break, Reply, breaking

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{QUIET_WARNING}:UserWarning"),
    pytest.mark.timeout(600),
    pytest.mark.slow,
]

ANSWER = Reply(text="It is sunny.", piece=4)
BROKEN = breaking(ANSWER, Break.CUT, 2)
EVERY = 20
"""One call in so many is broken off; in turns by the service and by the caller."""
AT_A_TIME = 20
ROUND = 1_000
WARM_UP = 200
"""Calls before the baseline is taken: every place of a connection was used, and broken off, by then."""


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def call(provider: LLMProvider, number: int) -> None:
    """Make one call; every fortieth is left after its first words."""
    async with aclosing(provider.stream(ASKED)) as events:
        async for event in events:
            if number % (2 * EVERY) == 0 and isinstance(event, TextDeltaEvent):
                return
    assert isinstance(event, FinishEvent)


async def calls(provider: LLMProvider, stage: HttpStage, numbers: range) -> None:
    for number in numbers:
        if number % (2 * EVERY) == EVERY:
            stage.server.script(BROKEN)
        # Whoever asks next gets the broken answer: it may be another call's.
        with suppress(CallUnavailable):
            await call(provider, number)


async def a_round(stage: HttpStage, size: int = ROUND) -> None:
    stage.server.otherwise = ANSWER
    provider = stage.provider(max_attempts=1)
    share = size // AT_A_TIME
    async with asyncio.TaskGroup() as group:
        for worker in range(AT_A_TIME):
            numbers = range(worker * share, (worker + 1) * share)
            group.create_task(calls(provider, stage, numbers))
    assert len(stage.server.requests) == size
    stage.server.requests.clear()
    await provider.aclose()
    await until_no_connection_is_open(stage.server)
    gc.collect()


async def until_only(tasks: set[asyncio.Task[object]]) -> None:
    async with asyncio.timeout(10):
        while asyncio.all_tasks() - tasks:
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("stage_of", "rounds"),
    [(NativeStage, 10), (LiteLLMStage, int(os.environ.get("LITELLM_ROUNDS", "1")))],
    ids=["native", "litellm"],
)
async def test_thousands_of_calls_leave_sockets_tasks_and_descriptors_as_they_were(
    stage_of, rounds
):
    """Ten thousand; over litellm, where a call costs ten times as much, one, or as many as LITELLM_ROUNDS says."""
    async with stage_of() as stage:
        await a_round(stage, WARM_UP)
        before, tasks = descriptors(), asyncio.all_tasks()
        for _ in range(rounds):
            await a_round(stage)
        await until_only(tasks)
        assert descriptors() == before


async def test_many_calls_take_no_more_memory_than_a_few():
    async with NativeStage() as stage:
        for _ in range(2):
            await a_round(stage)
        before = resident_bytes()
        for _ in range(4):
            await a_round(stage)
        assert resident_bytes() - before < 4 * 2**20
