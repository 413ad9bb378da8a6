"""A conversation: a valid history always, shortened without breaking it."""

import pytest

from hive_daemon.graph.conversation import INTERRUPTED, Message, NodeConversation, repaired
from hive_daemon.graph.output_accumulator import OutputAccumulator
from tests.fakes.loop_world import MemoryStore


def call(call_id, name="search"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": "{}"}}


def talk(*messages):
    conversation = NodeConversation()
    for role, content, *details in messages:
        conversation.append(role, content, **(details[0] if details else {}))
    return conversation


def with_tools(result="found", answered=("c1", "c2")):
    return talk(
        ("user", "go"),
        ("assistant", "", {"tool_calls": [call("c1"), call("c2")]}),
        *[("tool", result, {"tool_use_id": call_id}) for call_id in answered],
    )


def test_messages_are_written_as_the_protocol_has_them():
    conversation = with_tools()
    conversation.append("tool", "gone", tool_use_id="c2", is_error=True)
    assert conversation.to_llm_messages() == [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [call("c1"), call("c2")]},
        {"role": "tool", "tool_call_id": "c1", "content": "found"},
        {"role": "tool", "tool_call_id": "c2", "content": "found"},
    ]


def test_a_call_without_a_result_gets_an_interrupted_one():
    conversation = with_tools(answered=("c2",))
    conversation.append("user", "and now?")
    results = [m for m in conversation.to_llm_messages() if m["role"] == "tool"]
    assert results == [
        {"role": "tool", "tool_call_id": "c1", "content": f"ERROR: {INTERRUPTED}"},
        {"role": "tool", "tool_call_id": "c2", "content": "found"},
    ]
    assert conversation.to_llm_messages()[-1]["content"] == "and now?"


def test_a_result_that_nobody_asked_for_is_left_out():
    stray = Message(3, "tool", "x", tool_use_id="c9")
    user = Message(0, "user", "go")
    assert repaired([user, stray]) == [user]


def test_open_calls_are_those_of_the_newest_answer():
    assert [call["id"] for call in with_tools(answered=("c1",)).open_calls()] == ["c2"]
    assert with_tools().open_calls() == []
    assert talk(("user", "go")).open_calls() == []


def test_a_message_survives_its_storage():
    message = Message(
        4, "tool", "x", tool_use_id="c1", is_error=True, phase_id="n", covers=("000001-n",)
    )
    assert Message.from_storage_dict(message.to_storage_dict()) == message


def test_lone_surrogates_are_replaced_and_pairs_joined():
    message = NodeConversation().append("user", "a\ud83d b \ud83d\ude00")
    assert message.content == "a\ufffd b \U0001f600"


def test_pruning_leaves_errors_and_the_newest_results():
    conversation = NodeConversation()
    for number in range(6):
        conversation.append("assistant", "", tool_calls=[call(f"c{number}")])
        conversation.append(
            "tool", str(number) * 4_000, tool_use_id=f"c{number}", is_error=number == 1
        )
    assert conversation.prune(protect_tokens=2_000, min_prune_tokens=500) == 3
    kept = [len(m.content) > 1_000 for m in conversation.messages if m.role == "tool"]
    assert kept == [False, True, False, False, True, True]


def test_pruning_that_gains_little_is_not_done():
    conversation = with_tools("x" * 1_000)
    assert conversation.prune(protect_tokens=0, min_prune_tokens=600) == 0


def test_shortening_puts_the_summary_in_front_and_splits_no_pair():
    conversation = with_tools()
    conversation.changes.clear()
    conversation.shorten("what happened", keep_recent=1)
    assert [m.role for m in conversation.messages] == ["user", "assistant", "tool", "tool"]
    assert conversation.messages[0].content == "what happened"
    removed = [seq for (_, seq), message in conversation.changes.items() if message is None]
    written = [seq for (_, seq), message in conversation.changes.items() if message is not None]
    assert removed == [0, 1, 2, 3]
    assert written == [4, 5, 6, 7]


def test_a_summary_covers_the_phases_it_stands_for():
    conversation = NodeConversation()
    conversation.load([Message(0, "user", "old", origin="000001-a", covers=("000000-z",))])
    conversation.append("user", "new")
    conversation.shorten("s", keep_recent=1)
    assert conversation.messages[0].covers == ("000000-z", "000001-a")


def test_what_the_model_counted_wins_over_a_guess():
    conversation = talk(("user", "x" * 400))
    conversation.reserve(40)
    assert conversation.estimate_tokens() == 110
    conversation.update_token_count(700)
    conversation.append("user", "y" * 40)
    assert conversation.estimate_tokens() == 710
    assert conversation.usage_ratio() == pytest.approx(710 / 32_000)


def test_four_fifths_of_the_window_are_enough():
    conversation = NodeConversation(max_history_tokens=1_000)
    conversation.append("user", "x" * 3_196)
    assert not conversation.needs_compaction()
    conversation.append("user", "x" * 4)
    assert conversation.needs_compaction()


async def test_a_programs_store_gets_each_message_and_gives_them_back():
    store = MemoryStore()
    conversation = NodeConversation(store=store)
    await conversation.add_user_message("go", is_transition_marker=True)
    await conversation.add_assistant_message("", [call("c1")])
    await conversation.add_tool_result("c1", "found", is_error=True)
    restored = await NodeConversation.restore(store)
    assert restored.messages == conversation.messages
    assert restored.next_seq == 3
    assert await NodeConversation.restore(MemoryStore()) is None


async def test_compacting_a_stored_conversation_keeps_the_store_readable():
    store = MemoryStore()
    conversation = NodeConversation(store=store)
    for number in range(6):
        await conversation.add_user_message(f"m{number}")
    await conversation.compact("summary", keep_recent=2)
    restored = await NodeConversation.restore(store)
    assert [m.content for m in restored.messages] == ["summary", "m4", "m5"]
    await conversation.clear()
    assert await NodeConversation.restore(store) is None


def test_a_digest_has_a_line_for_each_message():
    digest = with_tools("a\nb").export_summary()
    assert digest.splitlines() == [
        "user: go",
        "assistant:  [calls search, search]",
        "tool: a b",
        "tool: a b",
    ]


async def test_outputs_of_a_program_are_kept_at_once():
    store = MemoryStore()
    outputs = OutputAccumulator(store=store)
    await outputs.set("a", 1)
    await outputs.set("b", None)
    restored = await OutputAccumulator.restore(store)
    assert restored.to_dict() == {"a": 1, "b": None}
    assert restored.has_all_keys(["a"])
    assert not restored.has_all_keys(["a", "b"])
    assert restored.get("c") is None
