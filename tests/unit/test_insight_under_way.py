"""What nodes that have not ended spent: each call counts once, in its step or before it."""

from dataclasses import replace

import pytest

from hive_daemon.insight.under_way import spent_under_way
from hive_daemon.spending import NO_CALLS
from tests.unit.test_spans import told

CALL = ("llm_turn_complete", {"input_tokens": 10, "output_tokens": 5, "cost_usd": 0.25})


def spent(*events, node="ask"):
    return spent_under_way(told(*((0, kind, data) for kind, data in events), node=node))


def test_the_calls_of_a_node_that_runs_are_added_up():
    total = spent(CALL, ("node_retry", {"model": "gpt-4o"}), CALL)
    assert (total.input_tokens, total.output_tokens, total.cost_usd) == (20, 10, 0.5)


@pytest.mark.parametrize("kind", ["node_retry", "client_input_requested", "state_conflict"])
def test_what_a_step_holds_is_not_counted_again(kind):
    assert spent(CALL, (kind, {})) == NO_CALLS
    assert spent(CALL, (kind, {}), CALL).cost_usd == 0.25


@pytest.mark.parametrize("kind", ["node_started", "execution_resumed", "execution_resurrected"])
def test_after_its_end_a_node_counts_once_it_is_at_work_again(kind):
    assert spent(CALL, ("node_completed", {}), CALL) == NO_CALLS  # The second decided on an edge.
    assert spent(CALL, ("node_completed", {}), (kind, {}), CALL).cost_usd == 0.25


@pytest.mark.parametrize("kind", ["node_started", "execution_resumed", "execution_resurrected"])
def test_a_node_that_goes_on_keeps_what_it_spent(kind):
    assert spent(CALL, (kind, {}), CALL).cost_usd == 0.5


def test_each_branch_is_counted_by_itself():
    first, second, end = told((0, *CALL), (0, *CALL), (1, "node_completed", {}))
    total = spent_under_way((first, replace(second, node_id="other"), end))
    assert total.input_tokens == 10


def test_a_call_without_a_price_makes_the_sum_unknown():
    assert (
        spent(CALL, ("llm_turn_complete", {"input_tokens": 1, "cost_usd": None})).cost_usd is None
    )
