"""Resuming over the control API and `hive`: checkpoints, what failed, and graphs that were changed meanwhile."""

import asyncio
import json
from pathlib import Path

import pytest

from hive_daemon.graph.facts import ToolCallCompleted
from hive_daemon.graph.node import NodeResult
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.runtime_config import Placement
from tests.fakes.control_client import Client
from tests.fakes.control_host import GOAL, FakeAgent, chain, desk_graph, node, running_host
from tests.integration.test_control_cli import spawned

ASK = EntryPointSpec(id="ask", entry_node="first", isolation_level="isolated")
REST = EntryPointSpec(id="rest", entry_node="before", isolation_level="isolated")


@pytest.fixture
async def host(tmp_path):
    async with running_host(tmp_path) as host:
        host.gate.is_open.set()
        yield host


@pytest.fixture
def client(host):
    return Client(host.socket)


@pytest.fixture
def hive(host):
    """Run a command; answers (exit code, stdout, stderr)."""

    async def run(*arguments):
        process = await spawned(host, *arguments)
        out, err = await asyncio.wait_for(process.communicate(), 20)
        return process.returncode, out.decode(), err.decode()

    return run


async def run(client, address, **body):
    answer = await client.post(f"/v1/entry-points/{address}/trigger", {"input": body})
    name = answer.json["execution_id"]
    return name, await settled(client, name)


async def settled(client, name):
    return (await client.get(f"/v1/executions/{name}?wait=20")).json


async def resume(client, name, **body):
    return await client.post(f"/v1/sessions/{name}/resume", body)


async def checkpoints(client, name):
    return (await client.get(f"/v1/sessions/{name}/checkpoints")).json["items"]


async def before(client, name, node_id):
    """Return the id of the checkpoint after which a node runs."""
    found = await checkpoints(client, name)
    return next(one["checkpoint_id"] for one in found if one["next_node"] == node_id)


async def changed(host, graph):
    """Give the desk another graph, as a restart with another folder does."""
    await host.runtime("desk").stop(0.5)
    await host.add("desk", graph, ASK, REST)


def longer():
    """The desk with one node more."""
    graph = desk_graph()
    return graph.model_copy(update={"nodes": [*graph.nodes, node("spare")]})


def without(gone):
    """The desk without a node."""
    graph = desk_graph()
    return graph.model_copy(
        update={
            "nodes": [one for one in graph.nodes if one.id != gone],
            "edges": [one for one in graph.edges if gone not in (one.source, one.target)],
            "pause_nodes": [one for one in graph.pause_nodes if one != gone],
        }
    )


# --- checkpoints --------------------------------------------------------------------------------


async def test_a_completed_session_goes_back_to_a_checkpoint(host, client):
    name, _ = await run(client, "ops/triage", log="x")
    place = await before(client, name, "report")
    answer = await resume(client, name, **{"from": place})
    assert (answer.status, answer.json["execution_id"]) == (202, f"{name}-2")
    ended = await settled(client, f"{name}-2")
    assert (ended["status"], ended["output"]["log"]) == ("completed", "x")
    assert host.gate.runs == ["parse", "hold", "report", "report"]


async def test_what_was_put_away_gives_way_to_the_execution_that_goes_back(host, client):
    name, _ = await run(client, "desk/ask")
    place = await before(client, name, "ask")
    answer = await resume(client, name, **{"from": place})
    assert (await settled(client, name))["status"] == "cancelled"
    assert (await settled(client, answer.json["execution_id"]))["status"] == "waiting_input"
    assert host.gate.runs == ["first"]
    assert len(host.runtime("desk").get_waiting_nodes()) == 1


async def test_the_end_of_an_execution_and_an_unknown_checkpoint_are_refused(client):
    name, _ = await run(client, "ops/triage")
    last = (await checkpoints(client, name))[-1]["checkpoint_id"]
    refused = await resume(client, name, **{"from": last})
    assert (refused.status, refused.code) == (409, "illegal_move")
    refused = await resume(client, name, **{"from": "cp_x"})
    assert (refused.status, refused.code) == (404, "not_found")
    assert refused.error["hint"] == f"see `hive sessions checkpoints {name}`"


