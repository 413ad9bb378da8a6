"""A desk of the mirror in a process of its own: what it costs, the event loop does not pay.

Nothing here waits for the other process. What it does not take in time is kept up to a bound; beyond that, and if it
owes an answer and says nothing for too long, it is ended, as if it had been lost, and what it missed is caught up with
from the store.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable

from hive_daemon.storage.mirror_desk import Say
from hive_daemon.storage.mirror_items import (
    Answer,
    Barrier,
    Begun,
    Closed,
    Item,
    LagAsked,
    Offered,
    Rebuilding,
    Settings,
)
from hive_daemon.storage.mirror_wire import Frames, frame
from hive_daemon.tasks import Scope, to_thread

MOST_UNSENT = 64 * 1024 * 1024
"""Bytes that may wait for the process."""

PROGRAM = "hive_daemon.storage.mirror_process"
"""The module that is run."""

FLUSH_SECONDS = 0.02
"""How long a commit waits for others, unless somebody waits for an answer: each message wakes the process."""

MOST_SILENT_SECONDS = 60.0
"""How long the process may say nothing while it owes an answer."""

CLOSE_SECONDS = 30.0
"""How long the process may take to write what is owed at the end."""

_BUFFER = 1024 * 1024


class RemoteDesk(asyncio.Protocol):
    """Runs a desk in a process. `hear` and `ended` are called on the running event loop. Raises OSError."""

    def __init__(self, settings: Settings, hear: Say, ended: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._hear = hear
        self._ended = ended
        self._items: list[Item | Settings] = [settings]
        self._flushing: asyncio.Handle | None = None
        self._is_prompt = False
        self._transport: asyncio.Transport | None = None
        self._frames = Frames()
        self._is_over = False
        self._owed = 0
        self._heard_at = 0.0
        self._overdue: asyncio.TimerHandle | None = None
        self._scope = Scope("mirror desk")
        line, theirs = socket.socketpair()
        with theirs:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            self._process = subprocess.Popen(
                [sys.executable, "-m", PROGRAM],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
            )
        self._scope.spawn("line", self._open(line))

    def put(self, item: Item) -> None:
        """Give the desk an item. Commits wait a moment for others, and go with whatever waits for an answer.

        The first of these goes at once, those that follow in the same turn of the event loop go together.
        """
        self._items.append(item)
        if isinstance(item, Barrier | Rebuilding | LagAsked):
            self._await_answer()
        if self._is_prompt:
            return
        if not isinstance(item, Begun | Offered):
            self._flush()
            self._is_prompt = True
            self._flushing = self._loop.call_soon(self._flush)
        elif self._flushing is None:
            self._flushing = self._loop.call_later(FLUSH_SECONDS, self._flush)

    async def close(self) -> None:
        """Have everything written that is owed, and end the process."""
        self.put(Closed())
        try:
            await to_thread(self._process.wait, CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._end()
        await self._scope.close()

    # --- the line ---------------------------------------------------------------------------

    async def _open(self, line: socket.socket) -> None:
        """Take the line into use. Through a transport: a plain `send` would give the interpreter to another thread."""
        try:
            transport, _ = await self._loop.create_unix_connection(lambda: self, sock=line)
        except OSError:
            line.close()
            self._end()
            return
        # Nothing is held back until the end of the turn of the event loop.
        transport.set_write_buffer_limits(high=0)
        self._transport = transport
        if self._is_over:
            transport.abort()
        else:
            self._flush()

    def data_received(self, data: bytes) -> None:
        """Pass on what the process says."""
        said = self._frames.take(data)
        self._heard_at = self._loop.time()
        self._owed -= sum(isinstance(word, Answer) for word in said)
        self._hear(said)

    def connection_lost(self, exc: Exception | None) -> None:
        """Go on without the process."""
        self._end()

    def _flush(self) -> None:
        """Send what is there, as soon as there is a line."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        self._is_prompt = False
        if self._transport is None or self._is_over or not self._items:
            return
        items, self._items = self._items, []
        self._transport.write(frame(items))
        if self._transport.get_write_buffer_size() > MOST_UNSENT:
            self._end()

    def _await_answer(self) -> None:
        if not self._owed:
            self._heard_at = self._loop.time()
        self._owed += 1
        if self._overdue is None and not self._is_over:
            self._overdue = self._loop.call_later(MOST_SILENT_SECONDS, self._lose_patience)

    def _lose_patience(self) -> None:
        """End a process that owes an answer and is silent; look again later at one that is not."""
        self._overdue = None
        left = self._heard_at + MOST_SILENT_SECONDS - self._loop.time()
        if self._owed and left <= 0:
            self._end()
        elif self._owed:
            self._overdue = self._loop.call_later(left, self._lose_patience)

    def _end(self) -> None:
        """Let go of the process, which is dead, or as good as dead."""
        if self._is_over:
            return
        self._is_over = True
        for timer in (self._flushing, self._overdue):
            if timer is not None:
                timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._process.kill()
        self._process.wait()
        self._ended()
