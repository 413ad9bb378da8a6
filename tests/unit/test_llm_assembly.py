"""Putting a streamed answer together, also from services that bend the protocol."""

from hive_daemon.llm.assembly import Assembler, CallFragment, Piece, Usage
from hive_daemon.llm.stream_events import (
    FinishEvent,
    ReasoningDeltaEvent,
    ReasoningStartEvent,
    TextDeltaEvent,
    TextEndEvent,
    ToolCallEvent,
)


def calls_from(*fragments: CallFragment) -> list[tuple[str, str, dict[str, object]]]:
    assembler = Assembler("m", new_id=lambda: "made")
    for fragment in fragments:
        assembler.feed(Piece(fragments=(fragment,)))
    return [
        (event.tool_use_id, event.tool_name, event.tool_input)
        for event in assembler.finish()
        if isinstance(event, ToolCallEvent)
    ]


def test_a_whole_answer_in_order():
    assembler = Assembler("asked")
    events = [
        *assembler.feed(Piece(reasoning="hm")),
        *assembler.feed(Piece(text="a")),
        *assembler.feed(Piece(text="b", model="answered")),
        *assembler.feed(Piece(stop_reason="stop")),
        *assembler.feed(Piece(usage=Usage(1, 2, 3, 4))),
        *assembler.finish(),
    ]
    assert events == [
        ReasoningStartEvent(),
        ReasoningDeltaEvent(content="hm"),
        TextDeltaEvent(content="a", snapshot="a"),
        TextDeltaEvent(content="b", snapshot="ab"),
        TextEndEvent(full_text="ab"),
        FinishEvent(
            stop_reason="stop",
            input_tokens=1,
            output_tokens=2,
            model="answered",
            cached_tokens=3,
            reasoning_tokens=4,
        ),
    ]


def test_an_answer_is_complete_when_the_model_said_so():
    assembler = Assembler("m")
    assembler.feed(Piece(text="a"))
    assert not assembler.is_complete
    assembler.feed(Piece(stop_reason="length"))
    assert assembler.is_complete


def test_only_text_and_reasoning_count_as_handed_out():
    assembler = Assembler("m")
    assembler.feed(Piece(fragments=(CallFragment(0, "c", "add", "{"),)))
    assert not assembler.delivered
    assembler.feed(Piece(reasoning="hm"))
    assert assembler.delivered


def test_interleaved_parallel_calls():
    assert calls_from(
        CallFragment(0, "c0", "add"),
        CallFragment(1, "c1", "mul"),
        CallFragment(0, arguments='{"a"'),
        CallFragment(1, arguments='{"b"'),
        CallFragment(0, arguments=":1}"),
        CallFragment(1, arguments=":2}"),
    ) == [("c0", "add", {"a": 1}), ("c1", "mul", {"b": 2})]


def test_calls_that_all_have_the_index_0():
    assert calls_from(
        CallFragment(0, "c0", "add", '{"a":1}'),
        CallFragment(0, "c1", "add", '{"a":2}'),
    ) == [("c0", "add", {"a": 1}), ("c1", "add", {"a": 2})]


def test_calls_without_an_index():
    assert calls_from(
        CallFragment(None, "c0", "add", '{"a":'),
        CallFragment(None, "", "", "1}"),
        CallFragment(None, "c1", "mul", "{}"),
    ) == [("c0", "add", {"a": 1}), ("c1", "mul", {})]


def test_a_head_that_repeats_its_id_goes_on():
    assert calls_from(
        CallFragment(0, "c0", "add", '{"a":'), CallFragment(0, "c0", "add", "1}")
    ) == [("c0", "add", {"a": 1})]


def test_a_call_without_an_id_is_given_one():
    assert calls_from(CallFragment(0, "", "add", "{}")) == [("call_made", "add", {})]
