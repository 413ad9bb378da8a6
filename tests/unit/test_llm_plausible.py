"""Values made up for a schema."""

import pytest

from hive_daemon.llm.plausible import plausible


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, "scripted report"),
        ({"type": "string"}, "scripted report"),
        ({"type": "str"}, "scripted report"),
        ({"type": "integer"}, 1),
        ({"type": "int", "minimum": 5}, 5),
        ({"type": "number", "maximum": 0.5}, 0.5),
        ({"type": ["null", "number"]}, 1.0),
        ({"type": "boolean"}, True),
        ({"type": "array"}, ["scripted report_item"]),
        ({"type": "list", "items": {"type": "integer"}}, [1]),
        ({"type": "object"}, {"value": "scripted report"}),
        (
            {"type": "object", "properties": {"n": {"type": "integer"}, "s": {}}},
            {"n": 1, "s": "scripted s"},
        ),
        ({"enum": ["low", "high"]}, "low"),
        ({"const": 7}, 7),
        ({"type": "string", "default": "none yet"}, "none yet"),
        ({"type": "string", "default": ""}, "scripted report"),
    ],
)
def test_a_value_fits_its_schema_and_is_not_empty(schema, value):
    assert plausible("report", schema) == value


def test_flags_and_choices_change_with_the_visit_so_that_loops_over_them_end():
    flag, choice = {"type": "boolean"}, {"enum": ["revise", "approve"]}
    assert [plausible("again", flag, visit) for visit in (1, 2, 3)] == [True, False, True]
    assert [plausible("verdict", choice, visit) for visit in (1, 2, 3)] == [
        "revise",
        "approve",
        "revise",
    ]


def test_a_schema_without_end_gives_a_value_with_one():
    schema = {"type": "array"}
    schema["items"] = schema
    assert plausible("deep", schema)
