"""A keyboard and a screen."""

import asyncio
import io
import os

import pytest

from hive_daemon.runner.console import BROKE_OFF, Conversation, Keyboard, Terminal
from hive_daemon.runtime.event_bus import EventBus
from hive_daemon.runtime.events import AgentEvent, EventType


@pytest.fixture
def typing():
    """A keyboard, and what types on it; None hangs up, as each test does at its end."""
    reader, writer = os.pipe()

    def type_in(text):
        if text is None:
            os.close(writer)
        else:
            os.write(writer, text.encode())

    # The reader is left to the keyboard's thread, which ends when the writer is closed.
    return Keyboard(reader), type_in


async def test_lines_are_read_in_order_however_they_come(typing):
    keyboard, type_in = typing
    terminal = Terminal(keyboard, io.StringIO())
    type_in("one\ntwo\nth")
    first = await terminal.listen()
    type_in("ree — ü\n")
    assert [first, await terminal.listen(), await terminal.listen()] == ["one", "two", "three — ü"]
    type_in(None)
    assert [await terminal.listen(), await terminal.listen()] == [None, None]


async def test_a_line_that_nobody_waited_for_is_the_next_ones(typing):
    keyboard, type_in = typing
    terminal = Terminal(keyboard, io.StringIO())
    asked = asyncio.ensure_future(terminal.listen())
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    type_in("late\n")
    assert await terminal.listen() == "late"
    type_in(None)


def test_the_keyboard_outlives_an_event_loop(typing):
    keyboard, type_in = typing
    type_in("one\ntwo\n")
    lines = [asyncio.run(Terminal(keyboard, io.StringIO()).listen()) for _ in range(2)]
    assert lines == ["one", "two"]
    type_in(None)


async def test_nothing_that_is_said_commands_the_terminal(typing):
    keyboard, type_in = typing
    screen = io.StringIO()
    await Terminal(keyboard, screen).say("a\x1b[2J\n\tb")
    assert screen.getvalue() == "a\\x1b[2J\n\tb"
    type_in(None)


class Listener:
    """A person who answers `yes` to everything; what was said to them."""

    def __init__(self):
        self.heard = ""

    async def say(self, text):
        self.heard += text

    async def listen(self):
        self.heard += "yes\n"
        return "yes"


class Talking:
    """A runtime of which only the bus is heard."""

    def __init__(self):
        self.bus = EventBus()

    def subscribe_to_events(self, types, handler):
        return self.bus.subscribe(types, handler)

    def unsubscribe_from_events(self, subscription):
        return self.bus.unsubscribe(subscription)

    async def tell(self, content, snapshot, **more):
        data = {"content": content, "snapshot": snapshot, **more}
        await self.bus.publish(AgentEvent(EventType.CLIENT_OUTPUT_DELTA, "s", data=data))

    async def request(self, prompt, options=()):
        data = {"prompt": prompt, "options": list(options)}
        await self.bus.publish(AgentEvent(EventType.CLIENT_INPUT_REQUESTED, "s", data=data))


async def test_each_answer_and_each_question_begins_on_a_line_of_its_own():
    runtime, person = Talking(), Listener()
    talk = Conversation(person)
    with talk.attached(runtime):
        await runtime.tell("Hel", "Hel")
        await runtime.tell("lo.", "Hello.")
        await runtime.tell("Well", "Well")
        await runtime.tell("", "", is_reset=True)
        await runtime.tell("Well.\n", "Well.\n")
        await runtime.tell("So", "So")
        assert await talk.ask("Good?", ["yes", "no"]) == "yes"
        await runtime.tell("Fine.", "Fine.")
        await talk.end_line()
        await talk.end_line()
    told = ["Hello.", "Well", BROKE_OFF, "Well.", "So", "Good? (yes, no)", "> yes", "Fine."]
    assert person.heard.splitlines() == told


@pytest.mark.parametrize(
    ("prompt", "options", "asked"),
    [
        ("What rules?", (), "> yes\n"),
        ("Which ones?", (), "Which ones?\n> yes\n"),
        ("What rules?", ("a", "b"), "What rules? (a, b)\n> yes\n"),
    ],
)
async def test_what_a_node_asks_in_plain_words_is_not_shown_twice(prompt, options, asked):
    runtime, person = Talking(), Listener()
    talk = Conversation(person)
    with talk.attached(runtime):
        await runtime.tell("What ", "What ")
        await runtime.tell("rules?", "What rules?")
        await runtime.request(prompt, options)
        assert await talk.answer_for("") == "yes"
    assert person.heard == f"What rules?\n{asked}"
