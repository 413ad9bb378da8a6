"""Providers in front of prepared answers, for the tests that hold for all of them.

    async with NativeStage() as stage:
        provider = stage.provider(Reply(text="hello"), Failure(500))

A stage speaks for one transport; the answers are the same for all.
"""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from typing import Self

from hive_daemon.llm.factory import ModelChoice, make_provider
from hive_daemon.llm.failures import kind_of_status
from hive_daemon.llm.provider import LLMProvider, Tool
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.stream_events import StreamEvent
from tests.fakes.openai_server import Answer, Call, Failure, FakeOpenAI, Reply

KEY = "sk-test-0123456789abcdef"
ASKED = [{"role": "user", "content": "What is the weather?"}]
ADD = Tool("add", "Add two numbers", {"properties": {"a": {"type": "integer"}}})
QUICK = {"backoff_base": 0.01, "backoff_max": 0.02}
TALK = Reply(text="It is sunny, and will stay so for the week.")
TOOLS = Reply(
    text="Let me see.",
    calls=(Call("add", {"a": 1, "b": [2, 3]}), Call("look_up", {"city": "Zürich"})),
)


class HttpStage:
    """A transport, against the fake server."""

    transport: str

    def __init__(self) -> None:
        self.server = FakeOpenAI()
        self._made: list[LLMProvider] = []

    async def __aenter__(self) -> Self:
        await self.server.__aenter__()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for provider in self._made:
            await provider.aclose()
        await self.server.__aexit__()

    def provider(
        self, *answers: Answer, model: str = "openai/fake", api_base: str = "", **options: object
    ) -> LLMProvider:
        """Make a provider whose requests are answered so."""
        self.server.script(*answers)
        options = {**QUICK, "transport": self.transport, **options}
        base = api_base or self.server.base_url
        provider = make_provider(model, api_key=KEY, api_base=base, **options)
        self._made.append(provider)
        return provider

    def other(self, model: str = "openai/other") -> ModelChoice:
        """Name a further model of the server, as a fallback."""
        return ModelChoice(model, KEY, self.server.base_url)


class LiteLLMStage(HttpStage):
    """litellm."""

    transport = "litellm"
    _is_warm = False

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if not LiteLLMStage._is_warm:
            # Its first calls import for seconds, which no deadline of a test allows for.
            provider = self.provider()
            await provider.acomplete(ASKED)
            await events_from(provider)
            self.server.requests.clear()
            LiteLLMStage._is_warm = True
        return self


class NativeStage(HttpStage):
    """Our own transport."""

    transport = "native"


class ScriptedStage:
    """The scripted provider, its script written from the same answers."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        pass

    def provider(self, *answers: Answer, **_options: object) -> LLMProvider:
        """Make a provider that answers so."""
        turns = [_turn(answer) for answer in answers]
        return ScriptedProvider({"default": turns, "completions": turns})


HTTP = [LiteLLMStage, NativeStage]
ALL = [*HTTP, ScriptedStage]


def _turn(answer: Answer) -> dict[str, object]:
    if isinstance(answer, Failure):
        kind = kind_of_status(answer.status, answer.code or "")
        return {"error": {"kind": str(kind), "message": answer.message}}
    calls = [{"name": call.name, "input": call.arguments} for call in answer.calls]
    return {"text": answer.text, "reasoning": answer.reasoning, "tool_calls": calls}


async def events_from(
    provider: LLMProvider, tools: list[Tool] | None = None, **form: bool
) -> list[StreamEvent]:
    """Return all events of a streamed answer."""
    async with aclosing(provider.stream(ASKED, "Be brief.", tools, **form)) as events:
        return [event async for event in events]


async def gather_into(seen: list[StreamEvent], provider: LLMProvider, **form: bool) -> None:
    """Add the events of a streamed answer to those seen, also of one that breaks."""
    async with aclosing(provider.stream(ASKED, **form)) as events:
        async for event in events:
            seen.append(event)


def of(events: list[StreamEvent], kind: type) -> list[StreamEvent]:
    """Return the events of one kind."""
    return [event for event in events if isinstance(event, kind)]


@contextmanager
def calls_may_be_cut_short() -> Iterator[None]:
    """Allow for the coroutine that litellm never awaits when a call is cancelled before its request went out."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        gc.collect()


async def until_no_connection_is_open(server: FakeOpenAI) -> None:
    """Return when the server has no connection."""
    async with asyncio.timeout(10):
        while server.open_connections:
            await asyncio.sleep(0)
