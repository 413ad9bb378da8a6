"""A table of tools with one executor, and a marked function; both find the session's directory."""

import json
from pathlib import Path

from framework.llm.provider import Tool, ToolResult, ToolUse
from framework.runner.tool_registry import _execution_context, tool

PAGES = [["new price list"], ["api v2"]]

TOOLS = {
    "fetch_changes": Tool(
        name="fetch_changes",
        description="Fetch one page of changes into the session.",
        parameters={
            "type": "object",
            "properties": {"page": {"type": "integer", "description": "From 0 on."}},
            "required": ["page"],
        },
    ),
}


def tool_executor(tool_use: ToolUse) -> ToolResult:
    page = tool_use.input["page"]
    data_dir = Path(_execution_context.get()["data_dir"])
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / f"page_{page}.json").write_text(json.dumps(PAGES[page]))
    rest = page + 1 if page + 1 < len(PAGES) else None
    content = json.dumps({"changes": PAGES[page], "next_page": rest})
    return ToolResult(tool_use_id=tool_use.id, content=content, is_error=False)


@tool(description="Count the pages that were fetched.", name="count_files")
def count(data_dir: str) -> int:
    return len(list(Path(data_dir).glob("page_*.json")))
