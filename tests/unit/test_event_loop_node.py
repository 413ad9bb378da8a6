"""The model loop, from its first message to its way out."""

from dataclasses import replace

import pytest
from pydantic import BaseModel

from hive_daemon.errors import ConfigError, ModelUnavailable
from hive_daemon.graph.event_loop_node import EventLoopNode, JudgeVerdict, LoopConfig
from hive_daemon.graph.facts import (
    JudgeVerdictGiven,
    NodeLoopCompleted,
    NodeLoopIteration,
    NodeLoopStarted,
    OutputKeySet,
)
from hive_daemon.graph.memory import NodeMemory
from hive_daemon.graph.model_facts import LlmTurnComplete
from hive_daemon.graph.node import NodeContext, NodeStats
from hive_daemon.llm.failures import CallRejected, FailureKind
from hive_daemon.llm.scripted import ScriptedProvider
from tests.fakes.loop_world import JumpingClock, PlayedModel, Tools, World, calls, node, says, sets


def played(*answers, **fields):
    return World(model=PlayedModel(*answers), clock=JumpingClock(), **fields)


async def test_outputs_are_set_and_returned():
    world = played(sets(report="fine"), says("Done."))
    result = await world.run(node(output_keys=["report"]), {"log": "x"})
    assert (result.success, result.output) == (True, {"report": "fine"})
    assert result.stats == NodeStats(
        iterations=1,
        llm_call_count=2,
        output_tokens=6,
        reasoning_tokens=2,
        accept_count=1,
        exit_status="success",
        model="played",
    )


async def test_the_facts_come_in_order():
    world = played(sets(a="1"), says("Done."))
    await world.run(node(output_keys=["a"]))
    assert world.recorder.facts == [
        NodeLoopStarted("n", 50),
        NodeLoopIteration("n", 1),
        LlmTurnComplete("n", "tool_calls", "played", 0, 3, iteration=1, reasoning_tokens=1),
        OutputKeySet("n", "a"),
        LlmTurnComplete("n", "stop", "played", 0, 3, iteration=1, reasoning_tokens=1),
        JudgeVerdictGiven("n", "ACCEPT", "", "implicit", 1),
        NodeLoopCompleted("n", 1),
    ]


async def test_what_calls_came_to_is_told_of_each_and_summed_up():
    world = played(
        calls(("set_output", {"key": "a", "value": "1"})), says("Done.", tokens=10, cost=0.5)
    )
    world.model.answers[0] = replace(world.model.answers[0], tokens=4, cost=0.25)
    result = await world.run(node(output_keys=["a"]))
    told = [
        (f.input_tokens, f.cached_tokens, f.cost_usd)
        for f in world.recorder.of("llm_turn_complete")
    ]
    assert told == [(4, 2, 0.25), (10, 5, 0.5)]
    assert (result.stats.cached_tokens, result.stats.cost_usd) == (7, 0.75)


async def test_a_call_of_the_judge_is_told_and_counts():
    world = played(sets(a="1"), says("Done.", cost=0.5))
    result = await world.run(node(output_keys=["a"], success_criteria="It is right."))
    last = world.recorder.of("llm_turn_complete")[-1]
    assert (last.input_tokens, last.output_tokens, last.cost_usd) == (5, 2, None)
    assert (result.stats.llm_call_count, result.stats.cost_usd) == (3, None)


class SlowJudge(PlayedModel):
    """Takes its time for a whole answer."""

    async def acomplete(self, messages, system="", max_tokens=4096):
        await self.clock.sleep(2.5)
        return await super().acomplete(messages, system, max_tokens)


async def test_the_time_of_a_call_of_the_judge_is_told():
    world = played(sets(a="1"), says("Done."))
    world.model = SlowJudge(sets(a="1"), says("Done."))
    world.model.clock = world.clock
    await world.run(node(output_keys=["a"], success_criteria="It is right."))
    last = world.recorder.of("llm_turn_complete")[-1]
    assert last.latency_seconds == 2.5


async def test_a_turn_with_outputs_costs_three_commits():
    world = played(sets(a="1"), says("Done."))
    await world.run(node(output_keys=["a"]))
    assert len(world.recorder.commits) == 3


