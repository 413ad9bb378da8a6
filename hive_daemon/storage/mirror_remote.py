"""A desk of the mirror in a process of its own: what it costs, the event loop does not pay.

Nothing here waits for the other process. What it does not take in time is kept up to a bound; beyond that it is ended,
as if it had been lost, and what it missed is caught up with from the store.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable

from hive_daemon.storage.mirror_desk import Say
from hive_daemon.storage.mirror_items import Begun, Closed, Item, Offered, Settings
from hive_daemon.storage.mirror_wire import Frames, frame
from hive_daemon.tasks import to_thread

MOST_UNSENT = 64 * 1024 * 1024
"""Bytes that may wait for the process."""

PROGRAM = "hive_daemon.storage.mirror_process"
"""The module that is run."""

FLUSH_SECONDS = 0.005
"""How long a commit waits for others: each message wakes the process."""

CLOSE_SECONDS = 30.0
"""How long the process may take to write what is owed at the end."""

_BUFFER = 1024 * 1024
_MOST_AT_ONCE = 64 * 1024


class RemoteDesk:
    """Runs a desk in a process. `hear` and `ended` are called on the running event loop. Raises OSError."""

    def __init__(self, settings: Settings, hear: Say, ended: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._hear = hear
        self._ended = ended
        self._items: list[Item] = []
        self._flushing: asyncio.TimerHandle | None = None
        self._unsent = bytearray()
        self._frames = Frames()
        self._is_over = False
        self._line, theirs = socket.socketpair()
        with theirs:
            self._line.setblocking(False)
            self._line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            self._process = subprocess.Popen(
                [sys.executable, "-m", PROGRAM],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
            )
        self._loop.add_reader(self._line, self._read)
        self._send(frame([settings]))

    def put(self, item: Item) -> None:
        """Give the desk an item. Commits wait a moment for others, and go with whatever waits for an answer."""
        self._items.append(item)
        if not isinstance(item, Begun | Offered):
            self._flush()
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

    # --- on the loop ------------------------------------------------------------------------

    def _flush(self) -> None:
        items, self._items = self._items, []
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._is_over:
            return
        content = frame(items)
        if self._unsent:
            self._keep(content)
        else:
            self._send(content)

    def _send(self, content: bytes) -> None:
        try:
            sent = self._line.send(content)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end()
            return
        if sent < len(content):
            self._loop.add_writer(self._line, self._write)
            self._keep(content[sent:])

    def _keep(self, content: bytes) -> None:
        self._unsent += content
        if len(self._unsent) > MOST_UNSENT:
            self._end()

    def _write(self) -> None:
        try:
            sent = self._line.send(memoryview(self._unsent)[:_BUFFER])
        except BlockingIOError:
            return
        except OSError:
            self._end()
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._line)

    def _read(self) -> None:
        try:
            arrived = self._line.recv(_MOST_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            arrived = b""
        if arrived:
            self._hear(self._frames.take(arrived))
        else:
            self._end()

    def _end(self) -> None:
        """Let go of the process, which is dead, or as good as dead."""
        if self._is_over:
            return
        self._is_over = True
        self._flush()
        self._unsent.clear()
        self._loop.remove_reader(self._line)
        self._loop.remove_writer(self._line)
        self._line.close()
        self._process.kill()
        self._process.wait()
        self._ended()
