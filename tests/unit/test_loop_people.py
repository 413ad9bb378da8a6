"""A model loop and people: it asks, puts itself away, and goes on with the answer; it never waits for a keyboard."""

import asyncio

import pytest

from hive_daemon.graph.event_loop_node import EventLoopNode, LoopConfig
from hive_daemon.graph.memory import NodeMemory
from hive_daemon.graph.node import NodeContext, Waiting
from tests.fakes.loop_world import (
    Crash,
    KeepingRecorder,
    PlayedModel,
    World,
    calls,
    node,
    says,
    sets,
)

FACING = node(client_facing=True, output_keys=["topic"])
ASK = calls(("ask_user", {"question": "Which topic?", "options": ["a", "b"]}))


def played(*answers, **fields):
    return World(model=PlayedModel(*answers), **fields)


async def test_a_question_puts_the_node_away():
    world = played(ASK)
    result = await world.run(FACING)
    assert result.success
    assert result.waiting == Waiting("Which topic?", ("a", "b"))
    assert result.output == {}
    assert (result.stats.exit_status, result.stats.llm_call_count) == ("paused", 1)
    assert world.recorder.of("node_loop_completed") == []


async def test_words_without_calls_are_a_question_too():
    result = await played(says("What is it about?")).run(FACING)
    assert result.waiting == Waiting("What is it about?")


async def test_run_again_without_an_answer_it_makes_no_model_call():
    world = played(ASK)
    await world.run(FACING)
    again = await world.run(FACING)
    assert again.waiting == Waiting("Which topic?", ("a", "b"))
    assert len(world.model.requests) == 1
    assert again.stats.llm_call_count == 0


async def test_the_answer_reaches_the_model_and_the_node_ends():
    world = played(ASK, sets(topic="bees"), says("Noted."))
    await world.run(FACING)
    result = await world.run(FACING, answer="bees, please", answers=1)
    assert result.output == {"topic": "bees"}
    said = [m["content"] for m in world.model.requests[1]]
    assert said[-1] == "bees, please"
    assert said.count("bees, please") == 1
    assert world.recorder.kinds().count("node_loop_started") == 1


async def test_the_cost_of_both_runs_is_reported_once():
    world = played(ASK, sets(topic="bees"), says("Noted."))
    first = await world.run(FACING)
    second = await world.run(FACING, answer="bees", answers=1)
    assert (first.stats.llm_call_count, second.stats.llm_call_count) == (1, 2)
    assert second.stats.iterations == 2


async def test_an_answer_is_taken_once_also_after_a_crash():
    world = played(ASK)
    await world.run(FACING)
    world.recorder = KeepingRecorder(world.recorder.records, dies_at=2)
    world.model = PlayedModel(sets(topic="bees"))
    with pytest.raises(Crash):
        await world.run(FACING, answer="bees", answers=1)
    world.recorder = KeepingRecorder(world.recorder.records)
    world.model = PlayedModel(says("Noted."))
    result = await world.run(FACING, answer="bees", answers=1)
    assert result.output == {"topic": "bees"}
    assert [m["content"] for m in world.model.last].count("bees") == 1


async def test_a_second_question_takes_the_second_answer():
    world = played(ASK, says("Really?"), sets(topic="bees"), says("Noted."))
    await world.run(FACING)
    asked = await world.run(FACING, answer="bees", answers=1)
    assert asked.waiting == Waiting("Really?")
    still = await world.run(FACING, answer="bees", answers=1)
    assert still.waiting == Waiting("Really?")
    result = await world.run(FACING, answer="yes", answers=2)
    assert result.output == {"topic": "bees"}


async def test_an_answer_renews_the_budget():
    world = played(says("A?"), says("B?"), says("C?"), config=LoopConfig(max_iterations=1))
    await world.run(FACING)
    await world.run(FACING, answer="a", answers=1)
    result = await world.run(FACING, answer="b", answers=2)
    assert result.waiting == Waiting("C?")


