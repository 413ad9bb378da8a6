"""Making room in the model's window."""

import pytest

from hive_daemon.errors import ModelUnavailable
from hive_daemon.graph.event_loop_node import LoopConfig
from hive_daemon.llm.failures import CallRejected, FailureKind
from tests.fakes.loop_world import Crash, PlayedModel, Tools, World, calls, node, says

SMALL = LoopConfig(max_history_tokens=8_000, max_tool_calls_per_turn=40)
TOO_LONG = CallRejected("too long", kind=FailureKind.CONTEXT_LENGTH)


def searching(times, size, config=SMALL):
    """A model that searches so often, for results of that size."""
    numbers = iter(range(1_000))
    return World(
        PlayedModel(*[calls(("search", {"q": str(n)})) for n in range(times)], says("Done.")),
        config=config,
        tools=Tools(search=lambda use: f"{next(numbers):03d}" + "x" * (size - 3)),
    )


def refused():
    """A model that searches three times and then finds the conversation too long, once."""
    searches = [calls(("search", {"q": str(n)})) for n in range(3)]
    model = PlayedModel(*searches, says(breaks=TOO_LONG), says("Done."))
    return World(model, tools=Tools(search="hit " * 200))


def levels(world):
    return [fact.level for fact in world.recorder.of("context_compacted")]


async def test_old_tool_results_go_first():
    world = searching(4, 8_000)
    result = await world.run(node())
    assert result.success
    assert set(levels(world)) == {"prune"}
    assert world.model.asked == []
    results = [m["content"] for m in world.model.last if m["role"] == "tool"]
    assert results[0] == "[a result of 8,000 characters, removed to save room]"
    assert results[-1].startswith("003")


async def test_then_the_model_summarises_and_the_inputs_stay():
    world = World(PlayedModel(*[says("y" * 6_000 + str(n)) for n in range(8)]), config=SMALL)
    world.config = LoopConfig(max_history_tokens=8_000, max_iterations=7)
    await world.run(node(output_keys=["a"]), {"log": "the very line"})
    assert levels(world) == ["summary"] * len(world.model.asked)
    assert world.model.asked
    messages = [m["content"] for m in world.model.last]
    assert messages[0] == "Summary of what was said before this point:\nnoted"
    assert "the very line" in messages[1]


async def test_usage_before_and_after_is_told():
    world = searching(4, 8_000)
    await world.run(node())
    fact = world.recorder.of("context_compacted")[0]
    assert fact.usage_before >= 0.8 > fact.usage_after


async def test_what_the_model_refuses_as_too_long_is_shortened():
    world = refused()
    result = await world.run(node())
    assert result.success
    assert levels(world) == ["summary"]


async def test_what_never_fits_fails_the_node_after_two_summaries():
    world = World(PlayedModel(calls(("search", {})), otherwise=says(breaks=TOO_LONG)))
    result = await world.run(node())
    assert (result.error_type, result.retryable) == ("context_too_large", False)
    assert "also after it was shortened: the model's own window is smaller" in result.error
    assert len(world.model.asked) <= 2
    assert world.recorder.kinds()[-1] == "node_loop_completed"


async def test_an_input_larger_than_the_window_fails_without_a_call():
    world = World(PlayedModel(), config=LoopConfig(max_history_tokens=1_000))
    result = await world.run(node(), {"log": "x" * 9_000})
    assert result.error_type == "context_too_large"
    assert "max_history_tokens" in result.error
    assert world.model.requests == []


async def test_without_the_model_a_digest_stands_in():
    world = World(PlayedModel(*[says("y" * 6_000 + str(n)) for n in range(8)]))
    world.config = LoopConfig(max_history_tokens=8_000, max_iterations=5)
    world.model.whole = [ModelUnavailable("busy")] * 9
    await world.run(node(output_keys=["a"]))
    summary = world.model.last[0]["content"]
    assert summary.startswith("Summary of what was said before this point:\nassistant: yyy")


async def test_the_cost_of_a_summary_counts():
    world = refused()
    result = await world.run(node())
    assert result.stats.llm_call_count == 5
    assert result.stats.input_tokens == 5


@pytest.mark.parametrize("before", [True, False])
async def test_a_crash_in_compaction_loses_nothing(before):
    world = refused()
    world.recorder.dies_at, world.recorder.dies_before = 8, before
    with pytest.raises(Crash):
        await world.run(node(), {"log": "the very line"})
    world.recorder.dies_at = 0
    world.model = PlayedModel(says("Done."))
    result = await world.run(node(), {"log": "the very line"})
    assert result.success
    said = str(world.model.last)
    assert "the very line" in said
    assert ("Summary of what was said" in said) is not before
