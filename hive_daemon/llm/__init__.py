"""Language models: the provider port and the adapters behind it.

The names below are loaded when they are first asked for: importing this package imports nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hive_daemon.llm.factory import make_provider
    from hive_daemon.llm.fallbacks import FallbackProvider
    from hive_daemon.llm.litellm_provider import LiteLLMProvider
    from hive_daemon.llm.mock import MockLLMProvider
    from hive_daemon.llm.model_shelf import models_beside
    from hive_daemon.llm.openai_provider import OpenAIProvider
    from hive_daemon.llm.provider import (
        LLMProvider,
        LLMResponse,
        Tool,
        ToolExecutor,
        ToolResult,
        ToolUse,
    )
    from hive_daemon.llm.scripted import ScriptedProvider
    from hive_daemon.llm.stream_events import (
        FinishEvent,
        ReasoningDeltaEvent,
        ReasoningStartEvent,
        StreamErrorEvent,
        StreamEvent,
        StreamResetEvent,
        TextDeltaEvent,
        TextEndEvent,
        ToolCallEvent,
        ToolResultEvent,
    )

__all__ = [
    "FallbackProvider",
    "FinishEvent",
    "LLMProvider",
    "LLMResponse",
    "LiteLLMProvider",
    "MockLLMProvider",
    "OpenAIProvider",
    "ReasoningDeltaEvent",
    "ReasoningStartEvent",
    "ScriptedProvider",
    "StreamErrorEvent",
    "StreamEvent",
    "StreamResetEvent",
    "TextDeltaEvent",
    "TextEndEvent",
    "Tool",
    "ToolCallEvent",
    "ToolExecutor",
    "ToolResult",
    "ToolResultEvent",
    "ToolUse",
    "make_provider",
    "models_beside",
]

_ROOMS = {
    "FallbackProvider": "fallbacks",
    "LiteLLMProvider": "litellm_provider",
    "MockLLMProvider": "mock",
    "OpenAIProvider": "openai_provider",
    "ScriptedProvider": "scripted",
    "make_provider": "factory",
    "models_beside": "model_shelf",
} | dict.fromkeys(
    ("LLMProvider", "LLMResponse", "Tool", "ToolExecutor", "ToolResult", "ToolUse"), "provider"
)


def __getattr__(name: str) -> Any:
    """Load a public name from its room (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = importlib.import_module(f"{__name__}.{_ROOMS.get(name, 'stream_events')}")
    return getattr(room, name)


def __dir__() -> list[str]:
    """Name what can be asked for."""
    return sorted([*globals(), *__all__])
