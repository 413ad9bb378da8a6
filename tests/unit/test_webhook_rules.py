"""Places, filters, templates and rates of webhook routes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.runtime.webhook_filters import read_filter, rejection
from hive_daemon.runtime.webhook_places import ABSENT, Place, Template
from hive_daemon.runtime.webhook_rate import Bucket, Rate

DATA = {
    "path": "/hook",
    "method": "POST",
    "headers": {"x-github-event": "pull_request"},
    "query_params": {"team": "ops"},
    "payload": {
        "action": "opened",
        "number": 7,
        "draft": False,
        "none": None,
        "labels": [{"name": "bug"}, {"name": "ui"}],
        "tags": ["a", 1, True],
        "user-name": "ann",
        "long": "x" * 5_000,
    },
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$.action", "opened"),
        ("$.labels.1.name", "ui"),
        ("$.user-name", "ann"),
        ("$.none", None),
        ("$", DATA["payload"]),
        ("$.nothing", ABSENT),
        ("$.action.opened", ABSENT),
        ("$.labels.2", ABSENT),
        ("$.labels.-1", ABSENT),
        ("$.labels.٠", ABSENT),
        ("$.labels.name", ABSENT),
        ("header.X-GitHub-Event", "pull_request"),
        ("X-GitHub-Event", "pull_request"),
        ("header.x-other", ABSENT),
        ("query.team", "ops"),
        ("query.other", ABSENT),
    ],
)
def test_a_place_has_the_value_that_is_there(text: str, value: object) -> None:
    assert Place.read(text).value(DATA) == value


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("action", r"write \$.action"),
        ("pull_request.number", r"write \$.pull_request.number"),
        ("$.", "is no place"),
        ("$.a..b", "is no place"),
        ("$[0]", "is no place"),
        ("", "is no place"),
        ("header.", "is no place"),
        ("header.X Y", "is no place"),
        (7, "is no place"),
        ("header.Authorization", "never enters an event"),
        ("X-Hub-Signature-256", "never enters an event"),
        ("header.X-Gitlab-Token", "never enters an event"),
        ("header.Cookie", "never enters an event"),
        ("header.X-Api-Key", "never enters an event"),
    ],
)
def test_what_is_no_place_is_refused_with_a_hint(text: object, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        Place.read(text)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("{$.number}", 7),
        ("{ $.labels.0 }", {"name": "bug"}),
        ("{$.nothing}", None),
        ("PR {$.number}: {$.action}", "PR 7: opened"),
        ("[{$.nothing}]{$.none}", "[]"),
        ("{$.tags}", ["a", 1, True]),
        ("tags {$.tags}", 'tags ["a", 1, true]'),
        ("{{{$.number}}}", "{7}"),
        ("plain", "plain"),
        ("", ""),
        (17, 17),
        ({"a": "{$.number}"}, {"a": "{$.number}"}),
    ],
)
def test_a_template_is_filled_from_the_delivery(written: object, value: object) -> None:
    assert Template.read(written).fill(DATA) == value


@pytest.mark.parametrize("written", ["{$.a", "a}", "{action}", "{}"])
def test_what_is_no_template_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"brace|place"):
        Template.read(written)


@pytest.mark.parametrize(
    ("written", "holds"),
    [
        ({"field": "$.action", "equals": "opened"}, True),
        ({"field": "$.action", "equals": "closed"}, False),
        ({"field": "$.action", "not_equals": "closed"}, True),
        ({"field": "$.action", "in": ["opened", "reopened"]}, True),
        ({"field": "$.action", "not_in": ["opened"]}, False),
        ({"field": "$.action", "matches": "open*"}, True),
        ({"field": "$.action", "matches": ["close*", "reopen*"]}, False),
        ({"field": "$.number", "equals": 7}, True),
        ({"field": "$.number", "equals": "7"}, False),
        ({"field": "$.number", "matches": "7"}, False),
        ({"field": "$.draft", "equals": False}, True),
        ({"field": "$.draft", "equals": 0}, False),
        ({"field": "$.none", "exists": False}, True),
        ({"field": "$.nothing", "exists": False}, True),
        ({"field": "$.nothing", "equals": None}, False),
        ({"field": "$.nothing", "not_equals": "x"}, True),
        ({"field": "$.action", "exists": True}, True),
        ({"field": "$.tags", "contains": "a"}, True),
        ({"field": "$.tags", "contains": True}, True),
        ({"field": "$.tags", "contains": "b"}, False),
        ({"field": "$.action", "contains": "pen"}, True),
        ({"field": "$.labels.0", "contains": "name"}, True),
        ({"field": "$.number", "contains": "7"}, False),
        ({"field": "$.long", "matches": "x*"}, False),
        ({"field": "X-GitHub-Event", "equals": "pull_request"}, True),
        ({"field": "$.action", "exists": True, "equals": "closed"}, False),
        ({"not": {"field": "$.action", "equals": "closed"}}, True),
        ({"any": [{"field": "$.x", "exists": True}, {"field": "$.number", "equals": 7}]}, True),
        ({"all": [{"field": "$.x", "exists": True}, {"field": "$.number", "equals": 7}]}, False),
        ({"not": {"any": [{"field": "$.number", "equals": 7}]}}, False),
    ],
)
def test_a_filter_lets_a_delivery_pass_or_not(written: dict[str, object], holds: bool) -> None:
    assert read_filter(written).holds(DATA) is holds


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ({}, "is no filter"),
        ("x", "is no filter"),
        ({"field": "$.a"}, "has no condition"),
        ({"field": "$.a", "equal": 1}, "did you mean 'equals'"),
        ({"field": "action", "equals": 1}, r"write \$.action"),
        ({"anyy": []}, "did you mean 'any'"),
        ({"any": []}, "needs a list of filters"),
        ({"all": {"field": "$.a", "equals": 1}}, "needs a list of filters"),
        ({"all": [], "any": []}, "must be one of"),
        ({"field": "$.a", "in": "x"}, "needs a list"),
        ({"field": "$.a", "exists": "yes"}, "needs true or false"),
        ({"field": "$.a", "matches": "*" * 9}, "at most 8 asterisks"),
        ({"field": "$.a", "contains": ["x"]}, "needs one value"),
    ],
)
def test_what_is_no_filter_is_refused_with_a_hint(written: object, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        read_filter(written)


def test_filters_may_be_nested_only_so_deep() -> None:
    written: dict[str, object] = {"field": "$.a", "exists": True}
    for _ in range(9):
        written = {"not": written}
    with pytest.raises(ValueError, match="is no filter"):
        read_filter(written)


def test_every_filter_must_hold_and_the_first_that_does_not_is_told() -> None:
    filters = [
        read_filter({"field": "$.number", "equals": 7}),
        read_filter({"field": "$.action", "equals": "closed"}),
    ]
    assert rejection(filters[:1], DATA) == ""
    assert rejection(filters, DATA).startswith("filters[1] does not hold: {'field': '$.action'")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=100)
@given(values, values, st.sampled_from(["equals", "not_equals", "in", "contains", "matches"]))
def test_no_payload_makes_a_filter_fail(payload: object, wanted: object, word: str) -> None:
    value = [wanted] if word == "in" else str(wanted) if word != "equals" else wanted
    if word == "matches" and str(value).count("*") > 8:
        return
    passes = read_filter({"field": "$", word: value}).holds({**DATA, "payload": payload})
    assert isinstance(passes, bool)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("60/m", Rate(60, 60.0)), (" 5 / s ", Rate(5, 1.0)), ("1/h", Rate(1, 3600.0))],
)
def test_a_rate_is_a_number_and_a_unit(text: str, rate: Rate) -> None:
    assert Rate.read(text) == rate
    assert Rate.read(str(rate)) == rate


@pytest.mark.parametrize("text", ["", "60", "0/m", "-1/s", "60/d", "6.5/s", 60, "٦/s", None])
def test_what_is_no_rate_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        Rate.read(text)


@settings(max_examples=100)
@given(
    st.integers(1, 20),
    st.sampled_from([1.0, 60.0]),
    st.lists(st.floats(0, 30, allow_nan=False), max_size=60),
)
def test_no_stretch_of_time_lets_more_in_than_the_rate(
    count: int, period: float, gaps: list[float]
) -> None:
    rate, now, bucket = Rate(count, period), 0.0, Bucket(count, 0.0)
    taken: list[float] = []
    for gap in gaps:
        now += gap
        bucket, seconds = bucket.take(rate, now)
        if not seconds:
            taken.append(now)
        else:
            _, again = bucket.take(rate, now + seconds)
            assert again == 0
    for at, start in enumerate(taken):
        within = sum(1 for moment in taken[at:] if moment - start <= period)
        assert within <= 2 * count + 1
