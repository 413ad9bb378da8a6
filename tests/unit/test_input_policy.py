"""What becomes of a question to a person, by the rule of the entry point."""

import pytest

from hive_daemon.graph.input_policy import (
    MOST_DEFAULT_ANSWERS,
    Answer,
    InputPolicy,
    OnInput,
    Park,
    Refuse,
)


def decided(on_input, default=None, answers=0):
    return InputPolicy(OnInput(on_input), default).decide("chat", "Who?", answers)


def test_without_a_rule_a_question_waits():
    assert InputPolicy().decide("chat", "Who?", 0) == Park()


def test_under_park_it_waits_however_often_it_was_answered():
    assert decided("park", answers=100) == Park()


def test_under_fail_it_is_refused_with_the_question():
    assert decided("fail") == Refuse("on_input is fail: nobody is asked 'Who?'")


@pytest.mark.parametrize(
    ("default", "text"),
    [("me", "me"), ("", ""), (3, "3"), (["a"], '["a"]'), ({"chat": "me"}, "me")],
)
def test_under_default_it_is_answered(default, text):
    assert decided("default", default) == Answer(text)


@pytest.mark.parametrize("default", [None, {}, {"other": "me"}])
def test_under_default_a_question_without_an_answer_is_refused(default):
    assert isinstance(decided("default", default), Refuse)


def test_the_default_answers_a_visit_only_so_often():
    answers = [decided("default", "me", answers=n) for n in range(MOST_DEFAULT_ANSWERS + 1)]
    assert answers[:-1] == [Answer("me")] * MOST_DEFAULT_ANSWERS
    assert isinstance(answers[-1], Refuse)
