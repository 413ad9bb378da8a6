"""`result.session_state` is enough to go on from, however an execution stopped, here or in another store."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from hive_daemon.errors import GraphChanged
from hive_daemon.runtime.entry_point import EntryPointSpec
from tests.fakes.embedded import SECONDS, Turnstile, function, graph_of, model, running

ROOT = Path(__file__).parents[2]


class Desk:
    """A graph that writes, comes to a middle node, and publishes; it notes which nodes ran."""

    def __init__(self, middle=None, **fields):
        self.ran = []
        self.turnstile = Turnstile()
        self.is_broken = False
        middle = middle or function("middle", self.work, outputs=["middle"])
        self.graph = graph_of(
            function("write", self.write, ["query"], ["draft"]),
            middle,
            function("publish", self.publish, ["draft", "middle"], ["published"]),
            edges=[("write", "middle"), ("middle", "publish")],
            **fields,
        )

    async def write(self, query):
        self.ran.append("write")
        return f"draft of {query}"

    async def work(self, ctx):
        self.ran.append("middle")
        if self.is_broken:
            raise ValueError("broken")
        await self.turnstile.enter(ctx)
        return "worked"

    async def publish(self, draft, middle):
        self.ran.append("publish")
        return f"{draft}, {middle}"


def resting():
    """A desk that pauses after its middle node."""
    return Desk(pause_nodes=["middle"])


def asking():
    """A desk whose middle node asks a person."""
    return Desk(model("middle", ["middle"], node_type="human_input", description="Well?"))


async def paused(path):
    desk = resting()
    await desk.turnstile.let_through()
    async with running(path, desk.graph) as runtime:
        return desk, await runtime.trigger_and_wait("default", {"query": "bees"}), {}


async def held(path):
    desk = Desk()
    async with running(path, desk.graph) as runtime:
        name = await runtime.trigger("default", {"query": "bees"})
        await desk.turnstile.until(1)
        assert runtime.get_stream("default").request_pause(name)
        await desk.turnstile.let_through()
        return desk, await runtime.wait_for_completion(name, SECONDS), {}


async def waiting(path):
    desk = asking()
    async with running(path, desk.graph) as runtime:
        result = await runtime.trigger_and_wait("default", {"query": "bees"})
        return desk, result, {"input": "worked"}


async def failed(path):
    desk = Desk()
    desk.is_broken = True
    desk.graph.nodes[1].max_retries = 1
    async with running(path, desk.graph) as runtime:
        result = await runtime.trigger_and_wait("default", {"query": "bees"})
    desk.is_broken = False
    await desk.turnstile.let_through()
    return desk, result, {}


async def cancelled(path):
    desk = Desk()
    async with running(path, desk.graph) as runtime:
        name = await runtime.trigger("default", {"query": "bees"})
        await desk.turnstile.until(1)
        await runtime.cancel_execution("default", name)
        result = await runtime.wait_for_completion(name, SECONDS)
    await desk.turnstile.let_through()
    return desk, result, {}


async def out_of_time(path):
    desk = Desk()
    async with running(path, desk.graph, EntryPointSpec(id="default", timeout=0.2)) as runtime:
        result = await runtime.trigger_and_wait("default", {"query": "bees"})
    await desk.turnstile.let_through()
    return desk, result, {}


async def interrupted(path):
    desk = Desk()
    async with running(path, desk.graph) as runtime:
        name = await runtime.trigger("default", {"query": "bees"})
        await desk.turnstile.until(1)
        waits = asyncio.ensure_future(runtime.wait_for_completion(name, SECONDS))
        await runtime.stop(0)
        result = await waits
    await desk.turnstile.let_through()
    return desk, result, {}


async def cancelled_in_the_queue(path):
    desk = Desk()
    await desk.turnstile.let_through()
    async with running(path, desk.graph) as runtime:
        stream = runtime.get_stream("default")
        stream.close()
        name = await runtime.trigger("default", {"query": "bees"})
        await runtime.cancel_execution("default", name)
        return desk, await runtime.wait_for_completion(name, SECONDS), {}


STOPS = {
    paused: "paused",
    held: "paused",
    waiting: "waiting_input",
    failed: "failed",
    cancelled: "cancelled",
    out_of_time: "failed",
    interrupted: "interrupted",
    cancelled_in_the_queue: "cancelled",
}


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.__name__)
async def test_it_goes_on_in_a_store_that_never_saw_it(tmp_path, stop):
    desk, result, said = await stop(tmp_path / "one")
    assert result.status == STOPS[stop]
    state = json.loads(json.dumps(result.session_state))
    desk.ran.clear()
    async with running(tmp_path / "two", desk.graph) as runtime:
        done = await runtime.trigger_and_wait("default", said, session_state=state)
    assert (done.status, done.output["published"]) == ("completed", "draft of bees, worked")
    assert ("write" in desk.ran) == (stop is cancelled_in_the_queue)
    assert done.path == ["write", "middle", "publish"]
    assert [each.name for each in (tmp_path / "two" / "sessions").iterdir()] == [result.session_id]


@pytest.mark.parametrize("stop", [paused, waiting, failed], ids=lambda stop: stop.__name__)
async def test_it_goes_on_in_another_process(tmp_path, stop):
    _, result, said = await stop(tmp_path / "one")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.resume_worker",
        str(tmp_path / "two"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    given = {"stop": stop.__name__, "said": said, "state": result.session_state}
    output, _ = await process.communicate(json.dumps(given).encode())
    status, published, path, ran = json.loads(output)
    assert (status, published) == ("completed", "draft of bees, worked")
    assert path == ["write", "middle", "publish"]
    assert "write" not in ran


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.__name__)
async def test_read_back_after_a_restart_it_says_the_same(tmp_path, stop):
    desk, result, _ = await stop(tmp_path)
    if stop is interrupted:
        return  # It goes on by itself.
    async with running(tmp_path, desk.graph) as runtime:
        again = await runtime.wait_for_completion(result.execution_id, SECONDS)
    assert again.session_state == json.loads(json.dumps(result.session_state))


async def test_the_way_that_was_walked_before_is_kept_over_a_restart(tmp_path):
    desk, result, _ = await cancelled(tmp_path / "one")
    held = desk.graph.model_copy(update={"pause_nodes": ["middle"]})
    state = {**result.session_state, "accept_changed_graph": True}
    async with running(tmp_path / "two", held) as runtime:
        paused = await runtime.trigger_and_wait("default", {}, session_state=state)
        assert paused.path == ["write", "middle"]
    async with running(tmp_path / "two", held) as runtime:
        named = {"resume_session_id": paused.session_id}
        done = await runtime.trigger_and_wait("default", {}, session_state=named)
    assert done.path == ["write", "middle", "publish"]


async def test_a_state_of_another_graph_is_refused_before_anything_is_kept(tmp_path):
    _, result, _ = await paused(tmp_path / "one")
    other = Desk(pause_nodes=["middle"], terminal_nodes=["publish"])
    async with running(tmp_path / "two", other.graph) as runtime:
        with pytest.raises(GraphChanged):
            await runtime.trigger("default", {}, session_state=result.session_state)
        assert not (tmp_path / "two" / "sessions").exists()
        accepted = {**result.session_state, "accept_changed_graph": True}
        done = await runtime.trigger_and_wait("default", {}, session_state=accepted)
    assert (done.status, other.ran) == ("completed", ["publish"])


async def test_an_answer_to_a_node_of_a_changed_graph_is_refused_and_nothing_is_kept(tmp_path):
    desk, result, _ = await waiting(tmp_path)
    changed = desk.graph.model_copy(update={"terminal_nodes": ["publish"]})
    async with running(tmp_path, changed) as runtime:
        with pytest.raises(GraphChanged):
            await runtime.inject_input("middle", "worked")
        assert runtime.get_stream("default").is_awaiting_input
    async with running(tmp_path, desk.graph) as runtime:
        assert await runtime.inject_input("middle", "really")
        done = await runtime.wait_for_completion(result.execution_id, SECONDS)
    assert done.output["published"] == "draft of bees, really"


async def test_what_failed_for_its_changed_graph_says_of_which_graph_it_is(tmp_path):
    desk, result, _ = await interrupted(tmp_path)
    changed = desk.graph.model_copy(update={"terminal_nodes": ["publish"]})
    async with running(tmp_path, changed) as runtime:
        failed = await runtime.wait_for_completion(result.execution_id, SECONDS)
        assert (failed.status, failed.error_code) == ("failed", "graph_changed")
        assert failed.session_state["graph_hash"] == result.session_state["graph_hash"]
        with pytest.raises(GraphChanged):
            await runtime.trigger("default", {}, session_state=failed.session_state)
        accepted = {**failed.session_state, "accept_changed_graph": True}
        done = await runtime.trigger_and_wait("default", {}, session_state=accepted)
    assert (done.status, done.output["published"]) == ("completed", "draft of bees, worked")


async def test_a_change_that_was_accepted_is_not_another_that_comes_later(tmp_path):
    desk = Desk(pause_nodes=["write"])
    first = desk.graph.model_copy(update={"terminal_nodes": ["publish"]})
    second = desk.graph.model_copy(update={"terminal_nodes": ["publish", "write"]})
    async with running(tmp_path, desk.graph) as runtime:
        result = await runtime.trigger_and_wait("default", {"query": "bees"})
        assert result.paused_at == "write"
    state = {"resume_session_id": result.session_id, "accept_changed_graph": True}
    async with running(tmp_path, first) as runtime:
        await runtime.trigger("default", {}, session_state=state)
        await desk.turnstile.until(1)
        await runtime.stop(0)
    async with running(tmp_path, second) as runtime:
        failed = await runtime.wait_for_completion(result.execution_id, SECONDS)
    assert (failed.status, failed.error_code) == ("failed", "graph_changed")
