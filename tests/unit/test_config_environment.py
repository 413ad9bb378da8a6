import pytest

from hive_daemon.config.draft import Setting
from hive_daemon.config.environment import EnvironmentReading, read_environment


def test_a_variable_sets_its_key_with_the_type_of_its_yaml():
    reading = read_environment(
        {
            "HIVE_SHUTDOWN__DRAIN_SECONDS": "5",
            "HIVE_LLM__PRELOAD": "true",
            "HIVE_AGENTS": "[/a, {path: /b}]",
            "PATH": "/bin",
        }
    )
    assert reading.settings == (
        Setting(("agents",), ["/a", {"path": "/b"}], "env HIVE_AGENTS"),
        Setting(("llm", "preload"), True, "env HIVE_LLM__PRELOAD"),
        Setting(("shutdown", "drain_seconds"), 5, "env HIVE_SHUTDOWN__DRAIN_SECONDS"),
    )


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("HIVE_MODEL", ("llm", "model")),
        ("HIVE_STATE_DIR", ("state_dir",)),
        ("HIVE_SOCKET", ("socket",)),
        ("HIVE_LLM__API_KEY", ("llm", "api_key")),
    ],
)
def test_texts_paths_and_secrets_are_taken_as_they_stand(variable, path):
    assert read_environment({variable: "0123: [x"}).settings == (
        Setting(path, "0123: [x", f"env {variable}"),
    )


def test_reserved_names_and_empty_variables_set_nothing():
    environ = {
        "HIVE_CONFIG": "/x",
        "HIVE_DEBUG_EVENTS": "1",
        "HIVE_MODEL": "",
        "HIVE_LLM__NOPE": " ",
    }
    assert read_environment(environ) == EnvironmentReading()


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("HIVE_LOG__LEVLE", "sets no key, did you mean HIVE_LOG__LEVEL?"),
        ("HIVE_log__level", "sets no key, did you mean HIVE_LOG__LEVEL?"),
        ("HIVE_AGENTS__0__PATH", "sets no key"),
        ("HIVE_LOG__LEVEL__X", "sets no key, did you mean HIVE_LOG__LEVEL?"),
        ("HIVE___", "sets no key of hive.yaml"),
    ],
)
def test_an_unknown_variable_with_two_underscores_is_a_problem(variable, sentence):
    reading = read_environment({variable: "secret-value"})
    (problem,) = reading.problems
    assert problem.startswith(f"{variable}: {sentence}")
    assert "secret-value" not in problem


def test_an_unknown_variable_without_them_is_a_warning():
    reading = read_environment({"HIVE_HOME": "/opt/hive", "HIVE_MODLE": "x"})
    assert reading.problems == ()
    assert [warning.split(":")[0] for warning in reading.warnings] == ["HIVE_HOME", "HIVE_MODLE"]
    assert reading.warnings[1] == "HIVE_MODLE: sets no key, did you mean HIVE_MODEL?"


def test_a_value_that_is_no_yaml_is_a_problem_of_its_variable():
    (problem,) = read_environment({"HIVE_AGENTS": "[/a"}).problems
    assert problem.startswith("HIVE_AGENTS: line 1, column 4: not valid YAML")


def test_two_variables_that_disagree_about_a_key_are_a_problem():
    reading = read_environment({"HIVE_MODEL": "a", "HIVE_LLM__MODEL": "b"})
    assert reading.problems == (
        "HIVE_LLM__MODEL and HIVE_MODEL set the same key to different values, keep one of them",
    )
    assert read_environment({"HIVE_MODEL": "a", "HIVE_LLM__MODEL": "a"}).problems == ()
