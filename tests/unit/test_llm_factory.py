"""From a model's name to its provider, and what that imports."""

import json
import subprocess
import sys

import pytest

import hive_daemon.llm
from hive_daemon.errors import ConfigError
from hive_daemon.llm.anthropic import AnthropicProvider
from hive_daemon.llm.factory import make_provider
from hive_daemon.llm.failures import CallRejected, FailureKind
from hive_daemon.llm.litellm import LiteLLMProvider, _compute_retry_delay
from hive_daemon.llm.scripted import ScriptedProvider

GO = [{"role": "user", "content": "go"}]


def test_a_litellm_name_makes_its_provider_with_limits_and_options():
    provider = make_provider(
        "anthropic/claude-x", api_key="k", api_base="http://b", ttft_timeout=5, temperature=0.1
    )
    assert isinstance(provider, LiteLLMProvider)
    assert (provider.model, provider.api_key, provider.api_base) == (
        "anthropic/claude-x",
        "k",
        "http://b",
    )
    assert provider.limits.ttft_timeout == 5
    assert provider.extra_kwargs == {"temperature": 0.1}


async def test_scripted_alone_makes_up_its_answers():
    assert isinstance(make_provider("scripted"), ScriptedProvider)


async def test_scripted_with_a_path_follows_the_file_beside_the_agent(tmp_path):
    (tmp_path / "demo.json").write_text(json.dumps({"completions": [{"text": "from the file"}]}))
    provider = make_provider("scripted:demo.json", base_dir=tmp_path)
    assert (await provider.acomplete(GO)).content == "from the file"


def test_a_script_that_is_not_there_is_refused_at_once(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.json"):
        make_provider("scripted:gone.json", base_dir=tmp_path)


@pytest.mark.parametrize("model", [None, "", "  "])
async def test_no_model_refuses_each_call_and_says_what_to_do(model):
    with pytest.raises(CallRejected, match="no model is configured") as failure:
        await make_provider(model).acomplete(GO)
    assert failure.value.kind is FailureKind.AUTH
    assert "model: scripted" in failure.value.hint or "`scripted`" in failure.value.hint


def test_every_public_name_can_be_asked_for():
    assert all(getattr(hive_daemon.llm, name) for name in hive_daemon.llm.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = hive_daemon.llm.Nothing


def test_making_a_provider_imports_neither_litellm_nor_aiohttp():
    program = (
        "import sys\n"
        "from hive_daemon.llm import LiteLLMProvider, MockLLMProvider, make_provider\n"
        "LiteLLMProvider('gpt-4o'); MockLLMProvider(); make_provider('scripted')\n"
        "print(sorted({'litellm', 'openai', 'httpx', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_older_anthropic_provider_keeps_its_signature():
    provider = AnthropicProvider("key")
    assert (provider.api_key, provider.model) == ("key", "claude-haiku-4-5-20251001")


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 2.0), (1, 4.0), (3, 16.0), (9, 120.0)])
def test_the_older_retry_delay_doubles_up_to_its_limit(attempt, seconds):
    assert _compute_retry_delay(attempt) == seconds
