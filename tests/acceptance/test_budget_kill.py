"""200 executions on ten entry points at once, with kill -9 amid them: no limit is passed by more than one call.

The model server keeps the books: what it answered is what it bills, whether or not anybody was there to hear it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from tests.fakes.daemon_process import Place
from tests.fakes.openai_server import Call, FakeOpenAI, Reply, Request, Usage

POINTS, RUNS = 10, 20
MAX_TOKENS = 300
SAID = 250
"""Tokens of each answer: almost as many as it may have."""
POINT_TOKENS = 6_000
GLOBAL_USD = 0.01
IN_USD, OUT_USD = 0.15e-6, 0.6e-6
"""Dollars per token of gpt-4o-mini, as OpenAI lists them."""
CALL_TOKENS = 1_500
"""More than one call may come to: its prompt, and the longest answer."""
CALL_USD = CALL_TOKENS * OUT_USD
LIVES = (12, 24)
"""When so many requests in all are in flight or lost, the daemon is killed; and once more when answers come."""


@dataclass
class Biller(FakeOpenAI):
    """A model server that notes what it bills to which entry point, and answers once it is open."""

    tokens: Counter[str] = field(default_factory=Counter)
    usd: float = 0.0
    is_open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        super().__init__(otherwise=self.answer)

    def answer(self, request: Request) -> Reply:
        """Set the output, then say so."""
        asked = len(json.dumps(request.body)) // 4
        point = re.findall(r"point-(\d+)", json.dumps(request.messages))[0]
        self.tokens[point] += asked + SAID
        self.usd += asked * IN_USD + SAID * OUT_USD
        usage = Usage(asked, SAID)
        if any(message.get("role") == "tool" for message in request.messages):
            return Reply(text="Done.", usage=usage)
        return Reply(calls=(Call("set_output", {"key": "said", "value": "x"}),), usage=usage)

    async def _stream(
        self, http: web.Request, request: Request, answer: Reply
    ) -> web.StreamResponse:
        await self.is_open.wait()
        return await super()._stream(http, request, answer)


def write_agent(place: Place) -> None:
    """Write an agent with a node and an entry point for each number."""
    folder = place.path / "agents" / "spender"
    folder.mkdir(parents=True)
    nodes = [
        {
            "id": f"n{n}",
            "name": f"n{n}",
            "description": "Say something.",
            "node_type": "event_loop",
            "output_keys": ["said"],
            "system_prompt": f"You are point-{n}.",
        }
        for n in range(POINTS)
    ]
    points = [
        {
            "id": f"p{n}",
            "entry_node": f"n{n}",
            "trigger_type": "manual",
            "isolation_level": "isolated",
            "max_concurrent": 20,
            "max_tokens": MAX_TOKENS,
            "budgets": [{"tokens": POINT_TOKENS, "per": "1d", "on_exceed": "reject"}],
        }
        for n in range(POINTS)
    ]
    graph = {
        "id": "spender-graph",
        "goal_id": "spender",
        "version": "1.0.0",
        "entry_node": "n0",
        "terminal_nodes": [node["id"] for node in nodes],
        "async_entry_points": points,
        "nodes": nodes,
        "edges": [],
    }
    goal = {"id": "spender", "name": "Spender", "description": "Spend.", "success_criteria": []}
    agent = {"id": "spender", "name": "Spender", "version": "1.0.0", "description": "Spends."}
    written = {"agent": agent, "graph": graph, "goal": goal}
    (folder / "agent.json").write_text(json.dumps(written))


def write_config(place: Place, address: str, usd: float, on_exceed: str = "reject") -> None:
    """Let the agent work with the model server, under a budget for everything."""
    place.write(
        agents=[str(place.path / "agents" / "spender")],
        budgets=[{"scope": "global", "usd": usd, "per": "1d", "on_exceed": on_exceed}],
        llm={"model": "openai/gpt-4o-mini", "api_key": "k", "api_base": address},
        recovery={"max_attempts": 100},
        mirror="off",
        log={"level": "ERROR"},
    )


def trigger_all(place: Place) -> list[str]:
    """Trigger everything at once; return the executions that were accepted."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda n: place.ask(
                    "POST", f"/v1/entry-points/spender/p{n % POINTS}/trigger", {"input": {}}
                ),
                range(POINTS * RUNS),
            )
        )
    assert {status for status, _ in answers} <= {202, 429}
    refused = [answer["error"]["code"] for status, answer in answers if status == 429]
    assert set(refused) <= {"budget_exceeded"}
    return [str(answer["execution_id"]) for status, answer in answers if status == 202]


