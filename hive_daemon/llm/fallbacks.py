"""Several models behind one provider: asked in order, across services, until one answers.

Laws: every model is asked before a call fails; each keeps its own limits, so that a call ends within the sum of their
`total_timeout`s; text is never doubled, and calls of a broken answer never run. A model that could not answer stands
back for a while: it is asked after the others, so that the next calls do not wait for it again. A refusal of the
request itself (`bad_request`, `context_length`) goes on to the next model too, but sets nobody back.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import ConfigError, ModelError
from hive_daemon.llm.failures import (
    CallFailure,
    CallUnavailable,
    FailureKind,
    as_failure,
    call_failure,
)
from hive_daemon.llm.limits import CallLimits
from hive_daemon.llm.provider import LLMProvider, ask, open_stream
from hive_daemon.llm.purse import Stand
from hive_daemon.llm.remote import RemoteProvider
from hive_daemon.llm.stream_events import (
    FinishEvent,
    ReasoningDeltaEvent,
    StreamEvent,
    StreamResetEvent,
    TextDeltaEvent,
)
from hive_daemon.llm.values import DEFAULT_MAX_TOKENS, LLMResponse, Message, Tool

logger = logging.getLogger(__name__)

COOLDOWN_SECONDS = 60.0
"""How long a model stands back that could not answer."""
LONGEST_COOLDOWN = 600.0
"""The same where the service asked for more."""

FAILURES = (ModelError, TimeoutError, ConnectionError)
"""What a failed call raises, also of a provider that is not ours."""

OF_THE_REQUEST = frozenset({FailureKind.BAD_REQUEST, FailureKind.CONTEXT_LENGTH})
"""Failures that say nothing about the next request."""


class FallbackProvider(RemoteProvider):
    """The first of several models that answers. `model` names the first; an answer names who gave it."""

    def __init__(self, providers: Sequence[LLMProvider], *, clock: Clock = SYSTEM_CLOCK) -> None:
        if not providers:
            raise ConfigError("a chain of models needs one at least")
        self.providers = tuple(providers)
        self.model = self.providers[0].model
        self.limits = _limits(self.providers)
        for provider in self.providers[:-1]:
            provider.stand = Stand.BEFORE_LAST
        if len(self.providers) > 1:
            self.providers[-1].stand = Stand.LAST
        self._clock = clock
        self._resting_until: dict[int, float] = {}
        self._rests: dict[int, FallbackProvider] = {}

    async def acomplete(
        self,
        messages: list[Message],
        system: str = "",
        tools: list[Tool] | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        response_format: dict[str, Any] | None = None,
        json_mode: bool = False,
    ) -> LLMResponse:
        """Answer as a whole. Raises CallUnavailable, CallRejected, naming what each model said."""
        form = {"response_format": response_format, "json_mode": json_mode}
        failed: list[CallFailure] = []
        for place in self._order():
            provider = self.providers[place]
            try:
                answer = await ask(
                    provider, messages, system, tools=tools, max_tokens=max_tokens, **form
                )
            except FAILURES as error:
                failed.append(self._note(place, as_failure(error, provider.model)))
            else:
                self._settle(place, failed)
                return replace(answer, in_place_of=self.model) if place else answer
        raise together(failed)

    async def stream(
        self,
        messages: list[Message],
        system: str = "",
        tools: list[Tool] | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        resets: bool = False,
    ) -> AsyncGenerator[StreamEvent, None]:
        """Answer piece by piece, as `acomplete`.

        Without `resets` a failure after something was handed out is raised at once, with `delivered` set.
        """
        failed: list[CallFailure] = []
        attempt = 1
        for place in self._order():
            provider = self.providers[place]
            if failed and resets:
                attempt += 1
                yield StreamResetEvent(
                    attempt=attempt, model=provider.model, reason=str(failed[-1])
                )
            turn = _Turn(attempt, self.model if place else "")
            answer = open_stream(provider, messages, system, tools, max_tokens, resets=resets)
            try:
                async with aclosing(answer) as events:
                    async for event in events:
                        yield turn.taken(event)
            except FAILURES as error:
                failure = as_failure(error, provider.model)
            else:
                self._settle(place, failed)
                return
            if turn.delivered and not resets:
                raise failure
            attempt = turn.attempt
            failed.append(self._note(place, failure))
        raise together(failed)

    def after(self, count: int) -> LLMProvider | None:
        """See `llm.models.Chain`."""
        rest = self.providers[count:]
        if not rest:
            return None
        if count not in self._rests:
            self._rests[count] = FallbackProvider(rest, clock=self._clock)
        return self._rests[count]

    async def aclose(self) -> None:
        """Close every model's provider."""
        for provider in self.providers:
            await provider.aclose()

    def _order(self) -> list[int]:
        now = self._clock.monotonic()
        return in_order(len(self.providers), self._resting_until, now)

    def _note(self, place: int, failure: CallFailure) -> CallFailure:
        """Set a model back that could not answer."""
        if failure.kind not in OF_THE_REQUEST:
            asked = failure.retry_after_seconds if isinstance(failure, CallUnavailable) else None
            rest = min(max(asked or 0.0, COOLDOWN_SECONDS), LONGEST_COOLDOWN)
            self._resting_until[place] = self._clock.monotonic() + rest
        return failure

    def _settle(self, place: int, failed: Sequence[CallFailure]) -> None:
        """Say who answered, where that is not who was asked first."""
        self._resting_until.pop(place, None)
        if place:
            logger.warning(
                "another model answered",
                extra={
                    "model": self.model,
                    "answered_by": self.providers[place].model,
                    "failed": {failure.subject: str(failure.kind) for failure in failed},
                    "repeat_key": self.model,
                },
            )


