"""A step costs no more at the end of a long walk than at its start: counted in bytes and entries, not in time."""

import json

import pytest

from hive_daemon.graph.edge import ParallelExecutionConfig
from hive_daemon.graph.node_run import PathSoFar
from hive_daemon.graph.walk_state import NodeDone, Run
from tests.fakes.graphs import HandWalk, edge, graph_of

POLICIES = [
    (policy, strategy)
    for policy in ("fail_all", "continue_others", "wait_all")
    for strategy in ("last_wins", "first_wins")
]


def chain_loop(**fields):
    return graph_of(
        edge("a", "b"),
        edge("b", "c"),
        edge("c", "a"),
        nodes={"a": {"output_keys": ["x"]}, "b": {"output_keys": ["y"]}},
        max_steps=3_000,
        **fields,
    )


def join_loop(**fields):
    return graph_of(
        edge("a", "b"),
        edge("a", "c"),
        edge("b", "d"),
        edge("c", "d"),
        edge("d", "a"),
        nodes={"b": {"output_keys": ["x"]}, "c": {"output_keys": ["x"]}},
        max_steps=1_000,
        **fields,
    )


def loop_with_an_aside(*, aside_first=False, max_steps=1_000, **fields):
    ways = [edge("poll", "work"), edge("poll", "alert")]
    return graph_of(
        *(reversed(ways) if aside_first else ways),
        edge("work", "poll"),
        nodes={
            "poll": {"output_keys": ["status"]},
            "work": {"output_keys": ["count"]},
            "alert": {"output_keys": ["alerted"]},
        },
        entry_node="poll",
        max_steps=max_steps,
        **fields,
    )


def loop_within_a_branch(**fields):
    return graph_of(
        edge("s", "w"),
        edge("s", "a"),
        edge("a", "b"),
        edge("a", "c"),
        edge("b", "a"),
        edge("c", "a"),
        nodes={"b": {"output_keys": ["x"]}, "c": {"output_keys": ["y"]}},
        max_steps=1_000,
        **fields,
    )


def sizes(graph, *, lazy=()):
    """Walk until the limit; return bytes of state and patch, and entries on top of the root, step by step."""
    walk = HandWalk(graph, {"start": 1})
    found = []
    running = {c.branch: c for c in walk.step.commands}
    number = 0
    while walk.outcome is None:
        ready = [b for b in running if running[b].node not in lazy] or list(running)
        command = running.pop(ready[0])
        number += 1
        keys = walk.topology.nodes[command.node].output_keys
        output = dict.fromkeys(keys, number % 10)
        walk.tell(NodeDone(command.branch, True, output, output))
        running.update({c.branch: c for c in walk.step.commands if isinstance(c, Run)})
        found.append(
            (
                len(json.dumps(walk.step.state.to_json())),
                len(json.dumps(walk.step.writes)),
                sum(len(layer) for layer in walk.step.memory.layers.values()),
                len(walk.step.state.branches) + len(walk.step.state.scopes),
            )
        )
    assert walk.outcome.code == "max_steps"
    return found


def assert_flat(found):
    early = [max(column) for column in zip(*found[50:250], strict=True)]
    late = [max(column) for column in zip(*found[-200:-1], strict=True)]
    # The numbers of steps, scopes and moments have a few digits more.
    assert late[0] <= early[0] * 1.25 + 40
    assert late[1] <= early[1] * 1.25 + 40
    assert late[2:] == early[2:]


def test_thousands_of_steps_in_a_row_write_no_more_at_the_end():
    assert_flat(sizes(chain_loop()))


@pytest.mark.parametrize(("policy", "strategy"), POLICIES)
def test_a_loop_that_forks_and_joins_writes_no_more_at_the_end(policy, strategy):
    config = ParallelExecutionConfig(policy, strategy)
    assert_flat(sizes(join_loop(parallel_config=config)))


@pytest.mark.parametrize("lazy", [(), ("work",)])
@pytest.mark.parametrize("aside_first", [False, True])
@pytest.mark.parametrize(("policy", "strategy"), POLICIES)
def test_a_loop_that_leaves_an_ended_branch_each_time_writes_no_more_at_the_end(
    policy, strategy, aside_first, lazy
):
    config = ParallelExecutionConfig(policy, strategy)
    graph = loop_with_an_aside(aside_first=aside_first, parallel_config=config)
    assert_flat(sizes(graph, lazy=lazy))


@pytest.mark.parametrize(("policy", "strategy"), POLICIES)
def test_a_loop_within_a_branch_writes_no_more_at_the_end(policy, strategy):
    config = ParallelExecutionConfig(policy, strategy)
    assert_flat(sizes(loop_within_a_branch(parallel_config=config)))


def test_a_branch_that_waits_for_its_turn_costs_the_same_whenever_it_was_forked_off():
    found = sizes(loop_with_an_aside(max_steps=500), lazy=("alert",))
    entries = [column[3] for column in found]
    assert entries[450] - entries[400] == entries[150] - entries[100]
    assert all(writes <= 64 for _, writes, _, _ in found)


def test_the_path_that_nodes_see_is_a_view():
    path = ["a", "b"]
    view = PathSoFar(path)
    path.append("c")
    assert (list(view), len(view), view[-1], view[:5]) == (["a", "b"], 2, "b", ["a", "b"])
