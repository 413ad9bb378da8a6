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
from hive_daemon.llm.metering import counted_answer, counted_stream, is_counted_here, wanted_of
from hive_daemon.llm.purse import Stand
from hive_daemon.llm.stream_events import (
    FinishEvent,
    StreamErrorEvent,
    StreamEvent,
    StreamResetEvent,
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
from hive_daemon.pulse import beat
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
    "takes_resets",
]


class LLMProvider:
    """A language model.

    Subclasses define at least one of `complete`, `acomplete`, `stream`; the others follow. A class that defines none
    cannot be made: TypeError.

    `counts_itself`: its calls pass the budgets (`llm.purse`) by themselves, each try for itself; `is_free`: they cost
    no money. `stand` is set by a chain of models for those in it.
    """

    model: str = ""
    counts_itself: bool = False
    is_free: bool = False
    stand: Stand = Stand.ALONE

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
    call = partial(provider.acomplete, messages, **_fitting(provider.acomplete, options))
    if is_counted_here(provider):
        return await counted_answer(wanted_of(provider, messages, options), call)
    return await call()


async def open_stream(
    provider: LLMProvider,
    messages: list[Message],
    system: str = "",
    tools: list[Tool] | None = None,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    *,
    resets: bool = False,
) -> AsyncGenerator[StreamEvent, None]:
    """Stream from any provider, whatever its `stream` takes, also if it has to be awaited first.

    The provider's generator is closed when this one is: wrap it in `contextlib.aclosing`. With `resets` the caller
    knows `StreamResetEvent`: a provider that can then tries an answer again that broke off in its midst.
    """
    options = {"system": system, "tools": tools, "max_tokens": max_tokens}
    fitting = _fitting(provider.stream, options)
    if resets and takes_resets(provider):
        fitting["resets"] = True
    events: Any = provider.stream(messages, **fitting)
    if inspect.isawaitable(events):
        events = await events
    told: Any = events
    if is_counted_here(provider):
        told = counted_stream(wanted_of(provider, messages, options), events)
    try:
        async for event in told:
            beat()
            yield event
    finally:
        for generator in (told, events):
            if inspect.isasyncgen(generator):
                await generator.aclose()


def takes_resets(provider: LLMProvider) -> bool:
    """Say whether a provider can try an answer again that broke off in its midst, and tell it by `StreamResetEvent`.

    Only one that names the parameter: what takes anything may hand everything on to a service.
    """
    return "resets" in inspect.signature(provider.stream).parameters


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
        cache_write_tokens=response.cache_write_tokens,
        is_estimated=response.is_estimated,
        cost_usd=response.cost_usd,
    )
    return [*events, finish]


async def gather(events: AsyncIterator[StreamEvent]) -> LLMResponse:
    """Gather a stream into a whole answer.

    Raises CallUnavailable for a recoverable StreamErrorEvent and for a stream without its end, CallRejected for the
    other errors.
    """
    gathered = Gathered()
    async for event in events:
        gathered.take(event)
    return gathered.response()


class Gathered:
    """The events of an answer, as they come together."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._calls: list[ToolUse] = []
        self._finish: FinishEvent | None = None

    def take(self, event: StreamEvent) -> None:
        """Take the next event. Raises as `gather`."""
        match event:
            case TextDeltaEvent():
                self._text.append(event.content)
            case ToolCallEvent():
                self._calls.append(ToolUse(event.tool_use_id, event.tool_name, event.tool_input))
            case FinishEvent():
                self._finish = event
            case StreamResetEvent():
                self._text, self._calls = [], []
            case StreamErrorEvent():
                raise stream_failure(event)

    def response(self, raw_response: object = None) -> LLMResponse:
        """Return the whole answer. Raises CallUnavailable if its end did not come."""
        finish = self._finish
        if finish is None:
            raise CallUnavailable("the answer of the model broke off before its end")
        return LLMResponse(
            content="".join(self._text),
            model=finish.model,
            input_tokens=finish.input_tokens,
            output_tokens=finish.output_tokens,
            stop_reason=finish.stop_reason,
            raw_response=raw_response,
            tool_calls=tuple(self._calls),
            cached_tokens=finish.cached_tokens,
            reasoning_tokens=finish.reasoning_tokens,
            cache_write_tokens=finish.cache_write_tokens,
            is_estimated=finish.is_estimated,
            cost_usd=finish.cost_usd,
            in_place_of=finish.in_place_of,
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
