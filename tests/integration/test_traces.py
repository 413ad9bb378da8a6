"""Traces: spans from what is committed, `hive trace` with and without a daemon, W3C in and out, OTLP to a collector."""

import asyncio
import itertools
import json
from contextlib import asynccontextmanager

import pytest

from hive_daemon.control.server import ControlServer
from hive_daemon.control.trace_view import all_events
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.node import NodeResult, NodeSpec
from hive_daemon.ids import span_id_of
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.values import Tool
from hive_daemon.observability.spans import SpanKind, spans_of
from hive_daemon.observability.trace_context import current_parent, set_trace_context
from hive_daemon.runtime.agent_runtime import AgentRuntime, AgentRuntimeConfig
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import EventType
from hive_daemon.runtime.runtime_config import Placement
from hive_daemon.runtime.services import begin_work
from tests.fakes.control_client import Client
from tests.fakes.control_host import FakeAgent, open_host, running_host
from tests.fakes.embedded import SECONDS, Heard, function, graph_of, model, running
from tests.fakes.hive_command import run_hive

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{PARENT}-01"
SCRIPT = {
    "nodes": {
        "ask": [
            {"tool_calls": [{"name": "fetch", "input": {"about": "the customer"}}]},
            {"set_output": {"answer": "done"}},
        ]
    }
}


class Fetch:
    """A tool that notes which span asks it."""

    def __init__(self):
        self.parents = []

    def __call__(self, use):
        self.parents.append(current_parent())
        return "what was fetched"


@asynccontextmanager
async def traced(directory, fetch=None):
    """A daemon with one agent: it looks, asks a model, which calls a tool; and an entry point that hears webhooks."""
    graph = graph_of(
        function("look", lambda: {"seen": "much"}, outputs=("seen",)),
        model("ask", tools=["fetch"]),
        edges=[("look", "ask")],
    )
    async with open_host(directory) as host:
        place = host.services.settings.state_dir / "agents" / "agent"
        runtime = AgentRuntime(
            graph,
            Goal(id="goal", name="Goal"),
            llm=ScriptedProvider(SCRIPT),
            tools=[Tool("fetch", "Fetches.", {"properties": {}})],
            tool_executor=fetch or Fetch(),
            config=AgentRuntimeConfig(
                webhook_routes=[{"source_id": "mail", "path": "/hooks/mail", "verify": "none"}]
            ),
            graph_id="agent",
            placement=Placement(host.services, "agent", place, host.webhooks),
        )
        runtime.register_entry_point(EntryPointSpec(id="go", isolation_level="isolated"))
        runtime.register_entry_point(
            EntryPointSpec(
                id="hear",
                trigger_type="event",
                trigger_config={"event_types": ["webhook_received"], "filter_stream": "mail"},
                isolation_level="isolated",
            )
        )
        await runtime.start()
        host.agents.agents["agent"] = FakeAgent("agent", place, runtime=runtime)
        begin_work(host.services)
        server = ControlServer(host)
        await server.start()
        try:
            yield host, Client(host.socket)
        finally:
            await server.stop()


async def run(client, **headers):
    answer = await client.post("/v1/entry-points/agent/go/trigger", {"input": {}}, headers=headers)
    name = answer.json["execution_id"]
    shown = (await client.get(f"/v1/executions/{name}?wait=20")).json
    assert shown["status"] == "completed", shown
    return name


async def test_an_execution_is_spans_of_nodes_model_calls_and_tool_calls(tmp_path):
    fetch = Fetch()
    async with traced(tmp_path, fetch) as (_, client):
        name = await run(client)
        trace = (await client.get(f"/v1/executions/{name}/trace")).json
    spans = {span["name"]: span for span in trace["spans"]}
    whole, ask, tool = spans["invoke_agent agent"], spans["ask"], spans["execute_tool fetch"]
    chats = [span for span in trace["spans"] if span["kind"] == "chat"]
    assert trace["spans"][0] == whole
    assert whole["parent_id"] is None
    assert {spans["look"]["parent_id"], ask["parent_id"]} == {whole["span_id"]}
    assert {tool["parent_id"], *(chat["parent_id"] for chat in chats)} == {ask["span_id"]}
    assert whole["attributes"]["gen_ai.operation.name"] == "invoke_agent"
    assert whole["attributes"]["gen_ai.conversation.id"] == name
    assert tool["attributes"]["gen_ai.tool.name"] == "fetch"
    assert tool["attributes"]["gen_ai.tool.call.id"]
    assert len(chats) == 3
    assert chats[0]["attributes"]["gen_ai.usage.input_tokens"] > 0
    assert "customer" not in json.dumps(trace)
    assert all(span["duration_seconds"] >= 0 for span in trace["spans"])
    [asked] = fetch.parents
    assert (asked.trace_id, asked.span_id) == (trace["trace_id"], tool["span_id"])


