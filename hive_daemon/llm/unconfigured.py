"""The provider that stands where no model is configured: it refuses each call and says what to do."""

from __future__ import annotations

from typing import Any

from hive_daemon.llm.failures import CallRejected, FailureKind
from hive_daemon.llm.provider import LLMProvider
from hive_daemon.llm.values import DEFAULT_MAX_TOKENS, LLMResponse, Message, Tool

REMEDY = (
    "set `model:` in hive.yaml or in the agent, or HIVE_MODEL; `scripted` needs no key, `anthropic/…`, `openai/…` "
    "and the like need theirs"
)


class UnconfiguredProvider(LLMProvider):
    """No model. Every call raises CallRejected, kind auth."""

    counts_itself = True

    async def acomplete(
        self,
        messages: list[Message],
        system: str = "",
        tools: list[Tool] | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        response_format: dict[str, Any] | None = None,
        json_mode: bool = False,
    ) -> LLMResponse:
        """Raise CallRejected."""
        raise CallRejected("no model is configured", kind=FailureKind.AUTH, hint=REMEDY)
