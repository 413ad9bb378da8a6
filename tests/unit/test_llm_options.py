"""What hive.yaml says of models reaches the provider."""

from hive_daemon.config.agent_model import AgentConfig
from hive_daemon.config.llm_options import call_options, fallback_choices, first_choice
from hive_daemon.config.model import LlmConfig
from hive_daemon.llm.factory import ModelChoice, make_provider
from hive_daemon.llm.litellm_provider import LiteLLMProvider
from hive_daemon.llm.openai_provider import OpenAIProvider

BASE = "http://127.0.0.1:9/v1"
LLM = LlmConfig.model_validate(
    {
        "model": "openai/gpt-5",
        "api_key": "main",
        "api_base": BASE,
        "fallbacks": ["openai/gpt-4o", "anthropic/claude-x", {"model": "groq/x", "api_key": "own"}],
        "transport": "litellm",
        "timeout_seconds": 9,
        "ttft_timeout_seconds": 2,
        "stream_idle_timeout_seconds": 3,
        "max_attempts": 4,
    }
)


def test_a_fallback_of_the_same_service_shares_key_and_address_and_no_other_sees_them():
    assert fallback_choices(LLM) == (
        ModelChoice("openai/gpt-4o", "main", BASE),
        ModelChoice("anthropic/claude-x"),
        ModelChoice("groq/x", "own"),
    )


def test_an_agent_has_fallbacks_of_its_own_or_none():
    agent = AgentConfig.model_validate({"path": "/a", "fallbacks": ["scripted"]})
    assert fallback_choices(LLM, agent.fallbacks) == (ModelChoice("scripted"),)
    assert fallback_choices(LLM, ()) == ()
    assert AgentConfig.model_validate("/a").fallbacks is None


def test_the_first_choice_is_the_file_s_or_another_model_in_its_place():
    assert first_choice(LLM) == ModelChoice("openai/gpt-5", "main", BASE)
    assert first_choice(LLM, "openai/o3") == ModelChoice("openai/o3", "main", BASE)


def test_a_model_of_another_service_in_its_place_does_not_see_the_key():
    assert first_choice(LLM, "anthropic/claude-x") == ModelChoice("anthropic/claude-x")


def test_a_key_beside_no_model_is_for_the_agents_model():
    only_key = LlmConfig.model_validate({"api_key": "main"})
    assert first_choice(only_key, "anthropic/x") == ModelChoice("anthropic/x", "main")


def test_transport_and_limits_count_for_every_model_of_the_chain():
    first = first_choice(LLM)
    chain = make_provider(
        first.model,
        api_key=first.api_key,
        api_base=first.api_base,
        fallbacks=fallback_choices(LLM),
        **call_options(LLM),
    )
    assert {type(each) for each in chain.providers} == {LiteLLMProvider}
    for each in chain.providers:
        limits = each.limits
        assert (limits.total_timeout, limits.ttft_timeout) == (9, 2)
        assert (limits.stream_idle_timeout, limits.max_attempts) == (3, 4)


def test_the_defaults_are_those_of_the_provider():
    provider = make_provider("openai/gpt-5", **call_options(LlmConfig()))
    assert isinstance(provider, OpenAIProvider)
    assert provider.limits == OpenAIProvider("openai/gpt-5").limits