class _Turn:
    """One model's part of a streamed call: whether it handed something out, and the number of its try."""

    def __init__(self, attempt: int, in_place_of: str) -> None:
        self.attempt = attempt
        self.delivered = False
        self._in_place_of = in_place_of

    def taken(self, event: StreamEvent) -> StreamEvent:
        """Return the event to hand out: tries are numbered over all models, the end says who was asked first."""
        match event:
            case FinishEvent():
                return replace(event, in_place_of=self._in_place_of)
            case StreamResetEvent():
                self.attempt += 1
                return replace(event, attempt=self.attempt)
            case TextDeltaEvent() | ReasoningDeltaEvent():
                self.delivered = True
        return event


def in_order(count: int, resting_until: Mapping[int, float], now: float) -> list[int]:
    """Return the places of the models in the order in which they are asked: those that rest come last.

    >>> in_order(3, {0: 60.0}, now=10.0)
    [1, 2, 0]
    """
    rests = [resting_until.get(place, now) > now for place in range(count)]
    return sorted(range(count), key=lambda place: rests[place])


def together(failures: Sequence[CallFailure]) -> CallFailure:
    """Make one failure of several: it may be tried again if one of them may, and tells them all.

    A conversation that is too long for one model counts most, because the caller can do something about it.
    """
    if len(failures) == 1:
        return failures[0]
    kinds = [failure.kind for failure in failures]
    retryable = [kind for kind in kinds if kind.is_retryable]
    too_long = [kind for kind in kinds if kind is FailureKind.CONTEXT_LENGTH]
    waits = [
        failure.retry_after_seconds
        for failure in failures
        if isinstance(failure, CallUnavailable) and failure.retry_after_seconds is not None
    ]
    return call_failure(
        (too_long or retryable or kinds)[0],
        "no model answered: " + "; ".join(map(str, failures)),
        subject=failures[0].subject,
        retry_after_seconds=min(waits, default=None),
    )


def _limits(providers: Sequence[LLMProvider]) -> CallLimits:
    """Return the limits of a whole call: the sums of those of the models."""
    own = [
        limits
        for each in providers
        if isinstance(limits := getattr(each, "limits", None), CallLimits)
    ]
    first = own[0] if own else CallLimits()
    return replace(
        first,
        total_timeout=sum(limits.total_timeout for limits in own) or first.total_timeout,
        max_attempts=max(2, sum(limits.max_attempts for limits in own)),
    )