async def test_going_back_with_a_known_key_is_done_once(client):
    name, _ = await run(client, "ops/triage")
    place = await before(client, name, "report")
    answers = [
        await client.post(f"/v1/sessions/{name}/resume", {"from": place}, key="k") for _ in range(2)
    ]
    assert [one.json["execution_id"] for one in answers] == [f"{name}-2"] * 2


# --- what failed --------------------------------------------------------------------------------


async def test_only_what_failed_is_retried(host, client):
    name, _ = await run(client, "desk/rest")
    refused = await resume(client, name, retry_failed=True)
    assert (refused.status, refused.code) == (409, "illegal_move")
    assert refused.error["message"] == f"{name} is paused: nothing failed"
    assert refused.error["hint"] == f"go on with it by `hive sessions resume {name}`"
    host.gate.fails.add("report")
    name, _ = await run(client, "ops/triage")
    host.gate.fails.clear()
    answer = await resume(client, name, retry_failed=True)
    assert (await settled(client, answer.json["execution_id"]))["status"] == "completed"
    assert host.gate.runs[-4:] == ["parse", "hold", "report", "report"]


async def test_a_resume_that_was_cancelled_in_the_queue_is_resumed_where_the_first_stopped(
    host, client
):
    host.gate.fails.add("report")
    name, _ = await run(client, "ops/triage", log="x")
    host.gate.fails.clear()
    stream = host.runtime("ops").get_stream("triage")
    stream.close()
    await resume(client, name)
    await client.post(f"/v1/executions/{name}-2/cancel")
    await stream.start()
    answer = await resume(client, name)
    ended = await settled(client, answer.json["execution_id"])
    assert (ended["status"], ended["id"]) == ("completed", f"{name}-3")
    assert host.gate.runs == ["parse", "hold", "report", "report"]
    assert ended["output"]["log"] == "x"


# --- a changed graph ----------------------------------------------------------------------------


@pytest.mark.parametrize(("address", "node_id"), [("desk/ask", "last"), ("desk/rest", "after")])
async def test_a_changed_graph_is_refused_with_both_hashes_unless_that_is_accepted(
    host, client, address, node_id
):
    name, _ = await run(client, address)
    before = host.runtime("desk").get_stream(address[5:]).setup.topology.graph_hash
    await changed(host, longer())
    now = host.runtime("desk").get_stream(address[5:]).setup.topology.graph_hash
    assert before != now
    refused = await resume(client, name, input={"input": "yes"})
    assert (refused.status, refused.code) == (409, "graph_changed")
    assert refused.error["message"] == f"the graph is {now} now, the checkpoint is of {before}"
    answer = await resume(client, name, input={"input": "yes"}, accept_changed_graph=True)
    assert (answer.status, answer.json["execution_id"]) == (202, name)
    assert (await settled(client, name))["status"] == "completed"
    assert host.gate.runs[-1] == node_id


async def test_an_answer_is_refused_too_and_the_session_waits_on(host, client):
    name, _ = await run(client, "desk/ask")
    await changed(host, longer())
    refused = await client.post(f"/v1/sessions/{name}/input", {"text": "yes"})
    assert (refused.status, refused.code) == (409, "graph_changed")
    assert (await settled(client, name))["status"] == "waiting_input"
    answer = await resume(client, name, input={"input": "yes"}, accept_changed_graph=True)
    assert (await settled(client, answer.json["execution_id"]))["output"]["said"] == "yes"


async def test_what_failed_or_goes_back_in_a_changed_graph_is_refused_too(host, client):
    host.gate.fails.add("last")
    name, _ = await run(client, "desk/ask")
    await client.post(f"/v1/sessions/{name}/input", {"text": "yes"})
    assert (await settled(client, name))["status"] == "failed"
    place = await before(client, name, "last")
    host.gate.fails.clear()
    await changed(host, longer())
    for body in ({}, {"from": place}, {"retry_failed": True}):
        refused = await resume(client, name, **body)
        assert (refused.status, refused.code) == (409, "graph_changed")
    answer = await resume(client, name, accept_changed_graph=True)
    assert (await settled(client, answer.json["execution_id"]))["status"] == "completed"


