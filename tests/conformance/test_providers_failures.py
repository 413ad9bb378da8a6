"""Twelve ways in which a service fails, each streamed and not, over each transport: named, bounded, never doubled.

With a fallback configured, the fallback answers.
"""

import asyncio
import socket
from contextlib import nullcontext
from dataclasses import dataclass, field

import pytest

from hive_daemon.llm.failures import CallRejected, CallUnavailable, FailureKind
from hive_daemon.llm.litellm_provider import QUIET_WARNING
from hive_daemon.llm.provider import Gathered, LLMProvider
from hive_daemon.llm.stream_events import (
    FinishEvent,
    StreamEvent,
    StreamResetEvent,
    TextEndEvent,
    ToolCallEvent,
)
from tests.fakes.model_stages import (
    ADD,
    ASKED,
    HTTP,
    TALK,
    TOOLS,
    HttpStage,
    LiteLLMStage,
    calls_may_be_cut_short,
    events_from,
    gather_into,
    of,
)
from tests.fakes.openai_server import Answer, Break, Failure, Reply, breaking

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{QUIET_WARNING}:UserWarning"),
]

MOST_SECONDS = 30
"""Far more than any case may take; without an end of its own a case would hang for ever."""
TRIES = 2


@dataclass(frozen=True)
class Case:
    name: str
    kind: FailureKind
    answer: Answer = field(default_factory=Reply)
    limits: dict[str, float] = field(default_factory=dict)
    refuses_connections: bool = False


PATIENCE = {"ttft_timeout": 0.4, "stream_idle_timeout": 0.4, "answer_timeout": 0.4}
CASES = [
    Case("no connection", FailureKind.TRANSIENT, refuses_connections=True),
    Case("wrong key", FailureKind.AUTH, Failure(401, code="invalid_api_key")),
    Case("no credit", FailureKind.QUOTA, Failure(429, code="insufficient_quota")),
    Case("bad request", FailureKind.BAD_REQUEST, Failure(400, type="invalid_request_error")),
    Case("too long", FailureKind.CONTEXT_LENGTH, Failure(400, code="context_length_exceeded")),
    Case(
        "too many requests",
        FailureKind.RATE_LIMITED,
        Failure(429, code="rate_limit_exceeded", retry_after="86400"),
        {"retry_after_cap": 0.01},
    ),
    Case("server error", FailureKind.TRANSIENT, Failure(500)),
    Case("overloaded", FailureKind.TRANSIENT, Failure(529, type="overloaded_error")),
    Case("silence", FailureKind.TRANSIENT, Reply(breaks=Break.STALL_BEFORE_HEADERS), PATIENCE),
    Case("silence in the midst", FailureKind.TRANSIENT, breaking(TALK, Break.STALL, 3), PATIENCE),
    Case("a drip", FailureKind.TRANSIENT, breaking(TALK, Break.TRICKLE, 2), PATIENCE),
    Case("cut off", FailureKind.TRANSIENT, breaking(TALK, Break.CUT, 4)),
]


@pytest.fixture(params=HTTP, ids=lambda stage: stage.__name__)
async def wire(request):
    with calls_may_be_cut_short() if request.param is LiteLLMStage else nullcontext():
        async with request.param() as stage:
            yield stage


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request):
    return request.param


@pytest.fixture
def closed_port():
    """An address where nobody listens."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{place.getsockname()[1]}/v1"


def failing(wire: HttpStage, case: Case, closed_port: str, **options: object):
    """Make a provider whose first model always fails so, and any other answers well."""
    wire.server.otherwise = lambda request: case.answer if request.body["model"] == "fake" else TALK
    base = closed_port if case.refuses_connections else ""
    return wire.provider(api_base=base, max_attempts=TRIES, **case.limits, **options)


async def ask_in(form: str, provider: LLMProvider, seen: list[StreamEvent]) -> None:
    if form == "whole":
        await provider.acomplete(ASKED)
    else:
        await gather_into(seen, provider, resets=form == "stream with resets")


def asked_of_first(wire: HttpStage) -> int:
    return sum(request.body["model"] == "fake" for request in wire.server.requests)


def text_of(events: list[StreamEvent]) -> str:
    """Return the text that whoever knows resets has in the end."""
    gathered = Gathered()
    for event in events:
        gathered.take(event)
    return gathered.response().content


@pytest.mark.parametrize("form", ["whole", "stream", "stream with resets"])
async def test_each_failure_ends_with_its_named_reason(wire, case, form, closed_port):
    provider = failing(wire, case, closed_port)
    expected = CallUnavailable if case.kind.is_retryable else CallRejected
    seen: list[StreamEvent] = []
    async with asyncio.timeout(MOST_SECONDS):
        with pytest.raises(expected) as failure:
            await ask_in(form, provider, seen)
    assert failure.value.kind is case.kind
    assert "openai/fake" in str(failure.value)
    assert failure.value.hint
    assert asked_of_first(wire) <= (TRIES if case.kind.is_retryable else 1)
    assert not of(seen, TextEndEvent)
    assert not of(seen, FinishEvent)


async def test_a_fallback_answers_as_a_whole(wire, case, closed_port):
    provider = failing(wire, case, closed_port, fallbacks=[wire.other()])
    async with asyncio.timeout(MOST_SECONDS):
        answer = await provider.acomplete(ASKED)
    assert (answer.content, answer.model) == (TALK.text, "other")


async def test_a_fallback_answers_in_a_stream_and_text_is_not_doubled(wire, case, closed_port):
    provider = failing(wire, case, closed_port, fallbacks=[wire.other()])
    async with asyncio.timeout(MOST_SECONDS):
        events = await events_from(provider, resets=True)
    assert text_of(events) == TALK.text
    assert of(events, TextEndEvent) == [TextEndEvent(full_text=TALK.text)]
    assert events[-1].model == "other"
    resets = of(events, StreamResetEvent)
    assert [reset.attempt for reset in resets] == list(range(2, len(resets) + 2))
    assert resets[-1].model == "openai/other"


async def test_tool_calls_of_a_model_that_broke_off_never_come_out(wire):
    wire.server.otherwise = lambda request: (
        breaking(TOOLS, Break.CUT, 6) if request.body["model"] == "fake" else TALK
    )
    provider = wire.provider(max_attempts=TRIES, fallbacks=[wire.other()])
    events = await events_from(provider, [ADD], resets=True)
    assert of(events, ToolCallEvent) == []
    assert text_of(events) == TALK.text
    assert asked_of_first(wire) == TRIES


@pytest.mark.parametrize("form", ["whole", "stream"])
@pytest.mark.parametrize("status", [401, 429, 400, 500])
async def test_a_failure_is_told_in_the_words_of_the_service(wire, form, status):
    provider = wire.provider(Failure(status, "the service says so"), max_attempts=1)
    with pytest.raises((CallUnavailable, CallRejected)) as failed:
        await ask_in(form, provider, [])
    assert str(failed.value).startswith("openai/fake: the service says so")
