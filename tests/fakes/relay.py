"""A relay between a client and the daemon's socket, whose connections a test can cut at any moment."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Relay:
    """Listens on `path` and passes everything on to `target`; `is_used` is set with
    the first connection."""

    def __init__(self, path: Path, target: Path) -> None:
        self._target = target
        self._path = path
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(16)
        self._is_closed = False
        self.connections = 0
        self.is_used = threading.Event()
        self._spawn(self._listen)

    def _spawn(self, run: object, *given: socket.socket) -> None:
        assert callable(run)
        thread = threading.Thread(target=run, args=given, name="relay")
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        while True:
            client, _ = self._socket.accept()
            if self._is_closed:
                client.close()
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self._target))
            except OSError:
                client.close()
                server.close()
                continue
            self.connections += 1
            self.is_used.set()
            self._open += [client, server]
            self._spawn(self._pass_on, client, server)
            self._spawn(self._pass_on, server, client)

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Break every connection off."""
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Listen no more."""
        self._is_closed = True
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self._path))
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in self._open:
            end.close()
        self._socket.close()


@contextmanager
def opened_relay(path: Path, target: Path) -> Iterator[Relay]:
    """Open a relay."""
    relay = Relay(path, target)
    try:
        yield relay
    finally:
        relay.close()
