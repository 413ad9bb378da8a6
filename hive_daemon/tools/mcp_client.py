"""The door to the MCP SDK: a connection to a server, over the streams of a child process or streamable HTTP.

The SDK speaks the protocol, within the bounds of mcp_streams.py. Redirects to other places are not followed, so headers
with secrets stay where they were meant to go. What a server asks of us (sampling, elicitation, roots) is refused.

Import this module in a thread, when a server is first connected to: the SDK takes the better part of a second.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import mcp_types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from hive_daemon.clock import Clock
from hive_daemon.observability.trace_context import current_parent
from hive_daemon.tasks import Scope
from hive_daemon.tools.mcp_config import McpServer, McpTransport
from hive_daemon.tools.mcp_launch import address_of, launch_of
from hive_daemon.tools.mcp_process import MOST_LINE_BYTES, ServerProcess
from hive_daemon.tools.mcp_streams import Lines, Pace, Paced, Streams, Written, http_client
from hive_daemon.tools.mcp_values import (
    Answer,
    Attachment,
    OfferedTool,
    ServerRefused,
    ServerSettings,
    ServerUnavailable,
)

MOST_PAGES = 50
"""Pages of a list of tools that are asked for."""

MOST_TOOLS = 1000
"""Tools of one server."""

CALL_KEY = "hive/idempotency_key"
"""Under this name a server is told, in `_meta`, which call it is: the same when the call is made again."""

TRACE_KEY = "traceparent"
"""So it is told, in `_meta`, which trace the call belongs to. Source: OpenTelemetry's conventions for MCP."""

for _name in ("mcp", "client", "httpx2", "httpcore2"):
    # At INFO the SDK tells addresses and session ids.
    if logging.getLogger(_name).level == logging.NOTSET:
        logging.getLogger(_name).setLevel(logging.WARNING)


class Connection:
    """A server that answered the handshake.

    `news` is set when something about it may have changed: ask for its tools again. `is_over`: nothing more comes.
    """

    def __init__(self, name: str) -> None:
        self.news = asyncio.Event()
        self.is_over = False
        self._name = name
        self._client: Client | None = None

    async def open(self, client: Client, stack: AsyncExitStack) -> None:
        """Shake hands, and listen for changes. Raises what the SDK raises."""
        self._client = await stack.enter_async_context(client)
        tools = client.server_capabilities.tools
        if tools is not None and tools.list_changed:
            scope = Scope(f"mcp server {self._name}")
            stack.push_async_callback(scope.close)
            scope.spawn("changes", self._listen(client))

    def end(self) -> None:
        """Note that nothing more comes from the server."""
        self.is_over = True
        self.news.set()

    async def hear(self, message: Any) -> None:
        """Take a notification of the server."""
        if isinstance(message, mcp_types.ToolListChangedNotification):
            self.news.set()

    async def _listen(self, client: Client) -> None:
        """Take the changes of the tools from a stream of their own, as servers of 2026 send them."""
        try:
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self.news.set()
        except (ListenNotSupportedError, SubscriptionLost, MCPError):
            # An older server tells them by itself, see `hear`; of a connection that broke others hear.
            return

    async def tools(self) -> list[OfferedTool]:
        """Ask for the tools. Raises what the SDK raises, and ServerRefused for a list without end."""
        found: list[OfferedTool] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._open_client.list_tools(cursor=cursor)
            found.extend(map(_offered, page.tools))
            cursor = page.next_cursor
            if cursor is None or len(found) > MOST_TOOLS:
                break
        if cursor is not None or len(found) > MOST_TOOLS:
            raise ServerRefused(f"its list of tools does not end after {len(found):,}")
        return found

    async def call(self, name: str, inputs: dict[str, Any], call_key: str = "") -> Answer:
        """Call a tool.

        Raises ServerUnavailable when the connection broke, ServerRefused for an error instead of an answer.
        """
        parent = current_parent()
        told = {
            **({CALL_KEY: call_key} if call_key else {}),
            **({TRACE_KEY: str(parent)} if parent is not None else {}),
        }
        meta: Any = told or None
        try:
            return _answer(await self._open_client.call_tool(name, inputs, meta=meta))
        except MCPError as error:
            # An error of the protocol, not of the tool: whoever holds the connection looks whether it still works.
            self.news.set()
            if error.code == mcp_types.CONNECTION_CLOSED:
                text = f"{self._name} ended during the call; it may still have had its effect"
                raise ServerUnavailable(text) from None
            raise ServerRefused(f"{self._name} refused: {error.message or 'no reason'}") from None
        except (ValidationError, RuntimeError) as error:
            text = f"{self._name} answered {name} otherwise than it declares: {error}"
            raise ServerRefused(text) from None

    @property
    def _open_client(self) -> Client:
        if self._client is None:
            raise ServerUnavailable(f"{self._name} is not connected")
        return self._client


