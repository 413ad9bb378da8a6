"""The records and checks that programs of the older system make themselves."""

import pytest
from pydantic import BaseModel

from hive_daemon.graph.output_validator import OutputValidator
from hive_daemon.runtime.core import Runtime
from hive_daemon.schemas.decision import DecisionType
from hive_daemon.schemas.run import RunStatus, RunSummary

OPTIONS = [
    {"id": "a", "description": "Ask the user", "action_type": "tool_call"},
    {"id": "b", "description": "Guess"},
]


@pytest.fixture
def runtime(tmp_path):
    made = Runtime(tmp_path / "storage")
    made.start_run("g", "A goal.", {"x": 1})
    return made


def test_a_run_keeps_decisions_and_their_outcomes(runtime):
    runtime.set_node("n")
    decision = runtime.decide(
        "answer", OPTIONS, "a", "safer", decision_type=DecisionType.PATH_CHOICE
    )
    runtime.record_outcome(decision, success=True, result="yes", tokens_used=10, latency_ms=5)
    run = runtime.current_run
    assert (run.decisions[0].node_id, run.decisions[0].was_successful) == ("n", True)
    assert run.decisions[0].chosen_option.description == "Ask the user"
    assert (run.metrics.success_rate, run.metrics.total_tokens) == (1.0, 10)
    assert run.metrics.nodes_executed == ["n"]


def test_an_ended_run_is_not_current_and_can_be_summed_up(runtime):
    failed = runtime.decide("answer", OPTIONS, "b", "quicker")
    runtime.record_outcome(failed, success=False, error="wrong")
    runtime.quick_decision("log", "write a line", "for later")
    runtime.report_problem("critical", "It is wrong.", decision_id=failed)
    run = runtime.current_run
    runtime.end_run(success=False, narrative="It went wrong.")
    summary = RunSummary.from_run(run)
    assert runtime.current_run is None
    assert (run.status, summary.narrative) == (RunStatus.FAILED, "It went wrong.")
    assert (summary.decision_count, summary.problem_count) == (2, 1)
    assert summary.critical_problems == ["It is wrong."]
    assert summary.key_decisions[0] == "answer: quicker"


def test_outside_a_run_nothing_happens_and_a_warning_says_so(tmp_path, caplog):
    runtime = Runtime(tmp_path)
    assert runtime.decide("answer", OPTIONS, "a", "why") == ""
    runtime.record_outcome("dec_0", success=True)
    runtime.end_run(success=True)
    assert [record.call for record in caplog.records] == ["decide", "record_outcome", "end_run"]


def test_what_is_carried_out_is_recorded_either_way(runtime):
    done, result = runtime.decide_and_execute("add", OPTIONS, "a", "why", lambda: 3)
    assert (done, result) == ("dec_0", 3)
    with pytest.raises(ZeroDivisionError):
        runtime.decide_and_execute("divide", OPTIONS, "a", "why", lambda: 1 // 0)
    outcomes = [decision.outcome for decision in runtime.current_run.decisions]
    assert [outcome.success for outcome in outcomes] == [True, False]
    assert outcomes[1].error.startswith("ZeroDivisionError")


def test_nothing_is_written(runtime, tmp_path):
    runtime.end_run(success=True)
    assert list(tmp_path.iterdir()) == []


class Answer(BaseModel):
    text: str
    score: int


def test_an_output_is_checked_against_a_model():
    validator = OutputValidator()
    good, answer = validator.validate_with_pydantic({"text": "x", "score": "3"}, Answer)
    assert (good.success, answer) == (True, Answer(text="x", score=3))
    bad, nothing = validator.validate_with_pydantic({"score": "many"}, Answer)
    assert (bad.success, nothing) == (False, None)
    assert [error.split(":")[0] for error in bad.errors] == ["text", "score"]
    told = validator.format_validation_feedback(bad, Answer)
    assert "Answer" in told
    assert bad.errors[0] in told


def test_missing_and_empty_keys_are_named():
    result = OutputValidator().validate_output_keys({"a": ""}, ["a", "b", "c"], nullable_keys=["c"])
    assert result.error == "the key 'a' is empty; the key 'b' is missing"


@pytest.mark.parametrize(
    ("text", "is_fine"),
    [
        ("A note from Anna: import duties let us choose a class of goods. " * 200, True),
        ("def f(x):\n    return x\n\nclass A:\n    pass\n", False),
        ("x" * 60_000, False),
    ],
)
def test_programs_and_endless_texts_are_told_from_prose(text, is_fine):
    assert OutputValidator().validate_no_hallucination({"a": text}).success is is_fine
