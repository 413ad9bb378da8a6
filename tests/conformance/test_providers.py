"""What every model provider keeps, whatever it speaks to.

A stage (`tests.fakes.model_stages`) puts a provider in front of prepared answers. The laws of the port hold for all
stages; those about deadlines, retries and connections for the stages that speak HTTP. A new transport joins by one more
stage.
"""

import asyncio
import json
import logging
from contextlib import aclosing

import pytest

from hive_daemon.errors import ModelRejected, ModelUnavailable
from hive_daemon.llm.failures import CallRejected, CallUnavailable, FailureKind
from hive_daemon.llm.litellm_provider import QUIET_WARNING
from hive_daemon.llm.provider import LLMResponse, ToolResult, ToolUse
from hive_daemon.llm.stream_events import (
    FinishEvent,
    ReasoningDeltaEvent,
    ReasoningStartEvent,
    StreamEvent,
    StreamResetEvent,
    TextDeltaEvent,
    TextEndEvent,
    ToolCallEvent,
)
from tests.fakes.model_stages import (
    ADD,
    ALL,
    ASKED,
    HTTP,
    KEY,
    TALK,
    TOOLS,
    calls_may_be_cut_short,
    events_from,
    gather_into,
    of,
    until_no_connection_is_open,
)
from tests.fakes.openai_server import Break, Call, Failure, Reply, Usage, breaking

pytestmark = pytest.mark.filterwarnings(f"ignore:{QUIET_WARNING}:UserWarning")


@pytest.fixture(params=ALL, ids=lambda stage: stage.__name__)
async def stage(request):
    async with request.param() as stage:
        yield stage


@pytest.fixture(params=HTTP, ids=lambda stage: stage.__name__)
async def wire(request):
    async with request.param() as stage:
        yield stage


@pytest.fixture
def calls_cut_short():
    with calls_may_be_cut_short():
        yield


# --- every provider


async def test_text_streams_in_pieces_whose_snapshots_grow_to_the_full_text(stage):
    events = await events_from(stage.provider(TALK))
    deltas = of(events, TextDeltaEvent)
    assert len(deltas) > 1
    said = ""
    for delta in deltas:
        said += delta.content
        assert delta.snapshot == said
    assert of(events, TextEndEvent) == [TextEndEvent(full_text=TALK.text)]
    assert said == TALK.text


async def test_the_last_event_is_the_finish_with_the_usage(stage):
    *before, finish = await events_from(stage.provider(TALK))
    assert isinstance(finish, FinishEvent)
    assert not of(before, FinishEvent)
    assert finish.stop_reason == "stop"
    assert finish.input_tokens > 0
    assert finish.output_tokens > 0
    assert finish.model


async def test_parallel_tool_calls_come_whole_in_order_after_the_text(stage):
    events = await events_from(stage.provider(TOOLS), [ADD])
    *_, end, first, second, finish = events
    assert end == TextEndEvent(full_text=TOOLS.text)
    assert (first.tool_name, first.tool_input) == ("add", {"a": 1, "b": [2, 3]})
    assert (second.tool_name, second.tool_input) == ("look_up", {"city": "Zürich"})
    assert first.tool_use_id != second.tool_use_id
    assert finish.stop_reason == "tool_calls"


async def test_an_answer_of_tool_calls_alone_has_no_text_events(stage):
    events = await events_from(stage.provider(Reply(calls=(Call("add", {"a": 1}),))), [ADD])
    assert [type(event) for event in events] == [ToolCallEvent, FinishEvent]


async def test_reasoning_is_announced_once_and_kept_apart_from_the_text(stage):
    answer = Reply(text="Sunny.", reasoning="The sky is blue, hence it is sunny.")
    events = await events_from(stage.provider(answer))
    thoughts = "".join(event.content for event in of(events, ReasoningDeltaEvent))
    assert events[0] == ReasoningStartEvent()
    assert of(events, ReasoningStartEvent) == [ReasoningStartEvent()]
    assert thoughts == answer.reasoning
    assert of(events, TextEndEvent) == [TextEndEvent(full_text="Sunny.")]