async def test_a_node_without_outputs_ends_with_its_words():
    result = await played(says("Hello.")).run(node())
    assert (result.success, result.output) == (True, {})


async def test_a_missing_output_is_asked_for():
    world = played(says("Done!"), sets(report="x"), says("Done."))
    result = await world.run(node(output_keys=["report"]))
    assert result.output == {"report": "x"}
    assert "still missing: report" in world.model.requests[1][-1]["content"]
    assert world.recorder.of("judge_verdict")[0].action == "RETRY"


async def test_a_nullable_output_may_stay_unset_but_not_all_of_them():
    spec = node(output_keys=["a", "b"], nullable_output_keys=["a", "b"])
    world = played(says("Nothing to say."), sets(b="x"), says("Done."))
    result = await world.run(spec)
    assert result.output == {"b": "x"}


async def test_an_output_that_does_not_fit_its_model_is_set_again():
    class Report(BaseModel):
        count: int

    spec = node(output_keys=["count"], output_model=Report)
    world = played(sets(count="many"), says("Done."), sets(count="[]"), says("Done."))
    world.model.answers += [sets(count="no"), says("Done.")]
    result = await world.run(spec)
    assert "count: Input should be a valid integer" in world.model.requests[2][-1]["content"]
    assert result.output == {"count": "no"}
    kinds = [fact.judge_type for fact in world.recorder.of("judge_verdict")]
    assert kinds == ["validation", "validation", "implicit"]


async def test_criteria_are_judged_by_the_model():
    world = played(sets(a="x"), says("Done."), sets(a="better"), says("Done."))
    world.model.whole = ["ACTION: RETRY\nCONFIDENCE: 0.9\nFEEDBACK: too short", "ACTION: ACCEPT"]
    result = await world.run(node(output_keys=["a"], success_criteria="long enough"))
    assert result.output == {"a": "better"}
    assert world.model.requests[2][-1] == {"role": "user", "content": "too short"}
    assert result.stats.llm_call_count == 6
    assert [fact.judge_type for fact in world.recorder.of("judge_verdict")] == ["criteria"] * 2


async def test_a_judge_that_cannot_be_asked_accepts_and_says_so():
    world = played(sets(a="x"), says("Done."))
    world.model.whole = [ModelUnavailable("busy")]
    result = await world.run(node(output_keys=["a"], success_criteria="long enough"))
    assert result.success
    assert world.recorder.of("judge_verdict")[0].feedback == "not judged: busy"


async def test_a_node_that_skips_the_judge_asks_no_model():
    world = played(sets(a="x"), says("Done."))
    await world.run(node(output_keys=["a"], success_criteria="good", skip_judge=True))
    assert world.model.asked == []


class Judge:
    def __init__(self, *verdicts):
        self.verdicts, self.contexts = list(verdicts), []

    async def evaluate(self, context):
        self.contexts.append(context)
        return self.verdicts.pop(0)


async def test_a_judge_of_a_program_decides_and_sees_the_turn():
    judge = Judge(JudgeVerdict("RETRY", "louder"), JudgeVerdict("ACCEPT"))
    world = played(calls(("search", {"q": "a"})), sets(a="x"), says("x"), says("X!"), judge=judge)
    result = await world.run(node(output_keys=["a"]))
    assert result.success
    first = judge.contexts[0]
    assert [call["tool_name"] for call in first["tool_calls"]] == ["search", "set_output"]
    assert first["assistant_text"] == "x"
    assert first["output_accumulator"] == {"a": "x"}
    assert (first["output_keys"], first["missing_keys"], first["iteration"]) == (["a"], [], 1)


async def test_a_judge_of_a_program_cannot_accept_missing_outputs():
    judge = Judge(JudgeVerdict("ACCEPT"), JudgeVerdict("ACCEPT"))
    world = played(says("Done."), sets(a="x"), says("Done."), judge=judge)
    result = await world.run(node(output_keys=["a"]))
    assert result.output == {"a": "x"}


async def test_a_judge_that_says_anything_else_is_told_what_it_may_say():
    world = played(says("Done."), judge=Judge(JudgeVerdict("CONTINUE")))
    with pytest.raises(ConfigError, match="answered 'CONTINUE', use ACCEPT, RETRY, ESCALATE"):
        await world.run(node())


