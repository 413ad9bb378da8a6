"""From errors to answers."""

import json

import pytest

from hive_daemon import errors
from hive_daemon.control.errors import Ambiguous, MethodNotAllowed, Starting, TooLarge, error_answer
from hive_daemon.control.wire import ErrorCode
from hive_daemon.observability.redaction import register_secret


def kinds(kind):
    yield kind
    for child in kind.__subclasses__():
        yield from kinds(child)


SPECIAL = (errors.ConfigError, errors.AgentLoadError, errors.InvalidGraph, errors.QueueFull)
PLAIN = sorted(
    {
        kind
        for kind in kinds(errors.HiveError)
        if kind.__module__ == "hive_daemon.errors" and kind not in SPECIAL
    },
    key=lambda kind: kind.__name__,
)


def read(answer):
    return json.loads(answer.body)["error"]


@pytest.mark.parametrize("kind", PLAIN)
def test_every_error_becomes_what_the_contract_says(kind):
    answer = error_answer(kind("a sentence", hint="a hint"))
    assert answer.status == ErrorCode(kind.code).http_status
    assert read(answer) == {"code": kind.code, "message": "a sentence", "hint": "a hint"}
    assert ("Retry-After" in answer.headers) == (answer.status in (429, 503))


def test_a_full_queue_is_told_with_its_depth_and_the_age_of_the_oldest():
    answer = error_answer(errors.QueueFull("full", depth=500, oldest_age=12.3456, retry_after=2.2))
    assert answer.status == 429
    assert read(answer)["queue"] == {"depth": 500, "oldest_age": 12.346}
    assert answer.headers["Retry-After"] == "3"


@pytest.mark.parametrize(("seconds", "told"), [(None, "1"), (0.01, "1"), (59.5, "60")])
def test_who_came_too_often_is_told_when_to_come_again(seconds, told):
    answer = error_answer(errors.RateLimited("too many", retry_after=seconds))
    assert (answer.status, answer.headers["Retry-After"]) == (429, told)


class Unheard(errors.Conflict):
    """An error of some module's own."""

    code = "unheard_of"


def test_an_error_that_the_contract_does_not_know_is_told_as_the_kind_that_it_is():
    answer = error_answer(Unheard("a sentence"))
    assert (answer.status, read(answer)["code"]) == (409, "conflict")


def test_several_problems_become_one_sentence():
    answer = error_answer(errors.InvalidGraph(["a: is wrong", "b: is worse"], source="graph 'x'"))
    assert read(answer)["message"] == "graph 'x': a: is wrong; graph 'x': b: is worse"


def test_what_is_ambiguous_names_ten_candidates_at_most():
    found = read(error_answer(Ambiguous("x means several", [str(n) for n in range(20)])))
    assert found["candidates"] == [str(n) for n in range(10)]


def test_a_wrong_method_is_told_the_right_ones():
    assert error_answer(MethodNotAllowed("no", ["GET", "POST"])).headers["Allow"] == "GET, POST"


def test_secrets_and_control_characters_do_not_leave():
    register_secret("canary-of-the-control-api")
    answer = error_answer(
        errors.ModelRejected("bad key canary-of-the-control-api\r\nX-Evil: 1", hint="a\nb")
    )
    assert "canary" not in answer.body.decode()
    assert "\n" not in read(answer)["message"]
    assert read(answer)["hint"] == "a; b"


def test_a_very_long_message_is_cut():
    assert len(read(error_answer(errors.InvalidInput("x" * 1_000_000)))["message"]) <= 2_000


@pytest.mark.parametrize(
    ("error", "status"),
    [(Starting("x"), 503), (TooLarge("x"), 413), (MethodNotAllowed("x", []), 405)],
)
def test_the_errors_of_the_edge_have_their_status(error, status):
    assert error_answer(error).status == status
