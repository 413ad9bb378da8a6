"""A storm on an embedded runtime: triggers, cancellations, answers, pauses and restarts, in any order.

Whatever comes, each acknowledged execution ends or is put away where it can be found; the limits hold all the while;
and what the runtime tells of itself is what the store knows.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hive_daemon.graph.edge import GraphSpec
from hive_daemon.runtime.agent_runtime import AgentRuntime, AgentRuntimeConfig
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.storage.values import ExecutionFilter, ExecutionRow
from tests.fakes.embedded import SECONDS, function, graph_of, model, running

LIMIT = 3
SPECS = [
    EntryPointSpec(id="many", entry_node="work", max_concurrent=5),
    EntryPointSpec(id="thread", entry_node="plain", max_concurrent=2),
    EntryPointSpec(id="single", entry_node="work", max_concurrent=1),
    EntryPointSpec(id="ask", entry_node="ask"),
]


@dataclass
class Storm:
    """What happens, by chance; and who was inside the nodes at the same time."""

    chance: random.Random
    names: list[str] = field(default_factory=list)
    inside: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)

    async def work(self, ctx: Any) -> str:
        """A node that takes some turns of the loop, and sometimes fails."""
        self.inside.update([ctx.stream_id, "all"])
        self.most |= self.inside
        try:
            for _ in range(self.chance.randrange(30)):
                await asyncio.sleep(0)
            if self.chance.random() < 0.1:
                raise ValueError("out of luck")
        finally:
            self.inside.subtract([ctx.stream_id, "all"])
        return "done"

    def graph(self) -> GraphSpec:
        """A chain, a plain function, a question."""
        return graph_of(
            function("work", self.work, max_retries=2),
            function("plain", lambda: "done"),
            model("ask", ["verdict"], node_type="human_input"),
            function("after", lambda verdict: verdict, ["verdict"]),
            edges=[("work", "plain"), ("ask", "after")],
        )

    async def blow(self, runtime: AgentRuntime, gusts: int) -> None:
        """Do so many things to a runtime."""
        deeds: list[Callable[[AgentRuntime], Any]] = [self.trigger] * 6
        deeds += [self.cancel, self.answer, self.pause, self.breathe]
        for _ in range(gusts):
            await self.chance.choice(deeds)(runtime)

    async def trigger(self, runtime: AgentRuntime) -> None:
        state = {}
        if self.names and self.chance.random() < 0.2:
            session = self.chance.choice(self.names).split("-")[0]
            state = {"resume_session_id": session}
        entry_point = self.chance.choice(SPECS).id
        self.names.append(await runtime.trigger(entry_point, {}, session_state=state))

    async def cancel(self, runtime: AgentRuntime) -> None:
        for entry_point in SPECS if self.names else ():
            await runtime.cancel_execution(entry_point.id, self.chance.choice(self.names))

    async def answer(self, runtime: AgentRuntime) -> None:
        await runtime.inject_input("ask", "yes")

    async def pause(self, runtime: AgentRuntime) -> None:
        for stream in runtime._streams.values():
            for name in stream.active_execution_ids:
                stream.request_pause(name)

    async def breathe(self, runtime: AgentRuntime) -> None:
        await runtime.event_bus.drain(SECONDS)


async def rows_of(runtime: AgentRuntime) -> list[ExecutionRow]:
    """Every execution that the store knows."""
    store = runtime.running().services.store.executions
    rows: list[ExecutionRow] = []
    while True:
        before = rows[-1].n if rows else None
        page = await store.query(ExecutionFilter(agent=runtime.agent, before=before, limit=100))
        rows += page
        if len(page) < 100:
            return rows


@pytest.mark.parametrize("seed", range(4))
async def test_after_a_storm_everything_is_in_its_place(tmp_path: Path, seed: int) -> None:
    storm = Storm(random.Random(seed))
    config = AgentRuntimeConfig(
        max_concurrent_executions=LIMIT, execution_result_max=(0, 5, 1000, 1000)[seed % 4]
    )
    async with running(tmp_path, storm.graph(), *SPECS, config=config) as runtime:
        await storm.blow(runtime, 40)
    async with running(tmp_path, storm.graph(), *SPECS, config=config) as runtime:
        await storm.blow(runtime, 40)
        results = [await runtime.wait_for_completion(name, SECONDS) for name in storm.names]
        assert None not in results
        await runtime.running().services.hub.flush()
        rows = await rows_of(runtime)
        parked = Counter(row.status for row in rows if row.status.is_parked)
        assert {row.execution_id for row in rows} == set(storm.names)
        assert all(row.status.is_terminal or row.status.is_parked for row in rows)
        told = Counter[str]()
        for stream in runtime._streams.values():
            told.update(stream.get_stats()["status_counts"])
        assert {status: told[status] for status in parked} == dict(parked)
        assert (told["running"], told["queued"], runtime.opened.services.hub._waiters) == (0, 0, {})
    assert storm.most["all"] <= LIMIT
    assert storm.most["single"] <= 1
