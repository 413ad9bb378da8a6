"""A small real server that is killed many times: `webhook_lives DIRECTORY`, one line of stdin for each life.

Everything is imported once; each life is a process forked from there, so that it listens within a tenth of a second. A
life is an AgentRuntime with its own SQLite store in DIRECTORY and a webhook route on a free port; it says
`ready PID PORT` and takes deliveries, and runs what they set off, until somebody kills it. Then `ended STATUS` is said.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig
from hive_daemon.storage.mirror_fold import MirrorMode
from tests.fakes.embedded import function, graph_of, running

SECRET = "t0p-s3cret"
SPEC = EntryPointSpec(
    id="mail",
    entry_node="noted",
    trigger_type="webhook",
    trigger_config={"source_id": "mail"},
    isolation_level="isolated",
    max_concurrent=50,
)


async def noted(event: dict[str, Any]) -> int:
    """Answer the number of the delivery."""
    return int(event["data"]["payload"]["number"])


@asynccontextmanager
async def life(directory: Path) -> AsyncIterator[AgentRuntime]:
    """Run the agent; what is killed in the middle of a node is none that takes the process down."""
    config = AgentRuntimeConfig(
        webhook_port=0,
        webhook_routes=[{"source_id": "mail", "path": "/mail", "secret": SECRET}],
        recovery_attempts=1_000,
        mirror=MirrorMode.OFF,
    )
    graph = graph_of(function("noted", noted, inputs=["event"]))
    async with running(directory, graph, SPEC, config=config) as runtime:
        yield runtime


async def _live(directory: Path) -> None:
    async with life(directory) as runtime:
        server = runtime.webhook_server
        assert server is not None
        os.write(1, f"ready {os.getpid()} {server.port}\n".encode())
        await asyncio.get_running_loop().create_future()


def main(directory: Path) -> None:
    """Begin a life for each line, and wait until it is dead."""
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            asyncio.run(_live(directory))
        _, status = os.waitpid(pid, 0)
        os.write(1, f"ended {status}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
