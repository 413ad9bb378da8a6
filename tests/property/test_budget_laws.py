"""Laws of budgets: what is admitted, which window an instant is in, and what rules say of who spends."""

import math
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.budgets.decisions import Admit, decide, nearing, spent_out
from hive_daemon.budgets.rules import (
    Amount,
    Limits,
    Measure,
    Per,
    Rule,
    Scope,
    Spender,
    Use,
)
from hive_daemon.budgets.windows import HOUR_SECONDS, hour_of, window_at

ZONES: list[tzinfo] = [
    UTC,
    *(
        ZoneInfo(name)
        for name in (
            "Europe/Berlin",
            "America/New_York",
            "Asia/Kolkata",
            "Asia/Beirut",
            "America/Havana",
            "Australia/Lord_Howe",
            "Pacific/Apia",
        )
    ),
]
instants = st.floats(0.0, 4e9, allow_nan=False)
tokens = st.integers(0, 10_000)


@given(limit=st.integers(1, 5_000), calls=st.lists(st.integers(1, 900), max_size=60))
@settings(max_examples=100)
def test_calls_at_once_pass_a_limit_by_less_than_the_last_one_admitted(
    limit: int, calls: list[int]
) -> None:
    held, last = 0, 0
    for asked in calls:
        use = Use(held=Amount(tokens=held))
        if decide(Limits(tokens=limit), use, Amount(tokens=asked)) == Admit():
            held, last = held + asked, asked
    assert held < limit + last or held == 0


@given(spent=tokens, held=tokens, limit=tokens, asked=st.integers(1, 100))
def test_a_call_is_admitted_exactly_while_the_limit_is_not_reached(
    spent: int, held: int, limit: int, asked: int
) -> None:
    use = Use(Amount(tokens=spent), Amount(tokens=held))
    verdict = decide(Limits(tokens=limit), use, Amount(tokens=asked))
    assert (verdict == Admit()) == (spent + held < limit)


@given(spent=tokens, limit=st.integers(1, 10_000))
def test_what_is_spent_out_was_warned_of(spent: int, limit: int) -> None:
    use = Use(Amount(tokens=spent))
    limits = Limits(tokens=limit)
    assert spent_out(limits, use) is None or nearing(limits, use) is not None


@given(use=tokens, measure=st.sampled_from(list(Measure)))
def test_a_measure_that_a_call_adds_nothing_to_does_not_hold_it(use: int, measure: Measure) -> None:
    limits = Limits(**{measure.value: 0})
    assert decide(limits, Use(Amount(use, use, use, use)), Amount()) == Admit()


@given(
    now=instants,
    zone=st.sampled_from(ZONES),
    per=st.sampled_from([Per.HOUR, Per.DAY, Per.MONTH]),
)
@settings(max_examples=300)
def test_every_instant_is_in_its_window_and_the_window_begins_with_an_hour(
    now: float, zone: tzinfo, per: Per
) -> None:
    window = window_at(per, now, zone)
    assert window.until is not None
    assert window.since <= now < window.until
    assert window_at(per, window.since, zone).since == window.since or per is Per.MONTH


@given(now=instants, more=st.floats(0.0, 90_000.0), zone=st.sampled_from(ZONES))
def test_windows_follow_each_other(now: float, more: float, zone: tzinfo) -> None:
    for per in (Per.HOUR, Per.DAY, Per.MONTH):
        assert window_at(per, now, zone).since <= window_at(per, now + more, zone).since


@given(now=instants, zone=st.sampled_from(ZONES))
def test_an_hour_is_a_whole_number_of_seconds(now: float, zone: tzinfo) -> None:
    hour = hour_of(now, zone)
    assert hour == math.floor(hour)
    assert 0 <= now - hour < HOUR_SECONDS


def test_a_day_is_that_of_the_clock_on_the_wall() -> None:
    zone = ZoneInfo("Europe/Berlin")
    noon = datetime(2026, 3, 29, 12, tzinfo=zone).timestamp()
    window = window_at(Per.DAY, noon, zone)
    assert window.until is not None
    assert (window.until - window.since) / 3600 == 23  # the clock is put forward that day


names = st.sampled_from(["mail", "news"])
streams = st.sampled_from(["api", "tick", "side::api"])


@given(agent=names, stream=streams, written=names, point=streams)
def test_a_rule_limits_only_those_it_was_written_for(
    agent: str, stream: str, written: str, point: str
) -> None:
    spender = Spender(agent, stream, "session_1", "session_1")
    rule = Rule(Scope.EXECUTION, Per.EXECUTION, Limits(usd=1), agent=written, entry_point=point)
    found = rule.subject(spender)
    assert (found == "execution:session_1") == ((agent, stream) == (written, point))


@given(agent=names, stream=streams)
def test_a_rule_counts_under_a_subject_that_the_spender_is_charged_for(
    agent: str, stream: str
) -> None:
    spender = Spender(agent, stream, "session_1", "session_1-2")
    for scope in Scope:
        name = {Scope.AGENT: agent, Scope.ENTRY_POINT: stream}.get(scope, "")
        for per in Per:
            subject = Rule(scope, per, Limits(usd=1), name).subject(spender)
            assert subject in spender.subjects.values()
