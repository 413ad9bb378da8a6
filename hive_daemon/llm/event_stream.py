"""Reading a stream of server-sent events, however the network cuts it.

Law: the events do not depend on where the bytes were cut. Comments, and fields other than `data`, are passed over.
Source: WHATWG HTML, "Server-sent events", section 9.2.6; a lone carriage return ends no line here, and an event that
the end of the stream cut off is handed out, because some services leave out the last empty line.
"""

from __future__ import annotations


class EventStream:
    """Turns received bytes into the data of events."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, received: bytes) -> list[bytes]:
        """Take bytes; return the data of the events that they complete."""
        *lines, self._rest = (self._rest + received).split(b"\n")
        events: list[bytes] = []
        for line in lines:
            self._take(line, events)
        return events

    def end(self) -> list[bytes]:
        """Return the data of an event that the end of the stream completes."""
        events: list[bytes] = []
        self._take(self._rest, events)
        self._rest = b""
        self._take(b"", events)
        return events

    def _take(self, line: bytes, events: list[bytes]) -> None:
        text = line.removesuffix(b"\r")
        if text.startswith(b"data:"):
            self._data.append(text[5:].removeprefix(b" "))
        elif not text and self._data:
            events.append(b"\n".join(self._data))
            self._data = []
