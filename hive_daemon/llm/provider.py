"""The port to language models: what the engine asks and what a provider answers.

A provider of one's own defines `complete` or `stream` (or `acomplete`), with as few of the parameters as it likes:
`ask` and `open_stream` pass only those it takes, and every form that it does not define is made of the others.

Messages are OpenAI-style dicts (`role`, `content`, `tool_calls`, `tool_call_id`); the system prompt travels apart.
The values (`values`) and the failures (`failures`) of the port are offered here too.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from typing import Any, Self

from hive_daemon.llm.blocking import run_blocking
from hive_daemon.llm.failures import CallRejected, CallUnavailable, FailureKind, failure_kind
from hive_daemon.llm.stream_events import (
    FinishEvent,
    StreamErrorEvent,
    StreamEvent,
    TextDeltaEvent,
    TextEndEvent,
    ToolCallEvent,
)
from hive_daemon.llm.values import (
    DEFAULT_MAX_TOKENS,
    CallContext,
    LLMResponse,
    Message,
    Tool,
    ToolExecutor,
    ToolResult,
    ToolUse,
    call_context,
)
from hive_daemon.tasks import to_thread

__all__ = [
    "DEFAULT_MAX_TOKENS",
    "CallContext",
    "CallRejected",
    "CallUnavailable",
    "FailureKind",
    "LLMProvider",
    "LLMResponse",
    "Message",
    "Tool",
    "ToolExecutor",
    "ToolResult",
    "ToolUse",
    "ask",
    "call_context",
    "events_of",
    "failure_kind",
    "gather",
    "open_stream",
    "stream_failure",
]


class LLMProvider:
    """A language model.

    Subclasses define at least one of `complete`, `acomplete`, `stream`; the others follow. A class that defines none
    cannot be made: TypeError.
    """

    model: str = ""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Refuse a class that answers in no form."""
        own = (cls.complete, cls.acomplete, cls.stream)
        if own == (LLMProvider.complete, LLMProvider.acomplete, LLMProvider.stream):
            raise TypeError(f"{cls.__name__} must define complete(), acomplete() or stream()")
        return super().__new__(cls)

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
        options = _options(system, tools, max_tokens, response_format, json_mode)
        return run_blocking(partial(ask, self, messages, **options))

    async def acomplete(
        self,
        messages: list[Message],
        system: str = "",
        tools: list[Tool] | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        response_format: dict[str, Any] | None = None,
        json_mode: bool = False,
    ) -> LLMResponse:
        """Answer as a whole: by `complete` in a worker thread, else by gathering `stream`.

        `json_mode` asks for one JSON object; `response_format` is the protocol's own field.
        """
        if type(self).complete is LLMProvider.complete:
            return await gather(open_stream(self, messages, system, tools, max_tokens))
        options = _options(system, tools, max_tokens, response_format, json_mode)
        call = partial(self.complete, messages, **_fitting(self.complete, options))
        return await to_thread(call)

    async def stream(
        self,
        messages: list[Message],
        system: str = "",
        tools: list[Tool] | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
    ) -> AsyncIterator[StreamEvent]:
        """Answer piece by piece, in the order that `stream_events` states."""
        response = await ask(self, messages, system, tools=tools, max_tokens=max_tokens)
        for event in events_of(response):
            yield event

    async def aclose(self) -> None:
        """Give back connections. A closed provider may be used again."""


async def ask(
    provider: LLMProvider,
    messages: list[Message],
    system: str = "",
    *,
    tools: list[Tool] | None = None,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    **form: Any,
) -> LLMResponse:
    """Ask any provider for a whole answer, whatever its `acomplete` takes.

    `form` is `json_mode` or `response_format`, as `acomplete` has them.
    """
    options = {"system": system, "tools": tools, "max_tokens": max_tokens, **form}
    return await provider.acomplete(messages, **_fitting(provider.acomplete, options))


async def open_stream(
    provider: LLMProvider,
    messages: list[Message],
    system: str = "",
    tools: list[Tool] | None = None,
    max_tokens: int = DEFAULT_MAX_TOKENS,
) -> AsyncGenerator[StreamEvent, None]:
    """Stream from any provider, whatever its `stream` takes, also if it has to be awaited first.

    The provider's generator is closed when this one is: wrap it in `contextlib.aclosing`.
    """
    options = {"system": system, "tools": tools, "max_tokens": max_tokens}
    events: Any = provider.stream(messages, **_fitting(provider.stream, options))
    if inspect.isawaitable(events):
        events = await events
    try:
        async for event in events:
            yield event
    finally:
        if inspect.isasyncgen(events):
            await events.aclose()


def events_of(response: LLMResponse) -> list[StreamEvent]:
    """Write a whole answer as the events that would have streamed it."""
    text = response.content
    events: list[StreamEvent] = []
    if text:
        events += [TextDeltaEvent(content=text, snapshot=text), TextEndEvent(full_text=text)]
    events += [
        ToolCallEvent(tool_use_id=use.id, tool_name=use.name, tool_input=use.input)
        for use in response.tool_calls
    ]
    finish = FinishEvent(
        stop_reason=response.stop_reason,
        input_tokens=response.input_tokens,
        output_tokens=response.output_tokens,
        model=response.model,
        cached_tokens=response.cached_tokens,
        reasoning_tokens=response.reasoning_tokens,
    )
    return [*events, finish]


async def gather(events: AsyncIterator[StreamEvent]) -> LLMResponse:
    """Gather a stream into a whole answer.

    Raises CallUnavailable for a recoverable StreamErrorEvent and for a stream without its end, CallRejected for the
    other errors.
    """
    text: list[str] = []
    calls: list[ToolUse] = []
    finish: FinishEvent | None = None
    async for event in events:
        match event:
            case TextDeltaEvent():
                text.append(event.content)
            case ToolCallEvent():
                calls.append(ToolUse(event.tool_use_id, event.tool_name, event.tool_input))
            case FinishEvent():
                finish = event
            case StreamErrorEvent():
                raise stream_failure(event)
    if finish is None:
        raise CallUnavailable("the answer of the model broke off before its end")
    return LLMResponse(
        content="".join(text),
        model=finish.model,
        input_tokens=finish.input_tokens,
        output_tokens=finish.output_tokens,
        stop_reason=finish.stop_reason,
        tool_calls=tuple(calls),
        cached_tokens=finish.cached_tokens,
        reasoning_tokens=finish.reasoning_tokens,
    )


def stream_failure(event: StreamErrorEvent) -> CallUnavailable | CallRejected:
    """Make the error that an error event stands for."""
    return CallUnavailable(event.error) if event.recoverable else CallRejected(event.error)


def _options(
    system: str,
    tools: list[Tool] | None,
    max_tokens: int,
    response_format: dict[str, Any] | None,
    json_mode: bool,
) -> dict[str, Any]:
    return {
        "system": system,
        "tools": tools,
        "max_tokens": max_tokens,
        "response_format": response_format,
        "json_mode": json_mode,
    }


def _fitting(call: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    taken = inspect.signature(call).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in taken.values()):
        return options
    return {name: value for name, value in options.items() if name in taken}
