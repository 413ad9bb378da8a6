"""The process that writes the mirror: a desk, fed through the socket that is its standard input.

It ends with whoever feeds it: without a word of farewell it writes nothing more, since another one may have begun. At
any time one process writes below a root; a second one waits until the first is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from hive_daemon.clock import SYSTEM_CLOCK
from hive_daemon.storage.mirror_desk import Desk
from hive_daemon.storage.mirror_items import Item, Said, Settings, Told
from hive_daemon.storage.mirror_wire import Frames, frame

_MOST_AT_ONCE = 256 * 1024


class Line:
    """The socket to the daemon, as an inbox."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._frames = Frames()
        self._left: list[Any] = []
        self._poll = select.poll()
        self._poll.register(line, select.POLLIN)

    def take(self, patience: float | None) -> Sequence[Item]:
        """Wait for items; see `Inbox`."""
        items, self._left = self._left, []
        return items or self._read(patience)

    def settings(self) -> Settings:
        """Return what is said before anything else. Raises EOFError."""
        while not self._left:
            self._left = self._read(None)
        settings: Settings = self._left.pop(0)
        return settings

    def _read(self, patience: float | None) -> list[Any]:
        ready = self._poll.poll(None if patience is None else patience * 1_000)
        if not ready:
            return []
        # What a daemon that is gone had still sent is left alone: the next one writes it.
        is_gone = ready[0][1] & (select.POLLHUP | select.POLLERR)
        arrived = b"" if is_gone else self._line.recv(_MOST_AT_ONCE)
        if not arrived:
            raise EOFError
        return self._frames.take(arrived)

    def say(self, said: Sequence[Said]) -> None:
        """Send answers."""
        self._line.sendall(frame(said))


class _Teller(logging.Handler):
    """Sends log records to the daemon, which logs them."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        told = {**record.__dict__, "msg": record.getMessage(), "args": None, "exc_info": None}
        if record.exc_info is not None:
            told["exc_text"] = "".join(traceback.format_exception(*record.exc_info))
        self._line.say([Told(told)])


def _let_others_first() -> None:
    """Have whoever wakes this process, the daemon, go on first where there is no core to spare (Linux)."""
    if hasattr(os, "SCHED_BATCH"):
        # A sandbox may forbid it, as the one of our systemd unit does.
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def main() -> int:
    """Write until the daemon says that it is enough, or is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # They are meant for the daemon, which tells what is to be done.
        signal.signal(number, signal.SIG_IGN)
    _let_others_first()
    line = Line(socket.socket(fileno=sys.stdin.fileno()))
    try:
        settings = line.settings()
        logging.basicConfig(level=settings.log_level, handlers=[_Teller(line)])
        # The store has made it. Where it is gone, so is whoever asked for a mirror of it.
        root = os.open(settings.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(root, fcntl.LOCK_EX)
        Desk(settings, SYSTEM_CLOCK, line, line.say).run()
    except (EOFError, ConnectionError, FileNotFoundError):
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