async def test_a_judge_that_retries_is_bounded_by_the_iterations():
    judge = Judge(*[JudgeVerdict("RETRY", "again")] * 3)
    texts = (says("a"), says("b"), says("c"))
    world = played(*texts, judge=judge, config=LoopConfig(max_iterations=3))
    result = await world.run(node())
    assert (result.error_type, result.stats.retry_count) == ("max_iterations", 3)


async def test_failed_model_calls_and_pauses_between_them_are_no_iterations_and_no_stall():
    broken = says("I am on it.", breaks=ConnectionError("gone"))
    world = played(*[broken] * 3, sets(a="x"), *[broken] * 3, says("Done."))
    result = await world.run(node(output_keys=["a"]))
    assert (result.success, result.stats.iterations) == (True, 1)
    assert world.recorder.of("node_stalled") == []
    assert len(world.clock.slept) == 6


async def test_two_calls_that_take_turns_with_the_same_results_are_a_doom_loop():
    pair = (calls(("search", {"q": "a"})), calls(("write", {"text": "b"})))
    world = played(*pair * 6, tools=Tools(search="none", write="written"))
    result = await world.run(node(output_keys=["a"]))
    assert result.error_type == "doom_loop"
    first = world.recorder.of("node_tool_doom_loop")[0]
    assert "search and write" in first.description


async def test_a_judge_that_escalates_fails_the_node():
    world = played(says("Hm."), judge=Judge(JudgeVerdict("ESCALATE", "a person should look")))
    result = await world.run(node())
    assert (result.success, result.error_type) == (False, "escalated")
    assert result.error == "a person should look"
    assert world.recorder.of("escalation_requested")[0].reason == "a person should look"
    assert (result.stats.exit_status, result.stats.escalate_count) == ("escalated", 1)


async def test_the_model_may_escalate():
    world = played(calls(("escalate", {"reason": "no access", "context": "tried twice"})))
    result = await world.run(node(output_keys=["a"]))
    assert (result.error_type, result.error, result.retryable) == ("escalated", "no access", False)
    assert len(world.model.requests) == 1


async def test_the_iterations_run_out():
    world = played(says("a"), says("b"), says("c"), config=LoopConfig(max_iterations=2))
    result = await world.run(node(output_keys=["report"]))
    assert (result.error_type, result.stats.exit_status) == ("max_iterations", "failure")
    assert "without setting report" in result.error
    assert world.recorder.of("node_loop_completed") == [NodeLoopCompleted("n", 2)]


async def test_repeating_itself_is_a_stall():
    world = World(model=PlayedModel(otherwise=says("I am on it.")))
    result = await world.run(node(output_keys=["a"]))
    assert (result.error_type, result.stats.exit_status) == ("stalled", "stalled")
    assert "said the same 3 times" in world.recorder.of("node_stalled")[0].reason


async def test_empty_answers_stall():
    world = World(model=PlayedModel(otherwise=says("")))
    result = await world.run(node(output_keys=["a"]))
    assert result.error_type == "stalled"
    assert len(world.model.requests) == 3


async def test_a_failing_call_repeated_is_a_doom_loop_after_a_warning():
    def fail(use):
        raise ValueError("no such file")

    world = World(
        model=PlayedModel(otherwise=calls(("search", {"q": "a"}))), tools=Tools(search=fail)
    )
    result = await world.run(node(output_keys=["a"]))
    assert (result.error_type, result.retryable) == ("doom_loop", False)
    assert len(world.tools.uses) == 6
    assert len(world.recorder.of("node_tool_doom_loop")) == 2
    warnings = [m for m in world.model.last if "round in circles" in str(m["content"])]
    assert len(warnings) == 1


async def test_the_same_call_with_new_results_is_none():
    numbers = iter(range(100))
    world = played(
        *[calls(("search", {"q": "a"}))] * 8,
        says("Done."),
        tools=Tools(search=lambda use: next(numbers)),
    )
    result = await world.run(node())
    assert result.success
    assert world.recorder.of("node_tool_doom_loop") == []


