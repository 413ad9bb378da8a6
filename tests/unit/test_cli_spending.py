"""How the command line writes what model calls came to."""

import pytest

from hive_cli.runs import cost, tokens


@pytest.mark.parametrize(
    ("counted", "text", "price"),
    [
        ({}, "", ""),
        ({"input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0}, "", ""),
        ({"input_tokens": 9, "output_tokens": 3, "cost_usd": None}, "9 in, 3 out", "unknown"),
        ({"input_tokens": 9, "output_tokens": 3, "cost_usd": 0.0}, "9 in, 3 out", "$0"),
        (
            {"input_tokens": 9, "cached_tokens": 4, "output_tokens": 3, "reasoning_tokens": 1, "cost_usd": 0.0125},
            "9 in (4 cached), 3 out (1 reasoning)",
            "$0.0125",
        ),
    ],
)  # fmt: skip
def test_an_unknown_price_is_not_written_as_nothing(counted, text, price):
    assert (tokens(counted), cost(counted)) == (text, price)
