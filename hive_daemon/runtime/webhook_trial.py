"""Trying a route out: a real request through the real listener, and replays of what came before.

For `hive webhooks test` and `hive webhooks replay`.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any
from uuid import uuid4

import aiohttp
import orjson

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import HiveError, NotFound, NotRunning
from hive_daemon.runtime.webhook_server import WebhookServer
from hive_daemon.runtime.webhook_views import doors_named, preview, trial_headers
from hive_daemon.storage.webhook_deliveries import MAX_PAGE, DeliveryFilter, DeliveryRow

Json = dict[str, Any]

TRIAL_SECONDS = 60.0


async def try_route(
    server: WebhookServer,
    name: str,
    body: bytes,
    *,
    is_signed: bool = True,
    clock: Clock = SYSTEM_CLOCK,
) -> Json:
    """Send a body to a route as its provider would; answer `{path, status, answer}`.

    Raises NotFound for an unknown route, NotRunning if nothing listens.
    """
    door = doors_named(server.doors, name)[0]
    if server.address is None:
        raise NotRunning("the webhook listener does not run")
    host, port = server.address
    headers = trial_headers(door, body, clock.time(), f"test-{uuid4().hex}", is_signed=is_signed)
    url = f"http://{_reachable(host)}:{port}{door.route.path}"
    method = "POST" if "POST" in door.rules.methods else min(door.rules.methods)
    patience = aiohttp.ClientTimeout(total=TRIAL_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=patience) as session,
        session.request(method, url, data=body, headers=headers) as response,
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
    server: WebhookServer, ids: Sequence[str] = (), *, since: float | None = None, route: str = ""
) -> list[DeliveryRow]:
    """Return the deliveries that a person names, oldest first: by id, or what arrived since; replays are left out.

    Raises NotFound for an id or a route that is not there.
    """
    if ids:
        return [await server.desk.load(name) for name in ids]
    routes = tuple(each.route.path for each in doors_named(server.doors, route)) if route else ()
    found: list[DeliveryRow] = []
    before = ""
    while page := await server.desk.ledger.query(
        DeliveryFilter(routes=routes, since=since, before=before, limit=MAX_PAGE)
    ):
        found += [row for row in page if not row.replay_of]
        before = page[-1].id
    return found[::-1]


async def replay(
    server: WebhookServer, rows: Sequence[DeliveryRow], *, is_dry_run: bool = False
) -> list[Json]:
    """Take deliveries once more, one after the other, or say what would become of them.

    A refusal of one is told in its place and does not stop the others.
    """
    return [await _replay(server, row, is_dry_run=is_dry_run) for row in rows]


async def _replay(server: WebhookServer, row: DeliveryRow, *, is_dry_run: bool) -> Json:
    try:
        if not is_dry_run:
            taken = await server.desk.replay(row.id)
            return {
                "replay_of": row.id,
                "delivery_id": taken.delivery_id,
                "status": taken.outcome.value,
                "execution_ids": list(taken.execution_ids),
                "reason": taken.reason,
            }
        door = server.doors.get(row.route)
        if door is None:
            raise NotFound(f"no webhook route has the path {row.route} any more", subject=row.route)
        return {"replay_of": row.id, **preview(door, orjson.loads(row.data))}
    except HiveError as error:
        return {"replay_of": row.id, "status": "refused", "code": error.code, "reason": str(error)}