async def test_a_whole_answer_says_what_the_stream_says(stage):
    provider = stage.provider(TOOLS)
    response = await provider.acomplete(ASKED, "Be brief.", tools=[ADD])
    assert response.content == TOOLS.text
    assert [(use.name, use.input) for use in response.tool_calls] == [
        ("add", {"a": 1, "b": [2, 3]}),
        ("look_up", {"city": "Zürich"}),
    ]
    assert response.stop_reason == "tool_calls"
    assert response.input_tokens > 0


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Failure(401, code="invalid_api_key"), FailureKind.AUTH),
        (Failure(403), FailureKind.AUTH),
        (Failure(402), FailureKind.QUOTA),
        (Failure(429, code="insufficient_quota"), FailureKind.QUOTA),
        (Failure(400, type="invalid_request_error"), FailureKind.BAD_REQUEST),
        (Failure(404, code="model_not_found"), FailureKind.BAD_REQUEST),
        (Failure(400, code="context_length_exceeded"), FailureKind.CONTEXT_LENGTH),
        (Failure(429, code="rate_limit_exceeded"), FailureKind.RATE_LIMITED),
        (Failure(408), FailureKind.TRANSIENT),
        (Failure(500), FailureKind.TRANSIENT),
        (Failure(503), FailureKind.TRANSIENT),
        (Failure(529), FailureKind.TRANSIENT),
    ],
    ids=lambda value: str(getattr(value, "status", value)),
)
async def test_a_failure_has_its_kind_streamed_or_not(stage, failure, kind):
    expected = CallUnavailable if kind.is_retryable else CallRejected
    with pytest.raises(expected) as streamed:
        await events_from(stage.provider(failure, max_attempts=1))
    with pytest.raises(expected) as whole:
        await stage.provider(failure, max_attempts=1).acomplete(ASKED)
    assert (streamed.value.kind, whole.value.kind) == (kind, kind)
    assert issubclass(expected, ModelUnavailable if kind.is_retryable else ModelRejected)


async def test_closing_twice_is_harmless_and_a_closed_provider_answers_again(stage):
    provider = stage.provider(Reply(text="one"), Reply(text="one"))
    assert (await provider.acomplete(ASKED)).content == "one"
    await provider.aclose()
    await provider.aclose()
    assert (await provider.acomplete(ASKED)).content == "one"


# --- providers on HTTP: what is sent


async def test_the_request_carries_the_prompt_the_tools_and_the_limit(wire):
    provider = wire.provider(TALK)
    await provider.acomplete(ASKED, "Be brief.", tools=[ADD], max_tokens=77)
    (request,) = wire.server.requests
    assert request.messages == [{"role": "system", "content": "Be brief."}, *ASKED]
    assert request.body["max_tokens"] == 77
    function = request.body["tools"][0]["function"]
    assert function["name"] == "add"
    assert function["parameters"] == {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
    }
    assert request.key == KEY
    assert request.body["model"] == "fake"


async def test_without_tools_and_system_none_are_sent(wire):
    await wire.provider(TALK).acomplete(ASKED)
    (request,) = wire.server.requests
    assert "tools" not in request.body
    assert request.messages == ASKED


async def test_json_mode_asks_for_an_object_in_the_request_and_in_words(wire):
    await wire.provider(Reply(text="{}")).acomplete(ASKED, json_mode=True)
    (request,) = wire.server.requests
    assert request.body["response_format"] == {"type": "json_object"}
    assert "JSON" in request.messages[0]["content"]


async def test_other_options_are_passed_on(wire):
    await wire.provider(TALK, temperature=0.25).acomplete(ASKED)
    (request,) = wire.server.requests
    assert request.body["temperature"] == 0.25


