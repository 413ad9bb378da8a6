"""Tools of the mailbox, in the older style: they find their directory in the execution context."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from framework.llm.provider import Tool, ToolResult, ToolUse
from framework.runner.tool_registry import _execution_context

MAILS = [
    {"id": 1, "subject": "Invoice 2026-17"},
    {"id": 2, "subject": "Lunch?"},
    {"id": 3, "subject": "Invoice 2026-18"},
]

TOOLS = {
    "bulk_fetch_mails": Tool(
        name="bulk_fetch_mails",
        description="Fetch mails into a file of the session and say which.",
        parameters={
            "type": "object",
            "properties": {"limit": {"type": "integer", "description": "How many at most."}},
            "required": ["limit"],
        },
    ),
}


def _data_dir() -> Path:
    context = _execution_context.get()
    if not context or not context.get("data_dir"):
        raise RuntimeError("data_dir is not set in the execution context")
    return Path(context["data_dir"])


def _bulk_fetch(limit: int) -> dict[str, Any]:
    folder = _data_dir()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mails.jsonl").write_text("\n".join(json.dumps(mail) for mail in MAILS[:limit]))
    return {"filename": "mails.jsonl", "count": len(MAILS[:limit])}


def tool_executor(tool_use: ToolUse) -> ToolResult:
    if tool_use.name == "bulk_fetch_mails":
        content = json.dumps(_bulk_fetch(**tool_use.input))
        return ToolResult(tool_use_id=tool_use.id, content=content)
    content = json.dumps({"error": f"Unknown tool: {tool_use.name}"})
    return ToolResult(tool_use_id=tool_use.id, content=content, is_error=True)


def report(sorting: Any) -> str:
    return f"sorted: {sorting}"
