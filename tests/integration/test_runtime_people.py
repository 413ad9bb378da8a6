"""Questions to people in an embedded runtime: waiting without a slot, and the three rules of `on_input`."""

import asyncio
from dataclasses import replace

import pytest

from hive_daemon.graph.edge import EdgeSpec
from hive_daemon.graph.node import NodeResult, Waiting
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import EventType
from tests.fakes.embedded import SECONDS, Heard, Turnstile, function, graph_of, model, running


def asks(question, *options):
    given = {"question": question, "options": list(options)}
    return {"tool_calls": [{"name": "ask_user", "input": given}]}


def script(*turns):
    return ScriptedProvider({"nodes": {"chat": list(turns)}})


def chat(**fields):
    return graph_of(model("chat", client_facing=True), **fields)


def desk(on_input="park", default=None, **fields):
    return EntryPointSpec(id="desk", on_input=on_input, input_default=default, **fields)


WHO = asks("Who?", "me", "you")
TAKES = {"set_output": {"answer": "{{ $last }}"}}


# --- waiting ------------------------------------------------------------------------------------


async def test_the_question_and_its_options_are_told(tmp_path):
    async with running(tmp_path, chat(), desk(), llm=script(WHO, TAKES)) as runtime:
        heard = Heard.of(runtime)
        await runtime.trigger_and_wait("desk")
        event = await heard.until(EventType.CLIENT_INPUT_REQUESTED)
        assert event.data == {
            "prompt": "Who?",
            "options": ["me", "you"],
            "input_kind": "waiting_input",
        }


async def test_input_that_answers_the_node_is_used_and_nobody_is_asked(tmp_path):
    """The model is shown what the execution was given, and is done with it."""
    takes_input = {"set_output": {"answer": "{{ who }}"}}
    graph = graph_of(model("chat", client_facing=True, input_keys=["who"]))
    async with running(tmp_path, graph, desk(), llm=script(takes_input)) as runtime:
        heard = Heard.of(runtime)
        result = await runtime.trigger_and_wait("desk", {"who": "Ada"})
        assert (result.status, result.output["answer"]) == ("completed", "Ada")
        assert heard.found(EventType.CLIENT_INPUT_REQUESTED) == []


async def test_who_waits_holds_no_slot(tmp_path):
    turnstile = Turnstile()
    graph = graph_of(
        function("enter", turnstile.enter, outputs=["came"]),
        model("ask", node_type="human_input", description="Who?"),
        edges=[("enter", "ask")],
    )
    await turnstile.let_through()
    async with running(tmp_path, graph, desk(max_concurrent=2)) as runtime:
        waiting = [await runtime.trigger_and_wait("desk") for _ in range(5)]
        assert [each.status for each in waiting] == ["waiting_input"] * 5
        assert runtime.get_stats()["active_executions"] == 0


# --- several branches that ask ------------------------------------------------------------------


def counter():
    """Two branches that ask; one of them goes on to greet."""
    return graph_of(
        function("open", lambda: "open", outputs=["opened"]),
        model("who", node_type="human_input", description="Who?", outputs=["name"]),
        model("why", node_type="human_input", description="Why?", outputs=["reason"]),
        function("greet", lambda reason: f"so {reason}", inputs=["reason"], outputs=["greeting"]),
        edges=[("open", "who"), ("open", "why"), ("why", "greet")],
    )


async def test_all_nodes_that_ask_are_named_also_after_a_restart(tmp_path):
    async with running(tmp_path, counter(), desk()) as runtime:
        name = (await runtime.trigger_and_wait("desk")).execution_id
        expected = [{"node_id": node, "execution_id": name} for node in ("who", "why")]
        assert runtime.get_waiting_nodes() == expected
    async with running(tmp_path, counter(), desk()) as runtime:
        assert runtime.get_waiting_nodes() == expected


async def test_the_branch_that_was_answered_goes_on_and_the_other_stays_asked(tmp_path):
    async with running(tmp_path, counter(), desk()) as runtime:
        heard = Heard.of(runtime)
        name = (await runtime.trigger_and_wait("desk")).execution_id
        assert await runtime.inject_input("why", "a drill")
        parked = await runtime.find_stream("desk").wait_for_completion(name, SECONDS)
        assert (parked.status, parked.paused_at) == ("waiting_input", "who")
        assert runtime.get_waiting_nodes() == [{"node_id": "who", "execution_id": name}]
        received = heard.found(EventType.CLIENT_INPUT_RECEIVED)
        assert [event.node_id for event in received] == ["why"]
        assert await runtime.inject_input("who", "Ada")
        done = await runtime.find_stream("desk").wait_for_completion(name, SECONDS)
        assert done.status == "completed"
        told = {key: done.output[key] for key in ("name", "reason", "greeting")}
        assert told == {"name": "Ada", "reason": "a drill", "greeting": "so a drill"}