async def test_content_is_told_only_if_it_is_asked_for(tmp_path):
    async with traced(tmp_path) as (host, client):
        name = await run(client)
        store = host.services.store.executions
        row, events = await store.load(name), await all_events(store, name)
    told = [s for s in spans_of(row, events, has_content=True) if s.kind is SpanKind.EXECUTE_TOOL]
    assert told[0].attributes["gen_ai.tool.call.arguments"] == '{"about":"the customer"}'
    assert told[0].attributes["gen_ai.tool.call.result"] == "what was fetched"
    assert "fetched" not in str(spans_of(row, events))


async def test_a_traceparent_of_a_request_or_a_webhook_is_continued(tmp_path):
    async with traced(tmp_path) as (host, client):
        await host.webhooks.start()
        mine = await run(client, traceparent=HEADER)
        trace = (await client.get(f"/v1/executions/{mine}/trace")).json
        assert (trace["trace_id"], trace["parent_id"]) == (TRACE, PARENT)
        assert trace["spans"][0]["parent_id"] == PARENT
        other = await run(client, traceparent="00-nothing-of-the-kind-01")
        assert (await client.get(f"/v1/executions/{other}/trace")).json["trace_id"] != TRACE
        import aiohttp

        url = f"http://127.0.0.1:{host.webhooks.port}/hooks/mail"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json={}, headers={"traceparent": HEADER}) as sent,
        ):
            assert sent.status == 202
            heard = (await sent.json())["execution_id"]
        trace = (await client.get(f"/v1/executions/{heard}/trace")).json
        assert (trace["trace_id"], trace["parent_id"]) == (TRACE, PARENT)
        await host.webhooks.stop()


async def test_each_attempt_of_a_node_is_a_span_with_the_id_that_it_ran_under(tmp_path):
    seen = []

    class Flaky:
        async def execute(self, ctx):
            seen.append(current_parent().span_id)
            return NodeResult(len(seen) > 2, {"answer": "x"}, error="not yet", retryable=True)

    node = NodeSpec(id="own", node_type="function", output_keys=["answer"], max_retries=3)
    async with running(
        tmp_path, graph_of(node), EntryPointSpec(id="go"), node_registry={"own": Flaky()}
    ) as runtime:
        name = await runtime.trigger("go", {})
        await runtime.wait_for_completion(name, SECONDS)
        store = runtime.running().services.store.executions
        row, events = await store.load(name), await all_events(store, name)
    spans = [span for span in spans_of(row, events) if span.kind is SpanKind.NODE]
    assert [span.span_id for span in spans] == seen
    assert [span.error for span in spans] == ["node_failed", "node_failed", ""]
    assert [span.attributes["hive.node.attempt"] for span in spans] == [1, 2, 3]
    assert all(one.end <= other.start for one, other in itertools.pairwise(spans))


