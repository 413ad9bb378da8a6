"""The event bus, law by law. What it promises under load and in any order of things is in tests/property."""

import asyncio
import functools
import logging
import tracemalloc

import pytest

from hive_daemon.runtime.event_bus import AgentEvent, EventBus, EventType, Subscription
from hive_daemon.runtime.handlers import MAX_QUEUED, PATIENCE_SECONDS
from hive_daemon.runtime.subscriptions import never_waits
from tests.fakes.clock import FakeClock

CUSTOM = EventType.CUSTOM


def event(n=0, kind=CUSTOM, stream="s", **fields):
    return AgentEvent(type=kind, stream_id=stream, data={"n": n}, **fields)


class Heard:
    """Keeps what it hears; `wait` makes it wait in the middle."""

    def __init__(self, wait=None):
        self.numbers = []
        self.events = []
        self.begun = asyncio.Event()
        self._wait = wait

    async def __call__(self, told):
        self.begun.set()
        if self._wait is not None:
            await self._wait.wait()
        self.numbers.append(told.data["n"])
        self.events.append(told)


async def suspended():
    """Let everybody else have a few turns."""
    loop = asyncio.get_running_loop()
    for _ in range(20):
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn


# --- publish --------------------------------------------------------------------------------


async def test_publish_returns_when_the_handlers_ran():
    bus, ran = EventBus(), []

    async def handler(told):
        await suspended()
        ran.append(told)

    bus.subscribe([CUSTOM], handler)
    told = event()
    await bus.publish(told)
    assert ran == [told]


async def test_plain_functions_are_handlers_too():
    bus, seen = EventBus(), []
    bus.subscribe([CUSTOM], seen.append)
    await bus.publish(event(1))
    assert [told.data["n"] for told in seen] == [1]


async def test_what_a_plain_function_answers_is_awaited():
    bus, heard = EventBus(), Heard()
    bus.subscribe([CUSTOM], lambda told: heard(told))
    await bus.publish(event(1))
    await bus.publish(event(2))
    assert heard.numbers == [1, 2]


async def test_bound_methods_and_partials_are_handlers_too():
    bus, seen = EventBus(), []

    class Listener:
        async def hear(self, told):
            seen.append(("method", told.data["n"]))

    async def named(name, told):
        seen.append((name, told.data["n"]))

    bus.subscribe([CUSTOM], Listener().hear)
    bus.subscribe([CUSTOM], functools.partial(named, "partial"))
    await bus.publish(event(1))
    assert sorted(seen) == [("method", 1), ("partial", 1)]


async def test_an_event_that_nobody_wants_is_published_at_once():
    bus = EventBus()
    await bus.publish(event())
    assert bus.get_stats()["total_events"] == 1


async def test_cancelling_a_publish_leaves_its_handler_at_work():
    bus, go = EventBus(), asyncio.Event()
    heard = Heard(wait=go)
    bus.subscribe([CUSTOM], heard)
    publishing = asyncio.ensure_future(bus.publish(event(1)))
    await heard.begun.wait()
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    go.set()
    await bus.drain()
    assert heard.numbers == [1]


async def test_unknown_types_are_refused():
    bus = EventBus()
    with pytest.raises(ValueError, match="no_such_type"):
        bus.subscribe(["no_such_type"], print)
    with pytest.raises(ValueError, match="no_such_type"):
        AgentEvent(type="no_such_type", stream_id="s")
    with pytest.raises(ValueError, match="no_such_type"):
        await bus.wait_for("no_such_type", timeout=0)
    with pytest.raises(ValueError, match="no_such_type"):
        await bus.emit("no_such_type")
    assert bus.get_stats()["subscriptions"] == 0


async def test_types_may_be_written_as_text():
    bus, heard = EventBus(), Heard()
    bus.subscribe(["custom"], heard)
    await bus.publish(AgentEvent(type="custom", stream_id="s", data={"n": 1}))
    assert heard.numbers == [1]
    assert heard.events[0].type is CUSTOM


async def test_no_types_means_all_of_them():
    bus, heard = EventBus(), Heard()
    bus.subscribe([], heard)
    await bus.publish(event(1, EventType.NODE_STARTED))
    await bus.publish(event(2))
    assert heard.numbers == [1, 2]


# --- one timeline ---------------------------------------------------------------------------


