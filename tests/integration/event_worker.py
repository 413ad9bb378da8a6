"""An agent in a process of its own, to be killed: failures set off a guardian, and call back who watches.

`python -m … DIRECTORY`; it writes a line for each failure.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from tests.fakes.embedded import GOAL, function, graph_of

AT_ONCE = 10


async def fail() -> None:
    """Be the worker's node."""
    raise ValueError("broken")


async def guard(event: dict[str, object]) -> str:
    """Be the guardian's node."""
    return str(event["execution_id"])


async def watch() -> str:
    """Be the watcher's node, until it is called back."""
    await asyncio.Event().wait()
    return "never"


def specs() -> list[EntryPointSpec]:
    """Return the entry points."""
    config = {"event_types": ["execution_failed"], "filter_stream": "api"}
    return [
        EntryPointSpec(id="api", max_concurrent=AT_ONCE),
        EntryPointSpec(
            id="guardian",
            entry_node="guard",
            trigger_type="event",
            trigger_config=config,
            isolation_level="isolated",
        ),
        EntryPointSpec(
            id="watcher",
            entry_node="watch",
            trigger_type="event",
            trigger_config={
                "event_types": ["node_started"],
                "filter_stream": "api",
                "cancel_on": ["execution_failed"],
            },
            isolation_level="isolated",
        ),
    ]


async def client(runtime: AgentRuntime) -> None:
    """Fail again and again, and say so."""
    while True:
        await runtime.trigger_and_wait("api", {})
        print("failed", flush=True)


async def main(directory: Path) -> None:
    """Run until somebody ends it."""
    guarding = function("guard", guard, inputs=["event"])
    nodes = (function("fail", fail, max_retries=1), guarding, function("watch", watch))
    runtime = AgentRuntime(graph_of(*nodes), GOAL, directory)
    for spec in specs():
        runtime.register_entry_point(spec)
    await runtime.start()
    await asyncio.gather(*(client(runtime) for _ in range(AT_ONCE)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