def settle_all(place: Place, accepted: list[str]) -> list[dict[str, Any]]:
    """Wait until every execution is settled."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(place.settled, accepted))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("usd", [GLOBAL_USD, 1.0], ids=["global", "entry points"])
async def test_no_limit_is_passed_by_more_than_one_call_whenever_the_daemon_dies(
    place: Place, usd: float
) -> None:
    write_agent(place)
    async with Biller() as server:
        write_config(place, server.base_url, usd)
        daemon = await asyncio.to_thread(place.start)
        await asyncio.to_thread(daemon.ready)
        accepted = await asyncio.to_thread(trigger_all, place)
        for requests in (*LIVES, LIVES[-1] + 6):
            async with asyncio.timeout(60):
                await server.wait_for_requests(requests)
            await asyncio.to_thread(daemon.kill)
            daemon = await asyncio.to_thread(place.start)
            await asyncio.to_thread(daemon.ready)
            if requests == LIVES[-1]:
                server.is_open.set()
        ended = await asyncio.to_thread(settle_all, place, accepted)
        status = await asyncio.to_thread(place.get, "/v1/budgets")

    assert {one["status"] for one in ended} <= {"completed", "failed"}
    assert {one["error_code"] for one in ended if one["status"] == "failed"} <= {"budget_exceeded"}
    assert server.usd < usd + CALL_USD
    assert max(server.tokens.values()) < POINT_TOKENS + CALL_TOKENS
    by_subject = {each["subject"]: each for each in status["standings"]}
    everything = by_subject["global"]
    if usd == GLOBAL_USD:
        assert everything["state"] == "exceeded"
    else:
        points = [by_subject[f"entry_point:spender/p{n}"] for n in range(POINTS)]
        assert {each["state"] for each in points} == {"exceeded"}
        assert all(each["used"]["tokens"] >= server.tokens[str(n)] for n, each in enumerate(points))
    # What was billed is on the books, whoever died: a call counts before it goes out.
    assert everything["used"]["usd"] >= server.usd * (1 - 1e-9)
    assert everything["lost"]["requests"] >= LIVES[-1]
    assert everything["held"]["requests"] == 0
    assert everything["used"]["usd"] < usd + CALL_USD


async def test_a_paused_execution_goes_on_by_hand_once_its_budget_was_raised(place: Place) -> None:
    write_agent(place)
    async with Biller() as server:
        server.is_open.set()
        write_config(place, server.base_url, usd=0.00001, on_exceed="pause")
        daemon = await asyncio.to_thread(place.start)
        await asyncio.to_thread(daemon.ready)
        name = await asyncio.to_thread(place.trigger, "spender/p0")
        paused = await asyncio.to_thread(place.settled, name)
        assert (paused["status"], paused["error_code"]) == ("paused", "budget_exceeded")
        assert len(server.requests) == 1
        assert await asyncio.to_thread(daemon.terminate) == 0
        write_config(place, server.base_url, usd=1.0, on_exceed="pause")
        daemon = await asyncio.to_thread(place.start)
        await asyncio.to_thread(daemon.ready)
        resumed = await asyncio.to_thread(place.hive, "sessions", "resume", paused["session_id"])
        assert resumed.returncode == 0, resumed.stderr
        done = await asyncio.to_thread(place.settled, name)
        shown = await asyncio.to_thread(place.hive, "budget", "status")
    assert (done["status"], len(server.requests)) == ("completed", 2)
    assert (shown.returncode, "global" in shown.stdout) == (0, True)
