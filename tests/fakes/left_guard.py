"""A program that starts a tool server as a daemon does, and waits: to be killed. Prints the process id of the guard.

The server stops its guard first: the one thing that keeps a guard from its work when its daemon is killed.
"""

from __future__ import annotations

import asyncio
import os

from hive_daemon.tools.mcp_process import Launch, ServerProcess

STOP_GUARD = "kill -STOP $PPID; echo $PPID; exec cat"


async def run() -> None:
    launch = Launch("left", ("sh", "-c", STOP_GUARD), {"PATH": os.environ["PATH"]})
    server = await ServerProcess.start(launch)
    print((await server.read_line()).decode(), end="", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run())
