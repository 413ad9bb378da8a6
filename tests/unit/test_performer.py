"""The performer: what it makes durable, when, and how it goes on from there."""

import asyncio
import json

import pytest

from hive_daemon.errors import StateConflict
from hive_daemon.graph.edge import ParallelExecutionConfig
from hive_daemon.graph.facts import (
    ExecutionResurrected,
    NodeCompleted,
    NodeRetry,
    NodeStarted,
    StateConflicted,
)
from hive_daemon.graph.memory import ROOT, Memory, Write
from hive_daemon.graph.node import NodeResult, NodeStats
from hive_daemon.graph.performer import MAX_CONFLICTS, NothingShared
from hive_daemon.graph.resumption import resume_here
from hive_daemon.graph.walk_state import WalkState
from tests.fakes.clock import FakeClock
from tests.fakes.graphs import Book, Stage, edge, graph_of

DIAMOND = (edge("a", "b"), edge("a", "c"), edge("b", "z"), edge("c", "z"))


def keys(**outputs):
    return {node: {"output_keys": [key]} for node, key in outputs.items()}


class Failing:
    """A body that fails so many times."""

    def __init__(self, times, error=ConnectionError):
        self.times, self.error = times, error

    async def __call__(self, ctx):
        self.times -= 1
        if self.times >= 0:
            raise self.error("gone")
        return {}


# --- what becomes durable -----------------------------------------------------------------------


async def test_every_report_is_one_move_with_its_facts_and_the_last_has_the_result():
    stage = Stage(graph_of(edge("a", "b")))
    result = await stage.run({"k": 1})
    moves = stage.book.moves
    assert [move.node_id for move in moves] == [None, "a", "b"]
    assert [move.result for move in moves] == [None, None, result]
    assert stage.book.kinds() == [
        "node_started",
        "node_completed",
        "edge_traversed",
        "node_started",
        "node_completed",
    ]


async def test_a_retry_is_told_with_the_attempt_that_failed():
    stage = Stage(graph_of(nodes={"a": {}}), {"a": Failing(1)}, FakeClock())
    await stage.run()
    (retry,) = stage.book.of(NodeRetry)
    assert (retry.retry_count, retry.delay_seconds) == (1, 1.0)
    assert retry.error == "ConnectionError: gone"
    done = stage.book.of(NodeCompleted)
    assert [(fact.attempt, fact.success) for fact in done] == [(1, False), (2, True)]


async def test_a_visit_is_told_as_begun_once_however_often_it_is_tried():
    stage = Stage(graph_of(nodes={"a": {}}), {"a": Failing(2)}, FakeClock())
    await stage.run()
    assert [(fact.visit, fact.attempt) for fact in stage.book.of(NodeStarted)] == [(1, 1)]
    assert [fact.attempt for fact in stage.book.of(NodeCompleted)] == [1, 2, 3]


async def test_what_nodes_cost_is_summed_up():
    async def costly(ctx):
        return NodeResult(True, stats=NodeStats(input_tokens=5, output_tokens=2))

    result = await Stage(graph_of(*DIAMOND), dict.fromkeys("abcz", costly)).run()
    assert (result.input_tokens, result.output_tokens, result.total_tokens) == (20, 8, 28)


@pytest.mark.parametrize(("last", "total"), [(0.25, 1.0), (None, None)])
async def test_one_node_whose_cost_is_not_known_makes_that_of_the_execution_unknown(last, total):
    async def costly(ctx):
        cost = last if ctx.node_id == "z" else 0.25
        return NodeResult(True, stats=NodeStats(llm_call_count=1, cost_usd=cost))

    stage = Stage(graph_of(*DIAMOND), dict.fromkeys("abcz", costly))
    result = await stage.run()
    assert result.cost_usd == total
    costs = {fact.node_id: fact.cost_usd for fact in stage.book.of(NodeCompleted)}
    assert costs == {"a": 0.25, "b": 0.25, "c": 0.25, "z": last}


async def test_nodes_that_ask_no_model_cost_nothing():
    async def cheap(ctx):
        return NodeResult(True, stats=NodeStats(iterations=1))

    result = await Stage(graph_of(*DIAMOND), dict.fromkeys("abcz", cheap)).run()
    assert result.cost_usd == 0.0


async def test_tokens_without_a_price_have_an_unknown_cost():
    async def costly(ctx):
        return NodeResult(True, tokens_used=7)

    result = await Stage(graph_of(*DIAMOND), dict.fromkeys("abcz", costly)).run()
    assert result.cost_usd is None


