"""The laws of the model loop, for any turns, any histories and a crash at any commit."""

import asyncio
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.graph.conversation import Message, NodeConversation, repaired
from hive_daemon.graph.event_loop_node import EventLoopNode
from hive_daemon.graph.loop import (
    Accept,
    AskUser,
    DoomLoop,
    Escalate,
    Exhausted,
    Hold,
    JudgeVerdict,
    Retry,
    Round,
    Stalled,
    Turn,
    TurnEnd,
    Window,
    decide,
    needs_verdict,
    repetitions,
)
from hive_daemon.graph.loop_config import LoopConfig
from hive_daemon.graph.prompts import data_block
from hive_daemon.llm.scripted import ScriptedProvider
from tests.fakes.loop_world import Crash, KeepingRecorder, Tools, World, node
from tests.fakes.openai_server import _history_fault

QUICK = settings(max_examples=60, deadline=None)

VERDICTS = st.builds(
    JudgeVerdict, st.sampled_from(["ACCEPT", "RETRY", "ESCALATE"]), st.sampled_from(["", "more"])
)
ROUNDS = st.builds(Round, st.sampled_from(["", "a#1", "b#2", "c#3"]), st.booleans(), st.just("x"))
TURNS = st.builds(
    Turn,
    end=st.sampled_from(list(TurnEnd)),
    text=st.sampled_from(["", "one", "two"]),
    rounds=st.lists(ROUNDS, max_size=4).map(tuple),
    question=st.sampled_from(["", "which?"]),
    missing=st.sampled_from([(), ("x",)]),
    has_outputs=st.booleans(),
    is_client_facing=st.booleans(),
    can_wait=st.booleans(),
)
CONFIGS = st.builds(
    LoopConfig,
    max_iterations=st.integers(1, 6),
    judge_every_n_turns=st.integers(1, 3),
    stall_detection_threshold=st.integers(1, 4),
    tool_doom_loop_threshold=st.integers(1, 4),
    tool_doom_loop_enabled=st.booleans(),
)


@QUICK
@given(TURNS, VERDICTS, st.integers(1, 9), CONFIGS)
def test_only_a_verdict_accepts_and_never_with_missing_outputs(turn, verdict, iteration, config):
    window = Window(iteration=iteration).take(turn, config)
    if needs_verdict(turn, window, config):
        turn = replace(turn, verdict=verdict)
    found = decide(turn, window, config)
    if isinstance(found, Accept):
        assert turn.verdict == verdict
        assert verdict.action == "ACCEPT"
        assert not turn.missing
    if isinstance(found, Retry | DoomLoop) and not getattr(found, "is_final", False):
        assert window.iteration - window.base < config.max_iterations
    if isinstance(found, AskUser):
        assert turn.can_wait


@QUICK
@given(st.lists(st.tuples(TURNS, VERDICTS), min_size=8, max_size=8), CONFIGS)
def test_a_loop_fed_any_turns_ends_within_its_iterations(turns, config):
    window = Window()
    for turn, verdict in turns:
        window = replace(window, iteration=window.iteration + 1).take(turn, config)
        if needs_verdict(turn, window, config):
            turn = replace(turn, verdict=verdict)
        found = decide(turn, window, config)
        if isinstance(found, Accept | AskUser | Hold | Stalled | Escalate | Exhausted):
            return
        if isinstance(found, DoomLoop):
            if found.is_final:
                return
            window = replace(window, is_warned=True)
        assert window.iteration < config.max_iterations
    raise AssertionError("it went on for ever")


@QUICK
@given(
    st.lists(st.sampled_from("abc"), max_size=6), st.sampled_from(["x", "xy"]), st.integers(1, 5)
)
def test_every_repetition_is_noticed(before, cycle, times):
    found, length = repetitions([*before, *(cycle * times)])
    assert found >= times or length < len(cycle)


@QUICK
@given(st.lists(st.integers(), unique=True, min_size=1, max_size=20), CONFIGS)
def test_rounds_with_new_results_are_never_a_doom_loop(results, config):
    config = replace(config, tool_doom_loop_threshold=max(2, config.tool_doom_loop_threshold))
    rounds = tuple(Round(f"a#{result}") for result in results)
    turn = Turn(TurnEnd.CUT, rounds=rounds)
    assert not isinstance(decide(turn, Window().take(turn, config), config), DoomLoop)


