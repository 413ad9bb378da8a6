"""The contacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from framework.llm.provider import Tool, ToolResult, ToolUse
from framework.runner.tool_registry import _execution_context

TOOLS: dict[str, Tool] = {
    "load_contacts": Tool(
        name="load_contacts",
        description="Load the contacts of a campaign into a file of the session.",
        parameters={
            "type": "object",
            "properties": {"campaign": {"type": "string"}},
            "required": ["campaign"],
        },
    )
}


def _load_contacts(campaign: str) -> dict[str, Any]:
    context = _execution_context.get()
    if not context or "data_dir" not in context:
        return {"error": "no data_dir"}
    path = Path(context["data_dir"]) / "contacts.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    people = [{"name": name, "campaign": campaign} for name in ("Ada", "Grace")]
    path.write_text("\n".join(map(json.dumps, people)))
    return {"filename": path.name, "count": len(people)}


def tool_executor(tool_use: ToolUse) -> ToolResult:
    if tool_use.name == "load_contacts":
        result = _load_contacts(**tool_use.input)
    else:
        result = {"error": f"Unknown tool: {tool_use.name}"}
    return ToolResult(tool_use.id, json.dumps(result), is_error="error" in result)