async def test_a_node_runs_only_after_the_move_that_led_to_it_is_durable():
    begun = []

    class Slow(Book):
        async def step(self, move):
            before = list(begun)
            await asyncio.sleep(0)
            assert begun == before
            await super().step(move)

    async def body(ctx):
        begun.append(ctx.node_id)

    await Stage(
        graph_of(edge("a", "b"), edge("b", "c")), dict.fromkeys("abc", body), book=Slow()
    ).run()
    assert begun == ["a", "b", "c"]


async def test_a_move_that_cannot_be_made_durable_ends_the_execution():
    class Broken(Book):
        async def step(self, move):
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        await Stage(graph_of(edge("a", "b")), book=Broken()).run()


# --- cut and resumed ----------------------------------------------------------------------------


async def number(ctx):
    """Write down which visit of the node it is, and what the node sees."""
    seen = sorted(str(value) for value in ctx.memory.read_all().values() if value is not None)
    key = ctx.node_spec.output_keys[0]
    return {key: f"{ctx.node_id}{ctx.visit}<{len(seen)}"}


CUT = {
    "a chain": graph_of(edge("a", "b"), edge("b", "c"), nodes=keys(a="x", b="y", c="x")),
    "a loop": graph_of(
        edge("a", "b"),
        edge("b", "a"),
        nodes=keys(a="x", b="y"),
        max_steps=7,
    ),
    "a fan-out": graph_of(*DIAMOND, nodes=keys(a="x", b="x", c="x", z="y")),
    "a fan-out that loops": graph_of(
        *DIAMOND,
        edge("z", "a"),
        nodes={**keys(a="x", b="y", c="y", z="x"), "a": {"output_keys": ["x"], "max_node_visits": 2}},
        max_steps=14,
    ),
    "a decision": graph_of(edge("a", "b", expr="x == 'a1<1'"), edge("a", "c"), nodes=keys(a="x", b="y", c="y")),
}  # fmt: skip


@pytest.mark.parametrize("graph", CUT.values(), ids=CUT)
async def test_an_execution_cut_after_any_move_comes_to_the_same(graph):
    bodies = {node.id: number for node in graph.nodes}
    whole = Stage(graph, bodies)
    result = await whole.run({"k": 1})
    for cut in range(1, len(whole.book.moves)):
        kept = whole.book.moves[:cut]
        state = WalkState.from_json(json.loads(json.dumps(kept[-1].step.state.to_json())))
        patch = [Write(*write) for move in kept for write in _kept(move.step.writes)]
        memory = Memory().apply(patch, [scope.id for scope in state.scopes])
        path = [node for move in kept for node in move.step.path]
        again = Stage(graph, bodies)
        performer = again.performer(path, kept[-1].totals)
        resumed = await performer.run(resume_here(again.topology, state, memory, {}))
        assert (resumed.path, resumed.output, resumed.error, resumed.node_visit_counts) == (
            result.path, result.output, result.error, result.node_visit_counts,
        )  # fmt: skip


def _kept(writes):
    return json.loads(json.dumps([list(write) for write in writes]))


async def test_a_pause_stops_at_the_next_boundary_and_what_runs_may_end():
    stage = Stage(graph_of(edge("a", "b"), edge("b", "c"), nodes=keys(a="x", b="x", c="x")))

    async def body(ctx):
        stage.pause.set()
        return {"x": ctx.node_id}

    stage.bodies = dict.fromkeys("abc", body)
    held = await stage.run()
    assert (held.status, held.success, held.paused_at, held.path) == ("paused", True, "b", ["a"])
    again = Stage(stage.graph, dict.fromkeys("abc", number))
    done = await again.run(state=json.loads(json.dumps(held.session_state)))
    assert (done.status, done.path) == ("completed", ["a", "b", "c"])


# --- branches and time --------------------------------------------------------------------------


async def test_the_pauses_between_attempts_count_as_time_of_the_branch():
    attempts = []

    async def slow(ctx):
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ConnectionError("gone")
        await asyncio.Event().wait()

    config = ParallelExecutionConfig(branch_timeout_seconds=2.5)
    stage = Stage(graph_of(*DIAMOND, parallel_config=config), {"b": slow}, FakeClock())
    result = await stage.run()
    assert (result.error_code, attempts) == ("branch_timeout", [1, 2, 3])


