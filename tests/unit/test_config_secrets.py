import json
from pathlib import Path

import pytest

from hive_daemon.config.load import show
from tests.fakes.config_place import Place


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_references_supply_texts_numbers_and_paths(place):
    (place.own_file.parent / "key").write_text("k-1\n")
    text = """
state_dir: ${env:BASE}/state
agents: ["${env:BASE}/a"]
llm: {api_key: "${file:key}", timeout_seconds: "${env:T}", preload: "${env:P}"}
"""
    config = place.load(text, BASE="/srv", T="12", P="true").config
    assert (config.state_dir, config.agents[0].path) == (Path("/srv/state"), Path("/srv/a"))
    assert (config.llm.timeout_seconds, config.llm.preload) == (12.0, True)
    assert config.llm.api_key is not None
    assert config.llm.api_key.get_secret_value() == "k-1"


def test_a_missing_reference_is_told_once_with_key_reference_and_remedy(place):
    assert place.problem("http: {listen: '${env:LISTEN}'}") == (
        "http.listen: ${env:LISTEN} is not set, export LISTEN before the daemon starts, "
        "or write ${file:PATH} (line 1)"
    )
    problem = place.problem("llm:\n  api_key: ${file:key}\n")
    path = place.own_file.parent / "key"
    assert problem == (
        f"llm.api_key: ${{file:key}}: {path} does not exist, create it, or correct the path (line 2)"
    )


def test_a_reference_that_yields_an_empty_secret_is_refused(place):
    text = "agents: [{path: /a, webhook_routes: [{source_id: s, path: /h, secret: '${env:S}'}]}]"
    assert "secret: the value is empty" in place.problem(text, S="")


def test_a_wrong_value_by_reference_is_told_as_it_was_written(place):
    problem = place.problem("llm: {timeout_seconds: '${env:T}'}", T="never")
    assert problem.startswith('llm.timeout_seconds: "${env:T}" is a text, a number is needed')


def test_a_secret_in_clear_raises_a_warning_and_another_if_everybody_can_read_it(place):
    loaded = place.load("llm:\n  api_key: sk-1\n")
    in_clear = "llm.api_key stands in the file in clear, write ${env:NAME} or ${file:PATH} instead (line 2)"
    assert loaded.warnings == (in_clear,)
    place.own_file.chmod(0o644)
    own = place.own_file
    assert place.load().warnings == (
        in_clear,
        f"{own}: every user of this machine can read the secrets in it, run: chmod o-r {own}",
    )


def test_a_secret_by_reference_or_variable_raises_none(place):
    place.own_file.write_text("llm: {api_key: '${env:K}'}")
    place.own_file.chmod(0o644)
    assert place.load(K="x").warnings == ()
    assert place.load("# x", HIVE_LLM__API_KEY="x").warnings == ()


def test_a_key_without_a_value_keeps_its_default_with_a_warning(place):
    loaded = place.load("http:\nllm:\n  model:\n")
    assert loaded.warnings == (
        "http: nothing is given, so the default holds (line 1)",
        "llm.model: nothing is given, so the default holds (line 3)",
    )


def test_show_masks_secrets_and_keeps_references(place):
    text = """
agents:
  - path: /a
    entry_points:
      x: {trigger_config: {cron: "* * * * *", api_token: sk-2, url: "https://u:sk-3@h/", note: "${env:NOTE}"}}
    webhook_routes: [{source_id: s, path: "/h/${env:NOTE}", secret: sk-4}]
llm: {api_key: "${env:KEY}", timeout_seconds: 5}
"""
    shown = show(place.load(text, NOTE="sk-5", KEY="sk-6"))
    assert "sk-" not in json.dumps(shown)
    config = shown["config"]
    assert config["agents"] == [
        {
            "path": "/a",
            "entry_points": {
                "x": {
                    "trigger_config": {
                        "cron": "* * * * *",
                        "api_token": "***",
                        "url": "https://***@h/",
                        "note": "${env:NOTE}",
                    }
                }
            },
            "webhook_routes": [
                {
                    "source_id": "s",
                    "path": "/h/${env:NOTE}",
                    "methods": ["POST"],
                    "secret": "***",
                    "allow_insecure": False,
                }
            ],
        }
    ]
    assert config["llm"]["api_key"] == "***"
    assert shown["provenance"]["llm.timeout_seconds"] == "file"
    assert shown["file"] == str(place.own_file)


def test_an_entry_point_named_like_a_secret_hides_nothing(place):
    text = (
        "agents: [{path: /a, entry_points: {token-refresh: {trigger_config: {cron: '0 9 * * *'}}}}]"
    )
    loaded = place.load(text)
    assert loaded.warnings == ()
    assert "0 9 * * *" in json.dumps(show(loaded))


def test_a_config_that_came_from_nowhere_has_no_secrets_to_show(place):
    shown = show(place.load())
    assert (shown["file"], shown["config"]["llm"]["api_key"]) == (None, None)


def test_the_largest_file_is_settled_quickly(place):
    agents = "\n".join(f"  - {{path: /srv/a{at}, model: m}}" for at in range(3000))
    assert len(place.load(f"agents:\n{agents}\n").config.agents) == 3000
