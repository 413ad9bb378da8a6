"""One model call of the loop: streamed, shown while it comes, tried again where that may help.

Laws: the answer is that of one try only; tool calls of a broken try are never seen; what was shown of one is taken back
before the next. A provider of ours tries by itself until something was handed out: such a call is tried again here only
when it broke off after that, so that tries do not multiply.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from hive_daemon.clock import Clock
from hive_daemon.errors import ModelError
from hive_daemon.graph.facts import NodeRetry, Recorder
from hive_daemon.graph.live_text import LiveText
from hive_daemon.graph.loop_config import LoopConfig
from hive_daemon.graph.model_facts import LlmCallFailed
from hive_daemon.llm.failures import CallFailure, CallUnavailable, as_failure
from hive_daemon.llm.limits import CallLimits
from hive_daemon.llm.provider import LLMProvider, open_stream, stream_failure, takes_resets
from hive_daemon.llm.stream_events import (
    FinishEvent,
    ReasoningDeltaEvent,
    StreamErrorEvent,
    StreamResetEvent,
    TextDeltaEvent,
    ToolCallEvent,
)
from hive_daemon.llm.values import CallContext, Message, Tool, ToolUse, call_context
from hive_daemon.pulse import asking, resting

FAILURES = (ModelError, TimeoutError, ConnectionError)
"""What a failed call raises, also of a provider that is not ours."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, and what is said about the call."""

    messages: list[Message]
    system: str
    tools: list[Tool]
    max_tokens: int
    context: CallContext


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of the model."""

    text: str
    calls: tuple[ToolUse, ...]
    finish: FinishEvent
    latency_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls one model for one node."""

    llm: LLMProvider
    recorder: Recorder
    clock: Clock
    config: LoopConfig
    node_id: str
    is_client_facing: bool = False
    roll: Callable[[], float] = field(default=random.random)

    async def call(self, request: Request) -> Answer:
        """Return the answer. Raises CallUnavailable when no try gave one, CallRejected when none would."""
        live = LiveText(
            self.recorder, self.clock, self.node_id, is_client_facing=self.is_client_facing
        )
        began = self.clock.monotonic()
        attempt = 1
        while True:
            live.begin(attempt)
            context = replace(request.context, attempt=attempt)
            try:
                with asking(str(getattr(self.llm, "model", ""))):
                    answer = await self._once(replace(request, context=context), live)
            except FAILURES as error:
                failure = as_failure(error)
            else:
                took = self.clock.monotonic() - began
                return replace(answer, latency_seconds=took)
            await self._pause(failure, attempt)
            attempt += 1

    async def _once(self, request: Request, live: LiveText) -> Answer:
        calls: list[ToolUse] = []
        finish: FinishEvent | None = None
        token = call_context.set(request.context)
        stream = open_stream(
            self.llm,
            request.messages,
            request.system,
            request.tools,
            request.max_tokens,
            resets=True,
        )
        try:
            async with aclosing(stream) as events:
                async for event in events:
                    match event:
                        case TextDeltaEvent():
                            live.write(event.content)
                        case ReasoningDeltaEvent():
                            live.think(event.content)
                        case ToolCallEvent():
                            calls.append(
                                ToolUse(event.tool_use_id, event.tool_name, event.tool_input)
                            )
                        case FinishEvent():
                            finish = event
                        case StreamResetEvent():
                            calls.clear()
                            live.begin(event.attempt)
                            await self._note_retry(event)
                        case StreamErrorEvent():
                            raise stream_failure(event)
        finally:
            call_context.reset(token)
            live.flush()
        if finish is None:
            raise CallUnavailable(
                "the answer of the model broke off before its end", delivered=bool(live.text)
            )
        return Answer(live.text, tuple(calls), finish)

    async def _note_retry(self, event: StreamResetEvent) -> None:
        limits = getattr(self.llm, "limits", None)
        most = (
            limits.max_attempts - 1
            if isinstance(limits, CallLimits)
            else self.config.max_stream_retries
        )
        await self._tell_retry(event.attempt - 1, most, event.reason, event.pause_seconds)

    async def _pause(self, failure: CallFailure, attempt: int) -> None:
        """Wait for the next try, or raise the failure when there is none."""
        pause = pause_seconds(self.config, attempt, failure, self.roll())
        is_final = tries_itself(self.llm) and (
            takes_resets(self.llm) or not _was_delivered(failure)
        )
        if pause is None or is_final:
            self.recorder.note(
                LlmCallFailed(
                    self.node_id, self.llm.model, failure.kind.value, str(failure), attempt
                )
            )
            raise failure
        most = self.config.max_stream_retries
        await self._tell_retry(attempt, most, str(failure), round(pause, 3))
        with resting():
            await self.clock.sleep(pause)

    async def _tell_retry(self, attempt: int, most: int, reason: str, pause: float) -> None:
        await self.recorder.record(
            NodeRetry(self.node_id, attempt, most, reason, pause, self.llm.model)
        )


def pause_seconds(
    config: LoopConfig, attempt: int, failure: CallFailure, roll: float
) -> float | None:
    """Say how long to wait after try number `attempt` failed; None: do not try again.

    The pause is what the service asked for, else a random part (`roll`, 0 to 1) of a time that doubles with each try.
    """
    if not isinstance(failure, CallUnavailable) or attempt > config.max_stream_retries:
        return None
    ceiling = config.stream_retry_backoff_base * 2.0 ** (attempt - 1)
    own = roll * min(ceiling, config.stream_retry_max_delay)
    return max(own, min(failure.retry_after_seconds or 0.0, config.stream_retry_max_delay))


def tries_itself(llm: LLMProvider) -> bool:
    """Say whether a provider tries a failed call again by itself."""
    limits = getattr(llm, "limits", None)
    return isinstance(limits, CallLimits) and limits.max_attempts > 1


def _was_delivered(failure: CallFailure) -> bool:
    return isinstance(failure, CallUnavailable) and failure.delivered
