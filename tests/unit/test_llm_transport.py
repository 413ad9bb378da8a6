"""Which way a call goes, and to which address as whom."""

import pytest

from hive_daemon.errors import ConfigError
from hive_daemon.llm.transport import (
    OPENAI_BASE,
    Target,
    Transport,
    is_native,
    target_of,
    transport_named,
)

AUTO, NATIVE, LITELLM = Transport.AUTO, Transport.NATIVE, Transport.LITELLM
BASE = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("model", "api_base", "native"),
    [
        ("openai/gpt-5", None, True),
        ("openai/anything", BASE, True),
        ("gpt-4o-mini", None, True),
        ("o3", None, True),
        ("o3-pro", None, False),
        ("openai/gpt-5-codex", None, False),
        ("openai/o4-mini-deep-research", None, False),
        ("openai/gemini-2.5-pro", BASE, True),
        ("o4-mini", None, True),
        ("chatgpt-4o-latest", None, True),
        ("hosted_vllm/llama", BASE, True),
        ("hosted_vllm/llama", None, False),
        ("anthropic/claude-haiku-4-5", None, False),
        ("claude-haiku-4-5", BASE, False),
        ("ollama/llama3", BASE, False),
        ("azure/gpt-4o", BASE, False),
        ("openrouter/openai/gpt-4o", None, False),
        ("llama3", BASE, False),
    ],
)
def test_auto_takes_the_native_way_where_the_name_says_that_the_protocol_is_spoken(
    model, api_base, native
):
    assert is_native(AUTO, model, api_base, {}) is native


def test_a_wanted_transport_is_taken_whatever_the_name():
    assert is_native(NATIVE, "ollama/llama3", BASE, {})
    assert not is_native(LITELLM, "openai/gpt-5", None, {})


def test_an_option_that_only_litellm_knows_takes_its_way():
    assert not is_native(AUTO, "openai/gpt-5", None, {"custom_llm_provider": "azure"})


def test_an_unknown_transport_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match=r"transport: 'fast' is none of auto, litellm, native"):
        transport_named("fast")


@pytest.mark.parametrize(
    ("model", "api_base", "environ", "expected"),
    [
        (
            "openai/gpt-5",
            None,
            {"OPENAI_API_KEY": "k"},
            Target("gpt-5", OPENAI_BASE, "k", "OPENAI_API_KEY"),
        ),
        (
            "gpt-4o",
            None,
            {"OPENAI_BASE_URL": f"{BASE}/"},
            Target("gpt-4o", BASE, "", "OPENAI_API_KEY"),
        ),
        (
            "openai/openai/gpt-4o",
            BASE,
            {"OPENAI_BASE_URL": "http://no", "OPENAI_API_KEY": " k\n"},
            Target("openai/gpt-4o", BASE, "k", "OPENAI_API_KEY"),
        ),
        (
            "hosted_vllm/meta/llama",
            BASE,
            {"HOSTED_VLLM_API_KEY": "v", "OPENAI_API_KEY": "k"},
            Target("meta/llama", BASE, "v", "HOSTED_VLLM_API_KEY"),
        ),
        ("meta/llama", BASE, {}, Target("meta/llama", BASE, "", "OPENAI_API_KEY")),
    ],
)
def test_where_a_call_goes_and_as_whom(model, api_base, environ, expected):
    assert target_of(model, api_base, None, environ) == expected


def test_a_configured_key_wins_over_the_variable():
    assert target_of("openai/m", BASE, "own", {"OPENAI_API_KEY": "k"}).api_key == "own"


def test_a_key_is_not_shown():
    assert "own" not in repr(target_of("openai/m", BASE, "own", {}))
