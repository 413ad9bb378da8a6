"""Whether a timer that is due may start something: every reason, and which goes before which."""

import pytest

from hive_daemon.runtime.triggers.gate import Admit, Policy, Reading, decide
from hive_daemon.runtime.triggers.timer_config import Overlap
from hive_daemon.storage.timer_values import TimerOutcome, TimerSkip

PAUSED, IDLE, OVERLAP = (
    TimerOutcome.SKIPPED_PAUSED,
    TimerOutcome.SKIPPED_IDLE,
    TimerOutcome.SKIPPED_OVERLAP,
)


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        ({}, Admit()),
        ({"is_draining": True}, TimerSkip(PAUSED, "the daemon is draining")),
        ({"is_paused": True}, TimerSkip(PAUSED, "the timer was paused")),
        ({"is_paused": True, "is_draining": True}, TimerSkip(PAUSED, "the daemon is draining")),
        ({"waiting": True}, TimerSkip(OVERLAP, "its session waits for a person")),
        ({"waiting": True, "is_paused": True}, TimerSkip(PAUSED, "the timer was paused")),
        ({"running": 1}, TimerSkip(OVERLAP, "its last execution still runs")),
        ({"queued": 1}, TimerSkip(OVERLAP, "its last execution still runs")),
    ],
    ids=str,
)
def test_a_timer_without_further_rules(reading, expected):
    assert decide(Policy(Overlap.SKIP), Reading(**reading)) == expected


@pytest.mark.parametrize(
    ("gate", "idle", "is_open"),
    [(None, 0, True), (0, 0, True), (300, 299.9, False), (300, 300, True), (300, 1e9, True)],
)
def test_the_idle_gate(gate, idle, is_open):
    verdict = decide(Policy(Overlap.ALLOW_ALL, gate), Reading(idle_seconds=idle, running=1))
    assert (verdict == Admit()) is is_open
    assert is_open or verdict.outcome is IDLE


def test_the_reason_of_the_idle_gate_says_both_numbers():
    verdict = decide(Policy(Overlap.SKIP, 300), Reading(idle_seconds=12.4))
    assert verdict == TimerSkip(
        IDLE, "the agent was active 12 s ago, less than idle_timeout_seconds 300"
    )


RUNS, WAITS = {"running": 1}, {"queued": 1}
KEPT = TimerSkip(OVERLAP, "one execution waits already")


@pytest.mark.parametrize(
    ("overlap", "reading", "expected"),
    [
        (Overlap.CANCEL_OTHER, {}, Admit()),
        (Overlap.CANCEL_OTHER, RUNS, Admit(replaces=True)),
        (Overlap.CANCEL_OTHER, WAITS, Admit(replaces=True)),
        (Overlap.BUFFER_ONE, RUNS, Admit()),
        (Overlap.BUFFER_ONE, {**RUNS, **WAITS}, KEPT),
        (Overlap.BUFFER_ONE, WAITS, KEPT),
        (Overlap.BUFFER_ALL, {**RUNS, "queued": 9}, Admit()),
        (Overlap.ALLOW_ALL, {**RUNS, "queued": 9}, Admit()),
    ],
)
def test_each_policy_for_what_still_runs(overlap, reading, expected):
    assert decide(Policy(overlap), Reading(**reading)) == expected