async def test_retries_asked_of_the_library_do_not_multiply_ours(wire):
    provider = wire.provider(*[Failure(503)] * 9, max_attempts=2, max_retries=4, num_retries=4)
    with pytest.raises(CallUnavailable):
        await provider.acomplete(ASKED)
    assert len(wire.server.requests) == 2


# --- providers on HTTP: what is read


@pytest.mark.parametrize("streams", [True, False])
async def test_usage_counts_cached_and_reasoning_tokens(wire, streams):
    provider = wire.provider(Reply(text="ok", usage=Usage(100, 50, 30, 20)))
    if streams:
        answer = (await events_from(provider))[-1]
    else:
        answer = await provider.acomplete(ASKED)
    counts = (
        answer.input_tokens,
        answer.output_tokens,
        answer.cached_tokens,
        answer.reasoning_tokens,
    )
    assert counts == (100, 50, 30, 20)


@pytest.mark.parametrize("streams", [True, False])
async def test_a_call_costs_what_the_price_list_says(wire, streams):
    usage = Usage(input_tokens=1000, output_tokens=500, cached_tokens=400)
    provider = wire.provider(Reply(text="ok", usage=usage), model="openai/gpt-4o-mini")
    answer = (await events_from(provider))[-1] if streams else await provider.acomplete(ASKED)
    assert answer.cost_usd == pytest.approx(600 * 0.15e-6 + 400 * 0.075e-6 + 500 * 0.6e-6)


@pytest.mark.parametrize("streams", [True, False])
async def test_a_price_that_nobody_knows_is_none(wire, streams):
    provider = wire.provider(TALK)
    answer = (await events_from(provider))[-1] if streams else await provider.acomplete(ASKED)
    assert answer.cost_usd is None


@pytest.mark.parametrize("streams", [True, False])
async def test_tokens_that_the_service_did_not_count_are_guessed_and_never_0(wire, streams):
    provider = wire.provider(Reply(text="a good answer", usage=None))
    answer = (await events_from(provider))[-1] if streams else await provider.acomplete(ASKED)
    assert answer.input_tokens > 0
    assert answer.output_tokens > 0


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("", {}),
        ("{not json", {"_raw": "{not json"}),
        ('["a list"]', {"_raw": '["a list"]'}),
        ('{"a": 1}', {"a": 1}),
    ],
)
async def test_arguments_that_are_no_object_come_raw(wire, streams, sent, read):
    provider = wire.provider(Reply(calls=(Call("add", sent),)))
    if streams:
        call = of(await events_from(provider, [ADD]), ToolCallEvent)[0]
        assert call.tool_input == read
    else:
        response = await provider.acomplete(ASKED, tools=[ADD])
        assert response.tool_calls[0].input == read


async def test_a_length_stop_is_told(wire):
    events = await events_from(wire.provider(Reply(text="cut", finish_reason="length")))
    assert events[-1].stop_reason == "length"


# --- providers on HTTP: failures on the way


@pytest.mark.parametrize("how", [Break.CUT, Break.END, Break.GARBAGE, Break.ERROR_EVENT])
async def test_a_stream_that_breaks_before_its_first_delta_is_tried_again(wire, how):
    events = await events_from(wire.provider(breaking(TALK, how, 1), TALK))
    assert of(events, TextEndEvent) == [TextEndEvent(full_text=TALK.text)]
    assert len(wire.server.requests) == 2


@pytest.mark.parametrize("how", [Break.CUT, Break.END, Break.GARBAGE, Break.ERROR_EVENT])
async def test_a_stream_that_breaks_after_a_delta_fails_and_is_not_tried_again(wire, how):
    provider = wire.provider(breaking(TALK, how, 3), TALK)
    seen: list[StreamEvent] = []
    with pytest.raises(CallUnavailable) as failure:
        await gather_into(seen, provider)
    assert (failure.value.kind, failure.value.delivered) == (FailureKind.TRANSIENT, True)
    assert {type(event) for event in seen} == {TextDeltaEvent}
    assert len(wire.server.requests) == 1