async def test_everybody_hears_an_event_before_what_a_handler_publishes_because_of_it():
    bus, first, second = EventBus(), Heard(), Heard()

    async def publisher(told):
        if told.data["n"] < 3:
            await bus.publish(event(told.data["n"] + 1))

    bus.subscribe([CUSTOM], first)
    bus.subscribe([CUSTOM], publisher)
    bus.subscribe([CUSTOM], second)
    bus.deliver(event(0))
    await bus.drain()
    assert first.numbers == second.numbers == [0, 1, 2, 3]


async def test_a_subscriber_hears_one_event_at_a_time():
    bus, at_once, most = EventBus(), 0, 0

    async def handler(told):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await suspended()
        at_once -= 1

    bus.subscribe([CUSTOM], handler)
    await asyncio.gather(*(bus.publish(event(n)) for n in range(5)))
    assert most == 1


# --- handlers that publish ------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 10, 25])
async def test_handlers_that_publish_never_deadlock_however_deep(width):
    bus, heard = EventBus(max_concurrent_handlers=10), Heard()

    async def deeper(told):
        await suspended()
        if told.data["n"] < 40:
            await bus.publish(event(told.data["n"] + 1))

    for _ in range(width):
        bus.subscribe([CUSTOM], deeper, filter_stream="s")
    bus.subscribe([CUSTOM], heard)

    async def once_each():
        await bus.publish(event(39))

    await asyncio.gather(*(once_each() for _ in range(10)))
    await bus.drain()
    assert heard.numbers.count(40) == 10 * width


async def test_a_publish_from_inside_a_handler_returns_once_queued():
    bus, order = EventBus(), []

    async def outer(told):
        await bus.publish(event(1, EventType.NODE_STARTED))
        order.append("published")

    async def inner(told):
        await suspended()
        order.append("inner ran")

    bus.subscribe([CUSTOM], outer)
    bus.subscribe([EventType.NODE_STARTED], inner)
    await bus.publish(event())
    await bus.drain()
    assert order == ["published", "inner ran"]


async def test_a_task_begun_by_a_handler_publishes_like_anybody_else_once_the_handler_is_done():
    bus, order, tasks = EventBus(), [], []

    async def later():
        await suspended()
        await bus.publish(event(1, EventType.NODE_STARTED))
        order.append("published")

    async def slow(told):
        await suspended()
        order.append("handled")

    bus.subscribe([CUSTOM], lambda told: tasks.append(asyncio.ensure_future(later())))
    bus.subscribe([EventType.NODE_STARTED], slow)
    await bus.publish(event())
    await asyncio.gather(*tasks)
    assert order == ["handled", "published"]


async def test_a_handler_that_feeds_itself_leaves_the_rest_of_the_process_its_turn():
    bus, stop = EventBus(), asyncio.Event()

    async def endless(told):
        if not stop.is_set():
            bus.deliver(event())

    bus.subscribe([CUSTOM], endless)
    bus.deliver(event())
    await suspended()
    stop.set()
    assert await bus.drain(5) == []


async def test_what_a_handler_publishes_carries_the_chain_of_what_it_handles():
    bus, heard = EventBus(), Heard()

    async def passes_on(told):
        await bus.publish(event(1, EventType.NODE_STARTED))
        await bus.publish(event(2, EventType.NODE_STARTED, causation=("other",)))

    bus.subscribe([CUSTOM], passes_on)
    bus.subscribe([EventType.NODE_STARTED], heard)
    await bus.publish(event(0, causation=("ops/a", "ops/b")))
    await bus.drain()
    assert [told.causation for told in heard.events] == [("ops/a", "ops/b"), ("other",)]


# --- slow handlers --------------------------------------------------------------------------


async def test_a_slow_handler_delays_nobody_but_itself():
    bus, never = EventBus(), asyncio.Event()
    slow, quick = Heard(wait=never), Heard()
    bus.subscribe([CUSTOM], slow)
    bus.subscribe([CUSTOM], quick)
    for n in range(3):
        bus.deliver(event(n))
    await suspended()
    assert quick.numbers == [0, 1, 2]
    assert slow.numbers == []
    never.set()
    await bus.drain()
    assert slow.numbers == [0, 1, 2]


