"""What model calls come to: a cost that is not known is never zero."""

from hypothesis import given
from hypothesis import strategies as st

from hive_daemon.spending import NO_CALLS, Spending, sum_costs

SPENDINGS = st.builds(
    Spending,
    *[st.integers(0, 10**9)] * 4,
    cost_usd=st.none() | st.integers(0, 10**6).map(lambda n: n / 1_000),
)


def test_the_sum_of_known_costs_is_exact_to_the_millionth_of_a_token() -> None:
    assert sum_costs(0.1, 0.2) == 0.3


def test_one_unknown_cost_makes_the_sum_unknown() -> None:
    assert sum_costs(0.1, None, 0.2) is None


def test_what_was_kept_before_costs_were_is_unknown_and_not_free() -> None:
    assert Spending.of({"input_tokens": 7}) == Spending(7, cost_usd=None)


def test_what_was_kept_of_no_call_cost_nothing() -> None:
    assert Spending.of({}) == NO_CALLS


@given(SPENDINGS)
def test_a_bill_is_read_back_as_it_was_kept(spending: Spending) -> None:
    assert Spending.of(spending.to_json()) == spending


@given(SPENDINGS, SPENDINGS, SPENDINGS)
def test_the_order_of_adding_makes_no_difference(
    one: Spending, two: Spending, three: Spending
) -> None:
    assert one.plus(two).plus(three) == one.plus(two.plus(three))
    assert one.plus(NO_CALLS) == one
