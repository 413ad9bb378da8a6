"""Budgets for providers that do not count their calls themselves: those of programs, and the scripted ones.

While such a call is held, what it calls in turn is not counted again.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from hive_daemon.errors import ModelError
from hive_daemon.llm.failures import as_failure
from hive_daemon.llm.purse import NOBODY, Came, Stand, Wanted, came_of, purse
from hive_daemon.llm.stream_events import (
    FinishEvent,
    ReasoningDeltaEvent,
    StreamEvent,
    TextDeltaEvent,
)
from hive_daemon.llm.values import DEFAULT_MAX_TOKENS, LLMResponse, Message

BYTES_PER_TOKEN = 3
"""Fewer than a token mostly has, so that an estimate is rather too high."""

FAILURES = (ModelError, TimeoutError, ConnectionError)
"""What a failed call raises, also of a provider that is not ours."""


def most_tokens(asked: object) -> int:
    """Return more tokens than a request is likely to have."""
    text = json.dumps(asked, default=str, ensure_ascii=False)
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def is_counted_here(provider: object) -> bool:
    """Say whether a call of this provider must be counted by whoever makes it."""
    return purse.get().counts and not getattr(provider, "counts_itself", False)


def wanted_of(provider: object, messages: list[Message], options: Mapping[str, Any]) -> Wanted:
    """Return the most that a call of any provider may come to."""
    asked = [messages, options.get("system"), [str(tool) for tool in options.get("tools") or ()]]
    cap = int(options.get("max_tokens") or DEFAULT_MAX_TOKENS)
    return Wanted(
        model=str(getattr(provider, "model", "")),
        tokens=most_tokens(asked) + cap,
        cost_usd=0.0 if getattr(provider, "is_free", False) else None,
        stand=getattr(provider, "stand", Stand.ALONE),
    )


async def counted_answer(wanted: Wanted, call: Callable[[], Awaitable[LLMResponse]]) -> LLMResponse:
    """Make a call within the budgets. Raises BudgetExceeded, and what the call raises."""
    hold = await purse.get().hold(wanted)
    came: Came | None = None
    token = purse.set(NOBODY)
    try:
        answer = await call()
        came = _came(answer, wanted)
        return answer
    except FAILURES as error:
        came = came_of(as_failure(error), was_heard=False)
        raise
    finally:
        purse.reset(token)
        hold.settle(came)


async def counted_stream(
    wanted: Wanted, events: AsyncIterator[StreamEvent]
) -> AsyncGenerator[StreamEvent, None]:
    """Stream an answer within the budgets. Raises BudgetExceeded, and what the stream raises."""
    hold = await purse.get().hold(wanted)
    came: Came | None = None
    was_heard = False
    try:
        while (event := await _next(events)) is not None:
            match event:
                case FinishEvent():
                    came = _came(event, wanted)
                case TextDeltaEvent() | ReasoningDeltaEvent():
                    was_heard = True
            yield event
    except FAILURES as error:
        came = came or came_of(as_failure(error), was_heard=was_heard)
        raise
    finally:
        hold.settle(came)


async def _next(events: AsyncIterator[StreamEvent]) -> StreamEvent | None:
    token = purse.set(NOBODY)
    try:
        return await anext(events, None)
    finally:
        purse.reset(token)


def _came(answer: LLMResponse | FinishEvent, wanted: Wanted) -> Came | None:
    """Return what an answer says that it came to; one that counts nothing is not known."""
    tokens = answer.input_tokens + answer.output_tokens
    if not tokens:
        return None
    # What costs nothing does so whatever it says.
    return Came(tokens, 0.0 if wanted.cost_usd == 0 else answer.cost_usd)