@pytest.mark.parametrize("how", [Break.CUT, Break.END, Break.GARBAGE, Break.ERROR_EVENT])
async def test_for_who_knows_resets_a_broken_stream_is_taken_back_and_tried_again(wire, how):
    provider = wire.provider(breaking(TALK, how, 3), TALK)
    events = await events_from(provider, resets=True)
    (reset,) = of(events, StreamResetEvent)
    assert (reset.attempt, reset.model, bool(reset.reason)) == (2, "openai/fake", True)
    place = events.index(reset)
    assert {type(event) for event in events[:place]} == {TextDeltaEvent}
    said = "".join(event.content for event in of(events[place:], TextDeltaEvent))
    assert said == TALK.text
    assert of(events, TextEndEvent) == [TextEndEvent(full_text=TALK.text)]


async def test_every_further_try_is_announced_with_its_number(wire):
    provider = wire.provider(breaking(TALK, Break.CUT, 1), Failure(503), TALK)
    events = await events_from(provider, resets=True)
    assert [reset.attempt for reset in of(events, StreamResetEvent)] == [2, 3]
    assert of(events, TextEndEvent) == [TextEndEvent(full_text=TALK.text)]


async def test_with_resets_too_tries_are_bounded(wire):
    provider = wire.provider(*[breaking(TALK, Break.CUT, 3)] * 9, max_attempts=3)
    seen: list[StreamEvent] = []
    with pytest.raises(CallUnavailable) as failure:
        await gather_into(seen, provider, resets=True)
    assert failure.value.delivered
    assert len(wire.server.requests) == 3
    assert len(of(seen, StreamResetEvent)) == 2


@pytest.mark.parametrize("how", [Break.CUT, Break.END, Break.ERROR_EVENT])
async def test_an_answer_whose_end_was_told_is_complete_whatever_comes_then(wire, how):
    short = Reply(text="Sunny.")
    head, text, end = 1, 1, 1
    events = await events_from(wire.provider(breaking(short, how, head + text + end)))
    assert of(events, TextEndEvent) == [TextEndEvent(full_text="Sunny.")]
    assert events[-1].input_tokens > 0
    assert len(wire.server.requests) == 1


async def test_tool_calls_of_a_broken_answer_never_come_out(wire):
    whole = Reply(calls=(Call("add", {"a": 1, "b": 2}),))
    events = await events_from(wire.provider(breaking(whole, Break.END, 3), TALK), [ADD])
    assert of(events, ToolCallEvent) == []
    assert of(events, TextEndEvent) == [TextEndEvent(full_text=TALK.text)]


@pytest.mark.parametrize("how", [Break.CUT, Break.END, Break.GARBAGE])
async def test_a_whole_answer_that_breaks_is_tried_again(wire, how):
    response = await wire.provider(breaking(TALK, how), TALK).acomplete(ASKED)
    assert response.content == TALK.text
    assert len(wire.server.requests) == 2


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("failure", [Failure(500), Failure(503), Failure(429, retry_after="0")])
async def test_a_passing_failure_is_tried_again(wire, streams, failure):
    provider = wire.provider(failure, failure, TALK)
    if streams:
        assert of(await events_from(provider), TextEndEvent)
    else:
        assert (await provider.acomplete(ASKED)).content == TALK.text
    assert len(wire.server.requests) == 3


@pytest.mark.parametrize("streams", [True, False])
async def test_tries_are_bounded(wire, streams):
    provider = wire.provider(*[Failure(503)] * 9, max_attempts=3)
    with pytest.raises(CallUnavailable):
        await (events_from(provider) if streams else provider.acomplete(ASKED))
    assert len(wire.server.requests) == 3


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("failure", [Failure(401), Failure(402), Failure(400)])
async def test_a_refusal_is_not_tried_again(wire, streams, failure):
    provider = wire.provider(failure, TALK)
    with pytest.raises(CallRejected):
        await (events_from(provider) if streams else provider.acomplete(ASKED))
    assert len(wire.server.requests) == 1


