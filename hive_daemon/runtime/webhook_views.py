"""What a person sees of webhooks: routes, deliveries, what a rule would make of one. No view holds a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from hive_daemon.clock import iso_z
from hive_daemon.durations import format_duration
from hive_daemon.errors import NotFound
from hive_daemon.observability.redaction import redactor
from hive_daemon.runtime.webhook_delivery import Door, inputs_of
from hive_daemon.runtime.webhook_filters import rejection
from hive_daemon.runtime.webhook_places import text_of
from hive_daemon.runtime.webhook_schemes import SIGNS_TIME, Verify, proof
from hive_daemon.storage.webhook_deliveries import DeliveryRow

Json = dict[str, Any]


def route_view(door: Door) -> Json:
    """Describe a route as it is in force, for `hive webhooks routes`."""
    route, rules = door.route, door.rules
    scheme = rules.check.scheme
    return {
        "path": route.path,
        "source_id": route.source_id,
        "methods": sorted(rules.methods),
        "verify": scheme.value,
        "secrets": len(rules.check.keys),
        "tolerance": format_duration(rules.check.tolerance) if scheme in SIGNS_TIME else None,
        "max_body": rules.max_body,
        "read_timeout": _duration(rules.read_timeout),
        "rate": str(rules.rate) if rules.rate else None,
        "allow_ips": [str(network) for network in rules.networks],
        "headers": sorted(rules.kept),
        "filters": [dict(each.written) for each in rules.filters],
        "input": dict(route.input),
        "dedupe": [f"{place.part}.{'.'.join(place.steps)}" for place in rules.dedupe],
        "coalesce": dict(route.coalesce) if route.coalesce else None,
        "respond": rules.respond.value,
        "allow_insecure": route.allow_insecure,
        "answered": {str(status): count for status, count in sorted(door.answered.items())},
    }


def delivery_view(row: DeliveryRow, *, with_data: bool = False) -> Json:
    """Describe a delivery, for `hive webhooks deliveries`, and with what it carried for `show`."""
    view: Json = {
        "delivery_id": row.id,
        "route": row.route,
        "source_id": row.source_id,
        "status": row.status.value,
        "reason": row.reason,
        "key": row.key,
        "body_sha256": row.body_hash,
        "received_at": iso_z(row.received_at),
        "due_at": _moment(row.due_at),
        "settled_at": _moment(row.settled_at),
        "execution_ids": list(row.execution_ids),
        "superseded": row.superseded,
        "superseded_by": row.superseded_by or None,
        "repeats": row.repeats,
        "replay_of": row.replay_of or None,
    }
    if with_data:
        view["data"] = redactor().redact_value(orjson.loads(row.data))
    return view


def preview(door: Door, data: Mapping[str, Any]) -> Json:
    """Say what a route would make of a delivery's data, without doing it: for `--dry-run`."""
    reason = rejection(door.rules.filters, data)
    coalesce = door.rules.coalesce
    return {
        "route": door.route.path,
        "would": "ignored" if reason else "coalesced" if coalesce else "queued",
        "reason": reason,
        "coalesce_key": text_of(coalesce.key.fill(data)) if coalesce and not reason else None,
        "input": {} if reason else inputs_of(door.rules, data),
    }


def doors_named(doors: Mapping[str, Door], name: str) -> list[Door]:
    """Return the doors that a person means by a path or a source. Raises NotFound."""
    if name in doors:
        return [doors[name]]
    found = [door for door in doors.values() if door.route.source_id == name]
    if not found:
        raise NotFound(f"no webhook route has the path or source {name!r}", subject=name)
    return found


def trial_headers(door: Door, body: bytes, now: float, name: str, *, is_signed: bool) -> Json:
    """Return the headers of a request that tries a route, with its genuine proof or with none."""
    headers = {"Content-Type": "application/json", "User-Agent": "hive-webhooks-test"}
    check = door.rules.check
    if not is_signed:
        return headers
    signed = {**headers, **proof(check, body, now, name)}
    return signed if check.scheme is Verify.STANDARD else {"Idempotency-Key": name, **signed}


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else format_duration(seconds)


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else iso_z(seconds)
