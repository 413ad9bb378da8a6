"""Budgets at work: every kind of model call is held against them, and each rule does at its limit what it says."""

import asyncio
import math
from contextlib import asynccontextmanager
from functools import partial

import pytest

from hive_daemon.budgets.rules import Limits, Per, Rule, Scope
from hive_daemon.errors import ModelRejected
from hive_daemon.graph.edge import EdgeSpec
from hive_daemon.llm.factory import ModelChoice, make_provider
from hive_daemon.llm.provider import LLMProvider, LLMResponse
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.values import Tool, ToolResult
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import EventType
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig
from hive_daemon.storage.budget_ledger import Look
from tests.fakes.embedded import SECONDS, Heard, function, graph_of, model, running
from tests.fakes.openai_server import Break, Call, Failure, FakeOpenAI, Reply, Usage, breaking

PRICED = "openai/gpt-4o-mini"
QUICK = {"backoff_base": 0.01, "backoff_max": 0.02}
ANSWER = Reply(calls=(Call("set_output", {"key": "answer", "value": "yes"}),), usage=Usage(100, 20))
DONE = Reply(text="Done.", usage=Usage(130, 10))
OF_ONE_RUN = 260
"""Tokens that one execution comes to: it sets its output, then says that it is done."""
GRAPH = graph_of(model("a"))


@pytest.fixture
async def server():
    async with FakeOpenAI(
        otherwise=lambda request: DONE if _is_answered(request) else ANSWER
    ) as it:
        yield it


def _is_answered(request):
    return any(message.get("role") == "tool" for message in request.messages)


def remote(server, name=PRICED, fallbacks=(), **options):
    chain = [ModelChoice(each, "k", server.base_url) for each in fallbacks]
    given = {**QUICK, "max_attempts": 1, **options}
    return make_provider(name, api_key="k", api_base=server.base_url, fallbacks=chain, **given)


def point(*budgets, name="main", **fields):
    return EntryPointSpec(id=name, entry_node="a", budgets=list(budgets), **fields)


def per_run(**keys):
    return {"scope": "execution", **keys}


@asynccontextmanager
async def at_work(path, graph, *specs, llm, **options):
    config = AgentRuntimeConfig(**options)
    async with running(path, graph, *specs, llm=llm, config=config) as runtime:
        yield runtime
    await llm.aclose()


async def used(runtime, subject):
    [use] = await runtime.opened.services.store.budgets.usage([Look(subject)])
    return use


async def run(runtime, name="main", **given):
    return await asyncio.wait_for(runtime.trigger_and_wait(name, {}, **given), SECONDS)


# --- what happens at the limit ----------------------------------------------------------------


async def test_an_execution_within_its_budget_completes_and_is_counted(tmp_path, server):
    async with at_work(
        tmp_path, GRAPH, point(per_run(tokens=100_000)), llm=remote(server)
    ) as runtime:
        result = await run(runtime)
        use = await used(runtime, f"execution:{result.execution_id}")
    assert result.status == "completed"
    assert (use.spent.tokens, use.spent.requests, use.held.tokens) == (OF_ONE_RUN, 2, 0)
    assert math.isclose(use.spent.usd, 230 * 0.15e-6 + 30 * 0.6e-6, rel_tol=1e-9)


