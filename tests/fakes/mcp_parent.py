"""A program that runs an agent's tool servers, prints `ready`, and waits: to be killed.

python -m tests.fakes.mcp_parent MCP_SERVERS_JSON
"""

from __future__ import annotations

import asyncio
import sys

from hive_daemon.tools.registry import ToolRegistry
from hive_daemon.tools.servers import ToolServers


async def run(path: str) -> None:
    registry = ToolRegistry()
    registry.load_mcp_config(path)
    async with ToolServers(registry) as servers:
        print(*(view.state for view in servers.views()), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1]))
