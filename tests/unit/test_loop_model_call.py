"""Model calls of the loop: shown while they come, tried again without doubling anything."""

import pytest

from hive_daemon.graph.event_loop_node import LoopConfig
from hive_daemon.graph.live_text import LiveText
from hive_daemon.graph.model_call import pause_seconds, tries_itself
from hive_daemon.graph.model_facts import LlmReasoningDelta, LlmTextDelta
from hive_daemon.llm.failures import CallRejected, CallUnavailable, FailureKind, as_failure
from hive_daemon.llm.litellm_provider import LiteLLMProvider
from hive_daemon.llm.stream_events import StreamErrorEvent, TextDeltaEvent
from tests.fakes.loop_world import (
    JumpingClock,
    KeepingRecorder,
    PlayedModel,
    World,
    calls,
    node,
    says,
)

BUSY = CallUnavailable("busy")


def played(*answers, watched=False, **fields):
    recorder = KeepingRecorder(watched=watched)
    return World(PlayedModel(*answers), recorder, clock=JumpingClock(), **fields)


async def test_a_call_that_fails_is_tried_again():
    world = played(says(breaks=BUSY), says("Done."))
    result = await world.run(node())
    assert result.success
    (retry,) = world.recorder.of("node_retry")
    assert (retry.retry_count, retry.max_retries, retry.error) == (1, 3, "busy")
    assert world.clock.slept == [pytest.approx(retry.delay_seconds, abs=0.001)]
    assert [context.attempt for context in world.model.contexts] == [1, 2]


async def test_the_pause_that_a_service_asks_for_is_kept():
    failure = CallUnavailable("slow down", retry_after_seconds=17.0)
    world = played(says(breaks=failure), says("Done."))
    await world.run(node())
    assert world.clock.slept == [17.0]


async def test_tries_are_bounded_and_then_the_node_may_be_run_again():
    world = World(
        PlayedModel(otherwise=says(breaks=BUSY)),
        clock=JumpingClock(),
        config=LoopConfig(max_stream_retries=2),
    )
    result = await world.run(node())
    assert (result.success, result.error_type, result.retryable) == (
        False,
        "model_unavailable",
        True,
    )
    assert len(world.model.requests) == 3
    assert world.recorder.kinds()[-1] == "node_loop_completed"


async def test_a_broken_stream_runs_no_tools_and_doubles_no_text():
    broken = says("Let me", breaks=CallUnavailable("cut", delivered=True))
    world = played(broken, says("Let me see. Done."), watched=True)
    result = await world.run(node())
    assert world.recorder.shown == [
        LlmTextDelta("n", "Let me", "Let me", 1),
        LlmTextDelta("n", "", "", 2, is_reset=True),
        LlmTextDelta("n", "Let me see. Done.", "Let me see. Done.", 2),
    ]
    assert [m.content for m in result.conversation.messages][1:] == ["Let me see. Done."]


async def test_a_stream_without_its_end_counts_as_broken():
    class Endless(PlayedModel):
        async def stream(self, messages, system="", tools=None, max_tokens=4096):
            self.requests.append(messages)
            yield TextDeltaEvent(content="half")

    world = played(config=LoopConfig(max_stream_retries=1))
    world.model = Endless()
    result = await world.run(node())
    assert result.error.startswith("the answer of the model broke off before its end")
    assert len(world.model.requests) == 2


@pytest.mark.parametrize(("recoverable", "requests"), [(True, 2), (False, 1)])
async def test_an_error_event_is_a_failure(recoverable, requests):
    class Erring(PlayedModel):
        async def stream(self, messages, system="", tools=None, max_tokens=4096):
            self.requests.append(messages)
            yield StreamErrorEvent(error="overloaded", recoverable=recoverable)

    world = played(config=LoopConfig(max_stream_retries=1))
    world.model = Erring()
    result = await world.run(node())
    assert result.error == "overloaded"
    assert len(world.model.requests) == requests


async def test_a_foreign_timeout_is_a_failed_call():
    world = played(says(breaks=TimeoutError()), says("Done."))
    assert (await world.run(node())).success


async def test_a_provider_that_tries_itself_is_tried_again_only_after_it_delivered():
    world = played(says(breaks=BUSY), says("Done."))
    world.model.limits = LiteLLMProvider("x").limits
    result = await world.run(node())
    assert result.error_type == "model_unavailable"
    assert len(world.model.requests) == 1
    delivered = CallUnavailable("cut", delivered=True)
    world.model.answers = [says("a", breaks=delivered), says("Done.")]
    assert (await world.run(node())).success


def test_who_tries_itself():
    assert tries_itself(LiteLLMProvider("x"))
    assert not tries_itself(LiteLLMProvider("x", max_attempts=1))
    assert not tries_itself(PlayedModel())


def test_pauses_double_up_to_a_limit():
    config = LoopConfig(max_stream_retries=9, stream_retry_max_delay=10.0)
    pauses = [pause_seconds(config, attempt, BUSY, 1.0) for attempt in range(1, 6)]
    assert pauses == [2.0, 4.0, 8.0, 10.0, 10.0]
    asked = CallUnavailable("x", retry_after_seconds=500.0)
    assert pause_seconds(config, 1, asked, 0.0) == 10.0
    assert pause_seconds(config, 10, BUSY, 1.0) is None
    assert pause_seconds(config, 1, CallRejected("no"), 1.0) is None


def test_failures_of_other_providers_get_a_kind():
    assert as_failure(ConnectionError("gone")).kind is FailureKind.TRANSIENT
    assert as_failure(BUSY) is BUSY


# --- what is shown


async def test_nothing_is_shown_when_nobody_listens():
    world = played(says("Hello."))
    await world.run(node())
    assert world.recorder.shown == []


async def test_small_pieces_are_put_together():
    world = played(says("x" * 450, piece=10), watched=True)
    await world.run(node())
    assert [len(fact.content) for fact in world.recorder.shown] == [200, 200, 50]
    assert [len(fact.snapshot) for fact in world.recorder.shown] == [200, 400, 450]


def test_a_slow_writer_is_shown_in_time():
    recorder, clock = KeepingRecorder(watched=True), JumpingClock()
    live = LiveText(recorder, clock, "n", is_client_facing=False)
    live.write("a")
    clock.now += 0.06
    live.write("b")
    assert recorder.shown == [LlmTextDelta("n", "ab", "ab")]


async def test_thoughts_are_shown_apart():
    world = played(says("Yes.", reasoning="hmm"), watched=True)
    await world.run(node())
    assert world.recorder.shown == [
        LlmReasoningDelta("n", "hmm"),
        LlmTextDelta("n", "Yes.", "Yes."),
    ]


async def test_a_turn_is_told_with_its_cost():
    world = played(calls(("search", {})), says("Done.", tokens=40))
    await world.run(node())
    first, second = world.recorder.of("llm_turn_complete")
    assert (first.stop_reason, first.iteration) == ("tool_calls", 1)
    assert (second.stop_reason, second.input_tokens, second.output_tokens) == ("stop", 40, 3)


async def test_the_call_context_says_where_the_conversation_stands():
    world = played(calls(("search", {})), says("Done."))
    await world.run(node(output_keys=[]), {"log": "x"}, visit=2)
    contexts = world.model.contexts
    assert [context.turn for context in contexts] == [0, 1]
    assert (contexts[0].node_id, contexts[0].visit, contexts[0].execution_id) == ("n", 2, "e1")
    assert contexts[0].inputs == {"log": "x"}
