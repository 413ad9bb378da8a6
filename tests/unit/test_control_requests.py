"""Reading requests: parameters, bodies, paths."""

from enum import StrEnum

import pytest

from hive_daemon.control.body import Body
from hive_daemon.control.query import Query
from hive_daemon.control.table import ENDPOINTS, find_route
from hive_daemon.control.wire import Route
from hive_daemon.errors import InvalidInput, NotFound


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda query: query.one("a"), "1"),
        (lambda query: query.one("none"), None),
        (lambda query: query.every("many"), ["x", "y"]),
        (lambda query: query.every("none"), ()),
        (lambda query: query.whole("a", 0, 5), 1),
        (lambda query: query.whole("none", 0, 5), None),
        (lambda query: query.seconds("s", 60), 1.5),
        (lambda query: query.flag("f", True), False),
        (lambda query: query.flag("none", True), True),
        (lambda query: query.choice("c", Colour.RED), Colour.BLUE),
        (lambda query: query.choice("none", Colour.RED), Colour.RED),
        (lambda query: query.choices("c", Colour), (Colour.BLUE,)),
    ],
)
def test_parameters_are_read_by_name_and_type(read, value):
    query = Query(
        [("a", "1"), ("many", "x"), ("many", "y"), ("s", "1.5"), ("f", "false"), ("c", "blue")]
    )
    assert read(query) == value


@pytest.mark.parametrize(
    "read",
    [
        lambda query: query.one("many"),
        lambda query: query.whole("a", 2, 5),
        lambda query: query.whole("s", 0, 5),
        lambda query: query.seconds("a", 0.5),
        lambda query: query.seconds("inf", 5),
        lambda query: query.flag("a", True),
        lambda query: query.choice("a", Colour.RED),
        lambda query: query.check(["a", "many", "s"]),
    ],
)
def test_parameters_that_do_not_fit_are_refused(read):
    query = Query([("a", "1"), ("many", "x"), ("many", "y"), ("s", "1.5"), ("inf", "inf")])
    with pytest.raises(InvalidInput):
        read(query)


def test_an_unknown_parameter_is_named_with_the_nearest():
    with pytest.raises(InvalidInput, match='query parameter "statsu"') as caught:
        Query([("statsu", "x")]).check(["limit", "status"])
    assert caught.value.hint == "did you mean status?"


def test_what_is_quoted_is_not_longer_than_it_takes():
    with pytest.raises(InvalidInput) as caught:
        Query([("x" * 10_000, "")]).check([])
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("content", [b"", b"  \n", b"{}", b" { } "])
def test_an_empty_body_is_an_empty_object(content):
    assert not Body.read(content).has("input")


def test_bodies_that_mean_the_same_have_the_same_digest():
    one = Body.read(b'{"a": {"y": 1.0, "x": [1, 2]}, "b": "\\u00e9"}')
    other = Body.read('{"b":"é","a":{"x":[1,2],"y":1.0}}'.encode())
    assert one.digest == other.digest
    assert one.digest != Body.read(b'{"a": {"y": 1.0, "x": [2, 1]}, "b": "\\u00e9"}').digest


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda body: body.text("n", most=5), "n is a number"),
        (lambda body: body.text("t", most=2), "t has 3 characters"),
        (lambda body: body.mapping("l"), "l is a list"),
        (lambda body: body.mapping("z"), "z is null"),
        (lambda body: body.flag("n"), "n is a number"),
        (lambda body: body.texts("t"), "t is text"),
        (lambda body: body.texts("l"), "an item of l is a boolean"),
        (lambda body: body.check(["n"]), 'no key "t"'),
    ],
)
def test_keys_of_the_wrong_type_are_named(read, words):
    with pytest.raises(InvalidInput, match=words):
        read(Body({"n": 1, "t": "abc", "l": ["x", True], "z": None}))


def test_a_body_too_deep_to_be_kept_is_refused():
    deep: dict = {}
    for _ in range(400):
        deep = {"a": deep}
    with pytest.raises(InvalidInput, match="cannot be kept"):
        _ = Body(deep).digest


@pytest.mark.parametrize(
    ("method", "path", "route", "names"),
    [
        ("GET", "/v1/stats", Route.STATS, {}),
        ("GET", "/v1/executions/latest", Route.EXECUTION, {"execution": "latest"}),
        ("GET", "/v1/executions/..%2F..%2Fx", Route.EXECUTION, {"execution": "../../x"}),
        (
            "POST",
            "/v1/entry-points/ops/judge::check/trigger",
            Route.TRIGGER_OF_AGENT,
            {"agent": "ops", "entry_point": "judge::check"},
        ),
        ("POST", "/v1/timers/pause", Route.TIMERS_PAUSE, {}),
    ],
)
def test_a_request_finds_its_route(method, path, route, names):
    found = find_route(method, path)
    assert (found.route, found.names) == (route, names)


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/stats/", "/V1/stats", "/v1//stats", "x"])
def test_another_path_finds_none(path):
    with pytest.raises(NotFound):
        find_route("GET", path)


def test_every_route_has_an_endpoint():
    assert list(ENDPOINTS) == list(Route)
