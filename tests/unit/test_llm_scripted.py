"""The scripted model: it drives any graph, and says what its script says."""

import json

import pytest

from hive_daemon.llm.failures import CallRejected, CallUnavailable, FailureKind
from hive_daemon.llm.mock import MockLLMProvider
from hive_daemon.llm.openai_shapes import assistant_message, tool_message
from hive_daemon.llm.provider import CallContext, LLMResponse, Tool, ToolResult, call_context
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.stream_events import FinishEvent, TextDeltaEvent

GO = [{"role": "user", "content": "go"}]
KEYS = ("report", "severity", "urgent")
SCHEMA = {"severity": {"enum": ["low", "high"]}, "urgent": {"type": "boolean"}}


def set_output_tool(keys):
    properties = {"key": {"type": "string", "enum": list(keys)}, "value": {"type": "string"}}
    return Tool("set_output", "Set an output", {"type": "object", "properties": properties})


def context(**fields):
    return CallContext(**{"node_id": "triage", **fields})


@pytest.fixture
def within():
    """Set the call context; the test's own context ends with it."""
    return call_context.set


def outputs_of(response):
    return {use.input["key"]: use.input["value"] for use in response.tool_calls}


def answered(messages, response, is_error=False):
    results = [tool_message(ToolResult(use.id, "ok", is_error)) for use in response.tool_calls]
    return [*messages, assistant_message(response.content, response.tool_calls), *results]


# --- without a script


async def test_it_sets_each_missing_output_once_and_then_ends_its_turn(within):
    within(context(output_keys=KEYS, output_schema=SCHEMA))
    provider, tools = ScriptedProvider(), [set_output_tool(KEYS)]
    first = await provider.acomplete(GO, tools=tools)
    assert outputs_of(first) == {
        "report": "scripted report",
        "severity": "low",
        "urgent": "true",
    }
    second = await provider.acomplete(answered(GO, first), tools=tools)
    assert second.tool_calls == ()
    assert "report, severity, urgent" in second.content


async def test_without_a_context_the_keys_are_those_that_the_tool_names():
    first = await ScriptedProvider().acomplete(GO, tools=[set_output_tool(("a", "b"))])
    assert outputs_of(first) == {"a": "scripted a", "b": "scripted b"}


async def test_asked_again_it_sets_the_outputs_again():
    provider, tools = ScriptedProvider(), [set_output_tool(("a",))]
    first = await provider.acomplete(GO, tools=tools)
    again = [*answered(GO, first), {"role": "user", "content": "a is missing"}]
    assert outputs_of(await provider.acomplete(again, tools=tools)) == {"a": "scripted a"}


async def test_more_keys_than_a_turn_takes_are_all_set_in_the_end():
    keys = [f"k{number:02}" for number in range(23)]
    provider, tools = ScriptedProvider(), [set_output_tool(keys)]
    messages, seen = GO, set()
    for _ in range(3):
        response = await provider.acomplete(messages, tools=tools)
        seen |= set(outputs_of(response))
        nudge = {"role": "user", "content": "go on"}
        messages = [*answered(messages, response), nudge]
    assert seen == set(keys)


async def test_tools_on_offer_are_not_called_without_a_script():
    response = await ScriptedProvider().acomplete(GO, tools=[Tool("delete_all", "")])
    assert response.tool_calls == ()
    assert response.content


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        (
            'Answer with JSON {"proceed": bool, "reasoning": str}',
            {"proceed": True, "reasoning": "The scripted model agrees."},
        ),
    ],
)
async def test_it_lets_edges_proceed(prompt, answer):
    response = await ScriptedProvider().acomplete([{"role": "user", "content": prompt}])
    assert json.loads(response.content) == answer


async def test_it_accepts_as_a_judge():
    system = "Answer with three lines: ACTION, CONFIDENCE, FEEDBACK."
    response = await ScriptedProvider().acomplete(GO, system)
    assert response.content.splitlines()[0] == "ACTION: ACCEPT"


async def test_asked_for_json_it_answers_json():
    provider = ScriptedProvider()
    free = await provider.acomplete(GO, json_mode=True)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    bound = await provider.acomplete(
        GO, response_format={"type": "json_schema", "json_schema": {"schema": schema}}
    )
    assert isinstance(json.loads(free.content), dict)
    assert json.loads(bound.content) == {"n": 1}


async def test_two_providers_asked_the_same_say_the_same(within):
    within(context(output_keys=KEYS))
    tools = [set_output_tool(KEYS)]
    answers = [await ScriptedProvider().acomplete(GO, tools=tools) for _ in range(2)]
    assert answers[0] == answers[1]


