import json
import subprocess
import sys

import pytest

import hive_daemon.config
from hive_daemon.config import RuntimeConfig
from hive_daemon.config.runtime_config import FALLBACK_MAX_TOKENS, FALLBACK_MODEL
from hive_daemon.errors import ConfigError


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HIVE_MODEL", raising=False)
    (tmp_path / ".hive").mkdir()
    return tmp_path


def remember(home, text):
    (home / ".hive" / "configuration.json").write_text(text)


def test_an_agent_that_says_nothing_gets_the_older_systems_defaults(home):
    config = RuntimeConfig()
    assert (config.model, config.temperature, config.max_tokens) == (
        FALLBACK_MODEL,
        0.7,
        FALLBACK_MAX_TOKENS,
    )
    assert (config.api_key, config.api_base, config.extra_kwargs) == (None, None, {})


def test_the_older_systems_file_is_followed(home, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-1")
    llm = {
        "provider": "openai",
        "model": "gpt-4o",
        "max_tokens": 100,
        "api_key_env_var": "MY_KEY",
        "api_base": "http://x",
    }
    remember(home, json.dumps({"llm": llm}))
    config = RuntimeConfig()
    assert (config.model, config.max_tokens) == ("openai/gpt-4o", 100)
    assert (config.api_key, config.api_base) == ("sk-1", "http://x")
    assert "sk-1" not in repr(config)


def test_the_variable_wins_over_the_file_and_the_agent_over_both(home, monkeypatch):
    remember(home, '{"llm": {"model": "a/b"}}')
    monkeypatch.setenv("HIVE_MODEL", "scripted")
    assert RuntimeConfig().model == "scripted"
    assert RuntimeConfig("own/model", 0.1, 5, "k", "http://y", {"a": 1}).model == "own/model"


@pytest.mark.parametrize(
    "text", ["{", "[1]", '{"llm": 5}', '{"llm": {"model": 5, "max_tokens": "many"}}']
)
def test_a_broken_file_is_named_and_an_odd_one_ignored(home, text):
    remember(home, text)
    if text == "{":
        with pytest.raises(ConfigError, match=r"configuration\.json: cannot be read"):
            RuntimeConfig()
    else:
        assert RuntimeConfig().model == FALLBACK_MODEL


def test_only_the_name_of_the_agents_class_leads_out_of_the_package():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        hive_daemon.config.nothing  # noqa: B018


def test_agents_get_it_without_yaml_or_pydantic():
    program = (
        "import sys; from hive_daemon.config import RuntimeConfig; "
        "print([m for m in ('yaml', 'pydantic', 'litellm') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
