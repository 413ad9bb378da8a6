"""`framework.llm.mock`: the offline provider of older programs. It is the scripted one, so it satisfies output keys."""

from __future__ import annotations

from functools import partial
from typing import Any

from hive_daemon.llm.blocking import run_blocking
from hive_daemon.llm.provider import LLMProvider
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.values import DEFAULT_MAX_TOKENS, LLMResponse, Message, Tool


class MockLLMProvider(ScriptedProvider):
    """A model without a key: deterministic, offline, at no cost. A subclass may define just `complete`."""

    def __init__(self, model: str = "mock-model") -> None:
        super().__init__(model=model)

    def complete(
        self,
        messages: list[Message],
        system: str = "",
        tools: list[Tool] | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        response_format: dict[str, Any] | None = None,
        json_mode: bool = False,
    ) -> LLMResponse:
        """Answer as a whole, blocking the thread."""
        answer = super().acomplete
        return run_blocking(
            partial(answer, messages, system, tools, max_tokens, response_format, json_mode)
        )

    async def acomplete(
        self,
        messages: list[Message],
        system: str = "",
        tools: list[Tool] | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        response_format: dict[str, Any] | None = None,
        json_mode: bool = False,
    ) -> LLMResponse:
        """Answer as a whole: by the subclass's `complete` where it defines one."""
        is_ours = type(self).complete is MockLLMProvider.complete
        answer = super().acomplete if is_ours else partial(LLMProvider.acomplete, self)
        return await answer(messages, system, tools, max_tokens, response_format, json_mode)
