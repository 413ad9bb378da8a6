import pytest

from hive_daemon.config.document import MAX_ALIASES, MAX_VALUES, parse, parse_value
from hive_daemon.errors import ConfigError


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value)


def test_words_that_older_yaml_takes_for_something_else_are_texts():
    tree = parse("a: [on, off, yes, no, 12:30, 010, 0x1F, 1_000, 2026-03-02, 1e5]").tree
    assert tree == {
        "a": ["on", "off", "yes", "no", "12:30", "010", "0x1F", "1_000", "2026-03-02", "1e5"]
    }


def test_booleans_numbers_and_null_are_read():
    assert parse("[true, False, 0, -7, 2.5, .5, null, ~]").tree == [
        True,
        False,
        0,
        -7,
        2.5,
        0.5,
        None,
        None,
    ]


def test_keys_are_the_words_that_are_written():
    assert parse("on: 1\n8080: 2\ntrue: 3\n").tree == {"on": 1, "8080": 2, "true": 3}


def test_a_number_beyond_every_meaning_stays_a_text():
    assert parse_value("9" * 5000) == "9" * 5000
    assert parse_value("1.5e999") == "1.5e999"


def test_an_empty_document_has_no_value():
    assert parse("# nothing\n").tree is None


def test_each_value_knows_its_line():
    lines = parse("a:\n  b: 1\n  c:\n    - x\n    - y\n").lines
    assert (lines["a",], lines["a", "b"], lines["a", "c"], lines["a", "c", 1]) == (1, 2, 3, 5)


def test_a_key_that_stands_twice_is_named_with_both_lines():
    assert parse("log:\n  level: INFO\n  level: DEBUG\n").problems == (
        "log.level: written twice (lines 2 and 3), keep one",
    )


def test_merge_keys_and_keys_that_are_no_text_are_refused():
    problems = parse("a: &d {x: 1}\nb:\n  <<: *d\n? [k]\n: 1\n").problems
    assert problems == (
        'b["<<"]: merge keys are not accepted, write the keys out (line 3)',
        "line 4: a key must be plain text",
    )


def test_an_alias_repeats_its_anchor():
    assert parse("a: &x [1]\nb: *x\n").tree == {"a": [1], "b": [1]}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "a: b: c",
            "line 1, column 5: not valid YAML, mapping values are not allowed here; check the indentation",
        ),
        (
            "a:\n\t- b",
            "line 2, column 1: not valid YAML, found character '\\t' that cannot start any token; indent",
        ),
        (
            "a: 'b",
            "line 1, column 6: not valid YAML, found unexpected end of stream; a quote is not closed",
        ),
        (
            "a: [1,",
            "line 1, column 7: not valid YAML, expected the node content, but found '<stream end>'; a bracket",
        ),
        (
            "a: 1\n---\nb: 2",
            "line 2, column 1: not valid YAML, but found another document; remove the second '---'",
        ),
        ("a: 1\nb: \x00", "line 2: a character stands here that YAML does not allow"),
    ],
)
def test_wrong_syntax_is_told_with_line_column_and_remedy(text, sentence):
    assert refusal(text).startswith(sentence)


@pytest.mark.parametrize(
    "text", ["a: !!python/object/apply:os.system [id]", "a: !x b", "a: !<tag:x> b", "a: !p!q b"]
)
def test_tags_are_refused(text):
    assert "YAML tags are not accepted" in refusal(text)


@pytest.mark.parametrize(
    "value", ["*hunter2", "!hunter2", "!hunter2!x", "&hunter2 &hunter3 x", "[*hunter2]"]
)
def test_an_unquoted_secret_is_never_quoted_back(value):
    assert "hunter" not in refusal(f"llm:\n  api_key: {value}\n")


def test_an_alias_bomb_is_refused():
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert refusal("\n".join(rows)).endswith("at most 10000 values and 100 aliases are read")


def test_too_many_aliases_are_refused_even_if_small():
    assert "too much" in refusal("a: &a 1\nb: [" + "*a, " * (MAX_ALIASES + 1) + "]")


def test_a_document_that_contains_itself_is_refused():
    assert "nested more than 32 deep" in refusal("a: &a [*a]")


def test_deep_nesting_and_many_values_are_refused():
    assert "nested more than 32 deep" in refusal("[" * 100_000)
    assert "too much" in refusal("- x\n" * (MAX_VALUES + 1))


def test_a_value_from_outside_is_read_like_one_of_the_file():
    assert parse_value("[a, {path: b}]") == ["a", {"path": "b"}]
    with pytest.raises(ConfigError, match="written twice"):
        parse_value("{a: 1, a: 2}")
