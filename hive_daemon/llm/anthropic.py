"""`framework.llm.anthropic`: the Anthropic provider of older programs. It goes through litellm."""

from __future__ import annotations

from hive_daemon.llm.litellm_provider import LiteLLMProvider


class AnthropicProvider(LiteLLMProvider):
    """An Anthropic model; without `api_key`, `ANTHROPIC_API_KEY` is used."""

    def __init__(
        self, api_key: str | None = None, model: str = "claude-haiku-4-5-20251001"
    ) -> None:
        super().__init__(model, api_key)
