"""A process that fills a queue, or begins with one that is full, and says how much memory that takes.

It writes one JSON object: `before` and `after` in bytes of resident memory, `queued` as the stream knows it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from pathlib import Path

from hive_daemon.runtime.agent_runtime import AgentRuntime, create_agent_runtime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.intake import Call
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig
from hive_daemon.storage.mirror_fold import MirrorMode
from tests.fakes.embedded import GOAL, function, graph_of

WARM_UP = 500
SENDERS = 100


def resident() -> int:
    """Return this process's resident memory in bytes. Source: proc(5), statm."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def a_runtime(directory: Path) -> AgentRuntime:
    """Make a runtime of which one execution runs for ever."""

    async def hold() -> str:
        await asyncio.Event().wait()
        return "never"

    spec = EntryPointSpec(id="api", concurrency={"max": 1, "queue_max": 200_000})
    config = AgentRuntimeConfig(mirror=MirrorMode.OFF, drain_seconds=0)
    return create_agent_runtime(
        graph_of(function("work", hold)), GOAL, directory, [spec], config=config
    )


async def fill(runtime: AgentRuntime, count: int) -> int:
    """Queue so many; answer the memory that was taken before."""
    stream = runtime.find_stream("api")
    before = 0
    left = iter(range(count + WARM_UP))

    async def send(most: int) -> None:
        for number, _ in zip(left, range(most), strict=False):
            await stream.submit(Call(input_data={"n": number, "text": "x" * 500}))

    await asyncio.gather(*(send(WARM_UP // SENDERS) for _ in range(SENDERS)))
    before = resident()
    await asyncio.gather(*(send(count // SENDERS) for _ in range(SENDERS)))
    return before


async def main(directory: Path, count: int) -> None:
    """Fill the queue of a runtime, or with nothing to add begin with what is there."""
    runtime = a_runtime(directory)
    before = resident()
    await runtime.start()
    if count:
        before = await fill(runtime, count)
    queued = runtime.find_stream("api").queued_count
    print(json.dumps({"before": before, "after": resident(), "queued": queued}))
    await runtime.stop(0.0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
