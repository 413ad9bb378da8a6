"""Where tests of MCP servers happen: a registry, its servers, a model's calls, and a look at the processes."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from hive_daemon.llm.values import ToolResult, ToolUse
from hive_daemon.tools.mcp_values import ServerSettings, ServerState, ServerView
from hive_daemon.tools.registry import ToolRegistry
from hive_daemon.tools.servers import ToolServers

SERVER = str(Path(__file__).with_name("mcp_server.py"))
TINY = str(Path(__file__).with_name("mcp_tiny.py"))

DEADLINE = 20.0
"""How long a test waits for what must come; in good order it comes at once."""

QUICK = ServerSettings(
    first_retry_seconds=0.01, longest_retry_seconds=0.01, settle_seconds=DEADLINE
)


def ours(transport: str = "stdio", **keys: Any) -> dict[str, Any]:
    """Declare the server that is written with the SDK."""
    return {"name": "ours", "command": sys.executable, "args": [SERVER, transport], **keys}


def tiny(mode: str = "good", mark: str = "", **keys: Any) -> dict[str, Any]:
    """Declare the server by hand."""
    args = ["-I", "-S", TINY, mode, mark]
    return {"name": keys.pop("name", "tiny"), "command": sys.executable, "args": args, **keys}


class World:
    """Servers that run, and calls of their tools."""

    def __init__(self, *declared: dict[str, Any], settings: ServerSettings = QUICK) -> None:
        self.registry = ToolRegistry()
        for each in declared:
            self.registry.register_mcp_server(each)
        self.servers = ToolServers(self.registry, settings)
        self._executor = self.registry.get_executor()

    async def __aenter__(self) -> World:
        await self.servers.start()
        return self

    async def __aexit__(self, *_failure: object) -> None:
        await self.servers.stop()

    async def call(self, tool: str, **inputs: Any) -> ToolResult:
        answer = self._executor(ToolUse("call_1", tool, inputs))
        assert not isinstance(answer, ToolResult)
        return await answer

    async def answers(self, expected: str, tool: str, **inputs: Any) -> None:
        """Call a tool until it answers so: a busy machine may let one call run out of its time, but not all."""
        async with asyncio.timeout(DEADLINE):
            while (await self.call(tool, **inputs)).content != expected:
                continue

    def view(self, name: str = "") -> ServerView:
        views = self.servers.views()
        return next(view for view in views if not name or view.name == name)

    async def until(self, state: ServerState, name: str = "", starts: int = 0) -> ServerView:
        """Wait until a server is in a state (and was started so often)."""
        async with asyncio.timeout(DEADLINE):
            while (view := self.view(name)).state is not state or view.starts < starts:
                await asyncio.sleep(0.005)
        return view


@asynccontextmanager
async def listening(transport: str = "http") -> AsyncIterator[str]:
    """Run our server on loopback; yields its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, SERVER, transport, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def new_mark() -> str:
    """Return a word that no process has in its command line."""
    return f"mark-{uuid.uuid4().hex}"


def marked(mark: str) -> list[int]:
    """Return the running processes that have the mark in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in words:
            found.append(int(entry.name))
    return found


async def gone(mark: str, seconds: float = DEADLINE) -> list[int]:
    """Wait until no process has the mark; return those that still have it after the time."""
    try:
        async with asyncio.timeout(seconds):
            while marked(mark):
                await asyncio.sleep(0.02)
    except TimeoutError:
        return marked(mark)
    return []