async def test_what_an_event_or_a_node_sets_off_belongs_to_the_trace_of_its_execution(tmp_path):
    inner = []

    async def begin():
        inner.append(await runtime.trigger("called", {}))
        return {"answer": "x"}

    graph = graph_of(function("begin", begin), function("end", lambda: {"b": 1}, outputs=("b",)))
    listening = {"event_types": ["execution_completed"], "filter_stream": "go"}
    specs = (
        EntryPointSpec(id="go"),
        EntryPointSpec(id="called", entry_node="end", isolation_level="isolated"),
        EntryPointSpec(
            id="heard",
            entry_node="end",
            trigger_type="event",
            trigger_config=listening,
            isolation_level="isolated",
        ),
    )
    async with running(tmp_path, graph, *specs) as runtime:
        heard = Heard.of(runtime)
        set_trace_context(trace_id=TRACE, span_id=PARENT)
        name = await runtime.trigger("go", {})
        other = await heard.until(EventType.EXECUTION_COMPLETED, "heard")
        await heard.until(EventType.EXECUTION_COMPLETED, "called")
        store = runtime.running().services.store.executions
        rows = [await store.load(one) for one in (name, inner[0], other.execution_id)]
    assert {row.trace_id for row in rows} == {TRACE}
    parents = [PARENT, span_id_of(name, "begin", 1, 1), span_id_of(name)]
    assert [row.trace_parent for row in rows] == parents


async def test_the_same_spans_come_after_a_restart(tmp_path):
    async with traced(tmp_path) as (_, client):
        name = await run(client)
        before = (await client.get(f"/v1/executions/{name}/trace")).json
    async with traced(tmp_path) as (_, client):
        assert (await client.get(f"/v1/executions/{name}/trace")).json == before


async def test_what_goes_on_after_a_restart_goes_on_in_the_same_trace(tmp_path):
    async with running_host(tmp_path) as host:
        client = Client(host.socket)
        answer = await client.post(
            "/v1/entry-points/desk/ask/trigger", {"input": {}}, headers={"traceparent": HEADER}
        )
        name = answer.json["execution_id"]
        await client.get(f"/v1/executions/{name}?wait=20")
        [whole, *_] = (await client.get(f"/v1/executions/{name}/trace")).json["spans"]
        assert whole["ended_at"] is None
    async with running_host(tmp_path) as host:
        client = Client(host.socket)
        await client.post(f"/v1/sessions/{name}/input", {"text": "yes"})
        shown = (await client.get(f"/v1/executions/{name}?wait=20")).json
        trace = (await client.get(f"/v1/executions/{name}/trace")).json
    assert shown["status"] == "completed"
    assert (trace["trace_id"], trace["parent_id"]) == (TRACE, PARENT)
    assert trace["spans"][0]["span_id"] == whole["span_id"]
    [wait] = [span for span in trace["spans"] if span["kind"] == "wait"]
    assert (wait["name"], wait["parent_id"]) == ("wait waiting_input", whole["span_id"])
    assert wait["ended_at"] is not None


async def test_the_command_draws_a_waterfall_with_and_without_a_daemon(tmp_path):
    async with traced(tmp_path) as (host, client):
        name = await run(client)
        state, socket = str(host.services.settings.state_dir), str(host.socket)
        code, out, _ = await run_hive(host.socket, "--socket", socket, "trace", name)
        assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith(f"{name}  completed  trace ")
    drawn = [line.partition("|")[0].rstrip() for line in lines[2:]]
    assert drawn[0] == "invoke_agent agent"
    assert "  look" in drawn
    assert "    execute_tool fetch" in drawn
    assert all("#" in line for line in lines[2:])
    code, alone, said = await run_hive(
        host.socket, "--socket", socket, "trace", "latest", HIVE_STATE_DIR=state
    )
    assert (code, alone) == (0, out)
    assert "this is what its store says" in said
    words = ("--socket", socket, "trace", name[:20], "--json")
    code, named, _ = await run_hive(host.socket, *words, HIVE_STATE_DIR=state)
    assert (code, json.loads(named)["execution_id"]) == (0, name)
    code, _, said = await run_hive(
        host.socket, "--socket", socket, "trace", "session_1", HIVE_STATE_DIR=state
    )
    assert code == 3
    assert "session_1" in said


# --- to a collector -----------------------------------------------------------------------------


class Collector:
    """An OTLP/HTTP collector: what was posted to it, decoded."""

    def __init__(self):
        self.spans = []
        self.come = asyncio.Event()
        self.status = 200

    async def take(self, request):
        from aiohttp import web
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        sent = ExportTraceServiceRequest.FromString(body)
        if self.status == 200:
            for resource in sent.resource_spans:
                for scope in resource.scope_spans:
                    self.spans.extend(scope.spans)
            self.come.set()
        return web.Response(status=self.status)


