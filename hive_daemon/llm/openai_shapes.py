"""The shapes of the OpenAI chat completions protocol that every transport shares: requests, tools, tool arguments.

Source: the public OpenAPI description of `POST /v1/chat/completions`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hive_daemon.llm.values import Message, Tool, ToolResult, ToolUse

RAW_KEY = "_raw"
JSON_INSTRUCTION = "Answer with one JSON object and nothing else."


def chat_messages(
    messages: Iterable[Message], system: str, *, json_mode: bool = False
) -> list[Message]:
    """Put the system prompt in front of the messages; `json_mode` adds the sentence that the protocol requires."""
    prompt = "\n\n".join(part for part in (system, JSON_INSTRUCTION if json_mode else "") if part)
    head: list[Message] = [{"role": "system", "content": prompt}] if prompt else []
    return [*head, *messages]


def function_tool(tool: Tool) -> dict[str, Any]:
    """Describe a tool; parameters without a type become an object's."""
    schema = {"type": "object", "properties": {}, **tool.parameters}
    function = {"name": tool.name, "description": tool.description, "parameters": schema}
    return {"type": "function", "function": function}


def decode_arguments(text: str) -> dict[str, Any]:
    """Read the arguments of a tool call; what is no JSON object comes back as `{"_raw": text}`, nothing as `{}`."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        return {RAW_KEY: text}
    return value if isinstance(value, dict) else {RAW_KEY: text}


def assistant_message(content: str, tool_calls: Iterable[ToolUse]) -> Message:
    """Write an answer as the message that goes into the history."""
    calls = [
        {
            "id": use.id,
            "type": "function",
            "function": {"name": use.name, "arguments": json.dumps(use.input)},
        }
        for use in tool_calls
    ]
    message: Message = {"role": "assistant", "content": content or None if calls else content}
    return {**message, "tool_calls": calls} if calls else message


def tool_message(result: ToolResult) -> Message:
    """Write what a tool answered as the message that goes into the history."""
    content = f"ERROR: {result.content}" if result.is_error else result.content
    return {"role": "tool", "tool_call_id": result.tool_use_id, "content": content}


def text_of(message: Message) -> str:
    """Return the text of a message, whether its content is a string, parts, or nothing."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
