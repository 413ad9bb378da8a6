"""`framework.llm.litellm`: the provider for every service that litellm knows, under its older path."""

from __future__ import annotations

from hive_daemon.clock import SYSTEM_CLOCK
from hive_daemon.llm.failures import retry_after_seconds
from hive_daemon.llm.litellm_provider import LiteLLMProvider

__all__ = ["LiteLLMProvider"]


def _compute_retry_delay(
    attempt: int,
    exception: BaseException | None = None,
    backoff_base: int = 2,
    max_delay: int = 120,
) -> float:
    """Return the pause after try `attempt` (from 0), as programs of older days ask for it.

    What the response of the exception asks for wins over the doubling. Our own calls use `limits`.
    """
    headers = getattr(getattr(exception, "response", None), "headers", None) or {}
    lowered = {str(name).lower(): str(value) for name, value in headers.items()}
    asked = retry_after_seconds(lowered, SYSTEM_CLOCK.time())
    pause = backoff_base * 2.0**attempt if asked is None else asked
    return min(pause, float(max_delay))
