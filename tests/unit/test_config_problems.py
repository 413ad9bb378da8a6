import os

import pytest

from hive_daemon.errors import ConfigError
from tests.fakes.config_place import Place


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("shutdwon: {}", "shutdwon: unknown key, did you mean 'shutdown'? (line 1)"),
        ("\nlog:\n  levl: x", "log.levl: unknown key, did you mean 'level'? (line 3)"),
        ("log: {levl: }", "log.levl: unknown key, did you mean 'level'? (line 1)"),
        ("model: x", "model: unknown key here, did you mean 'llm.model'? (line 1)"),
        (
            "http: {port: 1}",
            "http.port: unknown key, http may hold listen, health, metrics (line 1)",
        ),
        (
            "max_concurrent_executions: 0",
            "max_concurrent_executions: 0 is too small, the least is 1 (line 1)",
        ),
        (
            "max_concurrent_executions: 5\ninteractive_slots: 5",
            "interactive_slots: 5 must leave timers and events a slot, write at most 4 (line 2)",
        ),
        (
            "max_concurrent_executions: '5'",
            'max_concurrent_executions: "5" is a text, a whole number is needed, write it without quotes (line 1)',
        ),
        (
            "max_concurrent_executions: 1.5",
            "max_concurrent_executions: 1.5 is a number, a whole number is needed (line 1)",
        ),
        (
            "max_concurrent_executions: true",
            "max_concurrent_executions: true is true or false, a whole number is needed (line 1)",
        ),
        ("llm: {preload: yes}", 'llm.preload: "yes" is a text, write true or false (line 1)'),
        (
            "llm: {model: true}",
            "llm.model: true is true or false, a text is needed, put it in quotes (line 1)",
        ),
        ("mirror: none", 'mirror: "none" is not accepted, write one of full, state, off (line 1)'),
        (
            "mirror: ful",
            'mirror: "ful" is not accepted, write full (one of full, state, off) (line 1)',
        ),
        (
            "http: {listen: 8080}",
            "http.listen: 8080 is no address, write host:port, for example 127.0.0.1:8080 (line 1)",
        ),
        (
            "timezone: Europe/Berln",
            'timezone: "Europe/Berln" is no known IANA time zone, did you mean Europe/Berlin? (line 1)',
        ),
        (
            "llm: x",
            "llm: the value is a text, a mapping is needed, lines of the form 'key: value' (line 1)",
        ),
        (
            "agents: x",
            "agents: the value is a text, a list is needed, write [a, b] or lines that begin with '- ' (line 1)",
        ),
        (
            "agents: [5]",
            "agents[0]: the value is a number, a path or a mapping is needed, lines of the form 'key: value' (line 1)",
        ),
        ("agents: [{name: x}]", "agents[0].path: is missing, and has no default (line 1)"),
        (
            "events: {max_history: 1000001}",
            "events.max_history: 1000001 is too large, the most is 1000000 (line 1)",
        ),
        (
            "llm: {api_key: ' k'}",
            "llm.api_key: the value begins or ends with a space or line break, which would never match (line 1)",
        ),
        (
            'llm: {api_key: "a\\nb"}',
            "llm.api_key: the value holds a line break or another control character, a key is one line (line 1)",
        ),
        ("state_dir: ''", 'state_dir: "" is empty, give a path (line 1)'),
        (
            "control: {allow_uids: [1, -1]}",
            "control.allow_uids[1]: -1 is too small, the least is 0 (line 1)",
        ),
        (
            "llm: {api_base: 'ftp://x'}",
            'llm.api_base: "ftp://x" is no URL, write for example https://llm.example.com/v1 (line 1)',
        ),
        (
            "shutdown: {drain_seconds: -1}",
            "shutdown.drain_seconds: -1 is too small, the least is 0 (line 1)",
        ),
    ],
)
def test_a_wrong_value_is_told_with_key_value_remedy_and_line(place, text, sentence):
    assert place.problem(text) == sentence