async def test_call_ids_differ_between_turns_visits_and_nodes(within):
    provider, tools = ScriptedProvider(), [set_output_tool(("a",))]
    ids = set()
    for fields in ({}, {"visit": 2}, {"node_id": "other"}, {"turn": 4}):
        within(context(**fields))
        ids |= {use.id for use in (await provider.acomplete(GO, tools=tools)).tool_calls}
    assert len(ids) == 4


# --- with a script

REPORT = {
    "nodes": {
        "triage": [
            {"tool_calls": [{"name": "count", "input": {"of": "{{ lines }}", "n": 1}}]},
            {
                "text": "{{ lines | count }} lines, the tool said {{ $last }}",
                "set_output": {"report": "{{ $text }}", "lines": "{{ lines }}", "ok": True},
            },
        ]
    }
}


async def test_a_script_is_followed_turn_by_turn_with_the_inputs_of_the_node(within):
    within(context(inputs={"lines": ["a", "b"]}))
    provider = ScriptedProvider(REPORT)
    first = await provider.acomplete(GO, tools=[Tool("count", "")])
    assert [(use.name, use.input) for use in first.tool_calls] == [
        ("count", {"of": ["a", "b"], "n": 1})
    ]
    second = await provider.acomplete(answered(GO, first), tools=[Tool("count", "")])
    assert second.content == "2 lines, the tool said ok"
    assert outputs_of(second) == {
        "report": "2 lines, the tool said ok",
        "lines": '["a", "b"]',
        "ok": "true",
    }


async def test_where_the_script_ends_it_goes_on_without(within):
    within(context(output_keys=("a",), turn=2))
    response = await ScriptedProvider(REPORT).acomplete(GO, tools=[set_output_tool(("a",))])
    assert outputs_of(response) == {"a": "scripted a"}


async def test_a_placeholder_that_cannot_be_filled_names_the_node_and_the_inputs(within):
    within(context(inputs={"body": "…"}))
    with pytest.raises(CallRejected, match=r"node 'triage': .*no 'lines' among: body"):
        await ScriptedProvider(REPORT).acomplete(GO, tools=[Tool("count", "")])


async def test_completions_are_chosen_by_the_last_message():
    script = {
        "completions": [
            {"when": "summary", "text": "short"},
            {"when": "/proceed/", "text": '{"proceed": false, "reasoning": "no"}'},
        ]
    }
    provider = ScriptedProvider(script)
    summary = await provider.acomplete([{"role": "user", "content": "a summary, please"}])
    edge = await provider.acomplete([{"role": "user", "content": "shall we proceed?"}])
    assert summary.content == "short"
    assert json.loads(edge.content)["proceed"] is False


async def test_a_fault_ends_with_its_attempts(within):
    fault = {"kind": "rate_limited", "message": "slow down", "attempts": 2}
    provider = ScriptedProvider({"default": [{"text": "fine", "error": fault}]})
    for attempt in (1, 2):
        within(context(attempt=attempt))
        with pytest.raises(CallUnavailable, match="slow down") as failure:
            await provider.acomplete(GO, tools=[Tool("t", "")])
        assert failure.value.kind is FailureKind.RATE_LIMITED
    within(context(attempt=3))
    assert (await provider.acomplete(GO, tools=[Tool("t", "")])).content == "fine"


async def test_a_fault_after_text_breaks_a_stream_that_was_handed_out():
    fault = {"kind": "transient", "after_text": True}
    provider = ScriptedProvider({"default": [{"text": "half a sen", "error": fault}]})
    stream = provider.stream(GO)
    assert await anext(stream) == TextDeltaEvent(content="half a sen", snapshot="half a sen")
    with pytest.raises(CallUnavailable) as failure:
        await anext(stream)
    assert failure.value.delivered


async def test_a_delay_is_slept_on_the_clock():
    slept = []

    class NotingClock:
        def time(self):
            return 0.0

        def monotonic(self):
            return 0.0

        async def sleep(self, seconds):
            slept.append(seconds)

    provider = ScriptedProvider({"default": [{"delay_seconds": 3600}]}, clock=NotingClock())
    assert isinstance([event async for event in provider.stream(GO)][-1], FinishEvent)
    assert slept == [3600]


# --- the mock of older programs


def test_the_mock_answers_blocking_code_and_is_named():
    response = MockLLMProvider().complete(GO)
    assert (response.model, bool(response.content)) == ("mock-model", True)


async def test_the_mock_satisfies_output_keys():
    response = await MockLLMProvider().acomplete(GO, tools=[set_output_tool(("a",))])
    assert outputs_of(response) == {"a": "scripted a"}


async def test_a_mock_whose_subclass_defines_complete_answers_by_it():
    class Parrot(MockLLMProvider):
        def complete(self, messages, system="", **_options):
            return LLMResponse(messages[0]["content"], self.model)

    assert (await Parrot().acomplete(GO)).content == "go"
