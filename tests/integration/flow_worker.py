"""A process whose entry points take triggers in under every strategy, and whose nodes count each other: to be killed.

It writes a line for each trigger that was answered (`taken NUMBER EXECUTION`, `refused NUMBER CODE`), and one for each
limit that a node saw broken (`broken …`). Told the last trigger there is, it waits until all have ended, writes
`left …` for each slot that is not free again, then `done`.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hive_daemon.errors import Busy, QueueFull, RateLimited
from hive_daemon.runtime.agent_runtime import AgentRuntime, create_agent_runtime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.intake import Call
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig
from hive_daemon.storage.mirror_fold import MirrorMode
from tests.fakes.embedded import GOAL, function, graph_of

TOTAL = 10
KEPT_FOR_CALLS = 3
KEYS = 5
SENDERS = 40
BACKGROUND = ("timer", "event")

SPECS = (
    EntryPointSpec(id="plain", max_concurrent=4),
    EntryPointSpec(id="keyed", max_concurrent=6, concurrency={"max": 2, "key": "input.key"}),
    EntryPointSpec(id="reject", concurrency={"max": 2, "key": "input.key", "strategy": "reject"}),
    EntryPointSpec(
        id="interrupt", concurrency={"max": 1, "key": "input.key", "strategy": "interrupt"}
    ),
    EntryPointSpec(
        id="rollback", concurrency={"max": 1, "key": "input.key", "strategy": "rollback"}
    ),
    EntryPointSpec(id="newest", concurrency={"max": 2, "strategy": "keep_newest"}),
    EntryPointSpec(id="single", max_concurrent=1),
    EntryPointSpec(id="full", concurrency={"max": 2, "queue_max": 4}),
    EntryPointSpec(
        id="batch",
        max_concurrent=3,
        flow={"batch": {"max": 4, "wait": "20ms", "key": "input.key"}},
    ),
    EntryPointSpec(id="rated", flow={"rate_limit": {"limit": 20, "per": "1h"}}),
)


@dataclass
class Census:
    """Who is inside a node now; a limit that is broken is said."""

    say: Any
    total: int = 0
    background: int = 0
    lanes: Counter[str] = field(default_factory=Counter)
    keys: Counter[tuple[str, str]] = field(default_factory=Counter)
    sessions: Counter[str] = field(default_factory=Counter)

    async def work(self, ctx: Any) -> str:
        """Be a node: come in, look who is there, give others their turn, leave."""
        lane, key = ctx.stream_id, str(ctx.memory.read("key"))
        is_background = ctx.memory.read("by") in BACKGROUND
        self._move(ctx, lane, key, is_background, 1)
        try:
            self._check(ctx, lane, key)
            for _ in range(hash(ctx.execution_id) % 7):
                await asyncio.sleep(0)
        finally:
            self._move(ctx, lane, key, is_background, -1)
        return "done"

    def _move(self, ctx: Any, lane: str, key: str, is_background: bool, step: int) -> None:
        self.total += step
        self.background += step * is_background
        self.lanes[lane] += step
        self.keys[lane, key] += step
        self.sessions[ctx.session_id] += step

    def _check(self, ctx: Any, lane: str, key: str) -> None:
        rules = next(spec.flow_rules for spec in SPECS if spec.id == lane)
        for what, count, most in (
            ("total", self.total, TOTAL),
            ("background", self.background, TOTAL - KEPT_FOR_CALLS),
            (lane, self.lanes[lane], rules.most),
            (f"{lane}/{key}", self.keys[lane, key], rules.most_by_key or TOTAL),
            (ctx.session_id, self.sessions[ctx.session_id], 1),
        ):
            if count > most:
                self.say("broken", what, count, most)


class Sender:
    """Sends triggers, a number of them at a time. What a trigger is follows from its number."""

    def __init__(self, runtime: AgentRuntime, say: Any, seed: int) -> None:
        self._runtime = runtime
        self._say = say
        self._seed = seed

    async def send_on(self, numbers: list[int]) -> None:
        """Send one after the other until there are no more."""
        while numbers:
            await self.send(numbers.pop())

    async def send(self, number: int) -> None:
        """Send one trigger and say what became of it."""
        dice = random.Random(self._seed * 1_000_003 + number)
        spec = dice.choice(SPECS)
        source = dice.choice(("api", "webhook", *BACKGROUND))
        call = Call(
            input_data={"key": f"k{dice.randrange(KEYS)}", "by": source, "number": number},
            source=source,
            priority=dice.choice((0, 0, 5)),
            idempotency_key=f"trigger-{number}",
        )
        try:
            submitted = await self._runtime.find_stream(spec.id).submit(call)
        except (Busy, QueueFull, RateLimited) as refusal:
            self._say("refused", number, refusal.code)
        else:
            assert submitted is not None
            self._say("taken", number, submitted.execution_id)


async def main(directory: Path, pipe: int, seed: int, numbers: list[int], is_last: bool) -> None:
    """Send these triggers; in the last life see everything through, else work until killed."""

    def say(*words: object) -> None:
        os.write(pipe, (" ".join(map(str, words)) + "\n").encode())

    census = Census(say)
    config = AgentRuntimeConfig(
        max_concurrent_executions=TOTAL,
        interactive_slots=KEPT_FOR_CALLS,
        mirror=MirrorMode.OFF,
        recovery_attempts=1_000,
    )
    graph = graph_of(function("work", census.work))
    runtime = create_agent_runtime(graph, GOAL, directory, SPECS, config=config)
    await runtime.start()
    sender = Sender(runtime, say, seed)
    numbers.reverse()
    async with asyncio.TaskGroup() as group:
        for _ in range(SENDERS):
            group.create_task(sender.send_on(numbers))
    if not is_last:
        await asyncio.Event().wait()
    await all_ended(runtime)
    for spec in SPECS:
        stats = runtime.find_stream(spec.id).get_stats()
        if stats["available_slots"] != stats["max_concurrent"] or stats["status_counts"].get(
            "queued"
        ):
            say("left", spec.id, stats)
    say("done")
    await runtime.stop(0.0)


async def all_ended(runtime: AgentRuntime) -> None:
    """Wait until nothing waits and nothing runs."""
    executions = runtime.running().services.store.executions
    while (await executions.stats()).by_status:
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(
        main(
            Path(sys.argv[1]),
            int(sys.argv[2]),
            int(sys.argv[3]),
            [int(number) for number in sys.stdin.read().split()],
            sys.argv[4] == "last",
        )
    )