async def test_an_answer_to_an_asked_branch_is_heard_when_another_has_stopped_working(tmp_path):
    """It is said while the execution runs for the sake of the other branch."""
    turnstile = Turnstile()
    graph = graph_of(
        function("open", lambda: "open", outputs=["opened"]),
        model("who", node_type="human_input", description="Who?", outputs=["name"]),
        model("why", node_type="human_input", description="Why?", outputs=["reason"]),
        function("work", turnstile.enter, outputs=["worked"]),
        edges=[("open", "who"), ("open", "why"), ("why", "work")],
    )
    async with running(tmp_path, graph, desk()) as runtime:
        name = (await runtime.trigger_and_wait("desk")).execution_id
        await runtime.inject_input("why", "a drill")
        await turnstile.until(1)
        stream = runtime.find_stream("desk")
        await stream.say(stream.get_context(name), "who", "Ada")
        heard = Heard.of(runtime)
        await turnstile.let_through()
        done = await heard.until(EventType.EXECUTION_COMPLETED)
        assert (done.execution_id, done.data["output"]["name"]) == (name, "Ada")


# --- on_input -----------------------------------------------------------------------------------


async def test_under_fail_the_node_fails_and_says_what_was_asked(tmp_path):
    async with running(tmp_path, chat(), desk("fail"), llm=script(WHO, TAKES)) as runtime:
        result = await runtime.trigger_and_wait("desk")
        assert (result.status, result.error_code) == ("failed", "input_needed")
        assert result.error == "on_input is fail: nobody is asked 'Who?'"


async def test_under_fail_an_edge_may_handle_it(tmp_path):
    graph = graph_of(
        model("ask", node_type="human_input", description="Who?"),
        function("nobody", lambda: "nobody", outputs=["answer"]),
    )
    graph.edges.append(EdgeSpec(id="e", source="ask", target="nobody", condition="on_failure"))
    async with running(tmp_path, graph, desk("fail")) as runtime:
        result = await runtime.trigger_and_wait("desk")
        assert (result.status, result.output) == ("completed", {"answer": "nobody"})


async def test_what_failed_for_want_of_an_answer_is_answered_by_a_resume(tmp_path):
    graph = graph_of(model("ask", node_type="human_input", description="Who?"))
    async with running(tmp_path, graph, desk("fail")) as runtime:
        failed = await runtime.trigger_and_wait("desk")
        assert failed.error_code == "input_needed"
        result = await runtime.trigger_and_wait(
            "desk", {"input": "Ada"}, session_state=failed.session_state
        )
        assert (result.status, result.output["answer"]) == ("completed", "Ada")


@pytest.mark.parametrize("default", ["Ada", {"chat": "Ada", "other": "no"}])
async def test_under_default_the_given_answer_is_taken_and_told(tmp_path, default):
    provider = script(WHO, TAKES)
    async with running(tmp_path, chat(), desk("default", default), llm=provider) as runtime:
        heard = Heard.of(runtime)
        result = await runtime.trigger_and_wait("desk")
        await heard.until(EventType.EXECUTION_COMPLETED)
        assert (result.status, result.output["answer"]) == ("completed", "Ada")
        asked = heard.found(EventType.CLIENT_INPUT_REQUESTED)
        answered = heard.found(EventType.CLIENT_INPUT_RECEIVED)
        assert (len(asked), len(answered)) == (1, 1)


async def test_under_default_the_answer_of_a_human_input_node_is_its_output(tmp_path):
    graph = graph_of(model("ask", node_type="human_input", description="Who?"))
    async with running(tmp_path, graph, desk("default", {"ask": ["a", 1]})) as runtime:
        result = await runtime.trigger_and_wait("desk")
        assert (result.status, result.output) == ("completed", {"answer": '["a",1]'})


async def test_under_default_a_question_without_an_answer_fails(tmp_path):
    async with running(tmp_path, chat(), desk("default", {"x": "y"}), llm=script(WHO)) as runtime:
        result = await runtime.trigger_and_wait("desk")
        assert result.error_code == "input_needed"
        assert result.error == "on_input is default, without an answer for chat: 'Who?'"


async def test_under_default_a_node_that_asks_for_ever_ends(tmp_path):
    async def nag(ctx):
        return NodeResult(True, waiting=Waiting("Really?"))

    graph = graph_of(function("nag", nag))
    async with running(tmp_path, graph, desk("default", "yes")) as runtime:
        result = await asyncio.wait_for(runtime.trigger_and_wait("desk"), SECONDS)
        assert (result.status, result.error_code) == ("failed", "input_needed")
        assert result.error == "the default answered 3 times, and nag asks: 'Really?'"


async def test_a_question_about_an_approval_waits_whatever_the_rule(tmp_path):
    async def dare(ctx):
        return NodeResult(True, waiting=Waiting("May I?", kind="waiting_approval"))

    graph = graph_of(function("dare", dare))
    async with running(tmp_path, graph, desk("default", "yes")) as runtime:
        assert (await runtime.trigger_and_wait("desk")).status == "waiting_approval"


def test_a_rule_that_nobody_knows_and_a_missing_answer_are_told():
    spec = desk("ask")
    assert spec.problems() == [
        "entry point 'desk': on_input: 'ask' is unknown, use one of park, fail, default"
    ]
    assert replace(spec, on_input="default").problems() == [
        "entry point 'desk': input_default: is missing, on_input: default needs an answer"
    ]
