"""Laws of the walk, on random graphs with nodes that answer by a script."""

import json
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.errors import IllegalMove
from hive_daemon.graph.topology import Topology
from hive_daemon.graph.walk import advance
from hive_daemon.graph.walk_state import NodeDone, OutcomeKind, Phase, Run, Stop, WalkState
from tests.fakes.walk_world import (
    ANYTHING,
    CALM,
    LOOPING,
    WIDE,
    Script,
    Walker,
    at_random,
    random_graph,
    seen_by,
)

MIXES = st.sampled_from(
    [
        ANYTHING,
        WIDE,
        LOOPING,
        CALM,
        replace(WIDE, jumps=0.1),
        replace(LOOPING, policy="continue_others", failures=0.15),
    ]
)
SEEDS = st.integers(0, 10**9)
REPORTS_PER_STEP = 3 + 2 + 1
"""Attempts, answers and a decision: more a node visit cannot bring."""


def walker(seed, mix, **more):
    graph = random_graph(seed, mix)
    return Walker(Topology.compile(graph), Script(seed, mix), **more)


ROUNDS = 4
"""How often a walk is gone on with after a pause or a question."""


@settings(max_examples=150, deadline=None)
@given(SEEDS, MIXES)
def test_every_walk_halts_within_its_steps_and_nothing_follows(seed, mix):
    walk = walker(seed, mix, pick=at_random(Random(seed)))
    walk.run_on({"k0": 1}, rounds=ROUNDS)
    state = walk.step.state
    assert state.outcome is not None
    assert state.steps <= walk.topology.graph.max_steps
    assert walk.steps <= state.steps * REPORTS_PER_STEP + 1 + ROUNDS
    assert all(isinstance(command, Stop) for command in walk.step.commands)
    for branch in state.branches:
        with pytest.raises(IllegalMove):
            advance(walk.topology, state, walk.step.memory, NodeDone(branch.id, True))


@settings(max_examples=150, deadline=None)
@given(SEEDS, MIXES)
def test_a_completed_walk_ran_every_node_on_its_path_and_none_twice_at_once(seed, mix):
    ended = Counter()

    def watch(walk):
        running = [b.node for b in walk.step.state.branches if b.phase is Phase.RUNNING]
        assert len(running) == len(set(running))
        started = Counter(
            c.node for c in walk.step.commands if isinstance(c, Run) and c.attempt == 1
        )
        ended.update(started)

    walk = walker(seed, replace(mix, waits=0.0), pick=at_random(Random(seed)), watch=watch)
    walk.run({"k0": 1})
    state = walk.step.state
    if state.outcome.kind is OutcomeKind.COMPLETED:
        assert ended == Counter(walk.path)
        assert dict(ended) == dict(state.visits)
        assert not walk.running


@settings(max_examples=150, deadline=None)
@given(SEEDS, MIXES)
def test_a_state_is_what_its_json_says(seed, mix):
    def watch(walk):
        state = walk.step.state
        text = json.dumps(state.to_json(), allow_nan=False)
        assert WalkState.from_json(json.loads(text)) == state

    walker(seed, mix, pick=at_random(Random(seed)), watch=watch).run_on({"k0": 1})


# --- cut and resumed ----------------------------------------------------------------------------


def told(walk):
    """Return what a walk came to."""
    state = walk.step.state
    return (
        walk.path,
        state.outcome,
        dict(state.visits),
        dict(state.retries),
        state.failed_nodes,
        (state.steps, state.terminals, state.open_ends, state.dropped),
        walk.step.memory.read([0]),
        [(b.node, b.phase, b.question, seen_by(walk.step, b.scope)) for b in state.branches],
    )


@settings(max_examples=150, deadline=None)
@given(SEEDS, MIXES)
def test_a_walk_cut_after_every_step_goes_the_way_of_the_uncut_one(seed, mix):
    uncut = walker(seed, mix)
    uncut.run_on({"k0": 1})
    cut = walker(seed, mix, cuts=lambda number: True)
    cut.run_on({"k0": 1})
    assert told(cut) == told(uncut)


@settings(max_examples=150, deadline=None)
@given(SEEDS, MIXES, st.sets(st.integers(1, 40), max_size=4))
def test_a_walk_cut_after_any_step_goes_the_way_of_the_uncut_one(seed, mix, places):
    uncut = walker(seed, mix)
    uncut.run_on({"k0": 1})
    cut = walker(seed, mix, cuts=places.__contains__)
    cut.run_on({"k0": 1})
    assert told(cut) == told(uncut)


# --- any order ----------------------------------------------------------------------------------


def came_to(walk):
    """Return what must not depend on which branch finished first."""
    state = walk.step.state
    kind = state.outcome.kind
    policy = walk.topology.graph.parallel_config.on_branch_failure.value
    if kind is OutcomeKind.FAILED and policy == "continue_others":
        return kind, None, None, None
    memory = walk.step.memory.read([0])
    if kind is OutcomeKind.FAILED:
        return kind, None, None, memory
    live = [
        (b.node, b.phase, seen_by(walk.step, b.scope))
        for b in state.branches
        if b.phase is not Phase.ENDED
    ]
    return kind, sorted(walk.path), live, memory


@settings(max_examples=200, deadline=None)
@given(SEEDS, MIXES.filter(lambda mix: not mix.jumps), SEEDS)
def test_the_end_does_not_depend_on_which_branch_finished_first(seed, mix, order):
    mix = replace(mix, counts=False)
    one = walker(seed, mix)
    one.run_on({"k0": 1})
    other = walker(seed, mix, pick=at_random(Random(order)))
    other.run_on({"k0": 1})
    assert came_to(other) == came_to(one)
