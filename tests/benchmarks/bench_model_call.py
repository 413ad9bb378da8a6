"""How much CPU one model call takes, over each transport: 50 tokens, streamed and not, 1 and 20 at a time.

The server is the fake of the tests in a process of its own, so that only the caller's CPU is counted; each token is a
packet of its own, as over a network. The figures to reach: a streamed call over the native transport, in the loop of a
node, ≤ 2 ms when nobody watches and ≤ 5 ms when somebody does (with what the journal and the tail then do, which are
measured elsewhere). `floor` is the least that a client on aiohttp can do: read the stream and look at nothing.

    python -m tests.benchmarks.bench_model_call [--calls 200] [--litellm-calls 40]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import aiohttp

from hive_daemon.clock import SYSTEM_CLOCK
from hive_daemon.graph.facts import Fact
from hive_daemon.graph.loop_config import LoopConfig
from hive_daemon.graph.model_call import Caller, Request
from hive_daemon.llm.factory import make_provider
from hive_daemon.llm.provider import CallContext, LLMProvider
from tests.fakes.openai_server import FakeOpenAI, Reply

TOKENS = 50
LIMIT_MS, WATCHED_LIMIT_MS = 2.0, 5.0
ASKED = [{"role": "user", "content": "Tell me about the weather in fifty tokens."}]

Call = Callable[[], Awaitable[None]]


async def serve() -> None:
    """Answer until the caller goes away."""
    async with FakeOpenAI(otherwise=Reply(text="word" * TOKENS, piece=4)) as server:
        print(server.base_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    """Run the server in a process of its own; give its address."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_model_call", "--serve"]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


async def streamed(provider: LLMProvider) -> None:
    """Take a streamed answer."""
    async with aclosing(provider.stream(ASKED)) as events:
        async for _ in events:
            pass


async def whole(provider: LLMProvider) -> None:
    """Take a whole answer."""
    await provider.acomplete(ASKED)


@dataclass(slots=True)
class Ear:
    """Where the facts of a call go: nowhere."""

    is_watched: bool
    shown: int = 0

    def note(self, *facts: Fact) -> None:
        """Take facts."""

    async def record(self, *facts: Fact, records: Mapping[str, bytes | None] | None = None) -> None:
        """Take facts."""

    def show(self, fact: Fact) -> None:
        """Count a live fact."""
        self.shown += 1

    async def recall(self, prefix: str) -> dict[str, bytes]:
        """Remember nothing."""
        return {}


async def in_the_loop(provider: LLMProvider, ear: Ear) -> None:
    """Take a streamed answer as a node does."""
    caller = Caller(provider, ear, SYSTEM_CLOCK, LoopConfig(), "node")
    await caller.call(Request(ASKED, "", [], 1000, CallContext()))


async def floor(session: aiohttp.ClientSession, url: str) -> None:
    """Read the bytes of a streamed answer."""
    body = {"model": "m", "messages": ASKED, "stream": True, "stream_options": {"include_usage": 1}}
    async with session.post(f"{url}/chat/completions", json=body) as response:
        async for _ in response.content.iter_any():
            pass


async def several(call: Call, count: int) -> None:
    """Make calls one after the other."""
    for _ in range(count):
        await call()


async def measure(call: Call, calls: int, in_flight: int) -> tuple[float, float]:
    """Return CPU milliseconds per call, and calls per second."""
    await several(call, 3)
    share = max(1, calls // in_flight)
    began, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(several(call, share))
    made = share * in_flight
    seconds, spent = time.perf_counter() - began, time.process_time() - cpu
    return spent / made * 1000, made / seconds


async def main(calls: int, litellm_calls: int) -> None:
    """Print the table."""
    print(f"{'':24}{'at a time':>10}{'CPU ms/call':>13}{'calls/s':>10}{'limit ms':>10}")
    async with served() as url, aiohttp.ClientSession() as session:
        native = make_provider("openai/m", api_key="k", api_base=url, transport="native")
        litellm = make_provider("openai/m", api_key="k", api_base=url, transport="litellm")
        rows: list[tuple[str, Call, int, str]] = [
            ("floor, streamed", partial(floor, session, url), calls, ""),
            ("native, streamed", partial(streamed, native), calls, ""),
            (
                "native, nobody watches",
                partial(in_the_loop, native, Ear(False)),
                calls,
                f"{LIMIT_MS:g}",
            ),
            (
                "native, watched",
                partial(in_the_loop, native, Ear(True)),
                calls,
                f"{WATCHED_LIMIT_MS:g}",
            ),
            ("native, whole", partial(whole, native), calls, ""),
            ("litellm, streamed", partial(streamed, litellm), litellm_calls, ""),
            ("litellm, whole", partial(whole, litellm), litellm_calls, ""),
        ]
        for name, call, count, limit in rows:
            for in_flight in (1, 20):
                spent, rate = await measure(call, count, in_flight)
                print(f"{name:24}{in_flight:>10}{spent:>13.2f}{rate:>10.0f}{limit:>10}", flush=True)
        await native.aclose()
        await litellm.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--litellm-calls", type=int, default=40)
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    asyncio.run(serve() if options.serve else main(options.calls, options.litellm_calls))
