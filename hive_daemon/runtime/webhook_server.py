"""The webhook server: genuine requests in, events out.

A request is answered 202 only after it is durable, and what it set off too. It is judged in this order: route, method,
address, rate, readiness, size, signature over the bytes as they came, timestamp, packing, dedupe, filter; whatever is
refused stores nothing. Only an allow-list of headers enters the event: credentials and signatures never do
(`webhook_payload`).
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import Draining, HiveError
from hive_daemon.http.answers import RequestRefused, json_answer
from hive_daemon.http.body import read_body, unpack_body
from hive_daemon.http.limits import ListenerLimits
from hive_daemon.http.listener import STOP_SECONDS, Listener
from hive_daemon.runtime.event_bus import EventBus
from hive_daemon.runtime.webhook_answers import (
    refusal_of,
    refused_answer,
    taken_answer,
    unproven,
)
from hive_daemon.runtime.webhook_delivery import (
    Delivery,
    Door,
    Intake,
    Outcome,
    Ready,
    Results,
    Taken,
)
from hive_daemon.runtime.webhook_desk import WebhookDesk
from hive_daemon.runtime.webhook_memory import MemoryLedger
from hive_daemon.runtime.webhook_payload import handshake, payload_of
from hive_daemon.runtime.webhook_rate import Bucket
from hive_daemon.runtime.webhook_reading import Sent, delivery_read, headers_as_sent
from hive_daemon.runtime.webhook_route import Respond, Rules, WebhookRoute, rules_of
from hive_daemon.runtime.webhook_schemes import Request, Verdict
from hive_daemon.storage.webhook_deliveries import DeliveryLedger

__all__ = ["Delivery", "Intake", "WebhookRoute", "WebhookServer", "WebhookServerConfig"]

logger = logging.getLogger(__name__)

Page = Callable[[], Awaitable[web.Response]]
"""Makes the answer of a page that needs nothing of its request."""

WAIT_SECONDS = 30.0
"""How long `respond: wait` waits; then the sender is answered as with `ack`."""


@dataclass(frozen=True, slots=True)
class WebhookServerConfig:
    """Where the server listens; port 0 takes any free one. `limits` is what one sender may take."""

    host: str = "127.0.0.1"
    port: int = 8080
    limits: ListenerLimits = field(default_factory=ListenerLimits)


def _always() -> None:
    """Be ready."""


async def _no_results(_execution_id: str, _seconds: float) -> None:
    """Know of no results."""


class WebhookServer:
    """Listens for webhooks and hands each as an event to the intake of its route.

    A route's intake is its own, else the server's, else one that only publishes on the bus. Routes may be added and
    removed while it runs. With no routes, `start` does nothing. `handle` may also be given to a listener of one's own.
    Deliveries are kept in `ledger`, else in memory.
    """

    def __init__(
        self,
        event_bus: EventBus | None,
        config: WebhookServerConfig | None = None,
        intake: Intake | None = None,
        *,
        ledger: DeliveryLedger | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._bus = event_bus
        self._config = config or WebhookServerConfig()
        self._intake = intake or self._publish
        self._clock = clock
        self._doors: dict[str, Door] = {}
        self._buckets: dict[str, Bucket] = {}
        self._pages: dict[str, Page] = {}
        self._listener: Listener | None = None
        self._is_refusing = False
        self.desk = WebhookDesk(self._doors, ledger or MemoryLedger(clock), clock)

    # --- routes -----------------------------------------------------------------------------

    def add_route(
        self,
        route: WebhookRoute,
        intake: Intake | None = None,
        *,
        ready: Ready = _always,
        results: Results = _no_results,
    ) -> None:
        """Take deliveries on a path. A second route on the same path replaces the first.

        `ready` raises while nothing is to be taken; `results` is asked for `respond: wait`.
        """
        self._buckets.pop(route.path, None)
        self._doors[route.path] = Door(
            route, rules_of(route), intake or self._intake, ready, results, Counter()
        )
        self._warn_of_open_doors((route,))

    def remove_route(self, path: str) -> None:
        """Take deliveries on a path no more."""
        self._doors.pop(path, None)
        self._buckets.pop(path, None)

    def add_page(self, path: str, page: Page) -> None:
        """Answer GET and HEAD on a path that no route may have (`webhook_route.RESERVED`), also while it refuses."""
        self._pages[path] = page

    @property
    def routes(self) -> list[WebhookRoute]:
        """The routes."""
        return [door.route for door in self._doors.values()]

    @property
    def doors(self) -> Mapping[str, Door]:
        """The routes with their rules and counts, by path."""
        return self._doors

    @property
    def max_body(self) -> int:
        """The largest body of routes that say nothing, in bytes."""
        return self._config.limits.max_body

    # --- lifecycle --------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether it listens."""
        return self._listener is not None

    @property
    def port(self) -> int | None:
        """The port it really listens on, None when it does not."""
        return self._listener.port if self._listener is not None else None

    @property
    def address(self) -> tuple[str, int] | None:
        """The numeric address it really listens on, None when it does not."""
        return self._listener.address if self._listener is not None else None

    async def start(self) -> None:
        """Listen. Raises OSError; its errno is EADDRINUSE if the address is taken."""
        if self._listener is not None or not (self._doors or self._pages):
            return
        config = self._config
        listener = Listener(config.host, config.port, config.limits)
        await listener.start(self.handle)
        self._listener = listener
        self._warn_of_open_doors(self.routes)

    async def recover(self) -> int:
        """Take up what a former process took and did not hand on; answer how many. Call it once the agents run."""
        return await self.desk.recover()

    def refuse(self) -> None:
        """Answer 503 to every delivery from now on, and store none: the daemon starts or drains."""
        self._is_refusing = True

    def accept(self) -> None:
        """Take deliveries again."""
        self._is_refusing = False

    async def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """Listen no more; requests that are being answered may end within the grace."""
        listener, self._listener = self._listener, None
        try:
            if listener is not None:
                await listener.stop(grace_seconds)
        finally:
            await self.desk.close()

    def _warn_of_open_doors(self, routes: Sequence[WebhookRoute]) -> None:
        if self._listener is None or self._listener.is_loopback:
            return
        for route in routes:
            if route.is_open and not route.allow_insecure:
                logger.warning(
                    "a webhook route takes requests that nobody signed, from other machines",
                    extra={"path": route.path, "repeat_key": route.path},
                )

    # --- one request ------------------------------------------------------------------------

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request. Raises RequestRefused for a body that cannot be read: the listener answers it."""
        path, _, query = request.raw_path.partition("?")
        page = self._pages.get(path)
        if page is not None:
            return await _shown(request, page)
        door = self._doors.get(path)
        if door is None:
            # While agents come and go, a path that is missing may be a route's.
            self._check_open()
            return json_answer(HTTPStatus.NOT_FOUND, {"error": "Not found"})
        try:
            answer, outcome = await self._answer(request, door, query)
        except RequestRefused as refusal:
            door.count(refusal.status)
            raise
        door.count(answer.status, outcome)
        return answer

    async def _answer(
        self, request: web.BaseRequest, door: Door, query: str
    ) -> tuple[web.Response, str]:
        """Return the answer, and what became of the request; see `Door.outcomes`."""
        rules = door.rules
        if request.method not in rules.methods:
            return _wrong_method(rules), ""
        if not rules.lets_in(request.remote):
            return json_answer(HTTPStatus.FORBIDDEN, {"error": "Forbidden"}), ""
        self._count(door)
        self.check_ready(door)
        limit = rules.max_body or request.client_max_size
        taken = await read_body(request, limit, rules.read_timeout)
        headers = headers_as_sent(request.headers.items())
        verdict = rules.check.judge(Request(headers, taken, self._clock.time()))
        if verdict is not Verdict.GENUINE:
            return unproven(rules.check.scheme, verdict), verdict.value
        packing = ",".join(request.headers.getall("Content-Encoding", ()))
        body = unpack_body(taken, packing, limit)
        payload = payload_of(body)
        greeting = handshake(rules.check.scheme, request.headers, payload)
        if greeting is not None:
            return json_answer(HTTPStatus.OK, greeting), "handshake"
        sent = Sent(request.method, tuple(request.headers.items()), query)
        delivery = delivery_read(door, sent, payload, hashlib.sha256(body).hexdigest())
        return await self._take(door, delivery)

    def _count(self, door: Door) -> None:
        """Count a request, genuine or not. Raises RequestRefused if it is one too many."""
        bucket, seconds = self._one_more(door)
        if bucket is not None:
            self._buckets[door.route.path] = bucket
        if seconds:
            # Its body was not read.
            raise RequestRefused(
                HTTPStatus.TOO_MANY_REQUESTS, "Too many requests", retry_after=seconds
            )

    def seconds_to_room(self, door: Door) -> int:
        """Return in how many seconds the rate of a route lets one more request in, 0 for now; none is counted."""
        return self._one_more(door)[1]

    def _one_more(self, door: Door) -> tuple[Bucket | None, int]:
        rate = door.rules.rate
        if rate is None:
            return None, 0
        now = self._clock.monotonic()
        bucket = self._buckets.get(door.route.path) or Bucket(rate.count, now)
        return bucket.take(rate, now)

    def check_ready(self, door: Door) -> None:
        """Raise RequestRefused while nothing is to be taken."""
        self._check_open()
        try:
            door.ready()
        except HiveError as error:
            raise _unread(error) from error

    def _check_open(self) -> None:
        if self._is_refusing:
            raise _unread(Draining())

    async def _take(self, door: Door, delivery: Delivery) -> tuple[web.Response, str]:
        try:
            taken = await self.desk.take(door, delivery)
        except HiveError as error:
            refusal = refusal_of(error)
            # What only the sender got wrong wakes nobody.
            is_ours = refusal.retry_after or refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            logger.log(
                logging.WARNING if is_ours else logging.INFO,
                "webhook refused",
                extra={
                    "path": door.route.path,
                    "status": refusal.status.value,
                    "error": str(error),
                    "repeat_key": f"{door.route.path} {error.code}",
                },
            )
            return refused_answer(error), error.code
        return taken_answer(taken, await _result(door, taken)), taken.outcome.value

    async def _publish(self, delivery: Delivery) -> list[str]:
        if self._bus is not None:
            await self._bus.publish(delivery.event)
        return []


async def _shown(request: web.BaseRequest, page: Page) -> web.StreamResponse:
    if request.method in ("GET", "HEAD"):
        return await page()
    answer = json_answer(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "Method not allowed"})
    answer.headers["Allow"] = "GET, HEAD"
    # What follows on the connection may be a body that nobody reads.
    answer.force_close()
    return answer


def _unread(error: HiveError) -> RequestRefused:
    """Return a refusal of a request whose body was not read: its connection ends."""
    refusal = refusal_of(error)
    return RequestRefused(refusal.status, str(refusal), retry_after=refusal.retry_after)


async def _result(door: Door, taken: Taken) -> Mapping[str, object] | None:
    """Wait for the first execution if the route does; None if it has not ended in time."""
    waits = door.rules.respond is Respond.WAIT and taken.outcome is not Outcome.COALESCED
    if not waits or not taken.execution_ids:
        return None
    return await door.results(taken.execution_ids[0], WAIT_SECONDS)


def _wrong_method(rules: Rules) -> web.Response:
    answer = json_answer(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "Method not allowed"})
    answer.headers["Allow"] = ", ".join(sorted(rules.methods))
    return answer
