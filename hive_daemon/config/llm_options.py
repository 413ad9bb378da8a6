"""What hive.yaml says of models, as the options of `make_provider`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hive_daemon.config.agent_model import FallbackConfig
from hive_daemon.config.model import LlmConfig
from hive_daemon.llm.factory import ModelChoice


def first_choice(llm: LlmConfig, model: str | None = None) -> ModelChoice:
    """Return the model of hive.yaml with its key and address, or another one in its place.

    The other one shares key and address if its service is that of `llm.model`, or if that is not written.
    """
    key = llm.api_key.get_secret_value() if llm.api_key else None
    if model and llm.model:
        return ModelChoice(model).beside(ModelChoice(llm.model, key, llm.api_base))
    return ModelChoice(model or llm.model, key, llm.api_base)


def fallback_choices(
    llm: LlmConfig, own: Sequence[FallbackConfig] | None = None
) -> tuple[ModelChoice, ...]:
    """Return the fallbacks in their order: an agent's own in place of those that hold for all.

    One without a key and an address shares those of hive.yaml if its service is the one of `llm.model`.
    """
    first = first_choice(llm)
    written = llm.fallbacks if own is None else own
    return tuple(_choice(each).beside(first) for each in written)


def call_options(llm: LlmConfig) -> dict[str, Any]:
    """Return how models are called: the transport and the limits. What a folder says goes over it."""
    return {
        "transport": llm.transport,
        "total_timeout": llm.timeout_seconds,
        "ttft_timeout": llm.ttft_timeout_seconds,
        "stream_idle_timeout": llm.stream_idle_timeout_seconds,
        "max_attempts": llm.max_attempts,
    }


def _choice(fallback: FallbackConfig) -> ModelChoice:
    key = fallback.api_key.get_secret_value() if fallback.api_key else None
    return ModelChoice(fallback.model, key, fallback.api_base)
