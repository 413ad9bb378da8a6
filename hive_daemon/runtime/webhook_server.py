"""The webhook server: signed requests in, events out.

A request is answered 202 only after what it set off is durable. It is judged in this order: route, method, size,
signature over the bytes as they came, then the intake; whatever is refused stores nothing. Only an allow-list of
headers enters the event: credentials and signatures never do (`webhook_payload`).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web

from hive_daemon.errors import (
    BudgetExceeded,
    Conflict,
    HiveError,
    IdempotencyConflict,
    InvalidInput,
    NotFound,
    NotRunning,
    QueueFull,
    Refused,
    StorageError,
    StorageFull,
)
from hive_daemon.http.answers import RequestRefused, json_answer
from hive_daemon.http.body import read_body, unpack_body
from hive_daemon.http.limits import ListenerLimits
from hive_daemon.http.listener import STOP_SECONDS, Listener
from hive_daemon.runtime.event_bus import EventBus
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.webhook_payload import (
    delivery_id_of,
    kept_headers,
    payload_of,
    query_of,
)

logger = logging.getLogger(__name__)

SIGNATURE_HEADER = "X-Hub-Signature-256"
PREFIX = b"sha256="

_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_METHOD = re.compile(r"[A-Z]+")


@dataclass(frozen=True, slots=True)
class WebhookRoute:
    """A path that takes deliveries. `source_id` becomes the event's stream; `secret` asks for a signature.

    `path` is compared with what a sender sends, character by character: nothing is decoded or tidied up.
    Raises ValueError for a secret that is set but blank, a path that no request can name, or no method.
    """

    source_id: str
    path: str
    methods: Sequence[str] = ("POST",)
    secret: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not _PATH.fullmatch(self.path):
            raise ValueError(
                f"webhook path {self.path!r} must begin with '/' and hold only what stands for itself in a URL"
            )
        if isinstance(self.methods, str) or not self.methods:
            raise ValueError(f"webhook route {self.path}: methods must be a list, as in ['POST']")
        if not all(_METHOD.fullmatch(method.upper()) for method in self.methods):
            raise ValueError(f"webhook route {self.path}: {list(self.methods)} are no HTTP methods")
        if self.secret is not None and not self.secret.strip():
            raise ValueError(
                f"webhook route {self.path}: the secret is empty; set one, or leave it out for an open route"
            )


@dataclass(frozen=True, slots=True)
class WebhookServerConfig:
    """Where the server listens; port 0 takes any free one. `limits` is what one sender may take."""

    host: str = "127.0.0.1"
    port: int = 8080
    limits: ListenerLimits = field(default_factory=ListenerLimits)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One accepted request: the event it makes, and what names it.

    `delivery_id` is the sender's name for it, empty if there is none. `body_hash` is SHA-256 of the unpacked body, in
    hex: packing the same body again may give other bytes.
    """

    event: AgentEvent
    delivery_id: str
    body_hash: str


Intake = Callable[[Delivery], Awaitable[list[str]]]
"""Makes durable what a delivery sets off; answers the execution ids."""


@dataclass(frozen=True, slots=True)
class _Door:
    """A route as a request needs it."""

    route: WebhookRoute
    methods: frozenset[str]
    key: bytes | None
    intake: Intake


