"""What a node remembers of what was said before: continuous and isolated, again and side by side, after a crash."""

import asyncio

import pytest

from hive_daemon.graph.conversation import NodeConversation
from hive_daemon.graph.event_loop_node import EventLoopNode, LoopConfig
from tests.fakes.loop_world import (
    Crash,
    KeepingRecorder,
    MemoryStore,
    PlayedModel,
    Tools,
    World,
    calls,
    node,
    says,
    sets,
)

A = node("a", output_keys=["x"])
B = node("b", output_keys=["y"])


def played(*answers, **fields):
    return World(model=PlayedModel(*answers), **fields)


def texts(world, request=-1):
    return [m["content"] for m in world.model.requests[request] if m["content"]]


async def test_in_continuous_mode_the_next_node_sees_what_was_said():
    world = played(sets(x="1"), says("A is done."), sets(y="2"), says("B is done."))
    await world.run(A, {"topic": "bees"}, continuous_mode=True)
    await world.run(B, {"x": "1"}, continuous_mode=True)
    assert "A is done." in texts(world)
    marker = next(text for text in texts(world) if text.startswith("The next step: b"))
    assert '<data name="x"' in marker


async def test_in_isolated_mode_it_does_not():
    world = played(sets(x="1"), says("A is done."), sets(y="2"), says("B is done."))
    await world.run(A)
    await world.run(B, {"x": "1"})
    assert "A is done." not in texts(world)
    assert texts(world, 2)[0].startswith("Your task: b")


@pytest.mark.parametrize("is_continuous", [True, False])
async def test_a_node_visited_again_sees_its_new_inputs_and_sets_new_outputs(is_continuous):
    world = played(sets(x="old"), says("First."), says("Nothing new."), sets(x="new"), says("Ok."))
    await world.run(A, {"note": "one"}, continuous_mode=is_continuous)
    result = await world.run(A, {"note": "two"}, visit=2, continuous_mode=is_continuous)
    assert result.output == {"x": "new"}
    opening = texts(world, 2)[-1]
    assert opening.startswith("You are at this step again, for the 2nd time: a")
    assert "\ntwo\n" in opening
    assert "First." in texts(world, 2)


async def test_iterations_count_anew_for_each_visit():
    world = played(config=LoopConfig(max_iterations=1))
    world.model.otherwise = says("Done.")
    for visit in range(1, 5):
        assert (await world.run(node("a"), visit=visit)).success
    iterations = [fact.iteration for fact in world.recorder.of("node_loop_iteration")]
    assert iterations == [1, 1, 1, 1]


async def test_steps_are_numbered_over_the_visits_of_an_execution():
    search = calls(("search", {}))
    world = played(search, says("Ok."), search, says("Ok."), search, says("Ok."))
    await world.run(node("a"))
    await world.run(node("a"), visit=2)
    await world.run(node("a"), execution_id="e1-2")
    numbers = [fact.step_number for fact in world.recorder.of("tool_call_completed")]
    assert numbers == [1, 2, 1]


async def test_a_further_execution_of_the_session_goes_on_with_the_conversation():
    world = played(sets(x="1"), says("First run."), sets(x="2"), says("Second run."))
    await world.run(A, continuous_mode=True)
    result = await world.run(A, continuous_mode=True, execution_id="e1-2")
    assert result.output == {"x": "2"}
    assert "First run." in texts(world)


async def test_a_value_that_was_shown_is_not_shown_twice():
    world = played(says("Ok."), says("Ok."))
    await world.run(node("a"), {"log": "line"}, continuous_mode=True)
    await world.run(node("b"), {"log": "line", "more": 1}, continuous_mode=True)
    marker = texts(world)[-1]
    assert "log: unchanged, see above." in marker
    assert '<data name="more"' in marker


async def test_a_joined_execution_has_a_conversation_of_its_own():
    world = played(says("Main."), says("Joined."))
    await world.run(node("a"), continuous_mode=True)
    await world.run(node("a"), continuous_mode=True, record_prefix="joined/2/")
    assert "Main." not in texts(world)
    assert {key.split("/")[0] for key in world.recorder.records} == {"conv", "cursor", "joined"}


async def test_the_config_may_put_a_prefix_before_the_records():
    world = played(says("Done."), config=LoopConfig(store_prefix="mine/"))
    await world.run(node("a"), record_prefix="joined/")
    assert all(key.startswith("joined/mine/") for key in world.recorder.records)


async def test_branches_side_by_side_share_the_past_but_not_each_others_words():
    world = played(says("Before."))
    await world.run(node("a"), continuous_mode=True)
    meeting = asyncio.Barrier(2)

    async def meet(use):
        await meeting.wait()
        return use.input["q"]

    async def branch(name):
        mine = World(
            PlayedModel(calls(("search", {"q": name})), says(f"{name} is done.")),
            world.recorder,
            Tools(search=lambda use: meet(use)),
        )
        await mine.run(node(name), continuous_mode=True)
        return mine

    left, right = await asyncio.gather(branch("left"), branch("right"))
    assert "Before." in texts(left)
    assert "Before." in texts(right)
    assert "right" not in str(texts(left))
    world.model = PlayedModel(says("Joined."))
    await world.run(node("join"), continuous_mode=True)
    assert [text for text in texts(world) if text.endswith("is done.")] == [
        "left is done.",
        "right is done.",
    ]


