"""A webhook server on a real port, an intake that notes what it is given, and a ledger in a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.http.limits import ListenerLimits
from hive_daemon.runtime.webhook_delivery import Delivery
from hive_daemon.runtime.webhook_route import WebhookRoute
from hive_daemon.runtime.webhook_server import WebhookServer, WebhookServerConfig
from hive_daemon.storage.sqlite.reader import Readers
from hive_daemon.storage.sqlite.webhook_deliveries import SqliteDeliveries
from hive_daemon.storage.sqlite.writer import Writer
from hive_daemon.storage.webhook_deliveries import DeliveryLedger
from tests.fakes.raw_http import RawAnswer, ask, request
from tests.fakes.store_kit import Ear


@dataclass
class Executions:
    """An intake: one execution for each delivery, the same one for the same delivery, as the queue gives them."""

    deliveries: list[Delivery] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    by_name: dict[str, str] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    taken: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    async def __call__(self, delivery: Delivery) -> list[str]:
        if self.gate is not None:
            await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        name = delivery.delivery_id or delivery.body_hash
        if name not in self.by_name:
            self.by_name[name] = f"session_20260302_090000_{len(self.by_name):08x}"
            self.deliveries.append(delivery)
        self.taken.put_nowait(self.by_name[name])
        return [self.by_name[name]]

    @property
    def payloads(self) -> list[Any]:
        return [delivery.event.data["payload"] for delivery in self.deliveries]


@asynccontextmanager
async def open_ledger(
    directory: Path, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[SqliteDeliveries]:
    """Open the ledger of a state directory; opening it again finds what was there."""
    path = directory / "hive.db"
    async with AsyncExitStack() as stack:
        writer = Writer(path, clock, Ear())
        stack.push_async_callback(writer.close)
        await writer.open()
        readers = Readers(path)
        stack.callback(readers.close)
        ledger = SqliteDeliveries(writer, readers)
        await ledger.prepare()
        yield ledger


@asynccontextmanager
async def webhooks(
    *routes: WebhookRoute,
    intake: Any = None,
    ledger: DeliveryLedger | None = None,
    clock: Clock = SYSTEM_CLOCK,
    limits: ListenerLimits | None = None,
    **options: Any,
) -> AsyncIterator[WebhookServer]:
    """Serve routes on a port of loopback; `options` are those of `add_route`."""
    config = WebhookServerConfig(port=0, limits=limits or ListenerLimits())
    server = WebhookServer(None, config, intake or Executions(), ledger=ledger, clock=clock)
    for route in routes:
        server.add_route(route, **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def post(
    server: WebhookServer,
    body: bytes = b"{}",
    headers: Mapping[str, str | bytes] | Sequence[tuple[str, str | bytes]] = (),
    *,
    target: str = "/hook",
    method: str = "POST",
) -> RawAnswer:
    """Send one request and return its answer, once the ledger knows of it."""
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    answer = await ask(server.port or 0, request(method, target, body, pairs))
    assert answer is not None
    await server.desk.noted()
    return answer
