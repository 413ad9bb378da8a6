"""Cron expressions that hypothesis draws, for the laws of schedules."""

from __future__ import annotations

import calendar
from datetime import date

from hypothesis import strategies as st

from tests.fakes.cron_oracle import CronOracle


def spans(low: int, high: int) -> st.SearchStrategy[str]:
    """Draw one field: stars, steps, values, ranges and lists of them."""
    value = st.integers(low, high)
    pair = st.tuples(value, value).filter(lambda p: p[0] < p[1])
    step = st.integers(1, high - low)
    plain = st.one_of(
        value.map(str),
        pair.map(lambda p: f"{p[0]}-{p[1]}"),
        st.tuples(pair, step).map(lambda x: f"{x[0][0]}-{x[0][1]}/{x[1]}"),
        st.tuples(value, step).map(lambda x: f"{x[0]}/{x[1]}"),
    )
    lists = st.lists(plain, min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), step.map(lambda s: f"*/{s}"), lists)


def is_possible(expression: str) -> bool:
    """Say whether some month is long enough for the days that are asked for."""
    oracle = CronOracle(expression)
    return any(
        oracle.matches_day(date(2024, month, day))
        for month in oracle.months
        for day in range(1, calendar.monthrange(2024, month)[1] + 1)
    )


EARLY_HOURS = st.one_of(
    st.just("*"), st.sampled_from(["0", "1", "2", "3", "23", "0-3", "1,2", "*/2", "2-23/3"])
)
"""Hours in which clocks are changed."""

EARLY = (
    st.tuples(spans(0, 59), EARLY_HOURS, spans(1, 31), spans(1, 12), spans(0, 6))
    .map(" ".join)
    .filter(is_possible)
)
"""Expressions for such hours."""

ANY = (
    st.tuples(spans(0, 59), spans(0, 23), spans(1, 31), spans(1, 12), spans(0, 6))
    .map(" ".join)
    .filter(is_possible)
)
"""Expressions for any hour."""

DAILY = st.tuples(spans(0, 59), EARLY_HOURS).map(lambda pair: f"{pair[0]} {pair[1]} * * *")
"""Expressions for every day."""
