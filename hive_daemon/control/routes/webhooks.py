"""`/v1/webhooks`: routes, deliveries, trying a route out, taking deliveries once more. Nothing here tells a secret."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

from aiohttp import web

from hive_daemon.control.agent_views import routes_to
from hive_daemon.control.answers import Json, answer, listed
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.host import Host, agents_of
from hive_daemon.control.pages import Page
from hive_daemon.control.places import places
from hive_daemon.control.query import read_choice, shown
from hive_daemon.control.wire import is_delivery
from hive_daemon.durations import parse_duration
from hive_daemon.errors import InvalidInput
from hive_daemon.runtime.webhook_delivery import Door
from hive_daemon.runtime.webhook_rehearsal import rehearse
from hive_daemon.runtime.webhook_trial import Trial, replay, rows_to_replay, try_route
from hive_daemon.runtime.webhook_views import delivery_view, doors_named, route_view
from hive_daemon.storage.webhook_deliveries import DeliveryFilter, DeliveryStatus

logger = logging.getLogger(__name__)

MOST_PAYLOAD = 8 * 2**20
MOST_HEADERS = 32
MOST_REPLAYED = 1_000
MOST_NAME = 1_024

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_VALUE = re.compile(r"[\x20-\x7e\x80-\U0010ffff\t]{0,8000}")
_SET_BY_CLIENT = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect"})


async def list_routes(control: Control, ask: Ask) -> web.StreamResponse:
    """List the routes, by path."""
    doors = control.host.webhooks.doors
    page, cursor = Page.of(ask.query).cut(sorted(doors), str)
    return listed([_route_view(control.host, doors[path]) for path in page], cursor)


async def try_out(control: Control, ask: Ask) -> web.StreamResponse:
    """Say what would become of a payload; with `send` post it too."""
    server, body = control.host.webhooks, ask.body
    name = body.text("route", most=MOST_NAME)
    if not body.has("payload"):
        raise InvalidInput("there is no payload", hint='send {"route": "/hook", "payload": "{}"}')
    payload = body.text("payload", most=MOST_PAYLOAD).encode()
    trial = Trial(payload, _headers(body.mapping("headers")), body.flag("sign"))
    if ask.key:
        trial = replace(trial, name=f"test-{ask.key}")
    door = doors_named(server.doors, name)[0]
    told = await rehearse(server, door.route.path, trial, control.host.services.clock)
    told = {**told, "entry_points": _listeners(control.host, door), "answer": None}
    if not body.flag("send"):
        return answer(told)
    sent = await try_route(server, told["route"], trial, control.host.services.clock)
    outcome = (sent["answer"] or {}).get(
        "status", "refused" if sent["status"] >= 400 else "answered"
    )
    return answer({**told, "status": sent["status"], "outcome": outcome, "answer": sent["answer"]})


async def list_deliveries(control: Control, ask: Ask) -> web.StreamResponse:
    """List deliveries, the newest first, without what they carried."""
    server, page = control.host.webhooks, Page.of(ask.query)
    if page.cursor is not None and not is_delivery(page.cursor):
        raise InvalidInput(
            f"the cursor {shown(page.cursor)} does not belong to this list",
            hint="take it from next_cursor of the page before",
        )
    since = ask.query.one("since")
    wanted = DeliveryFilter(
        routes=tuple(
            path for name in ask.query.every("route") for path in _paths(control.host, name)
        ),
        statuses=ask.query.choices("status", DeliveryStatus),
        since=None if since is None else _moment(control, since),
        before=page.cursor or "",
        limit=page.limit,
        with_data=False,
    )
    rows = await server.desk.ledger.query(wanted)
    cursor = rows[-1].id if len(rows) == page.limit else None
    if cursor and not await server.desk.ledger.query(replace(wanted, before=cursor, limit=1)):
        cursor = None
    return listed([delivery_view(row) for row in rows], cursor)


async def show_delivery(control: Control, ask: Ask) -> web.StreamResponse:
    """Show a delivery with what it carried."""
    row = await control.host.webhooks.desk.load(_delivery(ask.names["delivery"]))
    return answer(delivery_view(row, with_data=True))


async def replay_deliveries(control: Control, ask: Ask) -> web.StreamResponse:
    """Take deliveries once more, or say what would become of them."""
    server, body = control.host.webhooks, ask.body
    ids, since = body.texts("ids"), body.text("since", most=64)
    if (ids is None) == (not body.has("since")):
        raise InvalidInput(
            "which deliveries are meant", hint='send {"ids": ["dlv_…"]} or {"since": "2h"}'
        )
    if ids is not None and (not ids or body.has("route") or body.has("status")):
        raise InvalidInput(
            "ids says which deliveries, and so does what stands beside it"
            if ids
            else "ids is empty",
            hint="name deliveries, or say since with a route or a status",
        )
    status = body.text("status", most=32)
    rows = await rows_to_replay(
        server,
        [_delivery(each) for each in ids or ()],
        since=None if ids else _moment(control, since),
        route=body.text("route", most=MOST_NAME),
        statuses=[read_choice("status", status, DeliveryStatus)] if status else (),
    )
    if len(rows) > MOST_REPLAYED:
        raise InvalidInput(
            f"these are {len(rows)} deliveries",
            hint=f"{MOST_REPLAYED} can be replayed at once: say a shorter since, a route or a status",
        )
    is_dry_run = body.flag("dry_run")
    told = await replay(server, rows, is_dry_run=is_dry_run, key=ask.key)
    if not is_dry_run:
        logger.info("webhooks replayed", extra={"deliveries": len(told), "by": str(ask.peer)})
    return listed(told)


# --- values -----------------------------------------------------------------------------------


def _route_view(host: Host, door: Door) -> Json:
    agents = [
        agent.name
        for agent in agents_of(host)
        if agent.runtime is not None
        for item in agent.runtime.config.webhook_routes
        if item["path"] == door.route.path
    ]
    entry_points = _listeners(host, door)
    return {
        "agent": agents[0] if agents else None,
        **route_view(door),
        "entry_points": entry_points,
    }


def _listeners(host: Host, door: Door) -> list[str]:
    """Return the addresses of the entry points that a delivery to a door sets off."""
    path = door.route.path
    return [
        place.address
        for place in places(host)
        if any(route.path == path for route in routes_to(place))
    ]


def _paths(host: Host, name: str) -> list[str]:
    """Return the paths that a person means by a path or a source; a path may be that of a route that is gone."""
    if name.startswith("/"):
        return [name]
    return [door.route.path for door in doors_named(host.webhooks.doors, name)]


def _delivery(name: str) -> str:
    if is_delivery(name):
        return name
    raise InvalidInput(
        f"{shown(name)} is not the id of a delivery", hint="see `hive webhooks deliveries`"
    )


def _moment(control: Control, since: str) -> float:
    return control.now() - parse_duration(since)


def _headers(given: Json) -> dict[str, str]:
    """Return the headers of a trial. Raises InvalidInput for what no sender could send."""
    if len(given) > MOST_HEADERS:
        raise InvalidInput(f"these are {len(given)} headers", hint=f"{MOST_HEADERS} at most")
    for name, value in given.items():
        is_sound = isinstance(value, str) and _VALUE.fullmatch(value) and _HEADER.fullmatch(name)
        if not is_sound or name.lower() in _SET_BY_CLIENT:
            raise InvalidInput(f"the header {shown(name)} cannot be sent", hint="leave it out")
    return given
