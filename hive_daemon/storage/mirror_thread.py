"""A desk of the mirror in a thread: cheap to start, but it shares the interpreter with everything else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from hive_daemon.clock import Clock
from hive_daemon.storage.mirror_desk import Desk, Say
from hive_daemon.storage.mirror_items import Closed, Item, Said, Settings
from hive_daemon.tasks import to_thread

MOST_AT_ONCE = 4_096


class ThreadedDesk:
    """Runs a desk in a thread. `hear` and `ended` are called on the running event loop."""

    def __init__(
        self, settings: Settings, clock: Clock, hear: Say, ended: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._desk = Desk(settings, clock, self, self._say)
        self._hear = hear
        self._ended = ended
        self._thread = threading.Thread(target=self._run, name="hive-mirror", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Give the desk an item."""
        self._queue.put(item)

    async def close(self) -> None:
        """Have everything written that is owed, and end the thread."""
        self._queue.put(Closed())
        await to_thread(self._thread.join)

    def take(self, patience: float | None) -> Sequence[Item]:
        """Wait for items; see `Inbox`."""
        items: list[Item] = []
        try:
            items.append(self._queue.get(timeout=patience))
            while len(items) < MOST_AT_ONCE:
                items.append(self._queue.get_nowait())
        except Empty:
            return items
        return items

    def _run(self) -> None:
        try:
            self._desk.run()
        finally:
            self._call(self._ended)

    def _say(self, said: Sequence[Said]) -> None:
        self._call(self._hear, said)

    def _call(self, call: Callable[..., object], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)