async def test_without_a_model_the_failure_says_what_to_do():
    result = await played().run(node(), llm=None)
    assert not result.success
    assert result.error.startswith("no model is configured: set `model:` in hive.yaml")
    assert (result.error_type, result.retryable) == ("auth", False)


async def test_the_scripted_model_goes_through_the_same_loop():
    world = played()
    spec = node(output_keys=["report", "severity"], output_schema={"severity": {"enum": ["low"]}})
    result = await world.run(spec, {"log": "x"}, llm=ScriptedProvider())
    assert result.output == {"report": "scripted report", "severity": "low"}


async def test_a_script_moves_on_by_the_turns_of_the_visit():
    script = {
        "nodes": {"n": [{"tool_calls": [{"name": "search"}]}, {"set_output": {"a": "{{ $last }}"}}]}
    }
    world = played(tools=Tools(search="three hits"))
    result = await world.run(node(output_keys=["a"]), llm=ScriptedProvider(script))
    assert result.output == {"a": "three hits"}


async def test_accepted_outputs_are_in_the_nodes_memory():
    world = played(sets(a="1"), says("Done."))
    ctx = world.context(node(output_keys=["a"]))
    await EventLoopNode().execute(ctx)
    assert ctx.memory.written == {"a": "1"}


# --- held by a program


class Bus:
    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        def emit(**fields):
            self.told.append((name.removeprefix("emit_"), fields))

        return emit


def bare(spec, model, **fields):
    return NodeContext(None, spec.id, spec, NodeMemory({}), {}, llm=model, **fields)


async def test_a_node_works_on_its_own_and_tells_a_bus():
    bus = Bus()
    result = await EventLoopNode(event_bus=bus).execute(bare(node(), PlayedModel()))
    assert result.success
    names = [name for name, _ in bus.told]
    assert names == [
        "node_loop_started",
        "node_loop_iteration",
        "llm_text_delta",
        "llm_turn_complete",
        "judge_verdict",
        "node_loop_completed",
    ]
    assert bus.told[0][1] == {"stream_id": "n", "node_id": "n", "max_iterations": 50}


async def test_run_twice_a_node_on_its_own_begins_anew():
    model = PlayedModel(sets(a="1"), says("x"), sets(a="2"), says("y"))
    spec, alone = node(output_keys=["a"]), EventLoopNode()
    first = await alone.execute(bare(spec, model))
    second = await alone.execute(bare(spec, model))
    assert (first.output, second.output) == ({"a": "1"}, {"a": "2"})


async def test_words_put_in_are_heard_at_the_next_iteration():
    model = PlayedModel(says("Hm."), sets(a="1"), says("Done."))
    alone = EventLoopNode()
    await alone.inject_event("the disk is full")
    await alone.inject_event("look at /var", is_client_input=True)
    await alone.execute(bare(node(output_keys=["a"]), model))
    heard = [m["content"] for m in model.requests[0] if m["role"] == "user"]
    assert heard[1:] == ["[External event]: the disk is full", "look at /var"]


async def test_a_shut_down_node_ends_with_what_it_has():
    model = PlayedModel(sets(a="1"), says("b is open"))
    alone = EventLoopNode()
    model.before = alone.signal_shutdown
    result = await alone.execute(bare(node(output_keys=["a", "b"]), model))
    assert (result.success, result.output) == (True, {"a": "1"})


@pytest.mark.parametrize("kind", [FailureKind.QUOTA, FailureKind.AUTH, FailureKind.BAD_REQUEST])
async def test_a_refused_call_fails_the_node_at_once(kind):
    world = played(says(breaks=CallRejected("no", kind=kind, hint="look at the key")))
    result = await world.run(node())
    assert (result.error_type, result.retryable) == (kind.value, False)
    assert result.error == "no: look at the key"
    assert len(world.model.requests) == 1
    assert world.recorder.kinds()[-1] == "node_loop_completed"


async def test_a_plain_judge_of_an_older_program_will_do():
    class Old:
        def evaluate(self, context):
            return type("Verdict", (), {"action": "ACCEPT", "feedback": None})()

    assert (await played(says("Done."), judge=Old()).run(node())).success