@asynccontextmanager
async def connect(
    server: McpServer, settings: ServerSettings, clock: Clock
) -> AsyncIterator[Connection]:
    """Connect to a server and hold it: a child process lives as long as the context.

    Raises ConfigError for variables that are not set, ServerUnavailable with what a process said at its end, OSError,
    and what the SDK raises, in exception groups too.
    """
    connection, pace = Connection(server.name), Pace(clock)
    async with AsyncExitStack() as stack:
        if server.transport is McpTransport.HTTP:
            streams = await _by_http(server, settings, pace, connection, stack)
            await connection.open(_client(streams, connection), stack)
            yield connection
            return
        launch = launch_of(server, os.environ, settings.inherited)
        process = await ServerProcess.start(launch)
        stack.push_async_callback(process.stop)
        source = Paced(Lines(process), pace, connection.end)
        streams = Streams(source, Written(process, connection.end))
        try:
            await connection.open(_client(streams, connection), stack)
            yield connection
        except (MCPError, ExceptionGroup):
            if not connection.is_over:
                raise
        if connection.is_over:
            raise ServerUnavailable(await process.last_words())


def _client(streams: Streams, connection: Connection) -> Client:
    return Client(streams, message_handler=connection.hear, cache=None)


async def _by_http(
    server: McpServer,
    settings: ServerSettings,
    pace: Pace,
    connection: Connection,
    stack: AsyncExitStack,
) -> Streams:
    url, headers = address_of(server, os.environ)
    client = await stack.enter_async_context(http_client(headers, settings.connect_seconds))
    source, sink = await stack.enter_async_context(
        streamable_http_client(url, http_client=client, max_sse_event_size=MOST_LINE_BYTES)
    )
    return Streams(Paced(source, pace, connection.end), sink)


def _offered(tool: mcp_types.Tool) -> OfferedTool:
    hints = tool.annotations
    is_repeatable = hints is not None and bool(hints.read_only_hint or hints.idempotent_hint)
    about = tool.description or tool.title or ""
    return OfferedTool(tool.name, about, dict(tool.input_schema), is_repeatable)


def _answer(result: mcp_types.CallToolResult) -> Answer:
    parts = tuple(map(_part, result.content))
    if not parts and result.structured_content is not None:
        parts = (json.dumps(result.structured_content, ensure_ascii=False),)
    return Answer(parts, bool(result.is_error))


def _part(block: mcp_types.ContentBlock) -> str | Attachment:
    match block:
        case mcp_types.TextContent():
            return block.text
        case mcp_types.ImageContent() | mcp_types.AudioContent():
            return _decoded(block.mime_type, block.data)
        case mcp_types.ResourceLink():
            return f"[resource {block.name}: {block.uri}]"
        case mcp_types.EmbeddedResource(resource=mcp_types.TextResourceContents() as inner):
            return inner.text
        case mcp_types.EmbeddedResource(resource=mcp_types.BlobResourceContents() as inner):
            return _decoded(inner.mime_type or "application/octet-stream", inner.blob)
    return f"[a part of the kind {block.type}]"


def _decoded(media_type: str, data: str) -> str | Attachment:
    try:
        return Attachment(media_type, base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return f"[{media_type} that is not base64]"
