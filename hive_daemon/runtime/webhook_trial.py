"""Trying a route out: a real request through the real listener, and replays of what came before.

For `hive webhooks test --send` and `hive webhooks replay`; what would become of a request is in `webhook_rehearsal`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from uuid import uuid4

import aiohttp
import orjson

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import HiveError, NotFound, NotRunning
from hive_daemon.runtime.webhook_delivery import Door, carried
from hive_daemon.runtime.webhook_server import WebhookServer
from hive_daemon.runtime.webhook_views import doors_named, preview, trial_headers
from hive_daemon.storage.webhook_deliveries import (
    MAX_PAGE,
    DeliveryFilter,
    DeliveryRow,
    DeliveryStatus,
)

Json = dict[str, Any]

TRIAL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Trial:
    """A request as a person tries it. `headers` stand over those of a genuine sender.

    `name` is what the delivery is called; without it every trial is a new one.
    """

    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_signed: bool = True
    name: str = field(default_factory=lambda: f"test-{uuid4().hex}")

    def sent(self, door: Door, now: float) -> dict[str, str]:
        """Return the headers of the request to a door."""
        given = {name.lower() for name in self.headers}
        own = trial_headers(door, self.body, now, self.name, is_signed=self.is_signed)
        kept = {name: value for name, value in own.items() if name.lower() not in given}
        return {**kept, **self.headers}


def method_of(door: Door) -> str:
    """Return the method that a trial uses: POST where the route takes it."""
    return "POST" if "POST" in door.rules.methods else min(door.rules.methods)


async def try_route(
    server: WebhookServer, name: str, trial: Trial, clock: Clock = SYSTEM_CLOCK
) -> Json:
    """Send a request to a route as its provider would; answer `{path, status, answer}`.

    Raises NotFound for an unknown route, NotRunning if nothing listens.
    """
    door = doors_named(server.doors, name)[0]
    if server.address is None:
        raise NotRunning("the webhook listener does not run")
    host, port = server.address
    url = f"http://{_reachable(host)}:{port}{door.route.path}"
    patience = aiohttp.ClientTimeout(total=TRIAL_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=patience) as session,
        session.request(
            method_of(door), url, data=trial.body, headers=trial.sent(door, clock.time())
        ) as response,
    ):
        answer = orjson.loads(await response.read() or b"null")
        return {"path": door.route.path, "status": response.status, "answer": answer}


def _reachable(host: str) -> str:
    """Return the address under which a listener on `host` is reached from here, as a URL writes it."""
    address = ip_address(host)
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"


async def rows_to_replay(
    server: WebhookServer,
    ids: Sequence[str] = (),
    *,
    since: float | None = None,
    route: str = "",
    statuses: Sequence[DeliveryStatus] = (),
) -> list[DeliveryRow]:
    """Return the deliveries that a person names, without what they carried: by id, or what arrived since, oldest first.

    Replays are left out unless they are named. Raises NotFound for an id or a route that is not there.
    """
    if ids:
        return [await server.desk.load(name) for name in dict.fromkeys(ids)]
    routes = tuple(each.route.path for each in doors_named(server.doors, route)) if route else ()
    found: list[DeliveryRow] = []
    before = ""
    while page := await server.desk.ledger.query(
        DeliveryFilter(
            routes=routes,
            statuses=tuple(statuses),
            since=since,
            before=before,
            limit=MAX_PAGE,
            with_data=False,
        )
    ):
        found += [row for row in page if not row.replay_of]
        before = page[-1].id
    return found[::-1]


async def replay(
    server: WebhookServer, rows: Sequence[DeliveryRow], *, is_dry_run: bool = False, key: str = ""
) -> list[Json]:
    """Take deliveries once more, one after the other, or say what would become of them.

    A refusal of one is told in its place and does not stop the others. The same `key` again takes nothing twice.
    """
    return [await _replay(server, row, is_dry_run=is_dry_run, key=key) for row in rows]


async def _replay(server: WebhookServer, row: DeliveryRow, *, is_dry_run: bool, key: str) -> Json:
    told: Json = {
        "replay_of": row.id,
        "route": row.route,
        "delivery_id": None,
        "status": "refused",
        "execution_ids": [],
        "reason": None,
        "code": None,
        "input": None,
    }
    try:
        if is_dry_run:
            return {**told, **await _rehearsed(server, row)}
        taken = await server.desk.replay(row.id, key)
    except HiveError as error:
        return {**told, "reason": str(error), "code": error.code}
    return {
        **told,
        "delivery_id": taken.delivery_id,
        "status": taken.outcome.value,
        "execution_ids": list(taken.execution_ids),
        "reason": taken.reason or None,
    }


async def _rehearsed(server: WebhookServer, row: DeliveryRow) -> Json:
    door = server.doors.get(row.route)
    if door is None:
        raise NotFound(f"no webhook route has the path {row.route} any more", subject=row.route)
    seen = preview(door, carried(await server.desk.load(row.id)))
    # A replay never waits for a burst.
    would = "ignored" if seen["reason"] else "queued"
    return {"status": would, "reason": seen["reason"] or None, "input": seen["input"]}
