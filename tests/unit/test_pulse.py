"""Signs of life: how long it has been quiet, and what is no silence."""

from hive_daemon.pulse import Pulse, beat, felt, resting
from tests.fakes.still_clock import StillClock


def test_a_silence_lasts_since_the_last_sign():
    clock = StillClock()
    pulse = Pulse("n", clock.monotonic)
    clock.advance(5)
    with felt(pulse):
        beat()
    clock.advance(7)
    assert pulse.quiet_seconds == 7


def test_what_rests_is_not_silent_and_begins_anew_afterwards():
    clock = StillClock()
    pulse = Pulse("n", clock.monotonic)
    with felt(pulse), resting():
        clock.advance(5)
        with resting():
            clock.advance(5)
        assert pulse.quiet_seconds == 0
    clock.advance(2)
    assert pulse.quiet_seconds == 2


def test_a_sign_lets_a_further_silence_be_told():
    pulse = Pulse("n", StillClock().monotonic)
    pulse.is_told = True
    pulse.beat()
    assert not pulse.is_told


def test_nothing_is_felt_outside_and_after_work():
    clock = StillClock()
    pulse = Pulse("n", clock.monotonic)
    with felt(pulse):
        clock.advance(1)
    beat()
    with resting():
        clock.advance(1)
        assert pulse.quiet_seconds == 2
