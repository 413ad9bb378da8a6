"""Scripts: how their faults are told, and which turn comes next."""

import json
from pathlib import Path

import pytest

from hive_daemon.errors import ConfigError
from hive_daemon.llm.script import Script, load_script, parse_script, pick
from hive_daemon.llm.values import CallContext


def user(text):
    return {"role": "user", "content": text}


def said(text="…"):
    return {"role": "assistant", "content": text}


def next_text(turns, messages, **context):
    script = parse_script({"default": turns})
    turn = pick(script.default, messages, CallContext(**context))
    return turn.text if turn else None


PLAIN = [{"text": "one"}, {"text": "two"}]


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([user("go")], "one"),
        ([user("go"), said(), user("on")], "two"),
        ([user("go"), said(), {"role": "tool", "content": "4"}], "two"),
        ([user("go"), said(), user("on"), said(), user("on")], None),
        ([], "one"),
    ],
)
def test_turns_follow_the_assistant_messages_of_the_conversation(messages, text):
    assert next_text(PLAIN, messages) == text


def test_a_turn_that_repeats_stays_for_ever():
    turns = [{"text": "one"}, {"text": "more", "repeat": True}, {"text": "never"}]
    long = [user("go"), *[said(), user("on")] * 7]
    assert next_text(turns, long[:1]) == "one"
    assert next_text(turns, long[:3]) == "more"
    assert next_text(turns, long) == "more"


def test_the_count_of_the_caller_wins_over_what_the_messages_show():
    compacted = [user("summary of what was said")]
    assert next_text(PLAIN, compacted, turn=1) == "two"
    earlier_node = [user("a"), said(), user("b"), said(), user("now you")]
    assert next_text(PLAIN, earlier_node, turn=0) == "one"


WITH_ASIDE = [{"text": "one"}, {"text": "sorry", "when": "error"}, {"text": "two"}]


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([user("go")], "one"),
        ([user("go"), said(), user("an error came")], "sorry"),
        ([user("go"), said(), user("an error came"), said(), user("go on")], "two"),
        ([user("error at once")], "sorry"),
    ],
)
def test_a_turn_with_when_answers_what_it_fits_and_does_not_use_up_the_others(messages, text):
    assert next_text(WITH_ASIDE, messages) == text


@pytest.mark.parametrize(
    ("when", "message", "fits"),
    [
        ("rate", "the rate is 4", True),
        ("a.c", "abc", False),
        ("/a.c/", "abc", True),
        (r"/^\d+$/", "42", True),
        (r"/^\d+$/", "42 apples", False),
    ],
)
def test_when_is_a_substring_or_a_pattern_between_slashes(when, message, fits):
    text = next_text([{"text": "plain"}, {"text": "aside", "when": when}], [user(message)])
    assert text == ("aside" if fits else "plain")


def test_when_reads_messages_made_of_parts():
    parts = {"role": "user", "content": [{"type": "text", "text": "an error"}]}
    assert next_text(WITH_ASIDE, [parts]) == "sorry"


def test_a_visit_may_have_turns_of_its_own():
    first, second, other = ({"text": text} for text in ("first", "second", "other"))
    script = parse_script({"nodes": {"review": [first], "review#2": [second]}, "default": [other]})
    found = [
        script.turns_for(node, visit)[0].text
        for node, visit in [("review", 1), ("review", 2), ("review", 3), ("write", 1)]
    ]
    assert found == ["first", "second", "first", "other"]


def test_a_text_may_be_a_list_of_lines():
    assert next_text([{"text": ["# Report", "", "fine"]}], []) == "# Report\n\nfine"


def test_every_fault_of_a_script_is_told_with_its_place():
    with pytest.raises(ConfigError) as raised:
        parse_script(
            {
                "nodes": {"triage": [{"text": "{{ 1 + 1 }}"}, {"txt": "typo"}]},
                "default": [{"when": "/(/"}, {"error": {"kind": "tired"}}],
                "completion": [],
            },
            source="demo.json",
        )
    places = [problem.split(":")[0] for problem in raised.value.problems]
    assert places == [
        "nodes.triage[0].text",
        "nodes.triage[1].txt",
        "default[0].when",
        "default[1].error.kind",
        "completion",
    ]
    assert str(raised.value).startswith("demo.json: ")


def test_a_script_file_is_read(tmp_path):
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"default": PLAIN}))
    assert load_script(path) == parse_script({"default": PLAIN})
    assert parse_script({}) == Script()


def test_the_script_of_the_documentation_is_a_script():
    page = Path(__file__).parents[2] / "docs" / "scripted-provider.md"
    example = page.read_text().split("```json\n")[1].split("```")[0]
    assert parse_script(json.loads(example)).turns_for("review", 2)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_file_that_is_no_script_is_named(tmp_path, content):
    path = tmp_path / "script.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"script\.json: "):
        load_script(path)