async def test_the_wait_that_the_service_asks_for_is_told(wire):
    with pytest.raises(CallUnavailable) as failure:
        await wire.provider(Failure(429, retry_after="7"), max_attempts=1).acomplete(ASKED)
    assert failure.value.retry_after_seconds == 7.0


STALLS = [
    (Reply(breaks=Break.STALL_BEFORE_HEADERS), {"ttft_timeout": 0.3}),
    (breaking(TALK, Break.STALL, 0), {"ttft_timeout": 0.3}),
    (breaking(TALK, Break.TRICKLE, 0), {"ttft_timeout": 0.3}),
    (breaking(TALK, Break.STALL, 1), {"stream_idle_timeout": 0.3}),
    (breaking(TALK, Break.TRICKLE, 1), {"stream_idle_timeout": 0.3}),
]


@pytest.mark.usefixtures("calls_cut_short")
@pytest.mark.parametrize(("answer", "limits"), STALLS)
async def test_a_stalled_stream_is_given_up_and_tried_again(wire, answer, limits):
    wire.server.otherwise = TALK
    events = await events_from(wire.provider(answer, max_attempts=9, **limits))
    assert of(events, TextEndEvent) == [TextEndEvent(full_text=TALK.text)]


@pytest.mark.usefixtures("calls_cut_short")
async def test_a_stream_that_stalls_in_its_text_fails_with_what_it_waited_for(wire):
    with pytest.raises(CallUnavailable, match=r"no further piece within 0\.3 s") as failure:
        await events_from(wire.provider(breaking(TALK, Break.STALL, 4), stream_idle_timeout=0.3))
    assert failure.value.delivered
    assert "raise llm.stream_idle_timeout_seconds" in failure.value.hint


@pytest.mark.usefixtures("calls_cut_short")
async def test_the_whole_call_is_bounded_however_often_it_is_tried(wire):
    stalls = [Reply(breaks=Break.STALL_BEFORE_HEADERS)] * 9
    limits = {"ttft_timeout": 0.2, "total_timeout": 0.5, "max_attempts": 9}
    # The time of the whole may end amid a try, or between two: then it is the last try that is told.
    with pytest.raises(CallUnavailable, match=r"within 0\.[25] s"):
        await events_from(wire.provider(*stalls, **limits))
    assert len(wire.server.requests) < limits["max_attempts"]


@pytest.mark.usefixtures("calls_cut_short")
async def test_a_whole_answer_that_stalls_is_given_up(wire):
    wire.server.otherwise = TALK
    stall = Reply(breaks=Break.STALL_BEFORE_HEADERS)
    provider = wire.provider(stall, answer_timeout=0.3, max_attempts=9)
    response = await provider.acomplete(ASKED)
    assert response.content == TALK.text


@pytest.mark.parametrize("streams", [True, False])
async def test_the_key_is_in_no_error_and_in_no_log_line(wire, streams, caplog):
    leak = Failure(401, "Incorrect API key provided: {key}", code="invalid_api_key")
    provider = wire.provider(Failure(500, "key {key} failed"), leak)
    with caplog.at_level(logging.DEBUG), pytest.raises(CallRejected) as failure:
        await (events_from(provider) if streams else provider.acomplete(ASKED))
    try:
        raise failure.value
    except CallRejected:
        logging.getLogger("hive_daemon.test").exception("the call failed")
    logged = "".join(
        f"{record.getMessage()} {record.__dict__} {record.exc_text}" for record in caplog.records
    )
    assert "Incorrect API key provided: ***" in str(failure.value)
    assert KEY not in logged + str(failure.value) + repr(failure.value) + failure.value.hint


# --- providers on HTTP: connections