async def test_after_a_crash_a_branch_still_does_not_see_the_other():
    recorder = KeepingRecorder()
    waits = node("waits", client_facing=True)
    left = World(PlayedModel(says("What now?")), recorder)
    await left.run(waits, continuous_mode=True)
    right = World(PlayedModel(calls(("search", {}))), recorder)
    right.recorder.dies_at = len(recorder.commits) + 2
    with pytest.raises(Crash):
        await right.run(node("right"), continuous_mode=True)
    await left.run(waits, continuous_mode=True, answer="on", answers=1)
    right.model = PlayedModel(says("Done."))
    await right.run(node("right"), continuous_mode=True)
    assert "What now?" not in texts(right)


async def test_phases_that_a_summary_stands_for_are_gone_after_it():
    config = LoopConfig(max_history_tokens=4_000)
    world = played(says("A" * 8_000), says("B" * 6_000), says("C."), says("D."), config=config)
    for name in "abcd":
        await world.run(node(name), continuous_mode=True)
    assert world.model.asked
    assert not any("A" * 100 in text for text in texts(world))
    assert any(text.startswith("Summary of what was said before") for text in texts(world))
    phases = {key.split("/")[1] for key in world.recorder.records if key.startswith("conv/")}
    assert phases == {"000003-c", "000004-d"}


async def test_a_conversation_that_a_program_hands_over_is_gone_on_with():
    handed = NodeConversation()
    await handed.add_user_message("Earlier.")
    await handed.add_assistant_message("Yes.")
    world = played(says("Ok."))
    await world.run(node("a"), inherited_conversation=handed, continuous_mode=True)
    assert texts(world)[:2] == ["Earlier.", "Yes."]
    assert texts(world)[2].startswith("The next step")


# --- crashes


async def test_an_accepted_visit_is_not_done_again():
    world = played(sets(x="1"), says("Done."))
    await world.run(A)
    commits = len(world.recorder.commits)
    result = await world.run(A)
    assert (result.success, result.output) == (True, {"x": "1"})
    assert result.stats.llm_call_count == 2
    assert len(world.model.requests) == 2
    assert len(world.recorder.commits) == commits


async def test_a_failed_visit_is_tried_again_where_it_stood():
    world = played(sets(x="1"), says("?"), says("?"), config=LoopConfig(max_iterations=2))
    spec = node("a", output_keys=["x", "y"])
    assert (await world.run(spec)).error_type == "max_iterations"
    world.model = PlayedModel(sets(y="2"), says("Done."))
    result = await world.run(spec)
    assert result.output == {"x": "1", "y": "2"}
    assert result.stats.llm_call_count == 2


async def test_a_tool_that_was_cut_off_is_not_run_again_and_the_model_is_told():
    world = played(calls(("search", {}), ("set_output", {"key": "x", "value": "1"})))
    world.recorder.dies_at = 2
    with pytest.raises(Crash):
        await world.run(A)
    world.model = PlayedModel(says("Done."))
    world.recorder.dies_at = 0
    result = await world.run(A)
    assert result.output == {"x": "1"}
    assert world.tools.uses == []
    assert any(text.startswith("ERROR: interrupted") for text in texts(world))
    completed = world.recorder.of("tool_call_completed")
    assert [fact.is_error for fact in completed] == [True]


async def test_a_call_that_ended_keeps_its_result():
    world = played(calls(("search", {})), says("Done."))
    world.recorder.dies_at = 3
    with pytest.raises(Crash):
        await world.run(node("a"))
    world.model = PlayedModel(says("Done."))
    world.recorder.dies_at = 0
    await world.run(node("a"))
    assert len(world.tools.uses) == 1
    assert "search ran" in texts(world)


# --- a program's own store


async def test_a_programs_store_is_enough_to_go_on_from():
    store, world = MemoryStore(), played(calls(("ask_user", {"question": "What?"})))
    spec = node("a", client_facing=True, output_keys=["x"])
    context = world.context(spec, recorder=None)
    await EventLoopNode(conversation_store=store).execute(context)
    world.model = PlayedModel(sets(x="1"), says("Done."))
    context = world.context(spec, recorder=None, answer="this", answers=1)
    result = await EventLoopNode(conversation_store=store).execute(context)
    assert result.output == {"x": "1"}
    assert texts(world)[-2:] == ["this", "x is set."]
    assert [part["role"] for part in await store.read_parts()] == [
        "user",
        "assistant",
        "tool",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
