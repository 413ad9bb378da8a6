"""Which provider a wish gets, and who sees which key."""

import json

import pytest

from hive_daemon.errors import ConfigError
from hive_daemon.llm.factory import ModelChoice
from hive_daemon.llm.fallbacks import FallbackProvider
from hive_daemon.llm.litellm_provider import LiteLLMProvider
from hive_daemon.llm.model_shelf import ModelShelf, models_beside
from hive_daemon.llm.models import OneModel
from hive_daemon.llm.openai_provider import OpenAIProvider
from hive_daemon.llm.provider import LLMProvider
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.unconfigured import UnconfiguredProvider
from hive_daemon.llm.wish import NO_WISH, Wish

BASE = "http://127.0.0.1:9/v1"
FIRST = ModelChoice("openai/first", "key", BASE)
USUAL = ModelChoice("groq/usual", "groq key")


def place(provider):
    return provider.model, provider.api_key, provider.api_base


def named(shelf, model=None, fallbacks=None):
    return shelf.named(Wish(model, fallbacks), shelf.own)


def test_the_own_model_works_for_whoever_wishes_nothing():
    shelf = ModelShelf(FIRST)
    assert shelf.named(NO_WISH, shelf.own) is shelf.own
    assert place(shelf.own) == ("openai/first", "key", BASE)


@pytest.mark.parametrize(
    ("model", "key", "base"),
    [
        ("openai/other", "key", BASE),
        ("gpt-4o", "key", BASE),
        ("groq/other", "groq key", None),
        ("anthropic/claude-x", None, None),
        ("claude-x", None, None),
    ],
)
def test_a_key_goes_to_models_of_its_service_and_to_no_other(model, key, base):
    assert place(named(ModelShelf(FIRST, also=[USUAL]), model)) == (model, key, base)


def test_names_without_a_service_belong_to_the_one_that_they_are_known_of():
    shelf = ModelShelf(ModelChoice("claude-haiku", "k"))
    assert place(named(shelf, "anthropic/claude-sonnet")) == ("anthropic/claude-sonnet", "k", None)
    assert place(named(shelf, "gpt-4o"))[1] is None


def test_a_provider_is_made_once():
    shelf = ModelShelf(FIRST)
    assert named(shelf, "openai/other") is named(shelf, "openai/other")
    assert named(shelf, "openai/other") is not named(shelf, "openai/third")


def test_the_settings_of_the_agent_count_for_every_model():
    shelf = ModelShelf(FIRST, options={"total_timeout": 9, "temperature": 0.5})
    other = named(shelf, "openai/other")
    assert (other.limits.total_timeout, other.extra_kwargs) == (9, {"temperature": 0.5})


def test_the_fallbacks_of_the_agent_stand_behind_every_model():
    chain = named(ModelShelf(FIRST, fallbacks=["groq/b"], also=[USUAL]), "anthropic/claude-x")
    assert isinstance(chain, FallbackProvider)
    assert [each.model for each in chain.providers] == ["anthropic/claude-x", "groq/b"]
    assert [each.api_key for each in chain.providers] == [None, "groq key"]


def test_fallbacks_that_are_wished_for_stand_in_their_place():
    shelf = ModelShelf(FIRST, fallbacks=["groq/b"])
    chain = named(shelf, None, ("openai/c",))
    assert [place(each) for each in chain.providers] == [
        ("openai/first", "key", BASE),
        ("openai/c", "key", BASE),
    ]
    assert isinstance(named(shelf, None, ()), OpenAIProvider)


def test_the_scripted_model_stands_in_for_every_other(tmp_path):
    (tmp_path / "demo.json").write_text(json.dumps({"completions": [{"text": "hello"}]}))
    shelf = ModelShelf(ModelChoice("scripted"), base_dir=tmp_path)
    assert named(shelf, "openai/gpt-5") is shelf.own
    assert named(shelf, None, ("openai/gpt-5",)) is shelf.own
    assert named(shelf, "scripted:demo.json") is not shelf.own


def test_a_script_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.json"):
        named(ModelShelf(FIRST, base_dir=tmp_path), "scripted:gone.json")


async def test_closing_closes_every_provider(monkeypatch):
    closed = []

    async def aclose(provider):
        closed.append(provider.model)

    monkeypatch.setattr(OpenAIProvider, "aclose", aclose)
    shelf = ModelShelf(FIRST)
    named(shelf, "openai/other")
    await shelf.aclose()
    assert closed == ["openai/first", "openai/other"]


# --- beside a program's provider ---------------------------------------------------------------


@pytest.mark.parametrize("kind", [OpenAIProvider, LiteLLMProvider])
def test_models_beside_one_of_ours_share_its_way_and_its_settings(kind):
    llm = kind("openai/first", "key", BASE, total_timeout=9, temperature=0.5)
    other = models_beside(llm).named(Wish("openai/other"), llm)
    assert isinstance(other, kind)
    assert place(other) == ("openai/other", "key", BASE)
    assert (other.limits, other.extra_kwargs) == (llm.limits, llm.extra_kwargs)


def test_without_a_model_a_named_one_still_works():
    llm = UnconfiguredProvider()
    assert models_beside(llm).named(Wish("openai/other"), llm).model == "openai/other"


class Own(LLMProvider):
    def complete(self, messages):
        raise AssertionError("nobody asks it")


@pytest.mark.parametrize("llm", [Own(), ScriptedProvider()])
def test_a_program_s_own_provider_works_for_everybody(llm):
    models = models_beside(llm)
    assert isinstance(models, OneModel)
    assert models.named(Wish("openai/other"), llm) is llm
