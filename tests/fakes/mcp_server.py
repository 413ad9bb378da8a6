"""An MCP server of ours, written with the SDK, to be run as a process.

python mcp_server.py stdio
python mcp_server.py http      prints the port it listens on, on loopback, as its first line
python mcp_server.py legacy    http, with sessions, as servers of before 2026 have them
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ImageContent, ToolAnnotations

server = MCPServer("ours")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool()
async def hang() -> str:
    """Never answer."""
    await asyncio.Event().wait()
    return ""


@server.tool()
def crash() -> str:
    """End the process, amid the call."""
    os._exit(3)


@server.tool()
def fail(reason: str) -> str:
    """Fail."""
    raise ToolError(reason)


@server.tool()
def pid() -> int:
    """Say which process it is."""
    return os.getpid()


@server.tool()
def environment() -> list[str]:
    """Name the variables."""
    return sorted(os.environ)


@server.tool()
def save_note(name: str, text: str, data_dir: str) -> str:
    """Write a file of the session."""
    Path(data_dir).mkdir(parents=True, exist_ok=True)
    (Path(data_dir) / name).write_text(text)
    return name


@server.tool()
def picture() -> ImageContent:
    """Draw."""
    return ImageContent(
        type="image", data=base64.b64encode(b"\x89PNG").decode(), mime_type="image/png"
    )


@server.tool()
def large(characters: int) -> str:
    """Say much."""
    return "x" * characters


@server.tool()
def call_key(context: Context[Any, Any]) -> str:
    """Say which call it is."""
    meta: Any = context.request_context.meta or {}
    return str(meta.get("hive/idempotency_key", ""))


@server.tool()
def trace(context: Context[Any, Any]) -> str:
    """Say which trace it belongs to."""
    meta: Any = context.request_context.meta or {}
    return str(meta.get("traceparent", ""))


@server.tool()
async def grow(context: Context[Any, Any]) -> str:
    """Offer a further tool from now on."""
    server.add_tool(echo, name="grown", description="Came later.")
    await context.notify_tools_changed()
    await context.session.send_tool_list_changed()
    return "grown"


def main(transport: str) -> None:
    if transport == "stdio":
        server.run("stdio")
        return
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    app = server.streamable_http_app(json_response=transport == "json")
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1])
