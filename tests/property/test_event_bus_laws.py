"""Laws of the event bus over any mix of subscribers, events, and handlers that publish."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.runtime.event_bus import AgentEvent, EventBus, EventType
from hive_daemon.runtime.events import EventFilter

TYPES = (EventType.CUSTOM, EventType.NODE_STARTED, EventType.LLM_TEXT_DELTA)
NAMES = ("a", "b")
MAYBE = st.sampled_from((None, *NAMES))

events = st.builds(
    AgentEvent,
    type=st.sampled_from(TYPES),
    stream_id=st.sampled_from((*NAMES, "a::b")),
    node_id=MAYBE,
    execution_id=MAYBE,
    graph_id=MAYBE,
)


@dataclass
class Subscriber:
    """A subscriber that writes down what it hears. `turns` are the turns it waits in its handler."""

    types: frozenset[EventType]
    stream: str | None
    node: str | None
    execution: str | None
    graph: str | None
    turns: int
    kind: str
    heard: list[AgentEvent] = field(default_factory=list)

    def matches(self, event):
        wanted = EventFilter(
            self.types, self.stream or "", self.node or "", self.execution or "", self.graph or ""
        )
        return wanted.matches(event)

    def handler(self):
        async def waits(event):
            for _ in range(self.turns):
                await turn()
            self.heard.append(event)

        async def at_once(event):
            self.heard.append(event)

        return {"plain": self.heard.append, "async": at_once, "waits": waits}[self.kind]


subscribers = st.builds(
    Subscriber,
    types=st.frozensets(st.sampled_from(TYPES)),
    stream=MAYBE,
    node=MAYBE,
    execution=MAYBE,
    graph=MAYBE,
    turns=st.integers(0, 4),
    kind=st.sampled_from(("plain", "async", "waits")),
)


async def turn():
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()
    loop.call_soon(waiter.set_result, None)
    await waiter


def subscribed(bus, subscriber):
    return bus.subscribe(
        subscriber.types,
        subscriber.handler(),
        filter_stream=subscriber.stream,
        filter_node=subscriber.node,
        filter_execution=subscriber.execution,
        filter_graph=subscriber.graph,
    )


@settings(max_examples=80, deadline=None)
@given(
    listening=st.lists(subscribers, max_size=6),
    script=st.lists(
        st.tuples(events, st.sampled_from(("publish", "deliver", "together"))), max_size=25
    ),
    most=st.integers(1, 3),
)
def test_everybody_hears_what_matches_once_in_the_order_of_the_timeline(listening, script, most):
    timeline = []

    async def play():
        bus = EventBus(max_concurrent_handlers=most)
        bus.watch(timeline.append)
        for subscriber in listening:
            subscribed(bus, subscriber)
        together = []
        for event, how in script:
            if how == "deliver":
                bus.deliver(event)
            elif how == "together":
                together.append(asyncio.ensure_future(bus.publish(event)))
            else:
                await bus.publish(event)
                for subscriber in listening:
                    heard = any(other is event for other in subscriber.heard)
                    assert heard == subscriber.matches(event)
        await asyncio.gather(*together)
        assert await bus.drain(10) == []

    asyncio.run(play())
    assert len(timeline) == len(script)
    for subscriber in listening:
        wanted = [event for event in timeline if subscriber.matches(event)]
        assert list(map(id, subscriber.heard)) == list(map(id, wanted))


@settings(max_examples=60, deadline=None)
@given(
    listening=st.lists(subscribers, min_size=1, max_size=5),
    leads_to=st.lists(st.lists(st.integers(0, 11), max_size=3), min_size=12, max_size=12),
    most=st.integers(1, 3),
)
def test_handlers_that_publish_keep_the_order_and_never_deadlock(listening, leads_to, most):
    """Event n leads to the later events named for it, published by a handler; a tree of causes of any depth."""
    timeline = []

    async def play():
        bus = EventBus(max_concurrent_handlers=most)
        bus.watch(timeline.append)
        left = 150

        async def publisher(event):
            nonlocal left
            n = event.data["n"]
            for more in leads_to[n]:
                if left and more > n:
                    left -= 1
                    await bus.publish(AgentEvent(EventType.CUSTOM, "a", data={"n": more}))

        for subscriber in listening:
            subscribed(bus, subscriber)
        bus.subscribe([EventType.CUSTOM], publisher)
        await bus.publish(AgentEvent(EventType.CUSTOM, "a", data={"n": 0}))
        assert await bus.drain(10) == []

    asyncio.run(play())
    for subscriber in listening:
        wanted = [event for event in timeline if subscriber.matches(event)]
        assert list(map(id, subscriber.heard)) == list(map(id, wanted))