async def test_no_more_than_the_given_number_of_handlers_run_at_once():
    bus, at_once, most = EventBus(max_concurrent_handlers=3), 0, 0

    async def handler(told):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await suspended()
        at_once -= 1

    for _ in range(10):
        bus.subscribe([CUSTOM], handler)
    await bus.publish(event())
    assert most == 3


async def test_handlers_that_take_longer_than_a_second_keep_the_others_waiting_no_longer():
    clock, never = FakeClock(auto=False), asyncio.Event()
    bus = EventBus(max_concurrent_handlers=2, clock=clock)
    slow = [Heard(wait=never) for _ in range(2)]
    awaited = asyncio.Event()
    awaited.set()
    quick = Heard(wait=awaited)
    for handler in (*slow, quick):
        bus.subscribe([CUSTOM], handler)
    bus.deliver(event(0))
    await suspended()
    assert quick.numbers == []
    await clock.advance(PATIENCE_SECONDS)
    assert quick.numbers == [0]
    bus.deliver(event(1))
    await suspended()
    assert quick.numbers == [0, 1], "they are known to be slow now"
    never.set()
    await bus.drain()
    assert [handler.numbers for handler in slow] == [[0, 1], [0, 1]]


async def test_a_full_queue_drops_the_oldest_and_counts_it(caplog):
    bus, never = EventBus(), asyncio.Event()
    slow, quick = Heard(wait=never), []
    name = bus.subscribe([CUSTOM], slow)
    bus.subscribe([CUSTOM], quick.append)
    bus.deliver(event(-1))
    await slow.begun.wait()
    waits = asyncio.ensure_future(bus.publish(event(-2)))
    await suspended()
    with caplog.at_level(logging.WARNING):
        for n in range(MAX_QUEUED + 2):
            bus.deliver(event(n))
    await waits  # its event was dropped: nobody waits for it for ever
    never.set()
    await bus.drain()
    assert slow.numbers == [-1, *range(2, MAX_QUEUED + 2)]
    assert len(quick) == MAX_QUEUED + 4
    assert (bus.get_stats()["dropped"], bus.get_stats()["dropped_by"]) == (3, {name: 3})
    assert [record.subscription for record in caplog.records] == [name]


# --- failures -------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [False, True])
async def test_a_handlers_exception_is_logged_and_reaches_nobody_else(waits, caplog):
    bus, heard = EventBus(), Heard()

    async def breaks_later(told):
        await suspended()
        raise RuntimeError("broken")

    async def breaks(told):
        raise RuntimeError("broken")

    bus.subscribe([CUSTOM], breaks_later if waits else breaks)
    bus.subscribe([CUSTOM], heard)
    await bus.publish(event(1))
    await bus.publish(event(2))
    assert heard.numbers == [1, 2]
    assert [record.getMessage() for record in caplog.records] == ["event handler failed"] * 2


async def test_a_handler_that_is_cancelled_from_within_goes_on_with_the_next_event(caplog):
    bus, heard = EventBus(), Heard()

    async def gives_up(told):
        if told.data["n"] == 1:
            cancelled = asyncio.get_running_loop().create_future()
            cancelled.cancel()
            await cancelled
        await heard(told)

    bus.subscribe([CUSTOM], gives_up)
    await bus.publish(event(1))
    await bus.publish(event(2))
    assert heard.numbers == [2]
    assert caplog.records[0].getMessage() == "event handler failed"


# --- filters --------------------------------------------------------------------------------

WHERE = {
    "stream": {"stream_id": "hook"},
    "node": {"node_id": "n1"},
    "execution": {"execution_id": "e1"},
    "graph": {"graph_id": "g1"},
}


@pytest.mark.parametrize("name", WHERE)
async def test_each_filter_lets_through_what_it_names_and_nothing_else(name):
    bus, heard = EventBus(), Heard()
    ((key, value),) = WHERE[name].items()
    bus.subscribe([CUSTOM], heard, **{f"filter_{name}": value})
    places = {"stream_id": "other", "node_id": "other", "execution_id": "other", "graph_id": "x"}
    await bus.publish(AgentEvent(CUSTOM, **{**places, key: value}, data={"n": 1}))
    await bus.publish(AgentEvent(CUSTOM, **places, data={"n": 2}))
    await bus.publish(AgentEvent(CUSTOM, "other", data={"n": 3}))
    assert heard.numbers == [1]


