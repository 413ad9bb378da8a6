"""What a node is given much of: copied while others get their turn, and its own all the same (fault W59)."""

import asyncio

import pytest

from hive_daemon.graph.memory import MUCH, is_much
from tests.fakes.graphs import Stage, edge, graph_of

ROWS = [{"id": n} for n in range(MUCH)]


@pytest.mark.parametrize(
    ("value", "much"),
    [
        ("x" * 20_000_000, False),
        ([1] * (MUCH - 1), False),
        ([1] * MUCH, True),
        ({"rows": ROWS}, True),
        ([[1] * 10] * (MUCH // 10), True),
        ({}, False),
    ],
)
def test_what_takes_long_to_copy_is_known_by_its_items(value, much):
    assert is_much([0, value, None]) is much


def test_several_values_are_much_together():
    assert is_much([[1] * (MUCH // 2)] * 2)


async def turns_before(node, **memory):
    """Run two nodes; return how many turns others got on the event loop between them."""
    turns, seen = 0, {}

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def noting(name):
        async def body(ctx):
            seen[name] = turns
            if "rows" in ctx.input_data:
                ctx.input_data["rows"][0]["id"] = name

        return body

    beside = asyncio.create_task(others())
    try:
        result = await Stage(graph_of(edge("a", "b")), {"a": noting("a"), "b": noting("b")}).run(
            memory
        )
    finally:
        beside.cancel()
    assert result.success, result.error
    return seen[node] - seen["a"], result


async def test_others_get_their_turn_while_much_is_copied():
    few, _ = await turns_before("b", rows=ROWS[:10])
    many, _ = await turns_before("b", rows=ROWS)
    assert many > few


async def test_what_is_copied_beside_is_the_nodes_own_too():
    _, result = await turns_before("b", rows=ROWS)
    assert result.output["rows"][0] == {"id": 0}
    assert ROWS[0] == {"id": 0}
