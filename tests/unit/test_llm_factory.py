"""From a model's name to its provider, and what that imports."""

import json
import subprocess
import sys

import pytest

import hive_daemon.llm
from hive_daemon.errors import ConfigError
from hive_daemon.llm.anthropic import AnthropicProvider
from hive_daemon.llm.factory import ModelChoice, make_provider
from hive_daemon.llm.failures import CallRejected, FailureKind
from hive_daemon.llm.litellm import LiteLLMProvider, _compute_retry_delay
from hive_daemon.llm.openai_provider import OpenAIProvider
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


def test_auto_takes_the_native_transport_where_it_applies():
    provider = make_provider("openai/gpt-5", api_key="k", ttft_timeout=5, temperature=0.1)
    assert isinstance(provider, OpenAIProvider)
    assert (provider.model, provider.api_key) == ("openai/gpt-5", "k")
    assert provider.limits.ttft_timeout == 5
    assert provider.extra_kwargs == {"temperature": 0.1}


@pytest.mark.parametrize(
    ("transport", "kind"), [("native", OpenAIProvider), ("litellm", LiteLLMProvider)]
)
def test_a_transport_can_be_chosen(transport, kind):
    assert type(make_provider("openai/gpt-5", transport=transport)) is kind


def test_an_unknown_transport_is_refused():
    with pytest.raises(ConfigError, match="transport"):
        make_provider("openai/gpt-5", transport="pigeon")


def test_fallbacks_make_a_chain_over_services_and_transports():
    chain = make_provider(
        "openai/gpt-5",
        api_key="k",
        api_base="http://gateway/v1",
        fallbacks=[
            "anthropic/claude-x",
            "openai/gpt-4o",
            ModelChoice("openai/local", None, "http://local/v1"),
            "scripted",
        ],
        ttft_timeout=5,
    )
    assert [type(each) for each in chain.providers] == [
        OpenAIProvider,
        LiteLLMProvider,
        OpenAIProvider,
        OpenAIProvider,
        ScriptedProvider,
    ]
    _, claude, same, local, _ = chain.providers
    assert (claude.api_key, claude.api_base, claude.limits.ttft_timeout) == (None, None, 5)
    assert (same.api_key, same.api_base) == ("k", "http://gateway/v1")
    assert (local.api_key, local.api_base) == (None, "http://local/v1")


def test_no_key_is_shown_by_a_choice():
    assert "secret" not in repr(ModelChoice("openai/m", "secret"))


def test_the_older_anthropic_provider_keeps_its_signature():
    provider = AnthropicProvider("key")
    assert (provider.api_key, provider.model) == ("key", "claude-haiku-4-5-20251001")


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 2.0), (1, 4.0), (3, 16.0), (9, 120.0)])
def test_the_older_retry_delay_doubles_up_to_its_limit(attempt, seconds):
    assert _compute_retry_delay(attempt) == seconds