async def test_time_that_a_branch_waits_for_others_does_not_count():
    clock = FakeClock()

    async def sleep(ctx):
        await clock.sleep(2.0)

    config = ParallelExecutionConfig(branch_timeout_seconds=5.0)
    ways = (*DIAMOND, edge("z", "y"), edge("c", "d"), edge("d", "z"))
    stage = Stage(graph_of(*ways, parallel_config=config), dict.fromkeys("bcdzy", sleep), clock)
    assert (await stage.run()).success


# --- resurrection -------------------------------------------------------------------------------


async def test_a_failure_that_another_try_may_mend_is_tried_again():
    clock = FakeClock()
    stage = Stage(
        graph_of(edge("a", "b"), nodes={"a": {}, "b": {"max_retries": 1}}),
        {"b": Failing(2)},
        clock,
        max_resurrections=2,
    )
    result = await stage.run()
    assert (result.success, result.path, clock.slept) == (True, ["a", "b"], [2.0, 2.0])
    told = stage.book.of(ExecutionResurrected)
    assert [(fact.node_id, fact.attempt, fact.max_resurrections) for fact in told] == [
        ("b", 1, 2),
        ("b", 2, 2),
    ]


@pytest.mark.parametrize(("times", "error"), [(3, ConnectionError), (1, ValueError)])
async def test_there_are_only_so_many_and_only_for_such_failures(times, error):
    stage = Stage(
        graph_of(nodes={"a": {"max_retries": 1}}),
        {"a": Failing(times, error)},
        FakeClock(),
        max_resurrections=2,
    )
    result = await stage.run()
    assert (result.success, result.error_code) == (False, error.__name__)


# --- shared values ------------------------------------------------------------------------------


class Shared(NothingShared):
    """Shares the key `total`, which had another value so many times."""

    def __init__(self):
        self.version = 1

    def ambient(self):
        return {"total": 10 * self.version}

    def versions(self):
        return {"total": self.version}

    def shares(self, key):
        return key == "total"

    def leads(self, key):
        return key == "total"


class Contested(Book):
    """A journal where somebody else is faster so many times."""

    def __init__(self, shared, times):
        super().__init__()
        self.shared, self.times, self.written = shared, times, []

    async def step(self, move):
        if move.shared and self.times:
            self.times -= 1
            self.shared.version += 1
            raise StateConflict(subject="total")
        self.written.append((dict(move.shared), move.expects))
        await super().step(move)


async def add(ctx):
    return {"total": ctx.memory.read("total") + 1}


def counting(times, *edges):
    shared = Shared()
    graph = graph_of(*(edges or [edge("a", "b")]), nodes={"a": {"output_keys": ["total"]}})
    return Stage(graph, {"a": add}, book=Contested(shared, times), shared=shared)


async def test_a_node_whose_shared_key_changed_meanwhile_runs_again_on_the_new_value():
    stage = counting(2)
    result = await stage.run()
    assert (result.path, result.output) == (["a", "b"], {"total": 31})
    assert stage.book.written[0] == ({"total": 31}, {"total": 3})
    told = stage.book.of(StateConflicted)
    assert [(fact.node_id, fact.keys, fact.retry_count) for fact in told] == [
        ("a", ("total",), 1),
        ("a", ("total",), 2),
    ]
    assert [fact.node_id for fact in stage.book.of(NodeStarted)] == ["a", "b"]


WAYS = {
    "an end": [edge("z", "a")],
    "a fork": [edge("a", "b"), edge("a", "c")],
    "a join": [edge("s", "a"), edge("s", "b"), edge("a", "z"), edge("b", "z")],
}


@pytest.mark.parametrize("edges", WAYS.values(), ids=WAYS)
async def test_that_is_so_wherever_the_node_leads(edges):
    stage = counting(1, *edges)
    result = await stage.run()
    assert (result.success, result.output) == (True, {"total": 21})
    (contested,) = [(shared, expects) for shared, expects in stage.book.written if shared]
    assert contested == ({"total": 21}, {"total": 2})
    assert sorted(result.path) == sorted({node for e in edges for node in (e.source, e.target)})


async def test_a_key_that_never_stays_the_same_fails_the_node():
    stage = counting(MAX_CONFLICTS + 1)
    result = await stage.run()
    assert (result.success, result.error_code) == (False, "state_conflict")
    assert len(stage.book.of(StateConflicted)) == MAX_CONFLICTS


async def test_the_first_move_brings_the_inputs():
    stage = Stage(graph_of(nodes={"a": {}}))
    await stage.run({"k": 1})
    assert stage.book.moves[0].step.writes == (Write(ROOT, "k", 1),)
