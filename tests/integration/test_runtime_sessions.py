"""Sessions of an embedded runtime: pausing, resuming, answering, continuing; also after a restart."""

import json

import pytest

from hive_daemon.errors import InvalidInput
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import EventType
from tests.fakes.embedded import SECONDS, Heard, Turnstile, function, graph_of, model, running

MINE = "session_20260302_090000_0123abcd"


async def draft(query="nothing"):
    return f"draft of {query}"


async def publish(answer, said="nothing"):
    return f"{answer}, {said}"


def paused_graph():
    return graph_of(
        function("write", draft),
        function("publish", publish, ["answer", "said"], ["published"]),
        edges=[("write", "publish")],
        pause_nodes=["write"],
    )


def asking_graph():
    return graph_of(
        function("write", draft),
        model("ask", ["verdict"], node_type="human_input", description="Is it good?"),
        function("publish", publish_it, ["answer", "verdict"], ["published"]),
        edges=[("write", "ask"), ("ask", "publish")],
    )


async def publish_it(answer, verdict):
    return f"{answer}: {verdict}"


def sessions(path):
    return sorted(each.name for each in (path / "sessions").iterdir())


# --- pause nodes --------------------------------------------------------------------------------


async def test_a_pause_is_a_success_that_says_where_and_everything_to_go_on(tmp_path):
    async with running(tmp_path, paused_graph()) as runtime:
        heard = Heard.of(runtime, [EventType.EXECUTION_PAUSED])
        result = await runtime.trigger_and_wait("default", {"query": "bees"})
        await heard.until(EventType.EXECUTION_PAUSED)
        assert (result.success, result.paused_at, result.status) == (True, "write", "paused")
        assert result.session_state["memory"]["answer"] == "draft of bees"
        assert result.session_state["execution_path"] == ["write"]
        stats = runtime.get_stats()["streams"]["default"]
        assert (stats["status_counts"], runtime.get_stats()["active_executions"]) == (
            {"paused": 1},
            0,
        )


async def test_a_resume_goes_on_after_the_pause_node_with_the_new_input(tmp_path):
    async with running(tmp_path, paused_graph()) as runtime:
        paused = await runtime.trigger_and_wait("default", {"query": "bees"})
        heard = Heard.of(runtime)
        result = await runtime.trigger_and_wait(
            "default", {"said": "well done"}, session_state=paused.session_state
        )
        await heard.until(EventType.EXECUTION_COMPLETED)
        assert result.output["published"] == "draft of bees, well done"
        assert (result.execution_id, result.path) == (paused.execution_id, ["write", "publish"])
        assert [e.node_id for e in heard.found(EventType.NODE_STARTED)] == ["publish"]
        assert len(heard.found(EventType.EXECUTION_RESUMED)) == 1
    assert sessions(tmp_path) == [paused.session_id]


async def test_whoever_waits_after_a_resume_gets_the_new_result(tmp_path):
    """What was put away is not the answer any more."""
    turnstile = Turnstile()
    graph = graph_of(
        function("write", draft),
        function("hold", turnstile.enter),
        edges=[("write", "hold")],
        pause_nodes=["write"],
    )
    async with running(tmp_path, graph) as runtime:
        paused = await runtime.trigger_and_wait("default")
        again = await runtime.trigger("default", {}, session_state=paused.session_state)
        assert again == paused.execution_id
        assert runtime.get_execution_result("default", again) is None
        await turnstile.until(1)
        await turnstile.let_through()
        assert (await runtime.wait_for_completion(again, SECONDS)).status == "completed"


async def test_a_session_is_resumed_by_another_runtime_after_a_restart(tmp_path):
    async with running(tmp_path, paused_graph()) as runtime:
        paused = await runtime.trigger_and_wait("default", {"query": "bees"})
        state = json.loads(json.dumps(paused.session_state))
    async with running(tmp_path, paused_graph()) as runtime:
        stats = runtime.get_stats()["streams"]["default"]
        assert stats["status_counts"] == {"paused": 1}
        result = await runtime.trigger_and_wait("default", {"said": "x"}, session_state=state)
    assert (result.output["published"], result.execution_id) == (
        "draft of bees, x",
        paused.execution_id,
    )


