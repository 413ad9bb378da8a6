"""The control API without a daemon: the routes that only read, over a store that nobody may own.

Guarantees: nothing is started, written or locked; what only a running daemon knows is left out, and why says so.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import parse_qsl

from aiohttp import web

from hive_daemon.config.loaded import LoadedConfig
from hive_daemon.control.answers import answer
from hive_daemon.control.connections import Connection
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.errors import error_answer
from hive_daemon.control.host import Agent, Host
from hive_daemon.control.peers import Peer
from hive_daemon.control.query import Query
from hive_daemon.control.references import find_session_id
from hive_daemon.control.server import control_over
from hive_daemon.control.socket import BoundSocket
from hive_daemon.control.table import ENDPOINTS, find_route
from hive_daemon.control.wire import Route
from hive_daemon.errors import HiveError, NotRunning
from hive_daemon.monitoring.agent_watch import AgentWatch
from hive_daemon.runtime.events import from_stored
from hive_daemon.runtime.lifecycle import RunState
from hive_daemon.runtime.opened_services import read_services
from hive_daemon.runtime.services import Services, ServiceSettings
from hive_daemon.runtime.webhook_server import WebhookServer, WebhookServerConfig
from hive_daemon.storage.values import MAX_PAGE, EventFilter, StoredEvent

READABLE = frozenset(
    {
        Route.PS,
        Route.SHOW,
        Route.WHY,
        Route.EXECUTIONS,
        Route.EXECUTION,
        Route.TRACE,
        Route.SESSIONS,
        Route.SESSION,
        Route.SESSION_STATE,
        Route.SESSION_CHECKPOINTS,
        Route.INCIDENTS,
        Route.INCIDENT,
    }
)
"""The routes that are answered from the store alone; of the events of a session there is a list instead of a stream."""

MOST_EVENTS = 10_000


@dataclass(slots=True)
class _NoAgents:
    """The agents of no daemon."""

    agents: Mapping[str, Agent] = field(default_factory=dict)


@dataclass(slots=True)
class _NoStop:
    """Nothing runs that could be stopped."""

    drain: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self, reason: str) -> None:
        """Stop nothing."""
        self.drain.set()


@dataclass(slots=True)
class Absent:
    """A daemon that does not run, as routes see it."""

    loaded: LoadedConfig
    services: Services
    webhooks: WebhookServer
    fortunes: AgentWatch
    agents: _NoAgents = field(default_factory=_NoAgents)
    stop: _NoStop = field(default_factory=_NoStop)
    state: RunState = RunState.STOPPED
    lag: float = 0.0
    started_at: float = 0.0


@asynccontextmanager
async def absent(loaded: LoadedConfig) -> AsyncIterator[Absent]:
    """Open the store of a configuration for reading. Raises StorageUnavailable if there is none."""
    config = loaded.config
    settings = ServiceSettings(
        state_dir=config.state_dir, max_concurrent_executions=config.max_concurrent_executions
    )
    async with read_services(settings) as services:
        webhooks = WebhookServer(
            None, WebhookServerConfig("127.0.0.1", 0), ledger=services.store.deliveries
        )
        fortunes = AgentWatch(lambda agent, reason: [], lambda agent, timer_ids: None)
        yield Absent(loaded, services, webhooks, fortunes)


async def ask_store(loaded: LoadedConfig, target: str) -> tuple[int, bytes]:
    """Answer `GET target` from the store; return the HTTP status and the JSON that the daemon would answer."""
    try:
        async with absent(loaded) as host:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with closing(made):
                bound = BoundSocket(made, loaded.config.socket, (0, 0, 0))
                # What only a daemon has is missing: no route that is answered here asks for it.
                control = control_over(cast("Host", host), bound)
                answered = await _answer(control, target)
    except HiveError as error:
        answered = error_answer(error)
    body = answered.body
    assert isinstance(body, bytes)
    return answered.status, body


async def _answer(control: Control, target: str) -> web.Response:
    path, _, written = target.partition("?")
    matched = find_route("GET", path)
    query = Query(parse_qsl(written, keep_blank_values=True))
    if matched.route is Route.SESSION_EVENTS:
        return await _stored_events(control, matched.names["session"], query)
    if matched.route not in READABLE:
        raise NotRunning(f"{path} needs the daemon, which is not running", hint="start it")
    endpoint = ENDPOINTS[matched.route]
    query.check(endpoint.query)
    ask = Ask(
        request=cast("web.BaseRequest", None),  # these routes look at names and query only
        connection=cast("Connection", None),
        peer=_own(),
        names=matched.names,
        query=query,
    )
    answered = await endpoint.handler(control, ask)
    assert isinstance(answered, web.Response)
    return answered


async def _stored_events(control: Control, session: str, query: Query) -> web.Response:
    """Answer with the events of a session that are stored, as one list in the place of the stream."""
    store = control.store.executions
    session_id = await find_session_id(store, session)
    after, last = query.whole("after", 0, 10**18) or 0, query.whole("last", 0, MAX_PAGE)
    events: list[StoredEvent] = []
    while len(events) < MOST_EVENTS:
        wanted = EventFilter(
            after_seq=events[-1].seq if events else after,
            session_id=session_id,
            limit=MAX_PAGE if last is None else last,
            newest=last is not None,
        )
        page = await store.history(wanted)
        events.extend(page)
        if last is not None or len(page) < MAX_PAGE:
            break
    return answer({"items": [from_stored(event).to_dict() for event in events]})


def _own() -> Peer:
    return Peer(os.geteuid(), os.getegid())
