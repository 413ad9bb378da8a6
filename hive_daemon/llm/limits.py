"""How long and how often a model call is tried.

The deadlines are ours, on any provider library, because the libraries' own are not kept (a stalled stream can hold a
connection for hours). Laws: a call ends within `total_timeout`; it makes at most `max_attempts` tries and begins none
after `retry_window`; only `transient` and `rate_limited` failures are tried again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import ConfigError
from hive_daemon.llm.failures import CallFailure, CallOverdue, CallRejected
from hive_daemon.pulse import beat, resting

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LIMIT_OF = {
    "first piece of an answer": "llm.ttft_timeout_seconds",
    "further piece": "llm.stream_idle_timeout_seconds",
    "whole answer": "llm.timeout_seconds",
}
"""What is raised, in hive.yaml, for a model that needs longer; by what did not come in time."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The limits of one model call; all times in seconds."""

    ttft_timeout: float = 120.0
    """From the request to the first piece of a streamed answer."""
    stream_idle_timeout: float = 60.0
    """Between two pieces of a streamed answer."""
    answer_timeout: float = 180.0
    """For one try of an answer that is not streamed."""
    total_timeout: float = 600.0
    """For the whole call: all tries, the pauses between them, and the streaming."""
    max_attempts: int = 3
    """Tries in all."""
    retry_window: float = 300.0
    """No further try begins when the call is older than this."""
    backoff_base: float = 1.0
    """The longest first pause; it doubles with each try."""
    backoff_max: float = 30.0
    """The longest pause of our own choice."""
    retry_after_cap: float = 60.0
    """The longest pause that a service may ask for."""

    @classmethod
    def split(cls, options: Mapping[str, Any]) -> tuple[Self, dict[str, Any]]:
        """Take the limits out of provider options; return them and the other options. Raises ConfigError."""
        names = {field.name for field in fields(cls)}
        own = {name: value for name, value in options.items() if name in names}
        wrong = [
            f"{name}: {value!r} is not a positive number"
            for name, value in own.items()
            if not _positive(value)
        ]
        if wrong:
            raise ConfigError(wrong, source="model options")
        return cls(**own), {name: value for name, value in options.items() if name not in names}


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def pause_before_next(
    limits: CallLimits, attempt: int, elapsed_seconds: float, failure: CallFailure, roll: float
) -> float | None:
    """Say how long to wait after try number `attempt` failed; None: do not try again.

    The pause is what the service asked for, up to a cap, plus "full jitter": `roll` (0 to 1) of a time that doubles
    with each try, so that calls refused together do not come back together.
    Source: AWS Architecture Blog, "Exponential Backoff And Jitter", 2015.
    """
    if isinstance(failure, CallRejected) or attempt >= limits.max_attempts:
        return None
    ceiling = min(limits.backoff_max, limits.backoff_base * 2.0 ** (attempt - 1))
    asked = failure.retry_after_seconds
    pause = roll * ceiling + min(asked or 0.0, limits.retry_after_cap)
    last = min(limits.retry_window, limits.total_timeout)
    return pause if elapsed_seconds + pause <= last else None


class Attempts:
    """The tries of one call, from its first request to its end."""

    def __init__(
        self,
        model: str,
        limits: CallLimits,
        clock: Clock = SYSTEM_CLOCK,
        roll: Callable[[], float] = random.random,
    ) -> None:
        self.model = model
        self.limits = limits
        self.number = 1
        self._clock = clock
        self._roll = roll
        self._began = clock.monotonic()

    async def next(self, failure: CallFailure) -> None:
        """Wait for the next try, or raise the failure when there is none."""
        await self.wait(self.pause_after(failure))

    def pause_after(self, failure: CallFailure) -> float:
        """Return the seconds until the next try, or raise the failure when there is none."""
        elapsed = self._clock.monotonic() - self._began
        pause = pause_before_next(self.limits, self.number, elapsed, failure, self._roll())
        if pause is None:
            raise failure
        logger.warning(
            "model call failed, trying again",
            extra={
                "model": self.model,
                "kind": str(failure.kind),
                "attempt": self.number,
                "pause_seconds": round(pause, 3),
                "error": str(failure),
                "repeat_key": f"{self.model} {failure.kind}",
            },
        )
        return pause

    async def wait(self, pause_seconds: float) -> None:
        """Wait for the next try."""
        with resting():
            await self._clock.sleep(pause_seconds)
        self.number += 1

    async def within(self, seconds: float, what: str, work: Awaitable[T]) -> T:
        """Await work for so long at most, and never beyond the end of the call. Raises CallUnavailable."""
        left = self.limits.total_timeout - (self._clock.monotonic() - self._began)
        limit, name = (seconds, what) if seconds <= left else (left, "whole answer")
        total = self.limits.total_timeout if seconds > left else seconds
        deadline = asyncio.timeout(limit)
        try:
            async with deadline:
                answer = await work
            beat()
            return answer
        except TimeoutError:
            sentence = f"no {name} within {total:g} s" if deadline.expired() else "timed out"
        limit_key = _LIMIT_OF.get(name, "answer_timeout")
        hint = f"the service stalls; raise {limit_key} if this model needs longer"
        raise CallOverdue(f"{self.model}: {sentence}", subject=self.model, hint=hint)
