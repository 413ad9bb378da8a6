"""What one conversation hands to the next."""

import pytest

from hive_daemon.graph.context_handoff import SUMMARY_CHARS, ContextHandoff, HandoffContext
from hive_daemon.graph.conversation import NodeConversation
from hive_daemon.llm.mock import MockLLMProvider
from hive_daemon.llm.values import LLMResponse


class Answering(MockLLMProvider):
    """A model that says what it is told to, or raises it."""

    def __init__(self, said):
        super().__init__()
        self.said, self.system, self.asked = said, "", ""

    def complete(self, messages, system="", **more):
        self.system, self.asked = system, messages[0]["content"]
        if isinstance(self.said, Exception):
            raise self.said
        return LLMResponse(self.said, "m")


async def talk(*answers):
    conversation = NodeConversation()
    for answer in answers:
        await conversation.add_user_message("Go on.")
        await conversation.add_assistant_message(answer)
    return conversation


async def test_without_a_model_the_first_and_the_last_answer_are_handed_on():
    made = ContextHandoff().summarize_conversation(await talk("One.", "Two.", "Three."), "plan")
    assert made == HandoffContext("plan", "One.\n\nThree.", {}, 3, made.total_tokens_used)
    assert made.total_tokens_used > 0


async def test_a_summary_without_a_model_is_short():
    made = ContextHandoff().summarize_conversation(await talk("a" * 900, "b" * 900), "plan")
    assert len(made.summary) == SUMMARY_CHARS


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        (["score: 95"], "95"),
        (["**Score** = 95"], "95"),
        (['Here: {"score": 95}'], "95"),
        (['{"score": {"of": 95}}'], '{"of": 95}'),
        (["score: 1", "score: 2", "Done."], "2"),
        (["the underscore: 3"], None),
        (["no number"], None),
    ],
)
async def test_the_newest_value_of_an_output_key_is_found(answers, found):
    made = ContextHandoff().summarize_conversation(await talk(*answers), "n", ["score"])
    assert made.key_outputs.get("score") == found


async def test_a_conversation_without_answers_says_so():
    handoff, conversation = ContextHandoff(), NodeConversation()
    assert handoff.summarize_conversation(conversation, "n").summary == "Empty conversation."
    await conversation.add_user_message("Hello?")
    assert handoff.summarize_conversation(conversation, "n").summary == "No assistant responses."


async def test_a_model_sums_up_and_is_told_the_output_keys():
    model = Answering(" Short. ")
    made = ContextHandoff(model).summarize_conversation(await talk("Long."), "n", ["score"])
    assert made.summary == "Short."
    assert "score" in model.system
    assert "[assistant] Long." in model.asked


async def test_a_model_that_fails_is_done_without():
    handoff = ContextHandoff(Answering(RuntimeError("away")))
    assert handoff.summarize_conversation(await talk("One."), "n").summary == "One."


def test_it_is_written_as_a_message():
    written = ContextHandoff.format_as_input(HandoffContext("plan", "All is well.", {"a": 1}, 2, 9))
    assert written.splitlines() == [
        "--- CONTEXT FROM: plan (2 turns, ~9 tokens) ---",
        "KEY OUTPUTS:",
        "- a: 1",
        "SUMMARY:",
        "All is well.",
        "--- END CONTEXT ---",
    ]


def test_what_is_missing_is_left_out_or_said():
    written = ContextHandoff.format_as_input(HandoffContext("plan", "", {}, 0, 0))
    assert written.splitlines()[1:3] == ["SUMMARY:", "No summary available."]
