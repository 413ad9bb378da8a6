"""How a node of a program's own speaks to people."""

import asyncio

import pytest

from hive_daemon.errors import Conflict
from hive_daemon.graph.client_io import (
    MAX_PIECES,
    NOBODY_IS_ASKED,
    ActiveNodeClientIO,
    ClientIOGateway,
    InertNodeClientIO,
)
from hive_daemon.runtime.event_bus import EventBus
from hive_daemon.runtime.events import EventType


@pytest.fixture
def told():
    return []


@pytest.fixture
async def bus(told):
    bus = EventBus()
    bus.subscribe(
        list(EventType), lambda event: told.append((event.type, event.node_id, event.data))
    )
    return bus


async def test_what_is_said_is_read_piece_by_piece_and_published(bus, told):
    io = ActiveNodeClientIO("n", bus)
    await io.emit_output("Hello ")
    await io.emit_output("World", is_final=True)
    assert [piece async for piece in io.output_stream()] == ["Hello ", "World"]
    assert [(kind, node, data["snapshot"]) for kind, node, data in told] == [
        ("client_output_delta", "n", "Hello "),
        ("client_output_delta", "n", "Hello World"),
    ]


async def test_a_reader_that_came_first_is_given_what_is_said():
    io = ActiveNodeClientIO("n")
    pieces = io.output_stream()
    reading = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(0)
    await io.emit_output("Hello")
    assert await reading == "Hello"
    await pieces.aclose()


async def test_output_that_nobody_reads_is_kept_in_few_pieces():
    io = ActiveNodeClientIO("n")
    for _ in range(2 * MAX_PIECES):
        await io.emit_output("x")
    await io.emit_output("", is_final=True)
    pieces = [piece async for piece in io.output_stream()]
    assert (len(pieces), "".join(pieces)) == (MAX_PIECES, "x" * 2 * MAX_PIECES)


async def test_a_question_waits_for_its_answer(bus, told):
    io = ActiveNodeClientIO("n", bus)
    asking = asyncio.ensure_future(io.request_input("Name?"))
    while not told:
        await asyncio.sleep(0)
    await io.provide_input("Ada")
    assert await asking == "Ada"
    assert told == [("client_input_requested", "n", told[0][2])]
    assert told[0][2]["prompt"] == "Name?"


async def test_an_answer_may_come_before_its_question():
    io = ActiveNodeClientIO("n")
    await io.provide_input("Ada")
    assert await io.request_input("Name?") == "Ada"


async def test_a_question_ends_with_its_time_and_the_next_one_is_free():
    io = ActiveNodeClientIO("n")
    with pytest.raises(TimeoutError):
        await io.request_input("Name?", timeout=0)
    await io.provide_input("Ada")
    assert await io.request_input("Name?") == "Ada"


async def test_a_second_question_is_refused_while_one_is_open():
    io = ActiveNodeClientIO("n")
    first = asyncio.ensure_future(io.request_input("Name?"))
    await asyncio.sleep(0)
    with pytest.raises(Conflict, match="has asked already"):
        await io.request_input("Age?")
    first.cancel()


async def test_an_internal_node_is_answered_at_once(bus, told):
    io = InertNodeClientIO("n", bus)
    await io.emit_output("A note.")
    assert await io.request_input("Name?") == NOBODY_IS_ASKED
    assert [kind for kind, _, _ in told] == ["node_internal_output", "node_input_blocked"]


def test_the_gateway_gives_each_node_the_face_that_fits_it():
    gateway = ClientIOGateway()
    assert type(gateway.create_io("n", client_facing=True)) is ActiveNodeClientIO
    assert type(gateway.create_io("n", client_facing=False)) is InertNodeClientIO