async def test_a_spent_budget_pauses_and_a_resume_goes_on_where_it_stood(tmp_path, server):
    llm = remote(server)
    async with at_work(tmp_path, GRAPH, point(per_run(requests=1)), llm=llm) as runtime:
        heard = Heard.of(runtime)
        paused = await run(runtime)
        reached = await heard.until(EventType.BUDGET_EXCEEDED)
        told = await heard.until(EventType.EXECUTION_PAUSED)
    assert (paused.success, paused.status, paused.paused_at) == (True, "paused", "a")
    assert (paused.error_code, len(server.requests)) == ("budget_exceeded", 1)
    assert reached.execution_id == paused.execution_id
    assert reached.data == {
        "budget": "execution of agent/main execution requests",
        "subject": f"execution:{paused.execution_id}",
        "measure": "requests",
        "limit": 1,
        "used": 1,
        "resets_at": "",
        "on_exceed": "pause",
    }
    assert "budget" in told.data["reason"]
    raised = point(per_run(requests=5))
    async with at_work(tmp_path, GRAPH, raised, llm=llm) as runtime:
        named = {"resume_session_id": paused.session_id}
        done = await run(runtime, session_state=named)
    assert (done.status, done.execution_id) == ("completed", paused.execution_id)
    assert (done.output["answer"], len(server.requests)) == ("yes", 2)


@pytest.mark.parametrize("on_exceed", ["reject", "kill"])
async def test_a_spent_budget_fails_the_execution_at_its_next_call(tmp_path, server, on_exceed):
    spec = point(per_run(requests=1, on_exceed=on_exceed))
    async with at_work(tmp_path, GRAPH, spec, llm=remote(server)) as runtime:
        result = await run(runtime)
    assert (result.status, result.error_code) == ("failed", "budget_exceeded")
    assert "1 of 1 requests" in result.error
    assert len(server.requests) == 1


async def test_a_killing_budget_ends_what_else_runs_under_it(tmp_path, server):
    stalled = breaking(Reply(text="…"), Break.STALL, 1)
    server.script(stalled)
    spec = point({"requests": 2, "per": "1d", "on_exceed": "kill"})
    async with at_work(tmp_path, GRAPH, spec, llm=remote(server)) as runtime:
        stuck = await runtime.trigger("main", {})
        await server.wait_for_requests(1)
        result = await run(runtime)
        stream = runtime.find_stream("main")
        other = await stream.wait_for_completion(stuck, SECONDS)
    assert [result.error_code, other.error_code] == ["budget_exceeded"] * 2
    assert other.status == "failed"


async def test_a_degrading_budget_goes_on_with_the_last_fallback(tmp_path, server):
    llm = remote(server, fallbacks=["openai/gpt-4o", "openai/gpt-4.1-nano"])
    spec = point(per_run(requests=1, on_exceed="degrade"))
    async with at_work(tmp_path, GRAPH, spec, llm=llm) as runtime:
        result = await run(runtime)
    asked = [request.body["model"] for request in server.requests]
    assert (result.status, asked) == ("completed", ["gpt-4o-mini", "gpt-4.1-nano"])


async def test_a_degrading_budget_without_another_model_pauses(tmp_path, server):
    spec = point(per_run(requests=1, on_exceed="degrade"))
    async with at_work(tmp_path, GRAPH, spec, llm=remote(server)) as runtime:
        result = await run(runtime)
    assert (result.status, result.error_code) == ("paused", "budget_exceeded")


async def test_a_warning_is_told_once(tmp_path, server):
    spec = point({"tokens": 2 * OF_ONE_RUN, "per": "1d", "warn_at": 0.25})
    async with at_work(tmp_path, GRAPH, spec, llm=remote(server)) as runtime:
        heard = Heard.of(runtime)
        await run(runtime)
        await run(runtime)
        warned = heard.found(EventType.BUDGET_WARNING)
    assert [event.data["used"] for event in warned] == [OF_ONE_RUN]
    assert warned[0].data["resets_at"].endswith("Z")


# --- whom a budget counts for -----------------------------------------------------------------


async def test_executions_of_an_agent_share_its_budget(tmp_path, server):
    budget = {"requests": 3, "per": "1d", "on_exceed": "reject"}
    specs = [point(name="one"), point(name="two")]
    async with at_work(tmp_path, GRAPH, *specs, llm=remote(server), budgets=[budget]) as runtime:
        first = await run(runtime, "one")
        second = await run(runtime, "two")
    assert (first.status, second.error_code) == ("completed", "budget_exceeded")
    assert len(server.requests) == 3


