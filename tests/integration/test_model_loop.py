"""The model loop through litellm, against a model server on loopback that refuses a broken history."""

import pytest

from hive_daemon.graph.event_loop_node import LoopConfig
from hive_daemon.graph.node import Waiting
from hive_daemon.llm.litellm_provider import LiteLLMProvider
from tests.fakes.loop_world import Tools, World, node
from tests.fakes.openai_server import Break, Call, Failure, FakeOpenAI, Reply, Usage, breaking

QUICK = {"backoff_base": 0.01, "backoff_max": 0.02}
SPEC = node("triage", output_keys=["report"], description="Write a report.")
REPORT = Reply(calls=(Call("set_output", {"key": "report", "value": "All is well."}),))
DONE = Reply(text="Done.")


@pytest.fixture
async def server():
    async with FakeOpenAI(strict=True) as fake:
        yield fake


@pytest.fixture
async def world(server):
    model = LiteLLMProvider("openai/fake", api_key="k", api_base=server.base_url, **QUICK)
    yield World(model=model, config=LoopConfig(stream_retry_backoff_base=0.01))
    await model.aclose()


async def test_parallel_tools_run_and_the_outputs_come_back(server, world):
    both = (Call("search", {"q": "a"}), Call("write", {"text": "b"}))
    server.script(Reply(text="Let me see.", calls=both), REPORT, DONE)
    world.tools = Tools(search="found", write="written")
    result = await world.run(SPEC, {"log": "line"})
    assert result.output == {"report": "All is well."}
    assert (result.stats.input_tokens, result.stats.output_tokens) == (33, 21)
    roles = [message["role"] for message in server.requests[-1].messages]
    assert roles == ["system", "user", *["assistant", "tool", "tool"], "assistant", "tool"]
    offered = [tool["function"]["name"] for tool in server.requests[0].body["tools"]]
    assert offered == ["search", "write", "set_output", "escalate"]


async def test_a_stream_that_breaks_amid_its_calls_is_tried_again_and_runs_none(server, world):
    broken = breaking(Reply(text="Let me see.", calls=(Call("write"),)), Break.CUT, 3)
    server.script(broken, REPORT, DONE)
    result = await world.run(SPEC)
    assert result.output == {"report": "All is well."}
    assert world.tools.uses == []
    assert len(world.recorder.of("node_retry")) == 1
    said = [message.content for message in result.conversation.messages]
    assert "Let me see." not in said


async def test_a_refused_key_fails_the_node_at_once(server, world):
    server.script(Failure(401, "bad key"))
    result = await world.run(SPEC)
    assert (result.error_type, result.retryable) == ("auth", False)
    assert len(server.requests) == 1


async def test_a_busy_service_is_tried_by_one_layer_only(server, world):
    server.otherwise = Failure(429, retry_after="0")
    result = await world.run(SPEC)
    assert (result.error_type, result.retryable) == ("model_unavailable", True)
    assert len(server.requests) == world.model.limits.max_attempts


async def test_a_window_that_the_service_finds_too_small_is_made_room_in(server, world):
    world.tools = Tools(search="hit " * 200)
    searches = [Reply(calls=(Call("search", {"q": q}),)) for q in "abc"]
    too_long = Failure(400, "too long", code="context_length_exceeded")
    server.script(*searches, too_long, Reply(text="So far: hits."), REPORT, DONE)
    result = await world.run(SPEC)
    assert result.output == {"report": "All is well."}
    assert "So far: hits." in server.requests[-1].messages[1]["content"]


async def test_malformed_arguments_go_back_to_the_model(server, world):
    server.script(Reply(calls=(Call("search", '{"q": "a'),)), REPORT, DONE)
    result = await world.run(SPEC)
    assert result.success
    assert world.tools.uses == []
    assert "not a valid JSON object" in server.requests[1].messages[-1]["content"]


async def test_a_question_waits_and_the_answer_goes_on(server, world):
    spec = node("intake", output_keys=["report"], client_facing=True)
    server.script(Reply(text="What is it about?", usage=Usage()), REPORT, DONE)
    first = await world.run(spec)
    assert first.waiting == Waiting("What is it about?")
    result = await world.run(spec, answer="bees", answers=1)
    assert result.output == {"report": "All is well."}
    assert server.requests[1].messages[-1] == {"role": "user", "content": "bees"}
