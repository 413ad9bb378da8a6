"""How a node of a program's own speaks to people: a face that talks to somebody, and one that talks to nobody.

Nodes of a graph need it not: what a client-facing node says and asks is told by the engine, and its question parks the
execution durably (`on_input`). A question put here lasts as long as this process.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from hive_daemon.errors import Conflict

MAX_PIECES = 1_000
"""Pieces of output that wait to be read; what comes after them is added to the last."""

NOBODY_IS_ASKED = (
    "You are an internal processing node, nobody can be asked. Decide with what you have, or say what is missing in "
    "your output."
)
"""What a question of an internal node is answered with."""


class NodeClientIO(ABC):
    """What a node may say and ask. `event_bus` is any object with `emit_*` methods; without one nothing is told."""

    def __init__(self, node_id: str, event_bus: Any = None) -> None:
        self.node_id = node_id
        self.event_bus = event_bus

    @abstractmethod
    async def emit_output(self, content: str, is_final: bool = False) -> None:
        """Say something; `is_final` ends what is being said."""

    @abstractmethod
    async def request_input(self, prompt: str = "", timeout: float | None = None) -> str:
        """Ask, and return the answer. Raises TimeoutError after `timeout` seconds."""

    async def _tell(self, kind: str, **data: Any) -> None:
        emit = getattr(self.event_bus, f"emit_{kind}", None)
        if emit is not None:
            await emit(stream_id="", node_id=self.node_id, **data)


class ActiveNodeClientIO(NodeClientIO):
    """A node with a person before it: what it says can be read, what it asks is answered by `provide_input`."""

    def __init__(self, node_id: str, event_bus: Any = None) -> None:
        super().__init__(node_id, event_bus)
        self._snapshot = ""
        self._unread: deque[str | None] = deque()
        self._news = asyncio.Event()
        self._asked: asyncio.Future[str] | None = None
        self._answer: str | None = None

    async def emit_output(self, content: str, is_final: bool = False) -> None:
        """Say something, to readers of `output_stream` and as `client_output_delta`."""
        self._snapshot += content
        snapshot = self._snapshot
        last = self._unread[-1] if self._unread else None
        if len(self._unread) >= MAX_PIECES and last is not None:
            self._unread[-1] = last + content
        else:
            self._unread.append(content)
        if is_final:
            self._unread.append(None)
            self._snapshot = ""
        self._news.set()
        await self._tell("client_output_delta", content=content, snapshot=snapshot)

    async def output_stream(self) -> AsyncGenerator[str, None]:
        """Give what is said, piece by piece, until what is final. One reader at a time."""
        while True:
            while not self._unread:
                self._news.clear()
                await self._news.wait()
            piece = self._unread.popleft()
            if piece is None:
                return
            yield piece

    async def request_input(self, prompt: str = "", timeout: float | None = None) -> str:
        """Ask as `client_input_requested`, and wait for the answer; one that was given before will do.

        Raises TimeoutError, Conflict for a second question while one is open.
        """
        if self._asked is not None:
            raise Conflict(f"{self.node_id} has asked already, and waits for its answer")
        asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked = asked
        try:
            if self._answer is not None:
                asked.set_result(self._answer)
                self._answer = None
            async with asyncio.timeout(timeout):
                await self._tell("client_input_requested", prompt=prompt)
                return await asked
        finally:
            self._asked = None

    async def provide_input(self, content: str) -> None:
        """Answer the open question; without one, the next. The latest answer counts."""
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(content)
        else:
            self._answer = content


class InertNodeClientIO(NodeClientIO):
    """A node that faces nobody: what it says is `node_internal_output`, a question is answered at once."""

    async def emit_output(self, content: str, is_final: bool = False) -> None:
        """Publish what the node says, for those who look at its insides."""
        await self._tell("node_internal_output", content=content)

    async def request_input(self, prompt: str = "", timeout: float | None = None) -> str:
        """Return `NOBODY_IS_ASKED`, and tell of the question as `node_input_blocked`."""
        await self._tell("node_input_blocked", prompt=prompt)
        return NOBODY_IS_ASKED


class ClientIOGateway:
    """Gives each node the face that fits it."""

    def __init__(self, event_bus: Any = None) -> None:
        self.event_bus = event_bus

    def create_io(self, node_id: str, client_facing: bool) -> NodeClientIO:
        """Make the face of a node."""
        kind = ActiveNodeClientIO if client_facing else InertNodeClientIO
        return kind(node_id, self.event_bus)
