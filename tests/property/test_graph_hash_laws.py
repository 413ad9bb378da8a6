"""Laws of the hash that names the shape of a graph, on random graphs."""

from random import Random
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.topology import hash_of
from tests.fakes.walk_world import ANYTHING, LOOPING, WIDE, random_graph

SEEDS = st.integers(0, 10**9)
MIXES = st.sampled_from([ANYTHING, WIDE, LOOPING])
WORDS = ("description", "goal_id", "version", "identity_prompt", "created_by")


def reordered(value: Any, chance: Random) -> Any:
    """Write the keys of every mapping in another order."""
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: reordered(value[key], chance) for key in keys}
    if isinstance(value, list):
        return [reordered(item, chance) for item in value]
    return value


def hash_of_written(written: dict[str, Any]) -> str:
    return hash_of(GraphSpec.model_validate(written))


@settings(max_examples=60, deadline=None)
@given(SEEDS, MIXES, SEEDS)
def test_the_order_of_keys_and_of_nodes_does_not_change_it(seed, mix, order):
    graph, chance = random_graph(seed, mix), Random(order)
    written = reordered(graph.model_dump(), chance)
    for unordered in ("nodes", "terminal_nodes", "pause_nodes"):
        chance.shuffle(written[unordered])
    assert hash_of_written(written) == hash_of(graph)


@settings(max_examples=60, deadline=None)
@given(SEEDS, MIXES, st.sampled_from(WORDS))
def test_words_do_not_change_it(seed, mix, key):
    graph = random_graph(seed, mix)
    written = {**graph.model_dump(), key: "other words"}
    written["nodes"] = [{**node, "system_prompt": "x", "tools": ["x"]} for node in written["nodes"]]
    assert hash_of_written(written) == hash_of(graph)


@settings(max_examples=60, deadline=None)
@given(SEEDS, MIXES, SEEDS)
def test_a_change_of_the_shape_changes_it(seed, mix, order):
    graph, chance = random_graph(seed, mix), Random(order)
    assume(graph.edges)
    for change in (_without_an_edge, _with_a_node, _with_another_end, _with_another_entry):
        written = graph.model_dump()
        change(written, chance)
        assert hash_of_written(written) != hash_of(graph), change.__name__


def _without_an_edge(written: dict[str, Any], chance: Random) -> None:
    written["edges"].pop(chance.randrange(len(written["edges"])))


def _with_a_node(written: dict[str, Any], chance: Random) -> None:
    written["nodes"].insert(chance.randrange(len(written["nodes"]) + 1), {"id": "brand-new"})


def _with_another_end(written: dict[str, Any], chance: Random) -> None:
    ends = set(written["terminal_nodes"])
    written["terminal_nodes"] = sorted(ends ^ {chance.choice(written["nodes"])["id"]})


def _with_another_entry(written: dict[str, Any], chance: Random) -> None:
    written["entry_node"] = "brand-new"
