"""A gate that nodes wait at: the test knows that a node is there, lets it through, and sees it leave."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS = 30.0


@dataclass(frozen=True)
class Guest:
    """A node that waits."""

    connection: socket.socket
    execution_id: str
    session_id: str
    life: int

    def let_through(self, word: str = "go") -> None:
        """Let the node go on; this is what it returns."""
        self.connection.sendall(f"{word}\n".encode())

    def leaves(self) -> None:
        """Wait until the node has given up waiting, or is done."""
        assert self.connection.recv(1) == b""


class Gate:
    """The gate, open to any number of nodes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._guests: queue.Queue[Guest] = queue.Queue()
        self._kept: list[Guest] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(128)
        self._thread = threading.Thread(target=self._listen, name="gate")
        self._thread.start()

    def _listen(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            connection.settimeout(SECONDS)
            with connection.makefile() as lines:
                words = lines.readline().split()
            if not words:
                connection.close()
                return
            guest = Guest(connection, words[0], words[1], int(words[2]))
            self._kept.append(guest)
            self._guests.put(guest)

    def guest(self) -> Guest:
        """Wait for the next node that comes."""
        return self._guests.get(timeout=SECONDS)

    @property
    def is_empty(self) -> bool:
        """Whether nobody came that was not asked for."""
        return self._guests.empty()

    def close(self) -> None:
        """Let nobody wait any more."""
        socket_to_end = socket.socket(socket.AF_UNIX)
        socket_to_end.connect(str(self.path))
        socket_to_end.close()
        self._thread.join()
        for guest in self._kept:
            guest.connection.close()
        self._socket.close()


@contextmanager
def opened_gate(path: Path) -> Iterator[Gate]:
    """Open a gate at a path."""
    gate = Gate(path)
    try:
        yield gate
    finally:
        gate.close()
