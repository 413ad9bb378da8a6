"""How an execution ended is told the same everywhere, and `completed` only if it is true.

Law: for any graph and any faults in it the API, the exit code, the last event, `summary.json` (L1), `state.json`, the
log store and the result agree; an execution is `completed` only if a terminal node was reached, the required outputs of
what succeeded are there, and nothing that breaks a hard constraint came out of it.
"""

import asyncio
import json
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hive_cli.app import main
from hive_daemon.control.server import ControlServer
from hive_daemon.control.wire import ExitCode
from hive_daemon.graph.edge import EdgeSpec, GraphSpec
from hive_daemon.graph.goal import Constraint, Goal
from hive_daemon.graph.node import NodeSpec
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.runtime.agent_runtime import AgentRuntime, AgentRuntimeConfig
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import EventType
from hive_daemon.runtime.runtime_config import Placement
from hive_daemon.runtime.runtime_log_store import RuntimeLogStore
from hive_daemon.runtime.services import begin_work
from hive_daemon.storage.mirror_fold import MirrorMode
from hive_daemon.storage.values import EventFilter
from tests.fakes.control_client import Client
from tests.fakes.control_host import FakeAgent, open_host

HARD = Constraint(
    id="safe",
    description="Nothing bad.",
    check="'bad' not in str(output)",
    constraint_type="hard",
)
GOAL = Goal(id="goal", name="Goal", description="Tell the truth.", constraints=[HARD])
CONDITIONS = ("on_success", "on_failure", "always")
ENDINGS = {
    "completed": ("execution_completed", ExitCode.OK),
    "failed": ("execution_failed", ExitCode.FAILED),
    "paused": ("execution_paused", ExitCode.NEEDS_INPUT),
    "waiting_input": ("execution_paused", ExitCode.NEEDS_INPUT),
    "cancelled": ("execution_cancelled", ExitCode.INTERRUPTED),
}


class Fate(StrEnum):
    """What a node does."""

    WORKS = "works"
    RAISES = "raises"
    FORGETS = "forgets"  # one of its outputs
    IS_EMPTY = "is_empty"
    BREAKS = "breaks"  # the hard constraint
    HANGS = "hangs"  # beyond its time
    ASKS = "asks"  # a person
    MODEL_WORKS = "model_works"
    MODEL_TALKS = "model_talks"  # and sets no output
    MODEL_BREAKS = "model_breaks"  # the hard constraint
    MODEL_IS_AWAY = "model_is_away"


@dataclass(frozen=True)
class Plan:
    """A graph, what its nodes do, and whether somebody cancels it."""

    fates: tuple[Fate, ...]
    edges: tuple[tuple[int, int, str], ...]
    terminal: frozenset[int]
    pauses: frozenset[int]
    max_steps: int
    is_cancelled: bool


