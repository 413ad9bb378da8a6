"""A webhook server in a thread of its own, for tests that are not coroutines themselves."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hive_daemon.runtime.webhook_server import (
    Delivery,
    WebhookRoute,
    WebhookServer,
    WebhookServerConfig,
)


class Complaints(logging.Handler):
    """Keeps every record of WARNING and above, from whichever logger."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@dataclass
class ThreadedWebhooks:
    """What a test sees of the server: its port, what it took, what it complained of."""

    port: int = 0
    deliveries: list[Delivery] = field(default_factory=list)
    complaints: Complaints = field(default_factory=Complaints)

    async def take(self, delivery: Delivery) -> list[str]:
        self.deliveries.append(delivery)
        return []


@contextmanager
def threaded_webhooks(
    config: WebhookServerConfig, *routes: WebhookRoute
) -> Iterator[ThreadedWebhooks]:
    """Serve the routes until the context ends."""
    served = ThreadedWebhooks()
    ready = threading.Event()
    over: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        server = WebhookServer(None, config, served.take)
        for route in routes:
            server.add_route(route)
        await server.start()
        served.port = server.port or 0
        over.append((asyncio.get_running_loop(), asyncio.Event()))
        ready.set()
        await over[0][1].wait()
        await server.stop(0.5)

    logging.getLogger().addHandler(served.complaints)
    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    try:
        assert ready.wait(30)
        yield served
    finally:
        loop, event = over[0]
        loop.call_soon_threadsafe(event.set)
        thread.join(30)
        logging.getLogger().removeHandler(served.complaints)
