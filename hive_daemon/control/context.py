"""What a route is given: the daemon with what the control API keeps beside it, and one request that was read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from hive_daemon.control.body import Body
from hive_daemon.control.connections import Connection
from hive_daemon.control.feed import Feed
from hive_daemon.control.host import Host
from hive_daemon.control.meter import Meter
from hive_daemon.control.once import Once
from hive_daemon.control.peers import Peer
from hive_daemon.control.query import Query
from hive_daemon.control.session_views import SessionBook
from hive_daemon.control.vitals import Vitals
from hive_daemon.storage.ports import Store


@dataclass(frozen=True, slots=True)
class Control:
    """The daemon, and what the control API keeps beside it. `closing` is done once the control API stops."""

    host: Host
    feed: Feed
    sessions: SessionBook
    once: Once
    vitals: Vitals
    meter: Meter
    closing: asyncio.Future[None]

    @property
    def store(self) -> Store:
        """The store."""
        return self.host.services.store

    def now(self) -> float:
        """Return the wall time."""
        return self.host.services.clock.time()


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: the names in its path, its parameters, its body, and who sent it.

    `key` is its idempotency key, `last_event_id` where an event stream goes on; both are empty without the header.
    """

    request: web.BaseRequest
    connection: Connection
    peer: Peer
    names: Mapping[str, str] = field(default_factory=dict)
    query: Query = field(default_factory=Query)
    body: Body = field(default_factory=Body)
    key: str = ""
    last_event_id: str = ""


Handler = Callable[[Control, Ask], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a route is answered, and everything that it takes.

    `query` and `keys` are the parameters and the body's keys. `starts_work` is refused while the daemon drains; what
    `is_always_open` is answered while it starts.
    """

    handler: Handler
    query: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    takes_key: bool = False
    starts_work: bool = False
    is_always_open: bool = False
