"""The walk does what a second, naive walk does, step by step."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.graph.topology import Topology
from hive_daemon.graph.walk import advance
from hive_daemon.graph.walk_state import PARKED_KINDS, EdgesDecided, NodeDone, NodeWaits, Phase
from tests.fakes.naive_walk import NaiveWalk
from tests.fakes.walk_world import Mix, Script, Walker, at_random, random_graph, seen_by

PHASES = {
    Phase.RUNNING: "running",
    Phase.DECIDING: "deciding",
    Phase.WAITING: "waiting",
    Phase.READY: "waiting",
    Phase.FAILED: "failed",
}


def tell(naive, twig, report):
    match report:
        case NodeDone(success=True):
            naive.succeed(twig, report.writes, report.next_node)
        case NodeDone():
            naive.fail(twig, report.is_retryable)
        case NodeWaits():
            naive.wait(twig, report.kind.value)
        case EdgesDecided():
            naive.decide(twig, report.chosen)


def live(step):
    return [
        (
            branch.node,
            branch.parked.value if branch.parked else PHASES[branch.phase],
            seen_by(step, branch.scope),
        )
        for branch in step.state.branches
        if branch.phase is not Phase.ENDED
    ]


def naive_live(naive):
    return [(t.node, t.phase, t.values) for t in naive.twigs if t.phase != "ended"]


def compare(walker, naive):
    step = walker.step
    outcome = step.state.outcome
    assert walker.path == naive.path
    assert step.state.visits == naive.visits
    assert step.state.retries == naive.retries
    assert step.state.steps == naive.steps
    assert (outcome and (outcome.kind.value, outcome.node)) == naive.outcome
    if outcome is not None and outcome.kind.value == "completed":
        assert step.memory.read([0]) == naive.memory
    elif outcome is None or outcome.kind in PARKED_KINDS:
        assert live(step) == naive_live(naive)


def follow_both(seed, mix):
    graph = random_graph(seed, mix)
    walker = Walker(Topology.compile(graph), Script(seed, mix), at_random(Random(seed)))
    walker.begin({"k0": 1})
    naive = NaiveWalk(graph, {"k0": 1})
    compare(walker, naive)
    for number in range(4):
        while walker.step.state.outcome is None:
            report = walker.next_report()
            branches = [b for b in walker.step.state.branches if b.phase is not Phase.ENDED]
            place = [b.id for b in branches].index(report.branch)
            twigs = [t for t in naive.twigs if t.phase != "ended"]
            walker.take(advance(walker.topology, walker.step.state, walker.step.memory, report))
            tell(naive, twigs[place], report)
            compare(walker, naive)
        if walker.step.state.outcome.kind not in PARKED_KINDS:
            break
        asking = [b.node for b in walker.step.state.branches if b.phase is Phase.PARKED]
        walker.resume({"k1": number}, dict.fromkeys(asking, "yes"))
        naive.resume({"k1": number})
        compare(walker, naive)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 10**9))
def test_the_walk_does_what_the_naive_walk_does(seed):
    follow_both(seed, Mix())


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**9))
def test_wide_graphs_without_trouble_do_what_the_naive_walk_does(seed):
    follow_both(seed, Mix(nodes=14, failures=0.02, waits=0.02, pauses=0.02, feedback=0.2))