@asynccontextmanager
async def collecting():
    from aiohttp import web

    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = site._server.sockets[0].getsockname()[1]
        yield collector, f"http://127.0.0.1:{port}/v1/traces"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("content", [False, True])
async def test_what_ended_is_sent_to_the_collector(tmp_path, content):
    from contextlib import AsyncExitStack

    from hive_daemon.config.trace_keys import TracesConfig
    from hive_daemon.daemon.trace_export import send_traces

    async with (
        collecting() as (collector, endpoint),
        traced(tmp_path) as (host, client),
        AsyncExitStack() as stack,
    ):
        await send_traces(host.services, TracesConfig(endpoint=endpoint, content=content), stack)
        name = await run(client, traceparent=HEADER)
        async with asyncio.timeout(20):
            await collector.come.wait()
        trace = (await client.get(f"/v1/executions/{name}/trace")).json
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert {(s.name, s.span_id.hex(), s.parent_span_id.hex()) for s in collector.spans} == {
        (s["name"], s["span_id"], s["parent_id"] or "") for s in trace["spans"]
    }
    kinds = {span.name.partition(" ")[0]: span.kind for span in collector.spans}
    assert kinds["chat"] == 3  # CLIENT
    told = {a.key for span in collector.spans for a in span.attributes}
    assert {"gen_ai.operation.name", "gen_ai.agent.name", "gen_ai.tool.call.id"} <= told
    assert ("gen_ai.tool.call.result" in told) == content


@asynccontextmanager
async def sending(host, endpoint):
    """Send the traces of a daemon, if a collector is named; at the end what ended was sent."""
    from contextlib import AsyncExitStack

    from hive_daemon.config.trace_keys import TracesConfig
    from hive_daemon.daemon.trace_export import send_traces

    async with AsyncExitStack() as stack:
        await send_traces(host.services, TracesConfig(endpoint=endpoint), stack)
        yield
        await host.services.hub.flush()


@pytest.fixture
def patient(monkeypatch):
    """Let a daemon wait at its end until everything is sent, however slow the machine is."""
    monkeypatch.setattr("hive_daemon.daemon.trace_export.FAREWELL_SECONDS", 120.0)


def sent(collector):
    """Return the executions that came to a collector, in order."""
    whole = [span for span in collector.spans if span.name.startswith("invoke_agent")]
    return [value(span, "hive.execution.id") for span in whole]


def value(span, key):
    [found] = [a.value.string_value for a in span.attributes if a.key == key]
    return found


async def test_what_ended_unsent_before_a_crash_is_sent_by_the_next_process_and_nothing_twice(
    tmp_path, patient
):
    from hive_daemon.daemon.trace_export import TraceExport

    async with collecting() as (collector, endpoint):
        async with traced(tmp_path) as (host, client), sending(host, endpoint):
            names = [await run(client)]
        async with traced(tmp_path) as (host, client):
            # It would send now, and is killed before it comes to that.
            await TraceExport(host.services, None, has_content=False).begin()
            names += [await run(client), await run(client)]
        async with traced(tmp_path) as (host, client), sending(host, endpoint):
            names.append(await run(client))
    assert sent(collector) == names


async def test_what_ended_while_no_collector_was_named_is_not_sent(tmp_path, patient):
    async with collecting() as (collector, endpoint):
        async with traced(tmp_path) as (host, client), sending(host, endpoint):
            names = [await run(client)]
        async with traced(tmp_path) as (host, client), sending(host, None):
            await run(client)
        async with traced(tmp_path) as (host, client), sending(host, endpoint):
            names.append(await run(client))
    assert sent(collector) == names


async def test_a_collector_that_is_away_delays_nothing_and_is_told_of(tmp_path, patient, caplog):
    from hive_daemon.daemon.trace_export import TraceExport

    class Away:
        def send(self, trace_id, spans):
            return False

        def close(self):
            pass

    async with traced(tmp_path) as (host, client):
        export = TraceExport(host.services, Away(), has_content=False)
        host.services.hub.listen(export.heard)
        task = host.services.scope.spawn("traces", export.run())
        await run(client)
        await host.services.hub.flush()
        await export.close()
        task.cancel()
    assert export.lost == 1
    assert "a trace was not sent" in caplog.text
