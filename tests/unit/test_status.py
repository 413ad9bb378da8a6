"""The states of an execution and the moves between them."""

from __future__ import annotations

import pytest

from hive_daemon.errors import IllegalMove
from hive_daemon.status import MOVES, PARKED, RETRYABLE, ExecutionStatus, check_move

S = ExecutionStatus
TERMINAL = {S.COMPLETED, S.FAILED, S.CANCELLED, S.RECOVERY_EXHAUSTED}


def test_every_status_has_its_moves() -> None:
    assert set(MOVES) == set(S)


def test_nothing_follows_a_terminal_status() -> None:
    assert {status for status in S if status.is_terminal} == TERMINAL


def test_what_is_parked_waits_for_somebody() -> None:
    assert {status for status in S if status.is_parked} == PARKED
    assert all(MOVES[status] == {S.QUEUED, S.CANCELLED} for status in PARKED)


def test_what_did_not_succeed_may_be_tried_again() -> None:
    assert TERMINAL - {S.COMPLETED} == RETRYABLE


@pytest.mark.parametrize("old", S)
@pytest.mark.parametrize("new", S)
def test_only_the_moves_of_the_table_are_legal(old: S, new: S) -> None:
    if new in MOVES[old]:
        check_move(old, new)
    else:
        with pytest.raises(IllegalMove, match=f"{old} cannot become {new}"):
            check_move(old, new)


def test_everything_that_is_queued_can_still_be_cancelled_or_run() -> None:
    assert MOVES[S.QUEUED] >= {S.RUNNING, S.CANCELLED}


def test_every_status_can_be_reached_from_queued() -> None:
    reached, edge = {S.QUEUED}, {S.QUEUED}
    while edge:
        edge = {new for old in edge for new in MOVES[old]} - reached
        reached |= edge
    assert reached == set(S)