async def test_a_session_has_a_budget_over_its_executions(tmp_path, server):
    budget = {"scope": "session", "requests": 3, "on_exceed": "reject"}
    async with at_work(tmp_path, GRAPH, point(budget), llm=remote(server)) as runtime:
        first = await run(runtime)
        again = await run(runtime, session_state={"resume_session_id": first.session_id})
        other = await run(runtime)
    assert [each.status for each in (first, again, other)] == ["completed", "failed", "completed"]


async def test_an_execution_keeps_what_it_spent_over_a_restart(tmp_path, server):
    llm = remote(server)
    spec = point(per_run(requests=1))
    async with at_work(tmp_path, GRAPH, spec, llm=llm) as runtime:
        paused = await run(runtime)
    async with at_work(tmp_path, GRAPH, spec, llm=llm) as runtime:
        again = await run(runtime, session_state={"resume_session_id": paused.session_id})
    assert (again.status, again.execution_id) == ("paused", paused.execution_id)
    assert len(server.requests) == 1


# --- every kind of call -----------------------------------------------------------------------


async def test_each_retry_is_a_request(tmp_path, server):
    server.script(Failure(500), Failure(500))
    llm = remote(server, max_attempts=3)
    async with at_work(tmp_path, GRAPH, point(per_run(requests=50)), llm=llm) as runtime:
        result = await run(runtime)
        use = await used(runtime, f"execution:{result.execution_id}")
    assert (result.status, use.spent.requests) == ("completed", 4)
    assert (use.spent.tokens, use.lost.tokens) == (OF_ONE_RUN, 0)


async def test_a_retry_beyond_the_budget_is_not_made(tmp_path, server):
    server.script(Failure(500), Failure(500), Failure(500))
    llm = remote(server, max_attempts=3)
    async with at_work(tmp_path, GRAPH, point(per_run(requests=2)), llm=llm) as runtime:
        result = await run(runtime)
    assert (result.status, len(server.requests)) == ("paused", 2)


async def test_an_answer_that_broke_off_counts_in_full(tmp_path, server):
    server.script(breaking(Reply(text="Let me see."), Break.CUT, 3))
    llm = remote(server, max_attempts=2)
    async with at_work(tmp_path, GRAPH, point(per_run(tokens=10**6)), llm=llm) as runtime:
        result = await run(runtime)
        use = await used(runtime, f"execution:{result.execution_id}")
    assert result.status == "completed"
    assert use.lost.tokens > 4096
    assert use.spent.tokens == OF_ONE_RUN + use.lost.tokens


async def test_a_call_that_is_cancelled_counts_in_full(tmp_path, server):
    server.script(breaking(Reply(text="…"), Break.STALL, 1))
    spec = point(per_run(tokens=10**6))
    async with at_work(tmp_path, GRAPH, spec, llm=remote(server)) as runtime:
        name = await runtime.trigger("main", {})
        await server.wait_for_requests(1)
        await runtime.cancel_execution("main", name)
        await runtime.find_stream("main").wait_for_completion(name, SECONDS)
        use = await used(runtime, f"execution:{name}")
    assert use.held.tokens == 0
    assert use.lost.tokens == use.spent.tokens > 4096


async def test_a_fallback_is_a_request(tmp_path, server):
    server.script(Failure(401))
    llm = remote(server, fallbacks=["openai/gpt-4o"])
    async with at_work(tmp_path, GRAPH, point(per_run(requests=50)), llm=llm) as runtime:
        result = await run(runtime)
        use = await used(runtime, f"execution:{result.execution_id}")
    assert (result.status, use.spent.requests) == ("completed", len(server.requests))


