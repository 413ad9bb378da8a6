"""How a run in the foreground is told."""

from dataclasses import replace

import pytest

from hive_daemon.control.wire import ExitCode
from hive_daemon.graph.executor import ExecutionResult
from hive_daemon.runner.foreground import Ended, Stop
from hive_daemon.runner.outcome import document_of, exit_code_of, told
from hive_daemon.status import ExecutionStatus
from tests.fakes.rows import NAME, execution_row

ROW = execution_row(
    agent="desk-graph",
    graph_id="desk-graph",
    entry_point="default",
    stream_id="default",
    status=ExecutionStatus.COMPLETED,
    created_at=100.0,
    started_at=100.0,
    updated_at=101.5,
    ended_at=101.5,
    attempts=0,
    seq=3,
    steps=3,
    node_id="review",
    input=b'{"topic":"cats"}',
)
LEFT = ExecutionResult(False, session_state={"resume_from": "draft"})
GO_ON = f"`hive run desk --resume {NAME}`"


def ended(status, stop=Stop.NONE, result=None, **changes):
    row = replace(ROW, status=ExecutionStatus(status), **changes)
    return Ended(row, result or ExecutionResult(True, path=["draft"]), stop, 102.0)


@pytest.mark.parametrize(
    ("run", "sentence", "hint", "code"),
    [
        (ended("completed"), "completed in 1.5 s", "", 0),
        (ended("completed", Stop.TIMEOUT), "completed in 1.5 s", "", 0),
        (ended("paused"), "is paused at node review", f"go on with {GO_ON}", 8),
        (
            ended("waiting_approval"),
            "waits at node review: asks for approval",
            f"decide at a terminal, with {GO_ON}; elsewhere with "
            f"`hive run desk --resume {NAME} --approve latest` or "
            f"`hive run desk --resume {NAME} --reject latest --message WHY`",
            8,
        ),
        (
            ended("waiting_input", waiting=b'{"question":"Good?","options":["yes","no"]}'),
            "waits at node review: Good? (yes / no)",
            f"answer with `hive run desk --resume {NAME} --set input=TEXT`",
            8,
        ),
        (ended("failed", error="no"), "failed at node review: no", f"try again with {GO_ON}", 1),
        (
            ended("failed", error="spent", error_code="budget_exceeded"),
            "failed at node review: spent",
            f"try again with {GO_ON}",
            7,
        ),
        (
            ended("failed", error="nobody is asked", error_code="input_needed"),
            "failed at node review: nobody is asked",
            f"try again with `hive run desk --resume {NAME} --set input=TEXT`",
            1,
        ),
        (
            ended("failed", error="the graph is another", error_code="graph_changed"),
            "failed at node review: the graph is another",
            f"try again with `hive run desk --resume {NAME} --accept-changed-graph`",
            1,
        ),
        (ended("recovery_exhausted"), "recovery exhausted at node review", f"try again with {GO_ON}", 1),
        (
            ended("cancelled", Stop.SIGNAL, node_id=None, result=LEFT),
            "interrupted by a signal at node draft",
            f"go on with {GO_ON}",
            130,
        ),
        (ended("cancelled", Stop.TIMEOUT), "took longer than --timeout at node review", f"go on with {GO_ON}", 124),
        (ended("running", Stop.SIGNAL), "interrupted by a signal at node review", f"go on with {GO_ON}", 130),
    ],
)  # fmt: skip
def test_every_end_has_its_sentence_its_hint_and_its_code(run, sentence, hint, code):
    assert told(run, "hive run desk") == (f"{NAME} {sentence}", hint)
    assert exit_code_of(run) == code


def test_the_document_shows_the_input_the_way_and_the_output():
    document = document_of(ended("completed", result=ExecutionResult(True, {"x": 1}, path=["a"])))
    assert (document["input"], document["path"], document["output"]) == (
        {"topic": "cats"},
        ["a"],
        {"x": 1},
    )


def test_a_run_that_began_nothing_has_no_document():
    run = Ended(stop=Stop.SIGNAL)
    assert document_of(run) is None
    assert told(run, "") == ("nothing was begun: interrupted by a signal", "")
    assert exit_code_of(run) is ExitCode.INTERRUPTED