async def test_the_session_id_alone_is_enough_to_resume(tmp_path):
    async with running(tmp_path, paused_graph()) as runtime:
        paused = await runtime.trigger_and_wait("default", {"query": "bees"})
        state = {"resume_session_id": paused.session_id}
        result = await runtime.trigger_and_wait("default", {"said": "x"}, session_state=state)
        assert result.output["published"] == "draft of bees, x"


async def test_a_session_state_goes_on_in_a_store_that_never_saw_it(tmp_path):
    async with running(tmp_path / "one", paused_graph()) as runtime:
        paused = await runtime.trigger_and_wait("default", {"query": "bees"})
    async with running(tmp_path / "two", paused_graph()) as runtime:
        result = await runtime.trigger_and_wait(
            "default", {"said": "x"}, session_state=paused.session_state
        )
    assert result.output["published"] == "draft of bees, x"
    assert sessions(tmp_path / "two") == [paused.session_id]


async def test_a_running_execution_pauses_at_its_next_node_boundary(tmp_path):
    turnstile = Turnstile()
    graph = graph_of(
        function("hold", turnstile.enter),
        function("write", draft),
        edges=[("hold", "write")],
    )
    async with running(tmp_path, graph) as runtime:
        name = await runtime.trigger("default")
        await turnstile.until(1)
        assert runtime.get_stream("default").request_pause(name)
        await turnstile.let_through()
        paused = await runtime.wait_for_completion(name, SECONDS)
        assert (paused.status, paused.path) == ("paused", ["hold"])
        result = await runtime.trigger_and_wait("default", session_state=paused.session_state)
        assert (result.status, result.path) == ("completed", ["hold", "write"])


# --- named sessions -----------------------------------------------------------------------------


async def test_a_session_that_is_named_is_used_and_no_second_directory_is_made(tmp_path):
    async with running(tmp_path, paused_graph()) as runtime:
        name = await runtime.trigger("default", {}, session_state={"resume_session_id": MINE})
        await runtime.wait_for_completion(name)
    assert (name, sessions(tmp_path)) == (MINE, [MINE])


async def test_the_next_execution_of_a_session_knows_what_the_last_one_left(tmp_path):
    async def count(n=0):
        return n + 1

    graph = graph_of(function("count", count, ["n"], ["n"]))
    async with running(tmp_path, graph) as runtime:
        state = {"resume_session_id": MINE}
        results = [await runtime.trigger_and_wait("default", session_state=state) for _ in range(3)]
    assert [(r.execution_id, r.output["n"]) for r in results] == [
        (MINE, 1),
        (f"{MINE}-2", 2),
        (f"{MINE}-3", 3),
    ]


async def test_the_executions_of_a_session_run_one_after_the_other(tmp_path):
    turnstile = Turnstile()
    async with running(tmp_path, graph_of(function("hold", turnstile.enter))) as runtime:
        state = {"resume_session_id": MINE}
        names = [await runtime.trigger("default", session_state=state) for _ in range(3)]
        await turnstile.until(1)
        await turnstile.let_through()
        for name in names:
            assert (await runtime.wait_for_completion(name, SECONDS)).success
    assert turnstile.most == 1


@pytest.mark.parametrize("name", ["../../etc", "session_x", "7"])
async def test_a_session_id_that_is_none_is_refused(tmp_path, name):
    async with running(tmp_path, paused_graph()) as runtime:
        with pytest.raises(InvalidInput):
            await runtime.trigger("default", {}, session_state={"resume_session_id": name})


# --- people -------------------------------------------------------------------------------------


async def test_a_node_that_asks_waits_durably_and_is_found(tmp_path):
    async with running(tmp_path, asking_graph()) as runtime:
        stream = runtime.get_stream("default")
        assert (stream.is_awaiting_input, runtime.find_awaiting_node()) == (False, (None, None))
        result = await runtime.trigger_and_wait("default")
        assert (result.status, result.paused_at) == ("waiting_input", "ask")
        assert stream.is_awaiting_input
        waiting = [{"node_id": "ask", "execution_id": result.execution_id}]
        assert runtime.get_waiting_nodes() == stream.get_injectable_nodes() == waiting
        assert runtime.find_awaiting_node() == ("ask", runtime.graph_id)


