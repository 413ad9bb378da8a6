"""The port: a provider that defines one form offers them all, with as few parameters as it likes."""

import threading
from contextlib import aclosing

import pytest

from hive_daemon.llm.failures import CallRejected, CallUnavailable
from hive_daemon.llm.provider import (
    CallContext,
    LLMProvider,
    LLMResponse,
    Tool,
    ToolUse,
    ask,
    call_context,
    gather,
    open_stream,
)
from hive_daemon.llm.stream_events import (
    FinishEvent,
    StreamErrorEvent,
    StreamResetEvent,
    TextDeltaEvent,
    TextEndEvent,
    ToolCallEvent,
)

ASKED = [{"role": "user", "content": "hello"}]
USE = ToolUse("c1", "add", {"a": 1})


class OnlyComplete(LLMProvider):
    """As old as they come."""

    def complete(self, messages, system=""):
        thread = threading.current_thread()
        where = "loop" if thread is threading.main_thread() else "worker"
        return LLMResponse(f"{system}{messages[0]['content']} from a {where}", "old", 3, 4, "stop")


class OnlyStream(LLMProvider):
    async def stream(self, messages, system, tools, max_tokens):
        yield TextDeltaEvent(content="hel", snapshot="hel")
        yield TextDeltaEvent(content="lo", snapshot="hello")
        yield TextEndEvent(full_text="hello")
        yield ToolCallEvent(tool_use_id="c1", tool_name="add", tool_input={"a": 1})
        yield FinishEvent(stop_reason="tool_calls", input_tokens=5, output_tokens=6, model="s")


class OnlyAcomplete(LLMProvider):
    async def acomplete(self, messages, system="", **options):
        assert options["max_tokens"] == 9
        return LLMResponse("", "a", tool_calls=(USE,))


class AwaitedStream(LLMProvider):
    async def stream(self, messages, **_options):
        return OnlyStream().stream(messages, "", None, 1)


async def events_from(provider, **options):
    async with aclosing(open_stream(provider, ASKED, **options)) as events:
        return [event async for event in events]


async def test_a_provider_with_only_complete_answers_from_a_worker_thread():
    response = await OnlyComplete().acomplete(ASKED, "Sir, ")
    assert response.content == "Sir, hello from a worker"


async def test_a_provider_with_only_complete_streams_its_answer_in_one_piece():
    assert await events_from(OnlyComplete(), tools=[Tool("add", "")]) == [
        TextDeltaEvent(
            content="hello from a worker",
            snapshot="hello from a worker",
        ),
        TextEndEvent(full_text="hello from a worker"),
        FinishEvent(stop_reason="stop", input_tokens=3, output_tokens=4, model="old"),
    ]


async def test_a_provider_with_only_stream_answers_as_a_whole():
    assert await ask(OnlyStream(), ASKED) == LLMResponse(
        "hello", "s", 5, 6, "tool_calls", tool_calls=(USE,)
    )


def test_a_provider_with_only_stream_answers_blocking_code():
    assert OnlyStream().complete(ASKED).content == "hello"


async def test_blocking_complete_works_on_a_thread_that_runs_a_loop():
    assert OnlyStream().complete(ASKED).content == "hello"


async def test_tool_calls_of_a_whole_answer_come_out_of_its_stream():
    assert await events_from(OnlyAcomplete(), max_tokens=9) == [
        ToolCallEvent(tool_use_id="c1", tool_name="add", tool_input={"a": 1}),
        FinishEvent(model="a"),
    ]


async def test_a_stream_that_has_to_be_awaited_first_streams():
    assert (await events_from(AwaitedStream()))[-1].model == "s"


def test_a_provider_that_answers_in_no_form_cannot_be_made():
    class Mute(LLMProvider):
        pass

    with pytest.raises(TypeError, match="Mute must define complete"):
        Mute()


async def test_leaving_open_stream_early_closes_the_stream_of_the_provider():
    closed = []

    class Endless(LLMProvider):
        async def stream(self, messages):
            try:
                while True:
                    yield TextDeltaEvent(content="x", snapshot="x")
            finally:
                closed.append(True)

    async with aclosing(open_stream(Endless(), ASKED)) as events:
        await anext(events)
    assert closed == [True]


class Resets(LLMProvider):
    """Breaks off once, and tries again where that is known."""

    async def stream(self, messages, resets=False):
        if resets:
            yield TextDeltaEvent(content="wro", snapshot="wro")
            yield ToolCallEvent(tool_use_id="c1", tool_name="add", tool_input={})
            yield StreamResetEvent(attempt=2, reason="broke off")
        yield TextDeltaEvent(content="right", snapshot="right")
        yield FinishEvent(stop_reason="stop", cost_usd=0.5, is_estimated=True)


async def test_resets_come_only_to_who_asks_for_them():
    assert not any(isinstance(event, StreamResetEvent) for event in await events_from(Resets()))
    events = await events_from(Resets(), resets=True)
    assert any(isinstance(event, StreamResetEvent) for event in events)


async def test_resets_are_not_asked_of_a_provider_that_does_not_name_them():
    assert (await events_from(AwaitedStream(), resets=True))[-1].model == "s"


async def test_gathering_forgets_what_came_before_a_reset():
    response = await gather(open_stream(Resets(), ASKED, resets=True))
    assert (response.content, response.tool_calls) == ("right", ())
    assert (response.cost_usd, response.is_estimated) == (0.5, True)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (StreamErrorEvent(error="busy", recoverable=True), CallUnavailable),
        (StreamErrorEvent(error="no", recoverable=False), CallRejected),
        (TextDeltaEvent(content="a", snapshot="a"), CallUnavailable),
    ],
)
async def test_gathering_a_stream_that_fails_or_breaks_off_raises(event, expected):
    async def events():
        yield event

    with pytest.raises(expected):
        await gather(events())


async def test_the_call_context_reaches_a_blocking_provider():
    class Labelled(LLMProvider):
        def complete(self, messages):
            return LLMResponse(call_context.get().node_id, "m")

    token = call_context.set(CallContext(node_id="triage"))
    try:
        assert (await Labelled().acomplete(ASKED)).content == "triage"
    finally:
        call_context.reset(token)