async def test_several_filters_must_all_match():
    bus, heard = EventBus(), Heard()
    bus.subscribe([CUSTOM], heard, filter_stream="s", filter_node="n", filter_graph="g")
    await bus.publish(event(1, node_id="n", graph_id="g"))
    await bus.publish(event(2, node_id="n", graph_id="other"))
    await bus.publish(event(3, graph_id="g"))
    await bus.publish(event(4, stream="other", node_id="n", graph_id="g"))
    assert heard.numbers == [1]


async def test_a_stream_filter_that_is_a_graphs_id_means_every_stream_of_it():
    bus, heard = EventBus(), Heard()
    bus.subscribe([CUSTOM], heard, filter_stream="judge")
    await bus.publish(event(1, stream="judge::check", graph_id="judge"))
    await bus.publish(event(2, stream="judge", graph_id="judge"))
    await bus.publish(event(3, stream="judge"))
    await bus.publish(event(4, stream="judge::check", graph_id="primary"))
    assert heard.numbers == [1, 2, 3]


async def test_an_empty_filter_means_any():
    bus, heard = EventBus(), Heard()
    bus.subscribe([CUSTOM], heard, filter_stream="", filter_node=None)
    await bus.publish(event(1))
    assert heard.numbers == [1]


# --- unsubscribing --------------------------------------------------------------------------


async def test_nothing_is_heard_after_unsubscribe_not_even_what_is_queued():
    bus, go = EventBus(), asyncio.Event()
    heard = Heard(wait=go)
    name = bus.subscribe([CUSTOM], heard)
    bus.deliver(event(1))
    await heard.begun.wait()
    waits = asyncio.ensure_future(bus.publish(event(2)))
    await suspended()
    assert bus.unsubscribe(name)
    await waits
    bus.deliver(event(3))
    go.set()
    await bus.drain()
    assert heard.numbers == [1]
    assert not bus.unsubscribe(name)


async def test_a_handler_may_unsubscribe_itself():
    bus, numbers = EventBus(), []

    async def once(told):
        numbers.append(told.data["n"])
        bus.unsubscribe(name)

    name = bus.subscribe([CUSTOM], once)
    await bus.publish(event(1))
    await bus.publish(event(2))
    assert numbers == [1]


async def test_ten_thousand_subscriptions_that_come_and_go_leave_nothing_behind():
    bus, heard = EventBus(), Heard()

    def come_and_go():
        names = [
            bus.subscribe([CUSTOM, EventType.NODE_STARTED], heard, filter_stream=f"s{n % 7}")
            for n in range(10_000)
        ]
        assert all(bus.unsubscribe(name) for name in names)

    tracemalloc.start()
    try:
        sizes = []
        for _ in range(4):
            come_and_go()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[-1] - sizes[1] < 10_000
    assert bus.get_stats()["subscriptions"] == 0
    assert not bus.wants(CUSTOM)


# --- looking back ---------------------------------------------------------------------------


async def test_the_history_is_newest_first_and_bounded():
    bus = EventBus(max_history=3)
    for n in range(5):
        await bus.publish(event(n))
    assert [told.data["n"] for told in bus.get_history()] == [4, 3, 2]
    assert [told.data["n"] for told in bus.get_history(limit=1)] == [4]
    assert bus.get_history(limit=0) == []
    assert bus.get_stats()["total_events"] == 5
    assert (bus.get_stats()["history"], bus.get_stats()["history_forgotten"]) == (3, 2)


async def test_the_history_is_filtered():
    bus = EventBus()
    await bus.publish(event(1, EventType.EXECUTION_FAILED, execution_id="e1"))
    await bus.publish(event(2, EventType.EXECUTION_FAILED, stream="t", execution_id="e2"))
    await bus.publish(event(3, execution_id="e1"))
    numbers = lambda **wanted: [told.data["n"] for told in bus.get_history(**wanted)]  # noqa: E731
    assert numbers(event_type=EventType.EXECUTION_FAILED) == [2, 1]
    assert numbers(event_type="execution_failed", stream_id="t") == [2]
    assert numbers(execution_id="e1") == [3, 1]


