"""Following events over lost connections and restarts of the daemon.

Law: every durable event comes once, in the order of `seq`, however often the connection breaks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from hive_cli.client import Client, Query, Request, Unreachable
from hive_cli.durations import monotonic, pause
from hive_cli.failures import Failure
from hive_cli.render import Json, note
from hive_daemon.control.wire import (
    LAST_EVENT_HEADER,
    EndReason,
    ErrorCode,
    Message,
    StreamEvent,
    Until,
)

ABSENCE_SECONDS = 60.0
"""How long a daemon that went away may take to come back."""

_RECONNECT_SECONDS = 0.2
_FINAL = (EndReason.CAUGHT_UP, EndReason.SETTLED)


@dataclass(frozen=True, slots=True)
class Source:
    """Which events to follow and when to end.

    It begins after the event `after`, else with the `last` newest, else with the first.
    """

    path: str
    until: Until
    query: Query = field(default_factory=dict)
    after: int | None = None
    last: int | None = None

    def request(self, seen: int | None) -> Request:
        """Return the request for what comes after the event `seen`; None: nothing was seen yet."""
        query = {**self.query, "until": str(self.until)}
        if seen is not None:
            return Request("GET", self.path, query, headers={LAST_EVENT_HEADER: str(seen)})
        if self.last is not None:
            query["last"] = self.last
        return Request("GET", self.path, query)


class Follower:
    """Reads a source to its end.

    `seen` is the seq of the last durable event, None before the first; `end` is what the stream said last.
    """

    def __init__(self, client: Client, source: Source) -> None:
        self.client = client
        self.source = source
        self.seen = source.after
        self.end: Json = {}

    def events(self, deadline: float | None = None) -> Iterator[Json]:
        """Yield the events until the source ends.

        Raises Failure, with a hint how to go on, when the daemon does not come back; TimeoutError at the deadline.
        """
        client, is_away = self.client, False
        while True:
            for message in self._connected(client, deadline):
                if is_away:
                    note("hived is back")
                    is_away = False
                if self._is_new(message):
                    yield _payload(message)
                if self.end:
                    break
            if self.end.get("reason") in _FINAL:
                return
            if not is_away and self.end.get("reason") != EndReason.LAGGED:
                note("hived went away, waiting for it to come back")
                is_away = True
            client, self.end = replace(self.client, patience=patience_until(deadline)), {}
            pause(_RECONNECT_SECONDS)

    def _connected(self, client: Client, deadline: float | None) -> Iterator[Message]:
        """Yield the messages of one connection."""
        try:
            yield from client.stream(self.source.request(self.seen), deadline)
        except Unreachable as error:
            raise Failure(ErrorCode.UNREACHABLE, error.message, self.hint(error.hint)) from error

    def hint(self, otherwise: str = "") -> str:
        """Say how to go on where this reader stopped."""
        if self.seen is None:
            return otherwise
        return f"go on with --from-seq {self.seen + 1}"

    def _is_new(self, message: Message) -> bool:
        """Say whether to show a message, and remember how far the stream is; a live event always is new."""
        if message.event == StreamEvent.END:
            self.end = _payload(message)
            return False
        if message.event == StreamEvent.CAUGHT_UP:
            # What the stream left out at its beginning must not come after a lost connection either.
            self.seen = max(self.seen or 0, int(_payload(message).get("seq") or 0))
            return False
        return message.id is None or self._is_next(message.id)

    def _is_next(self, id: str) -> bool:
        if not id.isdecimal() or (self.seen is not None and int(id) <= self.seen):
            return False
        self.seen = int(id)
        return True


def patience_until(deadline: float | None) -> float:
    """Return how long a daemon that was there may be away for somebody who waits until the deadline."""
    return ABSENCE_SECONDS if deadline is None else min(ABSENCE_SECONDS, deadline - monotonic())


def _payload(message: Message) -> Json:
    try:
        document = json.loads(message.data)
    except ValueError:
        document = None
    return document if isinstance(document, dict) else {"type": message.event, "data": {}}