async def test_a_stream_left_early_gives_its_connection_back(wire):
    provider = wire.provider(breaking(TALK, Break.STALL, 3))
    async with aclosing(provider.stream(ASKED)) as events:
        async for _ in events:
            break
    await provider.aclose()
    await until_no_connection_is_open(wire.server)


@pytest.mark.usefixtures("calls_cut_short")
async def test_a_cancelled_call_gives_its_connection_back(wire):
    provider = wire.provider(Reply(breaks=Break.STALL_BEFORE_HEADERS))
    call = asyncio.ensure_future(provider.acomplete(ASKED))
    await wire.server.wait_for_requests(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await provider.aclose()
    await until_no_connection_is_open(wire.server)


async def test_closing_one_provider_leaves_the_calls_of_another_alone(wire):
    first = wire.provider(TALK)
    await first.acomplete(ASKED)
    second = wire.provider(TALK)
    async with aclosing(second.stream(ASKED)) as events:
        begun = await anext(events)
        await first.aclose()
        rest = [event async for event in events]
    assert of([begun, *rest], TextEndEvent) == [TextEndEvent(full_text=TALK.text)]


async def test_after_many_calls_and_breaks_no_task_and_no_connection_is_left(wire):
    provider = wire.provider(max_attempts=1)
    wire.server.otherwise = Reply(text="fine")
    before = asyncio.all_tasks()
    for turn in range(20):
        if turn % 5 == 0:
            wire.server.script(breaking(TALK, Break.CUT, 3))
        try:
            await events_from(provider)
        except CallUnavailable:
            assert turn % 5 == 0
    await provider.aclose()
    await until_no_connection_is_open(wire.server)
    async with asyncio.timeout(5):
        while asyncio.all_tasks() - before:
            await asyncio.sleep(0)


# --- providers on HTTP: tools and history


async def test_the_tool_loop_runs_the_calls_and_sends_a_history_that_a_strict_server_takes(wire):
    wire.server.strict = True
    provider = wire.provider(TOOLS, Reply(text="It is 6, and sunny."))
    ran = []

    async def run(use: ToolUse) -> ToolResult:
        ran.append(use.name)
        return ToolResult(use.id, json.dumps(use.input), is_error=use.name == "look_up")

    response = await provider.acomplete_with_tools(ASKED, "", [ADD], run)
    assert response.content == "It is 6, and sunny."
    assert sorted(ran) == ["add", "look_up"]
    assert response.input_tokens == 22
    assert [message["role"] for message in wire.server.requests[1].messages] == [
        "user",
        "assistant",
        "tool",
        "tool",
    ]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
async def test_a_tool_that_would_end_the_process_ends_the_loop_of_tools_only(wire, error):
    async def leave(use):
        raise error(3)

    provider = wire.provider(TOOLS)
    with pytest.raises(RuntimeError, match=f"raised {error.__name__}: 3"):
        await provider.acomplete_with_tools(ASKED, "", [ADD], leave)


CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "3"}


@pytest.mark.parametrize(
    ("history", "fault"),
    [
        ([CALLING], "tool call c1 is not answered"),
        ([CALLING, *ASKED], "tool call c1 is not answered"),
        ([CALLING, RESULT, RESULT], "tool call c1 is answered twice"),
        ([RESULT], "tool result c1 answers no open call"),
        ([{**CALLING, "tool_calls": [CALL, CALL]}, RESULT], "tool call ids are doubled"),
    ],
)
async def test_a_strict_server_refuses_a_broken_history(wire, history, fault):
    wire.server.strict = True
    with pytest.raises(CallRejected, match=fault):
        await wire.provider(TALK).acomplete([*ASKED, *history])


async def test_a_blocking_call_works_from_a_thread_and_leaves_no_connection(wire):
    provider = wire.provider(TALK)
    response: LLMResponse = await asyncio.to_thread(provider.complete, ASKED, "Be brief.")
    assert response.content == TALK.text
    await until_no_connection_is_open(wire.server)