@st.composite
def plans(draw):
    size = draw(st.integers(1, 5))
    fates = draw(st.lists(st.sampled_from(Fate), min_size=size, max_size=size))
    pairs = [(a, b) for a in range(size) for b in range(a + 1, size)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    some = st.sets(st.integers(0, size - 1), max_size=2)
    return Plan(
        tuple(fates),
        tuple((a, b, draw(st.sampled_from(CONDITIONS))) for a, b in chosen),
        frozenset(draw(some)),
        frozenset(draw(st.sets(st.integers(0, size - 1), max_size=1))),
        draw(st.sampled_from([1, 3, 50])),
        draw(st.booleans()) and draw(st.booleans()),
    )


async def hang(ctx):
    await asyncio.Event().wait()


def node(number, fate):
    """Return the node, and what its model does."""
    name, keys = f"n{number}", [f"a{number}", f"b{number}"]
    full = dict.fromkeys(keys, "good")
    calls = {
        Fate.WORKS: lambda: full,
        Fate.FORGETS: lambda: {keys[0]: "good"},
        Fate.IS_EMPTY: lambda: dict.fromkeys(keys),
        Fate.BREAKS: lambda: dict.fromkeys(keys, "bad"),
        Fate.HANGS: hang,
        Fate.RAISES: _broken,
    }
    if fate in calls:
        timeout = 0.02 if fate is Fate.HANGS else None
        spec = NodeSpec(
            id=name,
            node_type="function",
            function=calls[fate],
            output_keys=keys,
            max_retries=1,
            timeout_seconds=timeout,
        )
        return spec, []
    if fate is Fate.ASKS:
        return NodeSpec(id=name, node_type="human_input", description="?", output_keys=keys[:1]), []
    turns = {
        Fate.MODEL_WORKS: [{"set_output": full}],
        Fate.MODEL_TALKS: [{"text": f"{n} and so on"} for n in range(3)],
        Fate.MODEL_BREAKS: [{"set_output": dict.fromkeys(keys, "bad")}],
        Fate.MODEL_IS_AWAY: [{"error": {"kind": "auth"}}],
    }
    return NodeSpec(id=name, node_type="event_loop", output_keys=keys), turns[fate]


def _broken():
    raise ValueError("broken")


def built(plan):
    made = [node(number, fate) for number, fate in enumerate(plan.fates)]
    graph = GraphSpec(
        id="agent",
        entry_node="n0",
        nodes=[spec for spec, _ in made],
        edges=[
            EdgeSpec(id=f"{a}-{b}", source=f"n{a}", target=f"n{b}", condition=how)
            for a, b, how in plan.edges
        ],
        terminal_nodes=[f"n{number}" for number in sorted(plan.terminal)],
        pause_nodes=[f"n{number}" for number in sorted(plan.pauses)],
        max_steps=plan.max_steps,
        loop_config={"max_iterations": 2},
    )
    return graph, ScriptedProvider({"nodes": {spec.id: turns for spec, turns in made if turns}})


async def run(plan, directory):
    graph, llm = built(plan)
    async with open_host(directory, mirror=MirrorMode.FULL) as host:
        place = host.services.settings.state_dir / "agents" / "agent"
        runtime = AgentRuntime(
            graph,
            GOAL,
            llm=llm,
            config=AgentRuntimeConfig(drain_seconds=0.5),
            graph_id="agent",
            placement=Placement(host.services, "agent", place, host.webhooks),
        )
        runtime.register_entry_point(EntryPointSpec(id="go", isolation_level="isolated"))
        await runtime.start()
        host.agents.agents["agent"] = FakeAgent("agent", place, runtime=runtime)
        begin_work(host.services)
        server = ControlServer(host)
        await server.start()
        try:
            return await told_everywhere(plan, host, place, runtime)
        finally:
            await server.stop()


async def told_everywhere(plan, host, place, runtime):
    client = Client(host.socket)
    answer = await client.post("/v1/entry-points/agent/go/trigger", {"input": {}})
    name = answer.json["execution_id"]
    if plan.is_cancelled:
        await client.post(f"/v1/executions/{name}/cancel", {"reason": "the test"})
    shown = (await client.get(f"/v1/executions/{name}?wait=20")).json
    # Only then its files are complete.
    kind = EventType(ENDINGS[shown["status"]][0])
    await runtime.event_bus.wait_for(kind, execution_id=name, look_back=True, timeout=20.0)
    arguments = ["--socket", str(host.socket), "executions", "wait", name]
    exit_code = await asyncio.to_thread(main, arguments)
    events = await host.services.store.executions.history(EventFilter(execution_id=name))
    session = place / "sessions" / name
    state = json.loads((session / "state.json").read_bytes()) if session.exists() else None
    logged = session / "logs" / "summary.json"
    summary = json.loads(logged.read_bytes()) if logged.exists() else None
    listed = await RuntimeLogStore(place).load_summary(name)
    result = await runtime.wait_for_completion(name, 5.0)
    return shown, exit_code, events, state, summary, listed, result


def check(plan, told):
    shown, exit_code, events, state, summary, listed, result = told
    status = shown["status"]
    kind, code = ENDINGS[status]
    endings = [event.type for event in events if event.type in {one for one, _ in ENDINGS.values()}]
    assert (exit_code, endings[-1:]) == (code, [kind])
    if state is not None:  # cancelled before it began: nothing was written
        assert state["status"] == status
    if summary is not None:
        assert (summary["status"], summary["error"]) == (status, shown["error"])
        assert summary["needs_attention"] or status != "failed"
    if listed is not None:
        is_open = summary is None and status != "cancelled"  # one that never ran has no files
        assert listed.status == ("in_progress" if is_open else status)
    assert result.success == (status in ("completed", "paused", "waiting_input"))
    if status == "completed":
        check_completed(plan, shown)
    else:
        assert status != "failed" or shown["error"]


def check_completed(plan, shown):
    """What nobody handles did not fail, a terminal node was reached where there are some, its outputs are there."""
    path = [int(name[1:]) for name in shown["path"]]
    good = [n for n in path if plan.fates[n] in (Fate.WORKS, Fate.MODEL_WORKS)]
    handled = {a for a, _, how in plan.edges if how != "on_success"}
    assert set(path) <= {*good, *handled}
    assert not plan.terminal or plan.terminal & set(good)
    assert "bad" not in json.dumps(shown["output"])
    for number in plan.terminal & set(good):
        assert shown["output"][f"a{number}"] == shown["output"][f"b{number}"] == "good"


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(plans())
def test_how_an_execution_ended_is_told_the_same_everywhere_and_is_true(plan):
    with tempfile.TemporaryDirectory() as directory:
        check(plan, asyncio.run(run(plan, Path(directory))))