async def test_text_deltas_do_not_push_the_rest_out_of_the_history():
    bus = EventBus(max_history=1000)
    await bus.publish(event(-1))
    for n in range(2000):
        await bus.publish(event(n, EventType.LLM_TEXT_DELTA))
    assert [told.data["n"] for told in bus.get_history(event_type=CUSTOM)] == [-1]
    deltas = bus.get_history(event_type=EventType.LLM_TEXT_DELTA, limit=5000)
    assert [told.data["n"] for told in deltas] == [*range(1999, 1899, -1)]
    await bus.publish(event(-2))
    assert [told.data["n"] for told in bus.get_history(limit=2)] == [-2, 1999]


async def test_of_a_text_only_its_newest_piece_is_remembered_with_the_whole():
    """Source: fault W58, a history that holds the square of what was written."""
    bus, heard = EventBus(), []
    bus.subscribe(["llm_text_delta"], lambda told: heard.append(dict(told.data)))
    for whole in ("a", "ab", "abc", "x", "xy"):
        await bus.emit_llm_text_delta("s", "n", whole[-1], whole, execution_id="e")
    await bus.emit_llm_text_delta("s", "other", "b", "ab", execution_id="e")
    kept = [told.data for told in bus.get_history("llm_text_delta")]
    assert kept == [
        {"content": "b", "snapshot": "ab"},
        {"content": "y", "snapshot": "xy"},
        {"content": "x"},
        {"content": "c", "snapshot": "abc"},
        {"content": "b"},
        {"content": "a"},
    ]
    assert [told["snapshot"] for told in heard] == ["a", "ab", "abc", "x", "xy", "ab"]


async def test_the_history_of_a_long_text_is_not_longer_than_twice_the_text():
    bus, whole = EventBus(), ""
    for _ in range(300):
        whole += "x" * 100
        await bus.emit_llm_text_delta("s", "n", "x" * 100, whole)
    kept = bus.get_history("llm_text_delta", limit=1000)
    assert len(kept) == 100
    assert sum(len(text) for told in kept for text in told.data.values()) <= 2 * len(whole)


async def test_statistics_count_by_type():
    bus = EventBus()
    await bus.publish(event())
    await bus.publish(event())
    await bus.publish(event(0, EventType.NODE_STARTED))
    assert bus.get_stats()["events_by_type"] == {"custom": 2, "node_started": 1}


# --- waiting --------------------------------------------------------------------------------


async def test_wait_for_answers_the_next_matching_event():
    bus = EventBus()
    waiting = asyncio.ensure_future(bus.wait_for(CUSTOM, node_id="n", graph_id="g"))
    await suspended()
    await bus.publish(event(1, node_id="m", graph_id="g"))
    await bus.publish(event(2, node_id="n", graph_id="g"))
    assert (await waiting).data["n"] == 2


async def test_waiting_gives_up_after_its_timeout_which_may_be_none_at_all():
    bus = EventBus()
    assert await bus.wait_for(CUSTOM, timeout=0) is None
    assert await bus.wait_for(CUSTOM, timeout=0.001) is None
    assert not bus.wants(CUSTOM), "nobody waits any more"


async def test_the_end_of_a_named_execution_may_have_been_already():
    bus = EventBus()
    await bus.publish(event(1, EventType.EXECUTION_COMPLETED, execution_id="e1"))
    found = await bus.wait_for(EventType.EXECUTION_COMPLETED, execution_id="e1", timeout=0)
    assert found is not None
    assert found.data["n"] == 1
    assert await bus.wait_for(EventType.EXECUTION_COMPLETED, "s", timeout=0) is None


async def test_what_may_happen_again_is_waited_for_anew():
    bus = EventBus()
    await bus.publish(event(1, EventType.NODE_LOOP_ITERATION, execution_id="e1"))
    wanted = (EventType.NODE_LOOP_ITERATION, None, None, "e1")
    assert await bus.wait_for(*wanted, timeout=0) is None
    looked_back = await bus.wait_for(*wanted, timeout=0, look_back=True)
    assert looked_back is not None


async def test_two_may_wait_for_one_event():
    bus = EventBus()
    both = asyncio.gather(bus.wait_for(CUSTOM), bus.wait_for(CUSTOM))
    await suspended()
    await bus.publish(event(1))
    assert [told.data["n"] for told in await both] == [1, 1]


async def test_a_handler_may_wait_for_what_another_one_publishes():
    bus, got = EventBus(max_concurrent_handlers=1), []

    async def waits(told):
        got.append(await bus.wait_for(EventType.NODE_STARTED))

    async def answers(told):
        await bus.publish(event(7, EventType.NODE_STARTED))

    bus.subscribe([CUSTOM], waits)
    bus.subscribe([CUSTOM], answers)
    await bus.publish(event())
    assert [told.data["n"] for told in got] == [7]