async def test_a_node_that_is_gone_is_refused_whatever_is_accepted(host, client):
    name, _ = await run(client, "desk/ask")
    await changed(host, without("ask"))
    refused = await resume(client, name, accept_changed_graph=True)
    assert (refused.status, refused.code) == (409, "graph_changed")
    assert refused.error["message"] == (
        "the walk stands at ask, which the graph does not have any more"
    )
    assert (await settled(client, name))["status"] == "waiting_input"


async def test_what_goes_on_by_itself_in_a_changed_graph_fails_and_is_resumed(host, client):
    host.gate.is_open.clear()
    spec = EntryPointSpec(id="line", isolation_level="isolated")
    line = chain("line", node("parse"), node("hold"), node("report"))
    runtime = await host.add("lines", line, spec)
    answer = await client.post("/v1/entry-points/lines/line/trigger", {})
    name = answer.json["execution_id"]
    await host.gate.entered.wait()
    await runtime.stop(0)
    host.gate.is_open.set()
    await host.add("lines", line.model_copy(update={"terminal_nodes": []}), spec)
    ended = await settled(client, name)
    assert (ended["status"], ended["error_code"]) == ("failed", "graph_changed")
    answer = await resume(client, name, accept_changed_graph=True)
    assert (await settled(client, answer.json["execution_id"]))["status"] == "completed"
    assert host.gate.runs == ["parse", "hold", "hold", "report"]


# --- the command line ---------------------------------------------------------------------------


async def test_hive_lists_checkpoints_and_goes_back_to_one(hive, client):
    name, _ = await run(client, "ops/triage")
    code, out, err = await hive("sessions", "checkpoints", name)
    assert code == 0, err
    place = await before(client, name, "report")
    assert place in out.split()
    code, out, err = await hive("sessions", "resume", name, "--from", place)
    assert (code, out.strip()) == (0, f"{name}-2"), err


async def test_hive_ends_with_4_for_a_changed_graph_until_it_is_accepted(host, hive, client):
    name, _ = await run(client, "desk/rest")
    await changed(host, longer())
    code, out, err = await hive("sessions", "resume", name)
    assert (code, out) == (4, "")
    assert "--accept-changed-graph" in err
    code, out, err = await hive("sessions", "resume", name, "--accept-changed-graph", "--json")
    assert code == 0, err
    assert json.loads(out)["execution_id"] == name


class Calls:
    """A node that has called a tool, and fails while it is told to."""

    def __init__(self, gate):
        self.gate = gate

    async def execute(self, ctx):
        told = ToolCallCompleted(ctx.node_id, "1", "send_mail", "sent", is_error=False)
        await ctx.recorder.record(told)
        if ctx.node_id in self.gate.fails:
            return NodeResult(False, error="broken", retryable=False)
        return NodeResult(True, {ctx.node_id: "done"})


async def test_hive_says_which_tools_had_run_before_what_failed(host, hive, client):
    host.gate.fails.add("report")
    runtime = AgentRuntime(
        chain("mail", node("draft"), node("report")),
        GOAL,
        node_registry={"draft": Calls(host.gate), "report": Calls(host.gate)},
        placement=Placement(
            host.services,
            "mail",
            host.services.settings.state_dir / "agents" / "mail",
            host.webhooks,
        ),
    )
    await runtime.start()
    host.agents.agents["mail"] = FakeAgent("mail", Path("mail"), runtime=runtime)
    name, ended = await run(client, "mail/default")
    assert ended["status"] == "failed"
    host.gate.fails.clear()
    code, out, err = await hive("sessions", "resume", name, "--retry-failed")
    assert (code, out.strip()) == (0, f"{name}-2")
    assert err.splitlines() == [
        "done before: send_mail at node draft, once",
        "done before: send_mail at node report, once",
    ]
    assert (await settled(client, f"{name}-2"))["status"] == "completed"
    code, out, err = await hive("sessions", "resume", name, "--retry-failed")
    assert code == 4
    code, out, err = await hive("sessions", "resume", name, "--retry-failed", "--from", "cp_x")
    assert (code, out) == (2, "")
