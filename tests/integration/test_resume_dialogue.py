"""What a model is told when a session goes on after it was cut: a strict server accepts every request."""

from types import SimpleNamespace

import pytest

from hive_daemon.graph.conversation import INTERRUPTED
from hive_daemon.llm.openai_provider import OpenAIProvider
from hive_daemon.llm.values import Tool, ToolResult
from tests.fakes.embedded import SECONDS, Turnstile, graph_of, model, running
from tests.fakes.openai_server import Call, FakeOpenAI, Reply

LOOK = Tool("look", "Look.", {"type": "object", "properties": {}})
ANSWER = Call("set_output", {"key": "answer", "value": "seen"}, "call_answer")


@pytest.fixture
async def server():
    async with FakeOpenAI(strict=True) as fake:
        yield fake


@pytest.fixture
async def provider(server):
    provider = OpenAIProvider("openai/fake", api_key="k", api_base=server.base_url)
    yield provider
    await provider.aclose()


@pytest.mark.parametrize("mode", ["continuous", "isolated"])
async def test_after_a_cut_amid_a_tool_call_the_next_execution_is_told_so(
    server, provider, tmp_path, mode
):
    turnstile = Turnstile()

    async def execute(use):
        await turnstile.enter(SimpleNamespace(execution_id=use.name))
        return ToolResult(use.id, "seen")

    graph = graph_of(model("see", tools=["look"]), conversation_mode=mode)
    given = {"llm": provider, "tools": [LOOK], "tool_executor": execute}
    server.script(Reply(calls=(Call("look", {}, "call_look"),)), Reply(calls=(ANSWER,)))
    async with running(tmp_path, graph, **given) as runtime:
        name = await runtime.trigger("default", {"query": "bees"})
        await turnstile.until(1)
        await runtime.cancel_execution("default", name)
        cut = await runtime.wait_for_completion(name, SECONDS)
        assert cut.status == "cancelled"
        done = await runtime.trigger_and_wait("default", {}, session_state=cut.session_state)
    assert (done.status, done.output["answer"]) == ("completed", "seen")
    messages = server.requests[-1].messages
    roles = [message["role"] for message in messages]
    assert roles == ["system", "user", "assistant", "tool", "user", "assistant", "tool"]
    assert messages[3]["content"].endswith(INTERRUPTED)
    assert len(server.requests) == 3