async def test_what_was_injected_answers_an_open_question():
    world = played(ASK, sets(topic="bees"), says("Noted."))
    await world.run(FACING)
    result = await world.run(FACING, take_injected=iter([["bees"], [], []]).__next__)
    assert result.output == {"topic": "bees"}
    assert world.model.requests[1][-1] == {"role": "user", "content": "bees"}


async def test_what_was_injected_is_heard_between_turns():
    world = played(says("Hm."), sets(topic="x"), says("Done."))
    said = iter([[], ["hurry"]])
    await world.run(node(output_keys=["topic"]), take_injected=lambda: next(said, []))
    assert world.model.requests[1][-1]["content"] == "hurry"


async def test_input_that_answers_the_node_is_seen_and_enough():
    world = played(sets(topic="bees"), says("Noted."))
    result = await world.run(FACING, {"request": "write about bees"})
    assert result.output == {"topic": "bees"}
    assert "write about bees" in world.model.requests[0][0]["content"]


async def test_started_by_an_event_nobody_is_asked():
    world = played(says("Which topic?"), sets(topic="bees"), says("Noted."))
    result = await world.run(FACING, event_triggered=True)
    assert result.output == {"topic": "bees"}
    assert "ask_user" not in world.model.tools[0]
    assert "nobody can answer questions" in world.model.systems[0]


async def test_only_a_node_that_faces_a_person_may_ask():
    world = played(ASK, sets(topic="x"), says("Done."))
    await world.run(node(output_keys=["topic"]))
    result = world.model.requests[1][-1]["content"]
    assert result.startswith("ERROR: There is no tool 'ask_user'")


async def test_what_a_facing_node_says_is_output_for_the_client():
    world = played(says("What is it about?"), recorder=KeepingRecorder(watched=True))
    await world.run(FACING)
    assert [fact.kind for fact in world.recorder.shown] == ["client_output_delta"]


async def test_a_facing_node_without_outputs_talks_on():
    world = played(says("Hello!"), says("Bye!"))
    spec = node(client_facing=True)
    first = await world.run(spec)
    second = await world.run(spec, answer="hi", answers=1)
    assert (first.waiting, second.waiting) == (Waiting("Hello!"), Waiting("Bye!"))


# --- held by a program


class Bus:
    def __init__(self):
        self.asked = asyncio.Event()
        self.prompts = []

    def emit_client_input_requested(self, **fields):
        self.prompts.append(fields["prompt"])
        self.asked.set()


def bare(model):
    return NodeContext(None, "n", FACING, NodeMemory({}), {}, llm=model)


async def test_a_program_with_a_bus_answers_while_the_node_waits():
    bus, model = Bus(), PlayedModel(ASK, sets(topic="bees"), says("Noted."))
    alone = EventLoopNode(event_bus=bus)
    running = asyncio.ensure_future(alone.execute(bare(model)))
    await bus.asked.wait()
    await alone.inject_event("bees", is_client_input=True)
    assert (await running).output == {"topic": "bees"}
    assert bus.prompts == ["Which topic?"]


async def test_a_program_may_shut_a_waiting_node_down():
    bus = Bus()
    alone = EventLoopNode(event_bus=bus)
    running = asyncio.ensure_future(alone.execute(bare(PlayedModel(ASK))))
    await bus.asked.wait()
    alone.signal_shutdown()
    result = await running
    assert (result.success, result.output) == (True, {})


async def test_without_a_bus_the_program_gets_the_question_and_runs_again():
    model = PlayedModel(ASK, sets(topic="bees"), says("Noted."))
    alone = EventLoopNode()
    first = await alone.execute(bare(model))
    assert first.waiting == Waiting("Which topic?", ("a", "b"))
    await alone.inject_event("bees", is_client_input=True)
    assert (await alone.execute(bare(model))).output == {"topic": "bees"}
