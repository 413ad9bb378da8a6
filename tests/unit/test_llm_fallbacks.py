"""Several models behind one provider: asked in order, until one answers."""

import pytest

from hive_daemon.errors import ConfigError
from hive_daemon.llm.failures import CallRejected, CallUnavailable, FailureKind, call_failure
from hive_daemon.llm.fallbacks import COOLDOWN_SECONDS, FallbackProvider, in_order, together
from hive_daemon.llm.limits import CallLimits
from hive_daemon.llm.provider import LLMProvider, LLMResponse
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.stream_events import (
    FinishEvent,
    StreamResetEvent,
    TextDeltaEvent,
    TextEndEvent,
)
from tests.fakes.model_stages import ASKED, events_from, of

TRANSIENT, AUTH, TOO_LONG = FailureKind.TRANSIENT, FailureKind.AUTH, FailureKind.CONTEXT_LENGTH


class HandClock:
    def __init__(self):
        self.now = 100.0

    def time(self):
        return self.now

    def monotonic(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds


def good(name):
    return ScriptedProvider({"default": [GOOD], "completions": [GOOD]}, name)


def bad(name, kind=TRANSIENT, **fault):
    turn = {"text": "half", "error": {"kind": str(kind), **fault}, "repeat": True}
    return ScriptedProvider({"default": [turn], "completions": [turn]}, name)


GOOD = {"text": "all is well", "repeat": True}


class Counting(LLMProvider):
    """Counts how often it is asked, and fails."""

    model = "counting"

    def __init__(self, error):
        self.asked = 0
        self.error = error

    async def acomplete(self, messages):
        self.asked += 1
        if self.error is not None:
            raise self.error
        return LLMResponse("at last", self.model)


@pytest.mark.parametrize("kind", FailureKind)
async def test_the_next_model_answers_whatever_the_failure(kind):
    chain = FallbackProvider([bad("a", kind), bad("b", kind), good("c")])
    assert (await chain.acomplete(ASKED)).model == "c"
    events = await events_from(chain)
    assert of(events, TextEndEvent) == [TextEndEvent(full_text="all is well")]
    assert events[-1].model == "c"


async def test_the_first_answers_as_long_as_it_can():
    chain = FallbackProvider([good("a"), Counting(None)])
    assert (await chain.acomplete(ASKED)).model == "a"
    assert chain.providers[1].asked == 0


async def test_without_resets_a_broken_text_is_not_followed_by_another():
    chain = FallbackProvider([bad("a", after_text=True), good("b")])
    with pytest.raises(CallUnavailable) as failure:
        await events_from(chain)
    assert failure.value.delivered


async def test_with_resets_a_broken_text_is_taken_back_and_the_next_model_answers():
    events = await events_from(
        FallbackProvider([bad("a", after_text=True), good("b")]), resets=True
    )
    kinds = [type(event) for event in events]
    assert kinds == [TextDeltaEvent, StreamResetEvent, TextDeltaEvent, TextEndEvent, FinishEvent]
    assert events[1] == StreamResetEvent(
        attempt=2, model="b", reason="a: the script says transient"
    )


async def test_a_failure_of_all_tells_them_all():
    chain = FallbackProvider([bad("a", AUTH), bad("b", TRANSIENT)])
    with pytest.raises(CallUnavailable, match=r"no model answered: a: .*; b: ") as failure:
        await chain.acomplete(ASKED)
    assert failure.value.kind is TRANSIENT


async def test_a_provider_of_ones_own_may_fail_in_its_own_words():
    chain = FallbackProvider([Counting(TimeoutError()), Counting(ConnectionError("gone"))])
    with pytest.raises(CallUnavailable, match="TimeoutError; gone"):
        await chain.acomplete(ASKED)


async def test_a_fault_of_the_program_is_no_failure_of_a_model():
    chain = FallbackProvider([Counting(KeyError("oops")), good("b")])
    with pytest.raises(KeyError):
        await chain.acomplete(ASKED)


async def test_a_model_that_could_not_answer_stands_back_for_a_while():
    clock, first = HandClock(), Counting(call_failure(AUTH, "no"))
    chain = FallbackProvider([first, good("b")], clock=clock)
    await chain.acomplete(ASKED)
    await chain.acomplete(ASKED)
    assert first.asked == 1
    clock.now += COOLDOWN_SECONDS + 1
    await chain.acomplete(ASKED)
    assert first.asked == 2


async def test_a_model_that_stands_back_is_still_asked_when_nobody_else_answers():
    clock, first = HandClock(), Counting(call_failure(TRANSIENT, "busy"))
    second = Counting(None)
    chain = FallbackProvider([first, second], clock=clock)
    await chain.acomplete(ASKED)
    first.error, second.error = None, call_failure(AUTH, "no")
    assert (await chain.acomplete(ASKED)).content == "at last"
    assert (first.asked, second.asked) == (2, 2)


async def test_a_refused_request_says_nothing_about_the_next_one():
    first = Counting(call_failure(TOO_LONG, "too long"))
    chain = FallbackProvider([first, good("b")], clock=HandClock())
    await chain.acomplete(ASKED)
    await chain.acomplete(ASKED)
    assert first.asked == 2


async def test_who_answered_instead_is_logged_with_the_reasons(caplog):
    await FallbackProvider([bad("a", AUTH), good("b")]).acomplete(ASKED)
    (record,) = [each for each in caplog.records if each.message == "another model answered"]
    assert (record.model, record.answered_by, record.failed) == ("a", "b", {"a": "auth"})


def test_a_chain_answers_blocking_code():
    assert FallbackProvider([bad("a"), good("b")]).complete(ASKED).model == "b"


def test_a_chain_has_the_limits_of_all_its_models():
    one, other = good("a"), good("b")
    one.limits = CallLimits(total_timeout=10, max_attempts=3, ttft_timeout=1)
    other.limits = CallLimits(total_timeout=5, max_attempts=2)
    limits = FallbackProvider([one, other]).limits
    assert (limits.total_timeout, limits.max_attempts, limits.ttft_timeout) == (15, 5, 1)
    assert FallbackProvider([good("a")]).model == "a"


def test_an_empty_chain_is_refused():
    with pytest.raises(ConfigError):
        FallbackProvider([])


def test_models_that_rest_come_last():
    assert in_order(3, {0: 60.0, 1: 5.0}, now=10.0) == [1, 2, 0]


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([AUTH, FailureKind.QUOTA], AUTH),
        ([AUTH, TRANSIENT], TRANSIENT),
        ([TRANSIENT, TOO_LONG], TOO_LONG),
        ([FailureKind.BAD_REQUEST, FailureKind.RATE_LIMITED], FailureKind.RATE_LIMITED),
    ],
)
def test_the_kind_of_several_failures_is_the_one_that_something_can_be_done_about(kinds, expected):
    failure = together([call_failure(kind, "no", subject="m") for kind in kinds])
    assert failure.kind is expected
    assert isinstance(failure, CallUnavailable if expected.is_retryable else CallRejected)


def test_the_shortest_wait_that_was_asked_for_counts():
    failures = [
        call_failure(FailureKind.RATE_LIMITED, "a", retry_after_seconds=seconds)
        for seconds in (30.0, 7.0, None)
    ]
    assert together(failures).retry_after_seconds == 7.0
