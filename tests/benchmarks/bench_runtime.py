"""How many durable executions per second a runtime carries, beside what SQLite allows at most.

An execution is a graph of three trivial function nodes, triggered, walked and awaited through `AgentRuntime`; its state
is durable at every node boundary, with its events, checkpoints and logs in the store. "Limit" is the one of
`bench_store`, measured in the same run: the same number of transactions with SQLite FULL and nothing else.

    python -m tests.benchmarks.bench_runtime [--seconds 3] [--in-flight 1,10,100] [--mirror off,full]
        [--loop asyncio|uvloop] [--directory DIR] [--profile FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hive_daemon.graph.edge import EdgeSpec, GraphSpec
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.node import NodeSpec
from hive_daemon.observability.logging import configure_logging
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig
from hive_daemon.storage.mirror_fold import MirrorMode
from tests.benchmarks.bench_store import Figures, measure_limit, run_on

WARM_UP_SECONDS = 0.5


async def parse(line: str) -> dict[str, str]:
    """First node."""
    return {"parsed": line.strip()}


async def count(parsed: str) -> dict[str, int]:
    """Second node."""
    return {"words": len(parsed.split())}


async def report(words: int) -> dict[str, str]:
    """Last node."""
    return {"report": f"{words} words"}


def three_nodes() -> GraphSpec:
    """Return the graph that is walked."""
    nodes = [
        NodeSpec(id="parse", node_type="function", function=parse, output_keys=["parsed"]),
        NodeSpec(id="count", node_type="function", function=count, output_keys=["words"]),
        NodeSpec(id="report", node_type="function", function=report, output_keys=["report"]),
    ]
    for node, keys in zip(nodes, (["line"], ["parsed"], ["words"]), strict=True):
        node.input_keys = keys
    return GraphSpec(
        id="bench",
        goal_id="bench",
        entry_node="parse",
        terminal_nodes=["report"],
        nodes=nodes,
        edges=[
            EdgeSpec(id="counted", source="parse", target="count"),
            EdgeSpec(id="reported", source="count", target="report"),
        ],
    )


async def client(runtime: AgentRuntime, until: float, took: list[float]) -> None:
    """Trigger and await one execution after the other."""
    while time.perf_counter() < until:
        began = time.perf_counter()
        result = await runtime.trigger_and_wait("api", {"line": "three short words"})
        if result is None or not result.success:
            raise RuntimeError(f"an execution did not end well: {result}")
        took.append(time.perf_counter() - began)


async def load(runtime: AgentRuntime, in_flight: int, seconds: float) -> list[float]:
    """Keep a number of executions in flight; return the seconds that each took."""
    took: list[float] = []
    until = time.perf_counter() + seconds
    await asyncio.gather(*(client(runtime, until, took) for _ in range(in_flight)))
    return took


async def measure_runtime(
    directory: Path, in_flight: int, seconds: float, mirror: str, profile: cProfile.Profile | None
) -> Figures:
    """Measure a runtime of its own."""
    runtime = AgentRuntime(
        three_nodes(),
        Goal(id="bench", name="Bench"),
        directory,
        config=AgentRuntimeConfig(
            mirror=MirrorMode(mirror.partition(":")[0]),
            mirror_process=mirror.endswith(":process"),
            max_concurrent_executions=in_flight,
        ),
    )
    runtime.register_entry_point(EntryPointSpec(id="api", max_concurrent=max(2, in_flight)))
    await runtime.start()
    try:
        await load(runtime, in_flight, WARM_UP_SECONDS)
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        if profile is not None:
            profile.enable()
        took = await load(runtime, in_flight, seconds)
        if profile is not None:
            profile.disable()
        elapsed = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_SELF)
    finally:
        await runtime.stop()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figures(sorted(took), elapsed, cpu)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Measure the runtime beside what SQLite allows.")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--in-flight", default="1,10,100")
    parser.add_argument("--mirror", default="off,full")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="uvloop")
    parser.add_argument("--directory", default=None, help="where to put the state")
    parser.add_argument("--profile", default=None, help="profile the event loop into this file")
    chosen = parser.parse_args(arguments)
    configure_logging("error", "json")
    heads = ("in flight", "exec/s", "p50 ms", "p99 ms", "CPU ms", "limit/s", "of limit")
    print(" ".join(f"{head:>9}" for head in heads), "  mirror")
    profile = cProfile.Profile() if chosen.profile else None
    for in_flight in (int(text) for text in chosen.in_flight.split(",")):
        with tempfile.TemporaryDirectory(dir=chosen.directory) as name:
            limit = measure_limit(Path(name), in_flight, chosen.seconds / 2)
            for mirror in chosen.mirror.split(","):
                state = Path(name) / mirror.replace(":", "-")
                work = measure_runtime(state, in_flight, chosen.seconds, mirror, profile)
                print(run_on(chosen.loop, work).line(in_flight, limit), f"  {mirror}")
    if profile is not None:
        profile.dump_stats(chosen.profile)
    return 0


if __name__ == "__main__":
    sys.exit(main())
