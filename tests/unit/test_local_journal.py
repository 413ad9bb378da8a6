"""The journal that keeps nothing and tells a bus."""

import logging

from hive_daemon.graph.facts import EdgeError, NodeSkipped, NodeStarted
from hive_daemon.graph.journal import LocalJournal, Move, Totals
from hive_daemon.graph.memory import Memory
from hive_daemon.graph.walk_state import Step, WalkState

STARTED = NodeStarted("a", "function", 1)
SKIPPED = NodeSkipped("b", "visited often enough", 2)


class Heard:
    """What a bus heard."""

    def __init__(self):
        self.told = []

    def note(self, name, **values):
        self.told.append((name, values))


def move(*facts):
    return Move(None, Step(WalkState(), Memory(), facts=facts), Totals())


async def told(bus, *facts, **settings):
    await LocalJournal(bus, "stream", "execution", **settings).step(move(*facts))
    return bus.told


async def test_a_method_is_given_only_what_it_takes():
    class Bus(Heard):
        def emit_node_started(self, node_id, visit):
            self.note("started", node_id=node_id, visit=visit)

    assert await told(Bus(), STARTED) == [("started", {"node_id": "a", "visit": 1})]


async def test_a_method_that_takes_anything_is_given_everything():
    class Bus(Heard):
        async def emit_node_started(self, **everything):
            self.note("started", **everything)

    given = {
        "stream_id": "stream",
        "execution_id": "execution",
        "node_id": "a",
        "node_type": "function",
        "visit": 1,
        "attempt": 1,
    }
    assert await told(Bus(), STARTED) == [("started", given)]


async def test_defaults_are_left_to_the_method_where_the_fact_has_no_such_field():
    class Bus(Heard):
        def emit_node_skipped(self, node_id, *, reason, colour="red"):
            self.note("skipped", node_id=node_id, reason=reason, colour=colour)

    values = {"node_id": "b", "reason": "visited often enough", "colour": "red"}
    assert await told(Bus(), SKIPPED) == [("skipped", values)]


async def test_what_a_bus_does_not_offer_is_not_told():
    class Bus(Heard):
        emit_node_skipped = "no method"

    assert await told(Bus(), STARTED, SKIPPED) == []


async def test_facts_are_told_in_order_those_noted_before_first():
    class Bus(Heard):
        def emit_node_started(self):
            self.note("started")

        async def emit_node_skipped(self):
            self.note("skipped")

        def emit_edge_error(self):
            self.note("edge")

    bus = Bus()
    journal = LocalJournal(bus)
    journal.begin(move(SKIPPED))
    journal.note(EdgeError("a", "e", "x", "?"))
    assert bus.told == []
    await journal.step(move(STARTED))
    assert [name for name, _ in bus.told] == ["skipped", "edge", "started"]


async def test_a_bus_that_fails_is_logged_and_disturbs_nothing(caplog):
    class Bus(Heard):
        def emit_node_started(self, node_id):
            raise RuntimeError("deaf")

        def emit_node_skipped(self, node_id):
            self.note("skipped", node_id=node_id)

    with caplog.at_level(logging.WARNING):
        assert await told(Bus(), STARTED, SKIPPED) == [("skipped", {"node_id": "b"})]
    (record,) = caplog.records
    assert (record.message, record.event) == ("an event bus failed", "node_started")
    assert record.exc_info is not None


async def test_a_method_that_needs_more_than_there_is_is_logged_too(caplog):
    class Bus(Heard):
        def emit_node_started(self, colour):
            self.note("started", colour=colour)

    with caplog.at_level(logging.WARNING):
        assert await told(Bus(), STARTED) == []
    assert len(caplog.records) == 1


async def test_a_journal_without_a_bus_tells_nobody():
    journal = LocalJournal(None)
    assert not journal.is_watched
    await journal.step(move(STARTED))


async def test_records_are_kept_as_long_as_the_journal_lives():
    journal = LocalJournal(None, records={"a/2": b"old"})
    await journal.record(records={"a/1": b"new", "b/1": b"other"})
    await journal.record(records={"a/2": None, "zzz": None})
    assert await journal.recall("a/") == {"a/1": b"new"}
