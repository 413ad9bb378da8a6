"""What a call costs: litellm's list, read without litellm; unknown is None, never 0."""

import json
import subprocess
import sys

import pytest

from hive_daemon.llm.assembly import Usage
from hive_daemon.llm.prices import PriceList, cost_of, find_entry

PLAIN = {"input_cost_per_token": 2.0, "output_cost_per_token": 8.0, "litellm_provider": "openai"}
CACHED = {**PLAIN, "cache_read_input_token_cost": 0.5, "cache_creation_input_token_cost": 3.0}
LIST = json.dumps(
    {
        "sample_spec": {"mode": "gpt-x"},
        "gpt-x": PLAIN,
        "azure/gpt-x": {**PLAIN, "litellm_provider": "azure", "input_cost_per_token": 5.0},
        "gemini-x": {**PLAIN, "litellm_provider": "vertex_ai-language-models"},
        "free": {**PLAIN, "input_cost_per_token": 0, "output_cost_per_token": 0.0},
        "sold by the hour": {"litellm_provider": "bedrock"},
    },
    indent=4,
)


@pytest.mark.parametrize(
    ("entry", "usage", "cost"),
    [
        (PLAIN, Usage(10, 5), 60.0),
        (PLAIN, Usage(10, 5, cached_tokens=4), 60.0),
        (CACHED, Usage(10, 5, cached_tokens=4), 54.0),
        (CACHED, Usage(10, 5, cached_tokens=4, cache_write_tokens=2), 56.0),
        (PLAIN, Usage(10, 5, reasoning_tokens=3), 60.0),
        ({**PLAIN, "output_cost_per_reasoning_token": 1.0}, Usage(10, 5, 0, 3), 39.0),
        ({**PLAIN, "input_cost_per_token": 0.0}, Usage(10, 5), 40.0),
    ],
)
def test_each_kind_of_token_has_its_price(entry, usage, cost):
    assert cost_of(entry, usage) == pytest.approx(cost)


def test_a_long_input_and_a_service_tier_have_prices_of_their_own():
    entry = {
        **PLAIN,
        "input_cost_per_token_above_200k_tokens": 4.0,
        "output_cost_per_token_priority": 16.0,
    }
    assert cost_of(entry, Usage(200_000, 0)) == 400_000
    assert cost_of(entry, Usage(200_001, 0)) == 800_004
    assert cost_of(entry, Usage(0, 10), "priority") == 160


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"input_cost_per_token": 1.0},
        {"input_cost_per_token": 0.0, "output_cost_per_token": 0},
        {"input_cost_per_token": "1", "output_cost_per_token": "2"},
    ],
)
def test_a_price_that_the_list_lacks_is_unknown(entry):
    assert cost_of(entry, Usage(10, 5)) is None


@pytest.mark.parametrize(
    ("model", "price"),
    [
        ("gpt-x", 2.0),
        ("openai/gpt-x", 2.0),
        ("azure/gpt-x", 5.0),
        ("vertex_ai/gemini-x", 2.0),
        ("openai/gemini-x", None),
        ("gpt", None),
        ("", None),
        ('no "quotes" here', None),
    ],
)
def test_a_model_is_found_under_its_own_service_only(model, price):
    entry = find_entry(LIST, model)
    assert (entry["input_cost_per_token"] if entry else None) == price


async def test_the_first_name_with_a_price_counts(tmp_path):
    path = tmp_path / "prices.json"
    path.write_text(LIST)
    prices = PriceList(path)
    assert await prices.cost(["openai/alias", "", "openai/gpt-x"], Usage(10, 5)) == 60.0
    assert await prices.cost(["openai/alias", "free", "sold by the hour"], Usage(10, 5)) is None


@pytest.mark.parametrize("path", [None, "gone.json"])
async def test_without_a_list_no_price_is_known(tmp_path, path):
    prices = PriceList(path and tmp_path / path)
    assert await prices.cost(["gpt-x"], Usage(10, 5)) is None


def test_a_price_of_today_is_found_without_importing_litellm():
    program = (
        "import asyncio, sys\n"
        "from hive_daemon.llm.prices import PRICES, Usage\n"
        "cost = asyncio.run(PRICES.cost(['openai/gpt-4o-mini'], Usage(1_000_000, 1_000_000)))\n"
        "print(cost > 0, 'litellm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True False\n", "")
