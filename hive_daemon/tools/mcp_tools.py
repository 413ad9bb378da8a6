"""The tools of an MCP server as tools of an agent: what a model is told of them, and the call."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hive_daemon.errors import HiveError, InvalidInput
from hive_daemon.llm.values import Tool, ToolResult
from hive_daemon.tasks import to_thread
from hive_daemon.tools.calling import RegisteredTool
from hive_daemon.tools.context import execution_context, idempotency_key
from hive_daemon.tools.data_files import DataFiles
from hive_daemon.tools.mcp_link import ServerLink
from hive_daemon.tools.mcp_values import Attachment, OfferedTool
from hive_daemon.tools.on_unknown import OnUnknown
from hive_daemon.tools.signature import FROM_CONTEXT


@dataclass(frozen=True, slots=True)
class ServerCall:
    """Calls one tool of a server. Parameters of `from_context` are filled in by the execution, not by the model."""

    link: ServerLink
    name: str
    from_context: tuple[str, ...] = ()

    async def function(self, inputs: Mapping[str, Any]) -> ToolResult:
        """Call the tool. Raises ServerUnavailable, ServerRefused, InvalidInput."""
        known = execution_context()
        filled = {name: known[name] for name in self.from_context if known.get(name)}
        answer = await self.link.call(self.name, {**inputs, **filled}, idempotency_key.get())
        texts = [
            part if isinstance(part, str) else await to_thread(_kept, part, known.get("data_dir"))
            for part in answer.parts
        ]
        return ToolResult("", "\n".join(texts), answer.is_error)

    def __call__(self, inputs: Mapping[str, Any]) -> Any:
        """Call the tool; what comes back is awaited."""
        return self.function(inputs)


def entries_of(link: ServerLink) -> dict[str, RegisteredTool]:
    """Return the tools that a server offers, as it is now: while it is away they are unavailable, and say why."""
    return {tool.name: _entry(link, tool) for tool in link.tools if link.server.offers(tool.name)}


def _entry(link: ServerLink, offered: OfferedTool) -> RegisteredTool:
    parameters, hidden = _without_context(offered.parameters)
    about = offered.description or f"Run {offered.name}."
    return RegisteredTool(
        Tool(offered.name, about, parameters),
        ServerCall(link, offered.name, hidden),
        link.call_seconds,
        unavailable=link.trouble,
        on_unknown=OnUnknown.RETRY if offered.is_repeatable else OnUnknown.FAIL,
        server=link.server.name,
    )


def _without_context(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a schema without what the execution fills in, and the names of that."""
    properties = parameters.get("properties")
    if not isinstance(properties, Mapping):
        return {"type": "object", "properties": {}, **parameters}, ()
    hidden = tuple(name for name in FROM_CONTEXT if name in properties)
    if not hidden:
        return dict(parameters), ()
    required = [name for name in parameters.get("required", ()) if name not in hidden]
    shown = {name: schema for name, schema in properties.items() if name not in hidden}
    return {**parameters, "properties": shown, "required": required}, hidden


def _kept(part: Attachment, data_dir: str | None) -> str:
    """Keep an attachment as a data file of the session, and say so in words."""
    what = f"{part.media_type}, {len(part.content):,} bytes"
    if not data_dir:
        return f"[{what}: not kept, the call belongs to no session]"
    ending = mimetypes.guess_extension(part.media_type.partition(";")[0]) or ".bin"
    name = f"tool_{hashlib.sha256(part.content).hexdigest()[:16]}{ending}"
    try:
        DataFiles(Path(data_dir)).write(name, part.content)
    except (HiveError, OSError, InvalidInput) as error:
        return f"[{what}: not kept, {error}]"
    return f"[{what}: kept as the data file {name}]"
