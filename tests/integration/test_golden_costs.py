"""What real usage payloads of four services come to, from the bytes of an answer to dollars.

The payloads have the shapes that the services publish; the dollars are reckoned by hand from their price lists, in
dollars per million tokens. OpenAI and DeepSeek count the cached part within the input, Anthropic beside it; Gemini
counts thoughts beside the answer, OpenAI within it.
"""

import math
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from hive_daemon.llm.connections import close_connections
from hive_daemon.llm.factory import make_provider
from hive_daemon.llm.purse import NOBODY, Came, purse

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello."},
            "finish_reason": "stop",
        }
    ],
}
OPENAI = {
    **CHAT,
    "model": "gpt-5-2025-08-07",
    "usage": {
        "prompt_tokens": 2006,
        "completion_tokens": 300,
        "total_tokens": 2306,
        "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 128,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    },
}
DEEPSEEK = {
    **CHAT,
    "model": "deepseek-chat",
    "usage": {
        "prompt_tokens": 1000,
        "completion_tokens": 50,
        "total_tokens": 1050,
        "prompt_tokens_details": {"cached_tokens": 896},
        "prompt_cache_hit_tokens": 896,
        "prompt_cache_miss_tokens": 104,
    },
}
ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Hello."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 50,
        "cache_creation_input_tokens": 348,
        "cache_read_input_tokens": 100_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 248, "ephemeral_1h_input_tokens": 100},
        "output_tokens": 503,
        "service_tier": "standard",
    },
}
GEMINI = {
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": "Hello."}]},
            "finishReason": "STOP",
            "index": 0,
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 5000,
        "cachedContentTokenCount": 4000,
        "candidatesTokenCount": 200,
        "thoughtsTokenCount": 300,
        "totalTokenCount": 5500,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 5000}],
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 4000}],
    },
    "modelVersion": "gemini-2.5-flash",
}
MILLION = 1e6


@asynccontextmanager
async def service(answer: dict[str, Any]):
    async def say(_request: web.Request) -> web.Response:
        return web.json_response(answer)

    app = web.Application()
    app.router.add_post("/{path:.*}", say)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await close_connections()
        await runner.cleanup()


@pytest.mark.parametrize(
    ("model", "answer", "counts", "dollars"),
    [
        (
            "openai/gpt-5",
            OPENAI,
            (2006, 1920, 0, 300, 128),
            (86 * 1.25 + 1920 * 0.125 + 300 * 10.0) / MILLION,
        ),
        (
            "deepseek/deepseek-chat",
            DEEPSEEK,
            (1000, 896, 0, 50, 0),
            (104 * 0.28 + 896 * 0.028 + 50 * 0.42) / MILLION,
        ),
        (
            "anthropic/claude-sonnet-4-5",
            ANTHROPIC,
            (100_398, 100_000, 348, 503, 0),
            (50 * 3.0 + 100_000 * 0.30 + 248 * 3.75 + 100 * 6.0 + 503 * 15.0) / MILLION,
        ),
        (
            "gemini/gemini-2.5-flash",
            GEMINI,
            (5000, 4000, 0, 500, 300),
            (1000 * 0.30 + 4000 * 0.03 + 500 * 2.50) / MILLION,
        ),
    ],
    ids=["openai", "deepseek", "anthropic", "gemini"],
)
async def test_a_published_usage_payload_costs_what_its_service_bills(
    model, answer, counts, dollars
):
    async with service(answer) as address:
        provider = make_provider(model, api_key="key", api_base=address, max_attempts=1)
        said = await provider.acomplete([{"role": "user", "content": "Hi."}])
        await provider.aclose()
    assert said.content == "Hello."
    assert (
        said.input_tokens,
        said.cached_tokens,
        said.cache_write_tokens,
        said.output_tokens,
        said.reasoning_tokens,
    ) == counts
    assert said.cost_usd is not None
    assert math.isclose(said.cost_usd, dollars, rel_tol=1e-9)


class Payer:
    """Notes what is held and what it came to."""

    counts = True

    def __init__(self) -> None:
        self.wanted: list[Any] = []
        self.came: list[Came | None] = []

    async def hold(self, wanted: Any) -> "Payer":
        self.wanted.append(wanted)
        return self

    async def hold_tool(self, name: str) -> None:
        await NOBODY.hold_tool(name)

    def settle(self, came: Came | None) -> None:
        self.came.append(came)


async def test_what_is_held_for_a_call_is_more_than_it_comes_to():
    payer = Payer()
    token = purse.set(payer)
    try:
        async with service(OPENAI) as address:
            provider = make_provider("openai/gpt-5", api_key="key", api_base=address)
            asked = [{"role": "user", "content": "word " * 2006}]
            said = await provider.acomplete(asked, max_tokens=300)
            await provider.aclose()
    finally:
        purse.reset(token)
    [wanted], [came] = payer.wanted, payer.came
    assert came == Came(said.input_tokens + said.output_tokens, said.cost_usd)
    assert wanted.tokens >= came.tokens
    assert wanted.cost_usd >= came.cost_usd
