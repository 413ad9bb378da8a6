"""How long and how often a call is tried."""

import asyncio

import pytest

from hive_daemon.errors import ConfigError
from hive_daemon.llm.failures import CallRejected, CallUnavailable, FailureKind
from hive_daemon.llm.limits import Attempts, CallLimits, pause_before_next

LIMITS = CallLimits(max_attempts=4, backoff_base=2.0, backoff_max=6.0, retry_after_cap=60.0)
BUSY = CallUnavailable("busy")


class WatchedClock:
    """A clock that stands still and notes what it was asked to sleep."""

    def __init__(self):
        self.slept = []

    def time(self):
        return 0.0

    def monotonic(self):
        return sum(self.slept)

    async def sleep(self, seconds):
        self.slept.append(seconds)


@pytest.mark.parametrize(("attempt", "ceiling"), [(1, 2.0), (2, 4.0), (3, 6.0)])
def test_the_pause_doubles_up_to_its_limit_and_is_jittered_from_zero(attempt, ceiling):
    assert pause_before_next(LIMITS, attempt, 0.0, BUSY, 1.0) == ceiling
    assert pause_before_next(LIMITS, attempt, 0.0, BUSY, 0.0) == 0.0


def test_what_the_service_asks_for_is_waited_up_to_the_cap():
    asks = CallUnavailable(kind=FailureKind.RATE_LIMITED, retry_after_seconds=7.0)
    asks_much = CallUnavailable(kind=FailureKind.RATE_LIMITED, retry_after_seconds=3600.0)
    assert pause_before_next(LIMITS, 1, 0.0, asks, 0.0) == 7.0
    assert pause_before_next(LIMITS, 1, 0.0, asks_much, 0.0) == 60.0
    assert pause_before_next(LIMITS, 1, 0.0, asks, 0.5) == 8.0


@pytest.mark.parametrize(
    ("attempt", "elapsed", "failure"),
    [
        (4, 0.0, BUSY),
        (1, 299.0, BUSY),
        (1, 0.0, CallRejected("no")),
    ],
    ids=["no tries left", "too late", "refused"],
)
def test_there_is_no_further_try(attempt, elapsed, failure):
    assert pause_before_next(LIMITS, attempt, elapsed, failure, 1.0) is None


def test_no_pause_reaches_beyond_the_end_of_the_call():
    limits = CallLimits(total_timeout=10.0)
    asks = CallUnavailable(kind=FailureKind.RATE_LIMITED, retry_after_seconds=20.0)
    assert pause_before_next(limits, 1, 0.0, asks, 0.0) is None
    assert pause_before_next(limits, 1, 9.0, BUSY, 1.0) == 1.0


async def test_the_tries_of_a_call_end_in_its_last_failure():
    clock = WatchedClock()
    attempts = Attempts("m", LIMITS, clock, roll=lambda: 0.5)
    for _ in range(3):
        await attempts.next(BUSY)
    with pytest.raises(CallUnavailable) as raised:
        await attempts.next(BUSY)
    assert raised.value is BUSY
    assert clock.slept == [1.0, 2.0, 3.0]


async def test_work_past_its_deadline_is_cancelled_and_says_what_was_waited_for():
    cancelled = asyncio.Event()

    async def stall():
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(CallUnavailable, match=r"^m: no first piece within 0\.01 s$"):
        await Attempts("m", CallLimits()).within(0.01, "first piece", stall())
    assert cancelled.is_set()


async def test_no_deadline_reaches_beyond_the_end_of_the_call():
    limits = CallLimits(total_timeout=0.01)
    with pytest.raises(CallUnavailable, match=r"no whole answer within 0\.01 s"):
        await Attempts("m", limits).within(60.0, "first piece", asyncio.Event().wait())


async def test_a_timeout_of_the_work_itself_is_a_failure_too():
    async def time_out():
        raise TimeoutError

    with pytest.raises(CallUnavailable, match="m: timed out"):
        await Attempts("m", CallLimits()).within(60.0, "first piece", time_out())


def test_limits_are_taken_out_of_the_options():
    limits, others = CallLimits.split({"ttft_timeout": 5, "temperature": 0.2})
    assert limits == CallLimits(ttft_timeout=5)
    assert others == {"temperature": 0.2}


@pytest.mark.parametrize("value", [0, -1, "60", True, None])
def test_a_limit_that_is_no_positive_number_is_refused_by_name(value):
    with pytest.raises(ConfigError, match="ttft_timeout"):
        CallLimits.split({"ttft_timeout": value})