async def test_an_edge_that_a_model_decides_is_a_request(tmp_path, server):
    graph = graph_of(function("a", lambda: "x", outputs=("x",)), function("b", lambda: "y"))
    graph.edges.append(EdgeSpec(id="a-b", source="a", target="b", condition="llm_decide"))
    server.script(Reply(text='{"proceed": true, "reasoning": "yes"}'))
    async with at_work(tmp_path, graph, point(per_run(requests=50)), llm=remote(server)) as runtime:
        result = await run(runtime)
        use = await used(runtime, f"execution:{result.execution_id}")
    assert (result.status, use.spent.requests, len(server.requests)) == ("completed", 1, 1)


async def test_an_edge_that_may_not_be_asked_about_pauses_the_execution(tmp_path, server):
    graph = graph_of(function("a", lambda: "x", outputs=("x",)), function("b", lambda: "y"))
    graph.edges.append(EdgeSpec(id="a-b", source="a", target="b", condition="llm_decide"))
    async with at_work(tmp_path, graph, point(per_run(requests=0)), llm=remote(server)) as runtime:
        result = await run(runtime)
    assert (result.status, server.requests) == ("paused", [])


async def test_a_judge_is_a_request(tmp_path, server):
    server.script(ANSWER, DONE, Reply(text="ACTION: ACCEPT\nCONFIDENCE: 0.9\nFEEDBACK:"))
    graph = graph_of(model("a", success_criteria="It says yes."))
    async with at_work(tmp_path, graph, point(per_run(requests=50)), llm=remote(server)) as runtime:
        result = await run(runtime)
        use = await used(runtime, f"execution:{result.execution_id}")
    assert (result.status, use.spent.requests, len(server.requests)) == ("completed", 3, 3)


async def test_a_summary_that_makes_room_is_a_request(tmp_path, server):
    async def execute(use):
        return ToolResult(use.id, "found " * 2_000)

    asked = []

    def answer(request):
        asked.append(request.messages[0]["content"])
        if asked[-1].startswith("Summarise"):
            return Reply(text="It was found.")
        searched = any(message.get("role") == "tool" for message in request.messages)
        return ANSWER if searched or len(asked) > 3 else Reply(calls=(Call("search", {}),))

    server.otherwise = answer
    graph = graph_of(
        model("a", tools=["search"]),
        loop_config={"max_history_tokens": 2_500, "max_tool_result_chars": 40_000},
    )
    given = {"tools": [Tool("search", "Search.")], "tool_executor": execute}
    llm = remote(server)
    async with running(tmp_path, graph, point(per_run(requests=12)), llm=llm, **given) as runtime:
        result = await run(runtime)
        use = await used(runtime, f"execution:{result.execution_id}")
    await llm.aclose()
    assert any(text.startswith("Summarise") for text in asked)
    assert use.spent.requests == len(server.requests)


async def test_a_call_that_a_function_makes_by_itself_is_a_request(tmp_path, server):
    llm = remote(server)
    server.script(DONE)

    async def calls():
        return (await llm.acomplete([{"role": "user", "content": "hi"}])).content

    graph = graph_of(function("a", calls))
    async with at_work(tmp_path, graph, point(per_run(requests=50)), llm=llm) as runtime:
        result = await run(runtime)
        use = await used(runtime, f"execution:{result.execution_id}")
    assert (result.status, use.spent.requests) == ("completed", 1)


async def test_a_blocking_call_in_a_worker_thread_is_a_request(tmp_path, server):
    llm = remote(server)
    server.script(DONE)
    ask = partial(llm.complete, [{"role": "user", "content": "hi"}])
    graph = graph_of(function("a", lambda: ask().content))
    async with at_work(tmp_path, graph, point(per_run(requests=50)), llm=llm) as runtime:
        result = await run(runtime)
        use = await used(runtime, f"execution:{result.execution_id}")
    assert (result.status, use.spent.requests, use.held.requests) == ("completed", 1, 0)