async def test_an_answer_wakes_the_node_and_the_old_result_is_gone(tmp_path):
    async with running(tmp_path, asking_graph()) as runtime:
        waiting = await runtime.trigger_and_wait("default", {"query": "bees"})
        assert await runtime.inject_input("ask", "yes")
        assert not runtime.get_stream("default").is_awaiting_input
        result = await runtime.wait_for_completion(waiting.execution_id, SECONDS)
        assert (result.status, result.output["published"]) == ("completed", "draft of bees: yes")


async def test_what_waits_is_answered_after_a_restart(tmp_path):
    async with running(tmp_path, asking_graph()) as runtime:
        waiting = await runtime.trigger_and_wait("default", {"query": "bees"})
    async with running(tmp_path, asking_graph()) as runtime:
        assert runtime.get_stream("default").is_awaiting_input
        assert await runtime.inject_input("ask", "yes")
        result = await runtime.wait_for_completion(waiting.execution_id, SECONDS)
        assert result.output["published"] == "draft of bees: yes"


async def test_nobody_hears_what_is_said_to_a_node_that_does_not_wait(tmp_path):
    async with running(tmp_path, asking_graph()) as runtime:
        assert not await runtime.inject_input("ask", "yes")
        assert not await runtime.inject_input("nowhere", "yes")


async def test_what_is_said_to_a_running_node_is_heard_at_its_next_turn(tmp_path):
    turnstile = Turnstile()
    said = []

    async def listen(ctx):
        await turnstile.enter(ctx)
        said.extend(ctx.take_injected())

    async with running(tmp_path, graph_of(function("listen", listen, outputs=()))) as runtime:
        name = await runtime.trigger("default")
        await turnstile.until(1)
        stream = runtime.get_stream("default")
        assert stream.get_injectable_nodes() == [{"node_id": "listen", "execution_id": name}]
        assert await runtime.inject_input("listen", "hurry up")
        await turnstile.let_through()
        await runtime.wait_for_completion(name, SECONDS)
    assert said == ["hurry up"]


async def test_a_client_facing_model_node_asks_and_goes_on(tmp_path):
    script = {
        "nodes": {
            "chat": [
                {"tool_calls": [{"name": "ask_user", "input": {"question": "Who?"}}]},
                {"set_output": {"answer": "{{ $last }}"}},
            ]
        }
    }
    graph = graph_of(model("chat", client_facing=True))
    async with running(tmp_path, graph, llm=ScriptedProvider(script)) as runtime:
        waiting = await runtime.trigger_and_wait("default")
        assert (waiting.status, waiting.paused_at) == ("waiting_input", "chat")
        await runtime.inject_input("chat", "me")
        result = await runtime.wait_for_completion(waiting.execution_id, SECONDS)
    assert result.output["answer"] == "me"


async def test_an_execution_that_waits_can_be_cancelled(tmp_path):
    async with running(tmp_path, asking_graph()) as runtime:
        waiting = await runtime.trigger_and_wait("default")
        name = waiting.execution_id
        heard = Heard.of(runtime, [EventType.EXECUTION_CANCELLED])
        assert await runtime.cancel_execution("default", name)
        await heard.until(EventType.EXECUTION_CANCELLED)
        assert (await runtime.wait_for_completion(name)).status == "cancelled"
        assert not runtime.get_stream("default").is_awaiting_input


async def test_with_one_slot_a_trigger_goes_on_with_what_waits_in_the_session_it_names(tmp_path):
    spec = EntryPointSpec(id="single", max_concurrent=1)
    async with running(tmp_path, asking_graph(), spec) as runtime:
        waiting = await runtime.trigger_and_wait("single", {"query": "bees"})
        result = await runtime.trigger_and_wait(
            "single", {"input": "yes"}, session_state=waiting.session_state
        )
    assert (result.execution_id, result.output["published"]) == (
        waiting.execution_id,
        "draft of bees: yes",
    )