# --- watching, drain and close --------------------------------------------------------------


async def test_who_watches_sees_every_event_until_it_stops():
    bus, seen = EventBus(), []
    stop = bus.watch(lambda told: seen.append(told.data["n"]))
    bus.deliver(event(1))
    bus.deliver(event(2, EventType.LLM_TEXT_DELTA))
    stop()
    bus.deliver(event(3))
    assert seen == [1, 2]


async def test_drain_names_the_handlers_that_do_not_end():
    bus, never = EventBus(), asyncio.Event()
    name = bus.subscribe([CUSTOM], Heard(wait=never))
    bus.deliver(event())
    assert await bus.drain(0) == [f"event bus: handler {name}"]
    never.set()
    assert await bus.drain(5) == []


async def test_close_lets_nobody_wait_for_handlers_that_will_not_run():
    bus, never = EventBus(), asyncio.Event()
    heard = Heard(wait=never)
    bus.subscribe([CUSTOM], heard)
    waits = [asyncio.ensure_future(bus.publish(event(n))) for n in range(3)]
    await heard.begun.wait()
    assert await bus.close() == []
    await asyncio.gather(*waits)
    await bus.publish(event(4))
    assert heard.numbers == []


# --- shapes ---------------------------------------------------------------------------------


async def test_every_type_has_an_emitter_that_takes_its_payload_by_name_and_in_order():
    bus, heard = EventBus(), []
    bus.subscribe([], heard.append)
    await bus.emit_llm_text_delta(stream_id="s", node_id="n", content="a", snapshot="ab")
    await bus.emit_tool_call_started("s", "n", "id", "read", {"path": "x"})
    await bus.emit_node_loop_started("s", "n", max_iterations=5, execution_id="e")
    await bus.emit_execution_started("s", "e", input_data={"q": 1}, correlation_id="c")
    await bus.emit_webhook_received(source_id="github", path="/h", method="POST")
    await bus.emit_goal_progress("s", 0.5, {})
    assert [
        (told.type.value, told.stream_id, told.node_id, told.execution_id, told.data)
        for told in heard
    ] == [
        ("llm_text_delta", "s", "n", None, {"content": "a", "snapshot": "ab"}),
        (
            "tool_call_started",
            "s",
            "n",
            None,
            {"tool_use_id": "id", "tool_name": "read", "tool_input": {"path": "x"}},
        ),
        ("node_loop_started", "s", "n", "e", {"max_iterations": 5}),
        ("execution_started", "s", None, "e", {"input": {"q": 1}}),
        ("webhook_received", "github", None, None, {"path": "/h", "method": "POST"}),
        ("goal_progress", "s", None, None, {"progress": 0.5, "criteria_status": {}}),
    ]
    for kind in EventType:
        assert callable(getattr(bus, f"emit_{kind.value}"))
    with pytest.raises(AttributeError):
        bus.emit_no_such_type()
    with pytest.raises(TypeError, match="stream_id, node_id, reason, seconds"):
        await bus.emit_node_stalled("s", "n", "reason", 240.0, "too much")


def test_a_subscription_shows_what_it_listens_to():
    bus = EventBus()
    name = bus.subscribe([CUSTOM], print, filter_node="n")
    (subscription,) = bus._subscriptions
    assert isinstance(subscription, Subscription)
    assert (subscription.id, subscription.event_types) == (name, {CUSTOM})
    assert (subscription.filter_node, subscription.filter_stream) == ("n", None)


def test_a_member_of_the_enum_and_its_text_are_the_same_key():
    assert hash(CUSTOM) == hash("custom")
    assert {CUSTOM: 1}["custom"] == 1


async def test_handlers_with_an_await_in_them_are_never_called_on_the_spot():
    async def plain(told): ...
    async def awaits(told):
        await suspended()

    async def enters(told):
        async with asyncio.timeout(1):
            pass

    async def iterates(told):
        async for _ in told:
            pass

    async def comprehends(told):
        return [x async for x in told]

    assert never_waits(plain)
    assert not any(map(never_waits, (awaits, enters, iterates, comprehends)))
    assert not never_waits(functools.partial(plain))
