"""Which session a call belongs to: the choice as a pure function."""

import pytest

from hive_daemon.runtime.session_binding import (
    Continue,
    GoOn,
    Known,
    NewSession,
    bind_named,
)
from hive_daemon.runtime.session_state import Beginning
from hive_daemon.status import ExecutionStatus

MINE = "session_20260302_090000_0123abcd"
INPUT = {"input": "yes"}
PARKED = ["paused", "waiting_input", "waiting_approval", "interrupted"]
OTHERS = [status for status in ExecutionStatus if status not in PARKED]


def known(status, **more):
    return Known(MINE, ExecutionStatus(status), "agent/api", 7, **more)


def test_a_session_that_nobody_knows_begins_with_what_was_handed_in():
    state = {"memory": {"a": 1}}
    assert bind_named(MINE, state, INPUT, None) == NewSession(MINE, Beginning(state))


@pytest.mark.parametrize("status", PARKED)
def test_what_was_put_away_goes_on_with_the_input(status):
    beginning = Beginning(resume_input=INPUT, after_seq=7)
    assert bind_named(MINE, {}, INPUT, known(status)) == GoOn(MINE, "agent/api", beginning)


def test_what_never_entered_a_node_begins_as_it_was_meant_to_unless_somebody_says_more():
    fresh = known("interrupted", has_walked=False)
    assert bind_named(MINE, {}, {}, fresh) == GoOn(MINE, "agent/api", None)
    assert bind_named(MINE, {}, INPUT, fresh).beginning == Beginning(
        resume_input=INPUT, after_seq=7
    )


@pytest.mark.parametrize("status", OTHERS)
def test_any_other_session_has_a_next_execution_with_the_memory_that_is_left(status):
    assert bind_named(MINE, {}, INPUT, known(status)) == Continue(
        MINE, Beginning(carries_memory=True)
    )


@pytest.mark.parametrize("key", ["memory", "data_buffer"])
def test_memory_that_was_handed_in_goes_before_what_is_left(key):
    state = {key: {"a": 1}}
    assert bind_named(MINE, state, {}, known("completed")) == Continue(MINE, Beginning(state))
