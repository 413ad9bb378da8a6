"""What a call is counted for."""

import json

import pytest

from hive_daemon.llm.assembly import Assembler, CallFragment, Piece, Usage
from hive_daemon.llm.billing import Bill
from hive_daemon.llm.prices import PriceList
from hive_daemon.llm.stream_events import FinishEvent

MESSAGES = [{"role": "user", "content": "x" * 36}]
RATES = {
    "input_cost_per_token": 1.0,
    "output_cost_per_token": 10.0,
    "input_cost_per_token_flex": 0.5,
    "litellm_provider": "openai",
}


@pytest.fixture
def prices(tmp_path):
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"real-name": RATES}))
    return PriceList(path)


async def finished(prices, *pieces, model="openai/alias", **request) -> FinishEvent:
    assembler = Assembler(model)
    for piece in pieces:
        assembler.feed(piece)
    bill = Bill(model, {"messages": MESSAGES, **request}, prices)
    finish = (await bill.ending(assembler))[-1]
    assert isinstance(finish, FinishEvent)
    return finish


async def test_what_the_service_counted_is_taken(prices):
    finish = await finished(prices, Piece(usage=Usage(7, 3, 2, 1)), model="openai/real-name")
    assert (finish.input_tokens, finish.output_tokens) == (7, 3)
    assert (finish.cached_tokens, finish.reasoning_tokens) == (2, 1)
    assert (finish.is_estimated, finish.cost_usd) == (False, 37.0)


@pytest.mark.parametrize("told", [Piece(), Piece(usage=Usage())], ids=["nothing", "zeros"])
async def test_what_the_service_did_not_count_is_guessed_and_marked(prices, told):
    call = CallFragment(0, "c", "add", '{"a": 1}')
    pieces = (Piece(text="four", reasoning="four"), Piece(fragments=(call,)), told)
    finish = await finished(prices, *pieces, model="openai/real-name")
    assert finish.is_estimated
    assert (finish.input_tokens, finish.output_tokens) == (20, 5)
    assert finish.cost_usd == 20 + 50


async def test_an_alias_costs_what_the_model_costs_that_answered(prices):
    piece = Piece(usage=Usage(7, 0), model="real-name")
    assert (await finished(prices, piece)).cost_usd == 7.0


async def test_the_name_that_another_service_gives_itself_says_nothing(prices):
    piece = Piece(usage=Usage(7, 0), model="real-name")
    assert (await finished(prices, piece, model="hosted_vllm/alias")).cost_usd is None


@pytest.mark.parametrize(("tier", "cost"), [("flex", 3.5), ("auto", 7.0), ("made up", 7.0)])
async def test_a_service_tier_has_its_price(prices, tier, cost):
    piece = Piece(usage=Usage(7, 0))
    finish = await finished(prices, piece, model="real-name", service_tier=tier)
    assert finish.cost_usd == cost
