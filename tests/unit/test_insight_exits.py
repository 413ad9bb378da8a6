"""What `hive why` says of an execution whose process ended while it ran, from what little was noted of that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hive_daemon.insight.evidence import Evidence
from hive_daemon.insight.executions import tell_execution
from hive_daemon.insight.exits import AtWork, ExitNote
from hive_daemon.insight.story import Cause, Daemon
from hive_daemon.status import ExecutionStatus
from tests.unit.test_insight_retries import BEGAN, NAME, RETRY, ROW

FIRST = replace(ROW, node_id=None, seq=0)
NOTE = ExitNote(
    BEGAN + 5.0,
    70,
    63.0,
    ("hang (/a/steps.py:9)", "run (/a/steps.py:4)"),
    (AtWork("other", "ops/run", ("b",)), AtWork(NAME, "ops/run", ("a",), is_blocking=True)),
)
BLAMED = f"its event loop was blocked for 1 min 3 s by node a of {NAME}, in hang (/a/steps.py:9)"


def told(row: Any = FIRST, **known: Any) -> Any:
    return tell_execution(Evidence(row, BEGAN + 10.0, **known))


def test_a_node_that_hung_before_anything_was_durable_is_named() -> None:
    story = told(daemon=Daemon.DOWN, exits=(NOTE,))
    assert f"the daemon ended while {NAME} ran at node a ({BLAMED})" in story.answer
    (link,) = [link for link in story.links if link.at == NOTE.at]
    assert link.text == f"the daemon ended itself (70) while it ran at node a: {BLAMED}"


@pytest.mark.parametrize(
    ("first_node", "where"), [(None, "at its first node;"), ("ask", "at node ask;")]
)
def test_of_an_end_without_a_word_the_place_is_told_as_far_as_it_is_known(
    first_node: str | None, where: str
) -> None:
    story = told(daemon=Daemon.DOWN, first_node=first_node)
    assert f"the daemon ended while {NAME} ran {where}" in story.answer


@pytest.mark.parametrize(("attempts", "often"), [(2, "once"), (4, "3 times")])
def test_how_often_the_process_ended_while_it_ran_is_counted(attempts: int, often: str) -> None:
    story = told(replace(FIRST, attempts=attempts), node="a")
    assert story.cause is Cause.RESURRECTED
    assert f"because the process ended {often} while it ran" in story.answer
    assert BLAMED in told(replace(FIRST, attempts=attempts), exits=(NOTE,)).answer


def test_what_is_not_tried_again_says_what_ended_the_process_last() -> None:
    text = "the process ended 3 times while this ran; it is not tried again"
    row = replace(FIRST, status=ExecutionStatus.RECOVERY_EXHAUSTED, attempts=4, error=text)
    notes = tuple(replace(NOTE, at=BEGAN + n) for n in (1.0, 3.0, 5.0))
    story = told(row, exits=notes)
    assert story.answer == f"{NAME} is not tried again at node a: {text} ({BLAMED})"
    assert [link.at for link in story.links if "ended itself" in link.text] == [
        note.at for note in notes
    ]


def test_an_end_before_the_last_step_is_told_and_explains_nothing_now() -> None:
    later = replace(RETRY, type="node_started", timestamp=NOTE.at + 1.0, node_id="b", data=b"{}")
    story = told(daemon=Daemon.DOWN, exits=(NOTE,), events=(later,))
    assert f"the daemon ended while {NAME} ran at node b; it goes on" in story.answer
    assert any("ended itself" in link.text for link in story.links)


def test_who_only_ran_beside_is_not_blamed() -> None:
    assert NOTE.told_of("other") == f"the daemon ended itself (70) while it ran at node b: {BLAMED}"
    assert NOTE.told_of("a third") == ""


def test_a_note_is_read_as_it_was_written() -> None:
    assert ExitNote.read(NOTE.to_json()) == NOTE