@pytest.mark.parametrize(
    ("route", "sentence"),
    [
        ("path: /h", "source_id: is missing"),
        ("source_id: s, path: h", "path: \"h\" must begin with '/'"),
        ("source_id: s, path: /a/../b", 'path: "/a/../b" must not hold the parts'),
        ("source_id: s, path: '/{id}'", 'path: "/{id}" holds a character'),
        ("source_id: s, path: '/a?b'", 'path: "/a?b" holds a character'),
        ("source_id: s, path: /h, methods: []", "methods: is empty"),
        ("source_id: s, path: /h, methods: [FETCH]", 'methods[0]: "FETCH" is not accepted'),
        ("source_id: s, path: /h, secret: ''", "secret: the value is empty"),
        ("source_id: a b, path: /h", 'source_id: "a b" is no valid name'),
    ],
)
def test_a_wrong_webhook_route_is_told_with_its_place(place, route, sentence):
    problem = place.problem(f"agents: [{{path: /a, webhook_routes: [{{{route}}}]}}]")
    assert problem.startswith(f"agents[0].webhook_routes[0].{sentence}")


def test_all_problems_are_told_at_once_in_the_order_of_the_file(place):
    text = """
shutdwon: {}
agents:
  - path: /srv/a
    entry_points:
      api: {max_concurrent: 0}
      bad id: {}
  - {path: /b, name: a}
llm: {model: "${env:NOPE}", model: x}
"""
    problems = place.problems(text, HIVE_LOG__LEVEL="loud", HIVE_A__B="1")
    assert [problem.split(": ")[0] for problem in problems] == [
        "llm.model",
        "HIVE_A__B",
        "log.level",
        "shutdwon",
        "agents[0].entry_points.api.max_concurrent",
        'agents[0].entry_points["bad id"]',
        "agents[1].name",
        "llm.model",
    ]


def test_a_problem_of_a_variable_or_a_flag_says_so(place):
    assert place.problem("# x", HIVE_LOG__LEVEL="loud").endswith("(from HIVE_LOG__LEVEL)")
    with pytest.raises(ConfigError, match=r"log\.format: .* \(from --log-format\)"):
        place.load(flags={"log.format": "xml"})
    with pytest.raises(ConfigError, match=r"agents\[0\]\.path: is missing.*\(from HIVE_AGENTS\)"):
        place.load("agents: [/a]", HIVE_AGENTS="[{name: x}]")


def test_a_file_that_is_empty_or_no_mapping_is_refused(place):
    assert place.problem("  \n") == "is empty, write at least a comment, or remove the file"
    assert place.problem("- a\n") == "must be a mapping, lines of the form 'key: value'"
    assert place.load("# only a comment\n").config.agents == ()


def test_a_file_that_is_too_large_or_no_text_is_refused(place):
    assert place.problem("# " + "x" * 1024 * 1024).startswith("is larger than 1024 KiB")
    place.own_file.write_bytes(b"# \xff")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        place.load()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error(place):
    place.own_file.write_text("# x")
    place.own_file.chmod(0)
    with pytest.raises(ConfigError, match="may not be read by this user"):
        place.load()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_place_that_cannot_be_looked_at_is_skipped_with_a_warning(place):
    place.own_file.parent.chmod(0)
    loaded = place.load()
    place.own_file.parent.chmod(0o700)
    assert "skipped, this user cannot look there" in loaded.warnings[0]


def test_a_problem_that_is_found_later_is_told_with_its_line_too(place):
    text = "agents:\n  - path: /a\n    entry_points:\n      daily:\n        trigger_config: {cron: x}\n"
    loaded = place.load(text, HIVE_MODEL="nope")
    daily = ("agents", 0, "entry_points", "daily")
    told = loaded.sentence(
        (*daily, "trigger_config", "cron"), '"x" has 1 field, a cron expression needs 5'
    )
    assert told.startswith('agents[0].entry_points.daily.trigger_config.cron: "x" has 1 field')
    assert told.endswith("needs 5 (line 5)")
    assert loaded.sentence((*daily, "timeout"), "is missing").endswith("(line 4)")
    assert (
        loaded.sentence(("llm", "model"), "is unknown") == "llm.model: is unknown (from HIVE_MODEL)"
    )
    assert loaded.sentence(("mirror",), "is slow") == "mirror: is slow"
