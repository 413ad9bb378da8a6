"""A person at a terminal: what nodes say to people is printed, what they ask is read from the keyboard."""

from __future__ import annotations

import asyncio
import codecs
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Protocol, TextIO

from hive_daemon.observability.strict_json import escape_controls
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.tasks import to_thread

PROMPT = "> "
BROKE_OFF = "(that broke off, it begins anew)"
_CHUNK = 4096
_KEPT = re.compile(r"([\n\t])")


class Person(Protocol):
    """Somebody who listens and may answer."""

    async def say(self, text: str) -> None:
        """Show a piece of text."""

    async def listen(self) -> str | None:
        """Return the next line, None when there will be no more."""


def terminal() -> Terminal | None:
    """Return the terminal of this process, None if its standard input is none."""
    stdin = sys.stdin
    try:
        is_terminal = stdin is not None and stdin.isatty()
    except ValueError:
        # It was closed.
        return None
    return Terminal(_keyboard_of(stdin.fileno()), sys.stdout) if is_terminal else None


class Terminal:
    """The keyboard and the screen of this process."""

    def __init__(self, keyboard: Keyboard, screen: TextIO) -> None:
        self._keyboard = keyboard
        self._screen = screen

    async def say(self, text: str) -> None:
        """Print a piece of text; nothing in it may command the terminal."""
        parts = _KEPT.split(text)
        parts[::2] = [escape_controls(part) for part in parts[::2]]
        await to_thread(self._print, "".join(parts))

    def _print(self, text: str) -> None:
        self._screen.write(text)
        self._screen.flush()

    async def listen(self) -> str | None:
        """Read the next line, None at the end of the input."""
        return await asyncio.wrap_future(self._keyboard.next_line())


class Keyboard:
    """Reads lines from a terminal, one after the other, for whoever asks.

    Reading begins with the first question, in a thread of its own that nobody waits for: a read of a keyboard cannot be
    broken off, and the program must be able to end meanwhile.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._lines: deque[str] = deque()
        self._asking: deque[Future[str | None]] = deque()
        self._is_reading = False
        self.has_ended = False

    def next_line(self) -> Future[str | None]:
        """Ask for the next line; it may come at once, or never. None at the end of the input."""
        answer: Future[str | None] = Future()
        with self._lock:
            if self._lines:
                answer.set_result(self._lines.popleft())
            elif self.has_ended:
                answer.set_result(None)
            else:
                self._asking.append(answer)
                if not self._is_reading:
                    self._is_reading = True
                    threading.Thread(target=self._read, daemon=True, name="keyboard").start()
        return answer

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        while not self.has_ended:
            try:
                chunk = os.read(self._descriptor, _CHUNK)
            except OSError:
                chunk = b""
            *lines, rest = (rest + decoder.decode(chunk, not chunk)).split("\n")
            with self._lock:
                self._lines.extend(lines)
                self.has_ended = not chunk
                self._answer()

    def _answer(self) -> None:
        while self._asking and (self._lines or self.has_ended):
            answer = self._asking.popleft()
            # Whoever asked may have stopped waiting; the line is then for the next one.
            if answer.set_running_or_notify_cancel():
                answer.set_result(self._lines.popleft() if self._lines else None)


_keyboards: dict[int, Keyboard] = {}


def _keyboard_of(descriptor: int) -> Keyboard:
    """Return the one reader of a descriptor: two would take each other's lines away."""
    keyboard = _keyboards.get(descriptor)
    if keyboard is None or keyboard.has_ended:
        keyboard = _keyboards[descriptor] = Keyboard(descriptor)
    return keyboard


class Conversation:
    """Between the nodes of a runtime and a person, while it is attached."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._questions: dict[str, AgentEvent] = {}
        self._shown: dict[str, str] = {}
        """What each node said last, as far as it was shown."""
        self._is_amid_line = False

    @contextmanager
    def attached(self, runtime: AgentRuntime) -> Iterator[None]:
        """Show what is said to people, and take note of what they are asked."""
        said = runtime.subscribe_to_events([EventType.CLIENT_OUTPUT_DELTA], self._on_output)
        asked = runtime.subscribe_to_events([EventType.CLIENT_INPUT_REQUESTED], self._on_question)
        try:
            yield
        finally:
            runtime.unsubscribe_from_events(said)
            runtime.unsubscribe_from_events(asked)

    async def _on_output(self, event: AgentEvent) -> None:
        content, data = str(event.data.get("content", "")), event.data
        node = event.node_id or ""
        if data.get("snapshot") == content:
            # Nothing was said before it: another answer begins, or the same one anew.
            await self.end_line()
            self._shown.pop(node, None)
        self._shown[node] = self._shown.get(node, "") + content
        if data.get("is_reset"):
            content = f"{BROKE_OFF}\n"
        await self._say(content)

    async def end_line(self) -> None:
        """Let what comes next begin on a line of its own."""
        if self._is_amid_line:
            await self._say("\n")

    async def _say(self, text: str) -> None:
        if text:
            self._is_amid_line = not text.endswith("\n")
            await self._person.say(text)

    def _on_question(self, event: AgentEvent) -> None:
        self._questions[event.node_id or ""] = event

    async def answer_for(self, node: str) -> str | None:
        """Ask what a node wants to know; None if the person is gone."""
        event = self._questions.pop(node, None)
        data = event.data if event is not None else {}
        question = str(data.get("prompt") or f"{node} waits for your answer.")
        options = [str(option) for option in data.get("options") or ()]
        if not options and question.strip() == self._shown.pop(node, "").strip():
            # A node that asks in plain words: they stand on the screen already.
            return await self._hear("")
        return await self.ask(question, options)

    async def ask(self, question: str, options: Sequence[str] = ()) -> str | None:
        """Put a question; None if the person is gone."""
        choice = f" ({', '.join(options)})" if options else ""
        return await self._hear(f"{question}{choice}\n")

    async def _hear(self, question: str) -> str | None:
        await self.end_line()
        await self._person.say(f"{question}{PROMPT}")
        self._is_amid_line = False
        return await self._person.listen()
