"""Whose key is looked for: of every model that a run of the agent would ask."""

import json

import pytest

from hive_daemon.runner.agent_info import validate
from hive_daemon.runner.agent_loader import load_agent
from hive_daemon.runner.loaded_agent import ModelSettings
from hive_daemon.runner.model_needs import keys_to_run
from tests.agents.broken import export, write

OWN = ModelSettings("anthropic/own", "sk-ant-own")
NODES = [{"id": "a"}, {"id": "b", "model": "openai/node"}]
NIGHTLY = {"id": "nightly", "trigger_type": "timer", "trigger_config": {"every": "1h"}}


@pytest.fixture
def load(tmp_path):
    made = []

    def by(nodes=NODES, **point):
        edges = [{"id": "ab", "source": "a", "target": "b"}] if len(nodes) == 2 else []
        files = {
            "agent.json": export(nodes=nodes, edges=edges),
            "triggers.json": json.dumps([NIGHTLY | point]),
        }
        made.append(load_agent(write(tmp_path / "agent", files)))
        return made[-1]

    yield by
    for agent in made:
        agent.close()


def told(agent, settings=OWN, **environ):
    return validate(agent, settings, environ=environ).warnings


def needed(agent, entry_point, settings=OWN, **environ):
    return [need.variable for need in keys_to_run(agent, settings, entry_point, environ)]


def test_the_key_of_a_nodes_model_is_looked_for(load):
    agent = load()
    assert told(agent) == ["the model 'openai/node' (node 'b') needs a key, set OPENAI_API_KEY"]
    assert validate(agent, OWN, environ={}).missing_credentials == ["OPENAI_API_KEY"]
    assert told(agent, OPENAI_API_KEY="sk-1") == []


def test_the_keys_of_an_entry_point_and_its_fallbacks_are_looked_for(load):
    agent = load([{"id": "a"}], model="groq/fast", fallbacks=["mistral/slow", "groq/fast"])
    assert told(agent) == [
        "the model 'groq/fast' (entry point 'nightly') needs a key, set GROQ_API_KEY",
        "the fallback 'mistral/slow' (entry point 'nightly') needs a key, set MISTRAL_API_KEY",
    ]


def test_a_model_of_several_parts_is_told_once_with_all_of_them(load):
    nodes = [{"id": "a", "model": "openai/x"}, {"id": "b", "model": "openai/x"}]
    assert told(load(nodes)) == [
        "the model 'openai/x' (node 'a', node 'b') needs a key, set OPENAI_API_KEY"
    ]


def test_the_key_that_the_agent_brings_counts_for_its_service(load):
    assert told(load([{"id": "a", "model": "anthropic/other"}])) == []


def test_the_own_model_needs_no_key_where_nobody_asks_it(load):
    agent = load([{"id": "a", "model": "openai/x"}])
    keyless = ModelSettings("anthropic/own")
    assert told(agent, keyless, OPENAI_API_KEY="sk-1") == []


def test_the_scripted_model_stands_in_for_every_other(load):
    assert told(load(model="groq/fast"), ModelSettings("scripted")) == []


def test_an_entry_point_runs_without_the_key_of_another(load):
    agent = load([{"id": "a"}], model="groq/fast")
    assert (needed(agent, "default"), needed(agent, "nightly")) == ([], ["GROQ_API_KEY"])


def test_an_entry_point_runs_while_a_fallback_has_its_key(load):
    agent = load([{"id": "a"}], model="groq/fast", fallbacks=["mistral/slow"])
    assert needed(agent, "nightly") == ["GROQ_API_KEY"]
    assert needed(agent, "nightly", MISTRAL_API_KEY="sk-1") == []
