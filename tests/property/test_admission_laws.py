"""Laws of admission: what a rate lets through, and that the keys of a lane are served in turn."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.status import ExecutionStatus as S
from hive_daemon.storage.admission import Admission, Rate
from hive_daemon.storage.admission_rules import spend
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.values import Limits
from tests.fakes.store_kit import LANE, NODE, Ear, SetClock, ending, step, submission

rates = st.builds(Rate, st.integers(1, 20), st.sampled_from((0.5, 1.0, 7.0, 60.0)))
gaps = st.lists(st.floats(0, 5), min_size=1, max_size=60)
ROUNDING = 1e-3


def check_law(rate: Rate, passed: list[float]) -> None:
    """In t seconds at most limit · (1 + t / seconds) may pass."""
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            most = rate.limit * (1 + (passed[last] - begin) / rate.seconds)
            assert last - first + 1 <= most + ROUNDING


@given(rate=rates, gaps=gaps)
def test_a_rate_lets_no_more_through_than_its_law_says(rate: Rate, gaps: list[float]) -> None:
    now, arrival, passed = 1_000.0, 0.0, []
    for gap in gaps:
        now += gap
        wait, after = spend(rate, arrival, now)
        if not wait:
            arrival = after
            passed.append(now)
    check_law(rate, passed)


@given(rate=rates, gaps=gaps)
def test_who_waits_as_long_as_told_passes(rate: Rate, gaps: list[float]) -> None:
    now, arrival = 1_000.0, 0.0
    for gap in gaps:
        now += gap
        wait, _ = spend(rate, arrival, now)
        now += wait
        again, arrival = spend(rate, arrival, now)
        assert again == pytest.approx(0, abs=ROUNDING)


@given(rate=rates, gaps=gaps)
def test_the_slots_of_a_throttle_obey_the_law_in_order(rate: Rate, gaps: list[float]) -> None:
    now, arrival, slots = 1_000.0, 0.0, []
    for gap in gaps:
        now += gap
        wait, arrival = spend(rate, arrival, now)
        slots.append(now + wait)
    assert slots == sorted(slots)
    check_law(rate, slots)


async def serve(story: list[str]) -> None:
    """Submit keys, and serve one where the story says nothing; no key waits while another is served twice."""
    one = Limits(1, {LANE: 1})
    waiting: dict[str, int] = {}
    served_meanwhile: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        async with open_sqlite(Path(name), Ear(), SetClock()) as store:
            for key in [*story, *[""] * len(story)]:
                if key:
                    await store.queue.submit(submission(admission=Admission(key=key)))
                    waiting[key] = waiting.get(key, 0) + 1
                    served_meanwhile.setdefault(key, [])
                    continue
                for claim in await store.queue.claim(NODE, one):
                    others = served_meanwhile.pop(claim.key)
                    assert len(others) == len(set(others))
                    for seen in served_meanwhile.values():
                        seen.append(claim.key)
                    waiting[claim.key] -= 1
                    if waiting[claim.key]:
                        served_meanwhile[claim.key] = []
                    over = step(1, ending=ending(S.COMPLETED))
                    await store.executions.commit(claim.fence, over)
    assert not any(waiting.values())


@settings(max_examples=30, deadline=None)
@given(story=st.lists(st.sampled_from(("a", "b", "c", "d", "a", "")), max_size=40))
def test_no_key_waits_while_another_is_served_twice(story: list[str]) -> None:
    asyncio.run(serve(story))
