"""What providers with connections have in common: blocking forms that leave none behind, and the loop over tools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from hive_daemon.llm.blocking import run_blocking
from hive_daemon.llm.provider import LLMProvider
from hive_daemon.llm.tool_rounds import complete_with_tools
from hive_daemon.llm.values import (
    DEFAULT_MAX_TOKENS,
    LLMResponse,
    Message,
    Tool,
    ToolExecutor,
)


class RemoteProvider(LLMProvider):
    """A model that is reached over connections; subclasses define `acomplete`, `stream` and `aclose`."""

    def complete(
        self,
        messages: list[Message],
        system: str = "",
        tools: list[Tool] | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        response_format: dict[str, Any] | None = None,
        json_mode: bool = False,
    ) -> LLMResponse:
        """Answer as a whole, blocking the thread. Code on an event loop awaits `acomplete`."""
        call = partial(
            self.acomplete, messages, system, tools, max_tokens, response_format, json_mode
        )
        return run_blocking(partial(self._closing_after, call))

    def complete_with_tools(
        self,
        messages: list[Message],
        system: str,
        tools: list[Tool],
        tool_executor: ToolExecutor,
    ) -> LLMResponse:
        """Answer after running the tools that the model calls, blocking the thread."""
        call = partial(self.acomplete_with_tools, messages, system, tools, tool_executor)
        return run_blocking(partial(self._closing_after, call))

    async def acomplete_with_tools(
        self,
        messages: list[Message],
        system: str,
        tools: list[Tool],
        tool_executor: ToolExecutor,
    ) -> LLMResponse:
        """Answer after running the tools that the model calls; see `tool_rounds`."""
        return await complete_with_tools(self, messages, system, tools, tool_executor)

    async def _closing_after(self, call: Callable[[], Awaitable[LLMResponse]]) -> LLMResponse:
        try:
            return await call()
        finally:
            await self.aclose()