async def test_tool_calls_have_a_limit_of_their_own(tmp_path, server):
    ran = []

    async def execute(use):
        ran.append(use.name)
        return ToolResult(use.id, "found")

    server.script(*[Reply(calls=(Call("search", {"q": "x"}),))] * 3)
    graph = graph_of(model("a", tools=["search"]))
    given = {"tools": [Tool("search", "Search.")], "tool_executor": execute}
    spec = point(per_run(tool_calls=2))
    llm = remote(server)
    async with running(tmp_path, graph, spec, llm=llm, **given) as runtime:
        result = await run(runtime)
        use = await used(runtime, f"execution:{result.execution_id}")
    await llm.aclose()
    assert (result.status, ran, use.spent.tool_calls) == ("paused", ["search"] * 2, 2)


# --- prices -----------------------------------------------------------------------------------


async def test_a_call_without_a_price_is_blocked_under_a_limit_in_dollars(tmp_path, server):
    llm = remote(server, "openai/nobody-knows-me")
    spec = point(per_run(usd=100.0, on_exceed="reject"))
    async with at_work(tmp_path, GRAPH, spec, llm=llm) as runtime:
        result = await run(runtime)
    assert (result.error_code, server.requests) == ("budget_exceeded", [])
    assert "the price of openai/nobody-knows-me is not known" in result.error
    assert "set unpriced: allow" in result.error


async def test_a_call_without_a_price_is_counted_where_it_is_allowed(tmp_path, server):
    llm = remote(server, "openai/nobody-knows-me")
    spec = point(per_run(usd=100.0, tokens=10**6))
    async with at_work(tmp_path, GRAPH, spec, llm=llm, unpriced="allow") as runtime:
        result = await run(runtime)
        use = await used(runtime, f"execution:{result.execution_id}")
    assert (result.status, use.unpriced, use.spent.usd) == ("completed", 2, 0.0)
    assert use.spent.tokens == OF_ONE_RUN


async def test_the_scripted_model_is_free(tmp_path):
    spec = point(per_run(usd=0.000001))
    async with at_work(tmp_path, GRAPH, spec, llm=ScriptedProvider()) as runtime:
        result = await run(runtime)
        use = await used(runtime, f"execution:{result.execution_id}")
    assert (result.status, use.spent.usd, use.unpriced) == ("completed", 0.0, 0)
    assert use.spent.requests > 0


class Own(LLMProvider):
    """A program's own model."""

    model = "own"

    def __init__(self, fails=False):
        self.fails = fails

    async def acomplete(self, messages, system="", tools=None, max_tokens=100):
        if self.fails:
            raise ModelRejected("no")
        return LLMResponse("yes", "own", input_tokens=3, output_tokens=4, stop_reason="stop")


async def test_a_programs_own_model_is_counted(tmp_path):
    graph = graph_of(model("a", outputs=()))
    async with at_work(tmp_path, graph, point(per_run(tokens=10**6)), llm=Own()) as runtime:
        result = await run(runtime)
        use = await used(runtime, f"execution:{result.execution_id}")
    assert (result.status, use.spent.tokens, use.spent.requests) == ("completed", 7, 1)


async def test_many_at_once_pass_a_limit_by_one_call_at_most(tmp_path, server):
    limit = 4 * OF_ONE_RUN
    spec = point({"tokens": limit, "per": "1d"}, max_concurrent=30)
    async with at_work(tmp_path, GRAPH, spec, llm=remote(server)) as runtime:
        results = await asyncio.gather(*(run(runtime) for _ in range(30)))
        use = await used(runtime, "entry_point:agent/main")
    assert {result.status for result in results} <= {"completed", "paused"}
    assert use.spent.tokens < limit + OF_ONE_RUN
    assert use.held.tokens == 0


def test_a_rule_names_itself():
    rule = Rule(Scope.AGENT, Per.DAY, Limits(usd=1, tokens=5), "mail", agent="mail")
    assert rule.id == "agent:mail 1d usd,tokens"
