"""How many events per second the bus takes, with nobody, one and a hundred subscribers.

"publish" waits for the handlers, as programs do; "deliver" does not, as executions do: here in bursts of 1,000 that are
drained. "filtered" are a hundred subscribers, each to a stream of its own, and every event is wanted by one of them;
"others" are a hundred that want other events. A handler "at once" has no await in it, one that "waits" has. The figures
to reach: nobody ≤ 2 µs with the event made, a hundred filtered ≥ 300,000/s.

    python -m tests.benchmarks.bench_bus [--events 20000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from hive_daemon.runtime.event_bus import AgentEvent, EventBus, EventType

BURST = 1_000
KIND = EventType.NODE_COMPLETED

Send = Callable[[EventBus, Sequence[AgentEvent]], Awaitable[None]]


async def at_once(event: AgentEvent) -> None:
    """Take an event."""
    event.data["seen"] = True


async def waits(event: AgentEvent) -> None:
    """Take an event; the code could wait."""
    if "never" in event.data:
        await asyncio.Event().wait()


def make(stream: str) -> AgentEvent:
    """Make an event as an execution does."""
    return AgentEvent(KIND, stream, "node", "execution", graph_id="graph")


async def publish(bus: EventBus, events: Sequence[AgentEvent]) -> None:
    """Publish events one after the other."""
    for event in events:
        await bus.publish(event)


async def publish_new(bus: EventBus, events: Sequence[AgentEvent]) -> None:
    """Make events and publish them."""
    for event in events:
        await bus.publish(make(event.stream_id))


async def deliver(bus: EventBus, events: Sequence[AgentEvent]) -> None:
    """Deliver a burst of events and wait until it was handled."""
    for event in events:
        bus.deliver(event)
    await bus.drain()


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    name: str
    send: Send
    subscribers: int = 0
    handler: Callable[[AgentEvent], Awaitable[None]] = at_once
    filters: str = "streams"
    share: int = 1

    def bus(self) -> EventBus:
        """Make the bus of this case."""
        bus = EventBus()
        for n in range(self.subscribers):
            stream = {"streams": f"s{n}", "others": f"other{n}"}.get(self.filters)
            bus.subscribe([KIND], self.handler, filter_stream=stream)
        return bus

    def events(self) -> list[AgentEvent]:
        """Make the events of one burst."""
        return [make(f"s{n % max(1, self.subscribers)}") for n in range(BURST)]


def cases() -> Iterator[Case]:
    """Give the rows."""
    yield Case("nobody, publish", publish)
    yield Case("nobody, publish, event made", publish_new)
    for handler in (at_once, waits):
        how = "at once" if handler is at_once else "waits"
        for send in (publish, deliver):
            name = f"{send.__name__}, {how}"
            yield Case(f"1 subscriber, {name}", send, 1, handler, "none")
            yield Case(f"100 filtered, {name}", send, 100, handler)
            yield Case(f"100 others, {name}", send, 100, handler, "others")
            yield Case(f"100 subscribers, {name}", send, 100, handler, "none", share=20)


async def measure(case: Case, events: int, rounds: int) -> float:
    """Return the best seconds per event."""
    bursts = max(1, events // BURST // case.share)
    best = float("inf")
    for _ in range(rounds):
        bus, burst = case.bus(), case.events()
        began = time.perf_counter()
        for _ in range(bursts):
            await case.send(bus, burst)
        best = min(best, (time.perf_counter() - began) / (bursts * BURST))
    return best


async def show(events: int, rounds: int) -> None:
    """Print the table."""
    print(f"{'':44}{'µs/event':>10}{'events/s':>12}")
    for case in cases():
        seconds = await measure(case, events, rounds)
        print(f"{case.name:44}{seconds * 1e6:>10.2f}{1 / seconds:>12,.0f}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    asyncio.run(show(chosen.events, chosen.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