@QUICK
@given(st.lists(TURNS, max_size=12), CONFIGS)
def test_a_window_is_bounded_and_survives_its_json(turns, config):
    window = Window()
    for turn in turns:
        window = window.take(turn, config)
    assert len(window.marks) <= 4 * config.tool_doom_loop_threshold
    assert Window.from_json(window.to_json()) == window


def _message(draw_seq):
    seq, (role, call, wanted) = draw_seq
    tool_calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for n in wanted
    ]
    if role == "assistant":
        return Message(seq, "assistant", "t", tool_calls=tool_calls or None)
    if role == "tool":
        return Message(seq, "tool", "r", tool_use_id=f"c{call}")
    return Message(seq, "user", "u")


HISTORIES = st.lists(
    st.tuples(
        st.sampled_from(["user", "assistant", "tool"]),
        st.integers(0, 3),
        st.lists(st.integers(0, 3), unique=True, max_size=3),
    ),
    max_size=14,
).map(lambda parts: [_message(item) for item in enumerate(parts)])


def fault_of(messages):
    return _history_fault([message.to_llm_dict() for message in messages])


@QUICK
@given(HISTORIES)
def test_whatever_was_kept_the_history_is_valid(messages):
    assert fault_of(repaired(messages)) == ""


@QUICK
@given(HISTORIES, st.integers(1, 6), st.integers(0, 3_000))
def test_shortening_a_valid_history_leaves_a_valid_one(messages, keep, protect):
    conversation = NodeConversation()
    conversation.load(repaired(messages))
    conversation.prune(protect, 0)
    conversation.shorten("summary", keep)
    assert fault_of(conversation.messages) == ""


@QUICK
@given(st.text(st.sampled_from('</ data>DATA\n\tx"='), max_size=40))
def test_no_text_can_leave_its_data_block(text):
    block = data_block("k", text, "memory", 10_000)
    assert block.lower().count("</data") == 1
    assert block.endswith("\n</data>")


# --- a crash at any commit

SPEC = node("n", output_keys=["found", "report"], tools=["search", "write"])
SCRIPT = {
    "nodes": {
        "n": [
            {
                "text": "Looking.",
                "tool_calls": [{"name": "search", "input": {"q": "a"}}],
                "set_output": {"found": "three"},
            },
            {"tool_calls": [{"name": "search", "input": {"q": "b"}}, {"name": "write"}]},
            {"text": "Half way."},
            {"tool_calls": [{"name": "write", "input": {"text": "t"}}]},
            {"set_output": {"report": "fine"}},
            {"text": "Done."},
        ]
    }
}


class Strict(ScriptedProvider):
    """The scripted model, refusing a history that a strict service would refuse."""

    async def stream(self, messages, system="", tools=None, max_tokens=4096):
        fault = _history_fault(messages)
        assert not fault, fault
        async for event in super().stream(messages, system, tools, max_tokens):
            yield event


def run(recorder, tools):
    world = World(recorder=recorder, tools=tools)
    context = world.context(SPEC, {"log": "x"}, llm=Strict(SCRIPT), continuous_mode=True)
    return asyncio.run(EventLoopNode().execute(context))


@QUICK
@given(st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=3))
def test_a_crash_at_any_commit_loses_nothing_and_repeats_no_call(crashes):
    records, tools, completed = {}, Tools(), []
    for dies_at, before in crashes:
        recorder = KeepingRecorder(records, dies_at=dies_at, dies_before=before)
        try:
            result = run(recorder, tools)
        except Crash:
            completed += recorder.of("tool_call_completed")
            continue
        completed += recorder.of("tool_call_completed")
        assert result.output == {"found": "three", "report": "fine"}
    recorder = KeepingRecorder(records)
    result = run(recorder, tools)
    completed += recorder.of("tool_call_completed")
    assert result.success
    assert result.output == {"found": "three", "report": "fine"}
    inputs = [str((use.name, use.input)) for use in tools.uses]
    assert len(inputs) == len(set(inputs))
    ids = [fact.tool_use_id for fact in completed]
    assert len(ids) == len(set(ids))
    assert [fact.step_number for fact in completed] == list(range(1, len(completed) + 1))
