"""What providers with connections have in common: blocking forms that leave none behind, the loop over tools, and, for
those of one service, how a call is limited, tried again and priced."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.llm.billing import Bill
from hive_daemon.llm.blocking import run_blocking
from hive_daemon.llm.calling import OpenPieces, Whole, streamed_answer, whole_answer
from hive_daemon.llm.limits import Attempts, CallLimits
from hive_daemon.llm.provider import LLMProvider
from hive_daemon.llm.stream_events import StreamEvent
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

    counts_itself = True

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


class ServiceProvider(RemoteProvider):
    """One model of one service, with the limits of its calls: the fields of `CallLimits` among the options."""

    def __init__(
        self,
        model: str,
        api_key: str | None = None,
        api_base: str | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        **kwargs: Any,
    ) -> None:
        self.model = model
        self.api_key = api_key
        self.api_base = api_base
        self.limits, self.extra_kwargs = CallLimits.split(kwargs)
        self._clock = clock

    async def _answered(
        self, request: Mapping[str, Any], send: Callable[[], Awaitable[Whole]]
    ) -> LLMResponse:
        """Return a whole answer, tried as often as the limits allow. Raises CallUnavailable, CallRejected."""
        attempts = Attempts(self.model, self.limits, self._clock)
        bill = Bill(self.model, request, stand=self.stand)
        return await whole_answer(attempts, bill, send)

    def _streamed(
        self, request: Mapping[str, Any], pieces: OpenPieces, *, resets: bool
    ) -> AsyncGenerator[StreamEvent, None]:
        """Return the events of an answer, tried as often as the limits allow."""
        attempts = Attempts(self.model, self.limits, self._clock)
        bill = Bill(self.model, request, stand=self.stand)
        return streamed_answer(attempts, bill, pieces, resets=resets)
