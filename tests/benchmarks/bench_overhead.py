"""What metrics and the readable files cost: executions per second without them, with each, with all of them.

Every fourth execution walks three function nodes and a model's loop with two tool calls, so that L3 is written; the
others walk two function nodes. All runtimes run side by side in one process and take turns, a slice of time each, in an
order that changes from round to round; a share is the median over the rounds of what a variant lost against "nothing"
in the same round. A slice counts from the moment at which as many executions have ended as are in flight, and not what
ends after it: how a burst begins and ends is no rate. With many in flight, let a slice last several times as long as an
execution (`--seconds 2`). The model is scripted and answers at once: any real one makes the shares smaller.

    python -m tests.benchmarks.bench_overhead [--seconds 0.5] [--rounds 7] [--in-flight 1,10,100] [--directory DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from random import Random
from statistics import median
from typing import NamedTuple

import uvloop

from hive_daemon.control.meter import Meter
from hive_daemon.graph.edge import EdgeCondition, EdgeSpec, GraphSpec
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.node import NodeSpec
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.values import Tool
from hive_daemon.observability.logging import configure_logging
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig
from hive_daemon.storage import mirror_remote
from hive_daemon.storage.mirror_fold import MirrorMode

ONE_ASKS_IN = 4
SCRIPT = {
    "nodes": {
        "ask": [
            {"tool_calls": [{"name": "lookup", "input": {"key": "a"}}]},
            {"tool_calls": [{"name": "lookup", "input": {"key": "b"}}]},
            {"set_output": {"answer": "both were found"}},
        ]
    }
}


class Variant(NamedTuple):
    """What is switched on. `program` writes the mirror, if one is written; without a program a thread does."""

    name: str
    has_meter: bool = False
    mirror: MirrorMode = MirrorMode.OFF
    program: str = mirror_remote.PROGRAM


LOGS = "tests.benchmarks.logs_only"
VARIANTS = (
    Variant("nothing"),
    Variant("metrics", has_meter=True),
    Variant("L1-L3", mirror=MirrorMode.FULL, program=LOGS),
    Variant("metrics and L1-L3", has_meter=True, mirror=MirrorMode.FULL, program=LOGS),
    Variant("everything", has_meter=True, mirror=MirrorMode.FULL),
    Variant("everything, by a thread", has_meter=True, mirror=MirrorMode.FULL, program=""),
)


class Slice(NamedTuple):
    """What a slice of time came to: executions per second, and CPU milliseconds of this process for each."""

    rate: float
    cpu_ms: float


async def parse(line: str) -> dict[str, str]:
    """First node."""
    return {"parsed": line.strip()}


async def report(parsed: str) -> dict[str, str]:
    """Last node."""
    return {"report": f"{len(parsed.split())} words"}


def lookup(use: object) -> str:
    """The tool."""
    return "what was looked for"


def mixed() -> GraphSpec:
    """Return the graph: an input whose `ask` is true goes by way of the model."""
    rule = EdgeCondition.CONDITIONAL
    return GraphSpec(
        id="bench",
        goal_id="bench",
        entry_node="parse",
        terminal_nodes=["report"],
        nodes=[
            NodeSpec(
                id="parse",
                node_type="function",
                function=parse,
                input_keys=["line"],
                output_keys=["parsed"],
            ),
            NodeSpec(
                id="ask",
                node_type="event_loop",
                input_keys=["parsed"],
                output_keys=["answer"],
                tools=["lookup"],
            ),
            NodeSpec(
                id="report",
                node_type="function",
                function=report,
                input_keys=["parsed"],
                output_keys=["report"],
            ),
        ],
        edges=[
            EdgeSpec(id="asks", source="parse", target="ask", condition=rule, condition_expr="ask"),
            EdgeSpec(
                id="tells",
                source="parse",
                target="report",
                condition=rule,
                condition_expr="not ask",
            ),
            EdgeSpec(id="asked", source="ask", target="report"),
        ],
    )


class Bench:
    """One runtime, with what its variant switches on."""

    def __init__(self, variant: Variant, runtime: AgentRuntime) -> None:
        self.variant = variant
        self.slices: list[Slice] = []
        self._runtime = runtime
        self._numbers = count()
        self._ended = 0
        self._is_going = False

    async def slice(self, in_flight: int, seconds: float) -> Slice:
        """Keep executions in flight for a while, and count once they are under way."""
        self._ended, self._is_going = 0, True
        under_way = asyncio.Event()
        async with asyncio.TaskGroup() as clients:
            for _ in range(in_flight):
                clients.create_task(self._client(in_flight, under_way))
            await under_way.wait()
            first, began, before = self._ended, time.perf_counter(), _cpu()
            await asyncio.sleep(seconds)
            ended, elapsed = self._ended - first, time.perf_counter() - began
            spent = _cpu() - before
            self._is_going = False
        return Slice(ended / elapsed, spent / max(ended, 1) * 1e3)

    async def _client(self, in_flight: int, under_way: asyncio.Event) -> None:
        while self._is_going:
            asks = next(self._numbers) % ONE_ASKS_IN == 0
            given = {"line": "three short words", "ask": asks}
            result = await self._runtime.trigger_and_wait("api", given)
            if result is None or not result.success:
                raise RuntimeError(f"an execution did not end well: {result}")
            self._ended += 1
            if self._ended == in_flight:
                under_way.set()


async def open_bench(
    variant: Variant, directory: Path, in_flight: int, stack: AsyncExitStack
) -> Bench:
    """Start a runtime of a variant."""
    mirror_remote.PROGRAM = variant.program
    runtime = AgentRuntime(
        mixed(),
        Goal(id="bench", name="Bench"),
        directory / variant.name.replace(" ", "-").replace(",", ""),
        llm=ScriptedProvider(SCRIPT),
        tools=[Tool("lookup", "Looks something up.", {"properties": {}})],
        tool_executor=lookup,
        config=AgentRuntimeConfig(
            mirror=variant.mirror,
            mirror_process=bool(variant.program),
            max_concurrent_executions=max(2, in_flight),
        ),
    )
    runtime.register_entry_point(EntryPointSpec(id="api", max_concurrent=max(2, in_flight)))
    await runtime.start()
    stack.push_async_callback(runtime.stop)
    if variant.has_meter:
        meter = Meter(runtime.running().services.hub)
        meter.open()
        stack.callback(meter.close)
    return Bench(variant, runtime)


async def compare(directory: Path, in_flight: int, seconds: float, rounds: int) -> list[Bench]:
    """Let all variants take turns."""
    async with AsyncExitStack() as stack:
        benches = [await open_bench(v, directory, in_flight, stack) for v in VARIANTS]
        for bench in benches:
            await bench.slice(in_flight, seconds)
        for number in range(rounds):
            # What one leaves to be written back, the next pays for: no two are neighbours for ever.
            for bench in Random(number).sample(benches, len(benches)):
                bench.slices.append(await bench.slice(in_flight, seconds))
    return benches


def line(bench: Bench, bare: Bench, in_flight: int) -> str:
    """Return a line of the table."""
    rate = median(part.rate for part in bench.slices)
    cpu = median(part.cpu_ms for part in bench.slices)
    pairs = list(zip(bench.slices, bare.slices, strict=True))
    lost = median(1 - mine.rate / theirs.rate for mine, theirs in pairs)
    more = median(mine.cpu_ms / theirs.cpu_ms - 1 for mine, theirs in pairs)
    return (
        f"{in_flight:>9} {rate:>9,.0f} {lost:>8.1%} {cpu:>9.2f} {more:>8.1%}  {bench.variant.name}"
    )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Measure what metrics and readable files cost.")
    parser.add_argument("--seconds", type=float, default=0.5, help="of one slice")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--in-flight", default="1,10,100")
    parser.add_argument("--directory", default=None, help="where to put the state")
    chosen = parser.parse_args(arguments)
    configure_logging("error", "json")
    heads = ("in flight", "exec/s", "lost", "CPU ms", "more CPU")
    print(" ".join(f"{head:>{size}}" for head, size in zip(heads, (9, 9, 8, 9, 8), strict=True)))
    for in_flight in (int(text) for text in chosen.in_flight.split(",")):
        with tempfile.TemporaryDirectory(dir=chosen.directory) as name:
            benches = uvloop.run(compare(Path(name), in_flight, chosen.seconds, chosen.rounds))
        for bench in benches:
            print(line(bench, benches[0], in_flight), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
