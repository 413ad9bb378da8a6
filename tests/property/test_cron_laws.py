"""Cron expressions against their definition: every part is drawn together with what it names, nothing is parsed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from itertools import takewhile

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.errors import InvalidInput
from hive_daemon.runtime.triggers.cron import CronExpression, parse_cron

DAY = timedelta(days=1)
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

Rule = Callable[[date], bool]
Values = frozenset[int]


# Drawing fields ----------------------------------------------------------------------------------------------


def written(value: int, low: int, names: tuple[str, ...]) -> st.SearchStrategy[str]:
    """A number or, where there is one, its name."""
    named = names[value - low : value - low + 1]
    return st.sampled_from([str(value), *named])


@st.composite
def parts(draw, low: int, high: int, highest: int, names: tuple[str, ...]) -> tuple[str, Values]:
    """One part of a list and its values: a clock that goes round from `low` to `high`."""
    size = high - low + 1
    step = draw(st.integers(1, size))
    every = tuple(range(low, high + 1))
    kind = draw(st.sampled_from(["star", "star step", "value", "start", "range", "range step"]))
    if kind.startswith("star"):
        if kind == "star":
            return "*", frozenset(every)
        if kind == "star step":
            return f"*/{step}", frozenset(every[::step])
    first = draw(st.integers(low, highest))
    name = draw(written(first, low, names))
    if kind == "value":
        return name, frozenset({low + (first - low) % size})
    if kind == "start":
        round_trip = [low + (first - low + n) % size for n in range((high - first) % size + 1)]
        return f"{name}/{step}", frozenset(round_trip[::step])
    last = draw(st.integers(low, highest))
    length = last - first if first <= last else (last - first) % size
    passed = [low + (first - low + n) % size for n in range(length + 1)]
    text = f"{name}-{draw(written(last, low, names))}"
    return (
        (text, frozenset(passed))
        if kind == "range"
        else (f"{text}/{step}", frozenset(passed[::step]))
    )


def joined(found: list[tuple[str, Values]]) -> tuple[str, Values]:
    return ",".join(text for text, _ in found), frozenset().union(*(values for _, values in found))


def fields(
    low: int, high: int, names: tuple[str, ...] = ()
) -> st.SearchStrategy[tuple[str, Values]]:
    return st.lists(parts(low, high, high, names), min_size=1, max_size=3).map(joined)


def is_last(day: date) -> bool:
    return (day + DAY).month != day.month


def either(found: list[tuple[str, Rule]]) -> tuple[str, Rule]:
    return ",".join(text for text, _ in found), lambda day: any(rule(day) for _, rule in found)


DATES = st.one_of(
    parts(1, 31, 31, ()).map(lambda part: (part[0], lambda day: day.day in part[1])),
    st.just(("L", is_last)),
)
PLAIN_WEEKDAYS = parts(0, 6, 7, WEEKDAYS).map(
    lambda part: (part[0], lambda day: day.isoweekday() % 7 in part[1])
)
NTH_WEEKDAYS = st.tuples(st.integers(0, 7), st.integers(1, 5)).map(
    lambda pair: (
        f"{pair[0]}#{pair[1]}",
        lambda day: day.isoweekday() % 7 == pair[0] % 7 and (day.day + 6) // 7 == pair[1],
    )
)
LAST_WEEKDAYS = st.integers(0, 6).map(
    lambda weekday: (
        f"L{WEEKDAYS[weekday]}",
        lambda day: day.isoweekday() % 7 == weekday and (day + 7 * DAY).month != day.month,
    )
)
DAYS_OF_MONTH = st.lists(DATES, min_size=1, max_size=3).map(either)
DAYS_OF_WEEK = st.lists(
    st.one_of(PLAIN_WEEKDAYS, NTH_WEEKDAYS, LAST_WEEKDAYS), min_size=1, max_size=3
).map(either)


def read(text: str) -> CronExpression | str:
    """The expression, or the sentence with which it is refused."""
    try:
        return parse_cron(text)
    except InvalidInput as refusal:
        return str(refusal)


# The laws ----------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(fields(0, 59), fields(0, 23))
def test_a_field_names_the_values_of_its_parts(minute, hour):
    expression = parse_cron(f"{minute[0]} {hour[0]} * * *")
    assert expression.minutes == tuple(sorted(minute[1]))
    assert expression.hours == tuple(sorted(hour[1]))


@settings(max_examples=100, deadline=None)
@given(
    DAYS_OF_MONTH, fields(1, 12, MONTHS), DAYS_OF_WEEK, st.dates(date(1975, 1, 1), date(2150, 1, 1))
)
def test_the_day_fields_name_the_days_of_their_parts(day, month, weekday, start):
    def is_named(candidate: date) -> bool:
        by_date, by_weekday = day[1](candidate), weekday[1](candidate)
        is_narrowed = day[0].startswith("*") or weekday[0].startswith("*")
        both = by_date and by_weekday if is_narrowed else by_date or by_weekday
        return candidate.month in month[1] and both

    span = [start + n * DAY for n in range(200)]
    expected = [datetime.combine(one, time(12)) for one in span if is_named(one)]
    first, last = (datetime.combine(one, time(12)) for one in (span[0] - DAY, span[-1]))
    expression = read(f"0 12 {day[0]} {month[0]} {weekday[0]}")
    if isinstance(expression, str):
        assert ("never fires" in expression, expected) == (True, [])
        return
    assert list(takewhile(last.__ge__, expression.matches_after(first))) == expected
    assert expression.count_matches(first, last) == len(expected)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("0123456789*,-/#?@LWHRmonfrijan ", max_size=8), max_size=6).map(" ".join))
def test_any_text_is_read_or_refused_in_our_own_words(text):
    found = read(text)
    if isinstance(found, str):
        assert found.startswith(f'"{text}"')
    else:
        assert next(found.matches_after(datetime.fromisoformat("2026-01-01")))