class WebhookServer:
    """Listens for webhooks and hands each as an event to the intake of its route.

    A route's intake is its own, else the server's, else one that only publishes on the bus. Routes may be added and
    removed while it runs. With no routes, `start` does nothing. `handle` may also be given to a listener of one's own.
    """

    def __init__(
        self,
        event_bus: EventBus | None,
        config: WebhookServerConfig | None = None,
        intake: Intake | None = None,
    ) -> None:
        self._bus = event_bus
        self._config = config or WebhookServerConfig()
        self._intake = intake or self._publish
        self._doors: dict[str, _Door] = {}
        self._listener: Listener | None = None

    # --- routes -----------------------------------------------------------------------------

    def add_route(self, route: WebhookRoute, intake: Intake | None = None) -> None:
        """Take deliveries on a path. A second route on the same path replaces the first."""
        self._doors[route.path] = _Door(
            route,
            frozenset(method.upper() for method in route.methods),
            # A secret from the environment may hold bytes that are not UTF-8.
            None if route.secret is None else route.secret.encode(errors="surrogateescape"),
            intake or self._intake,
        )
        self._warn_of_open_doors((route,))

    def remove_route(self, path: str) -> None:
        """Take deliveries on a path no more."""
        self._doors.pop(path, None)

    @property
    def routes(self) -> list[WebhookRoute]:
        """The routes."""
        return [door.route for door in self._doors.values()]

    # --- lifecycle --------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether it listens."""
        return self._listener is not None

    @property
    def port(self) -> int | None:
        """The port it really listens on, None when it does not."""
        return self._listener.port if self._listener is not None else None

    async def start(self) -> None:
        """Listen. Raises OSError; its errno is EADDRINUSE if the address is taken."""
        if self._listener is not None or not self._doors:
            return
        config = self._config
        listener = Listener(config.host, config.port, config.limits)
        await listener.start(self.handle)
        self._listener = listener
        self._warn_of_open_doors(self.routes)

    async def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """Listen no more; requests that are being answered may end within the grace."""
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.stop(grace_seconds)

    def _warn_of_open_doors(self, routes: Sequence[WebhookRoute]) -> None:
        if self._listener is None or self._listener.is_loopback:
            return
        for route in routes:
            if route.secret is None:
                logger.warning(
                    "a webhook route takes requests that nobody signed, from other machines",
                    extra={"path": route.path, "repeat_key": route.path},
                )

    # --- one request ------------------------------------------------------------------------

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request. Raises RequestRefused for a body that cannot be read: the listener answers it."""
        path, _, query = request.raw_path.partition("?")
        door = self._doors.get(path)
        if door is None:
            return json_answer(HTTPStatus.NOT_FOUND, {"error": "Not found"})
        if request.method not in door.methods:
            return _wrong_method(door)
        taken = await read_body(request)
        headers = request.headers
        if door.key is not None and not is_signed(
            taken, headers.getall(SIGNATURE_HEADER, ()), door.key
        ):
            return json_answer(HTTPStatus.UNAUTHORIZED, {"error": "Invalid signature"})
        packing = ",".join(headers.getall("Content-Encoding", ()))
        body = unpack_body(taken, packing, request.client_max_size)
        kept = kept_headers(headers.items())
        event = AgentEvent(
            type=EventType.WEBHOOK_RECEIVED,
            stream_id=door.route.source_id,
            data={
                "path": path,
                "method": request.method,
                "headers": kept,
                "payload": payload_of(body),
                "query_params": query_of(query),
            },
        )
        delivery = Delivery(event, delivery_id_of(kept), hashlib.sha256(body).hexdigest())
        return await _take(door, delivery)

    async def _publish(self, delivery: Delivery) -> list[str]:
        if self._bus is not None:
            await self._bus.publish(delivery.event)
        return []


def is_signed(body: bytes, given: Sequence[str], key: bytes) -> bool:
    """Say whether the one value of `X-Hub-Signature-256` is `sha256=` and the HMAC-SHA256 of the body in hex.

    Compared in constant time. A header that is missing or stands twice is wrong.
    Source: GitHub, "Validating webhook deliveries".
    """
    if len(given) != 1:
        return False
    wanted = PREFIX + hmac.digest(key, body, "sha256").hex().encode()
    return hmac.compare_digest(wanted, given[0].encode(errors="surrogateescape"))


def _wrong_method(door: _Door) -> web.Response:
    answer = json_answer(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "Method not allowed"})
    answer.headers["Allow"] = ", ".join(sorted(door.methods))
    return answer


async def _take(door: _Door, delivery: Delivery) -> web.Response:
    try:
        ids = await door.intake(delivery)
    except HiveError as error:
        refusal = refusal_of(error)
        logger.warning(
            "webhook refused",
            extra={
                "path": door.route.path,
                "status": refusal.status.value,
                "error": str(error),
                "repeat_key": f"{door.route.path} {error.code}",
            },
        )
        return refusal.answer()
    answer: dict[str, object] = {"status": "accepted", "execution_ids": ids}
    if ids:
        answer["execution_id"] = ids[0]
    return json_answer(HTTPStatus.ACCEPTED, answer)


def refusal_of(error: HiveError) -> RequestRefused:
    """Return what a sender is told of an error. Its own message stays here: it may name paths."""
    match error:
        case NotRunning():
            return _refused(HTTPStatus.SERVICE_UNAVAILABLE, "The agent is not running", 5)
        case StorageFull():
            return _refused(HTTPStatus.INSUFFICIENT_STORAGE, "There is no space left", 60)
        case QueueFull() | BudgetExceeded():
            return _refused(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests", 30)
        case Refused():
            return _refused(HTTPStatus.SERVICE_UNAVAILABLE, "No new work is taken", 5)
        case StorageError():
            return _refused(HTTPStatus.SERVICE_UNAVAILABLE, "The delivery cannot be stored", 5)
        case IdempotencyConflict():
            return _refused(
                HTTPStatus.CONFLICT, "This delivery id was used with another body before"
            )
        case Conflict():
            return _refused(HTTPStatus.CONFLICT, "The delivery does not fit the present state")
        case NotFound():
            return _refused(HTTPStatus.NOT_FOUND, "Not found")
        case InvalidInput():
            return _refused(HTTPStatus.BAD_REQUEST, "The payload is not valid")
        case _:
            return _refused(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error")


def _refused(status: HTTPStatus, sentence: str, retry_after: int = 0) -> RequestRefused:
    return RequestRefused(status, sentence, closes=False, retry_after=retry_after)
