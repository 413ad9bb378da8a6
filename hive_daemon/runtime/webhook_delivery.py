"""What a delivery is: the values between a request, the desk and the ledger. Pure, but for the ids that it draws."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import uuid4

import orjson

from hive_daemon.errors import NotFound
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.intake import DEDUPE_SECONDS
from hive_daemon.runtime.webhook_filters import rejection
from hive_daemon.runtime.webhook_places import ABSENT, Data, Place, text_of
from hive_daemon.runtime.webhook_route import Coalesce, Rules, WebhookRoute
from hive_daemon.storage.webhook_deliveries import Arrival, DeliveryRow, DeliveryStatus

UNNAMED_SECONDS = 300.0
"""How long a delivery without a name is known again, by its body."""
LONGEST_NAME = 256
_BODY = "sha256:"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One accepted request: the event it makes, and what names it.

    `delivery_id` is the sender's name for it, empty if there is none. `body_hash` is SHA-256 of the unpacked body, in
    hex: packing the same body again may give other bytes. `inputs` is what the route's `input` adds to the input of
    each execution.
    """

    event: AgentEvent
    delivery_id: str
    body_hash: str
    inputs: Mapping[str, Any] = field(default_factory=dict)


Intake = Callable[[Delivery], Awaitable[list[str]]]
"""Makes durable what a delivery sets off; answers the execution ids. The same delivery again answers the same ids."""
Ready = Callable[[], object]
"""Raises NotRunning or Draining while no delivery is to be taken."""
Results = Callable[[str, float], Awaitable[Mapping[str, object] | None]]
"""Waits for an execution to end, so many seconds; answers what came of it, None if it has not ended."""


@dataclass(frozen=True, slots=True)
class Door:
    """A route with everything a request needs.

    `answered` counts the answers by status, `outcomes` by what became of the request: an `Outcome`, `handshake`, the
    verdict on its signature, the code of the refusal, else `http_` and the status.
    """

    route: WebhookRoute
    rules: Rules
    intake: Intake
    ready: Ready
    results: Results
    answered: Counter[int] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    def count(self, status: int, outcome: str = "") -> None:
        """Count an answer."""
        self.answered[status] += 1
        self.outcomes[outcome or f"http_{int(status)}"] += 1


class Outcome(StrEnum):
    """What a sender is told of a delivery."""

    QUEUED = "queued"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    COALESCED = "coalesced"


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery that is durable. `reason` says why it is ignored."""

    delivery_id: str
    outcome: Outcome
    execution_ids: tuple[str, ...] = ()
    reason: str = ""


def arrival_of(door: Door, delivery: Delivery, replay_of: str = "") -> Arrival:
    """Return a delivery as the ledger takes it; one that repeats another on purpose waits for no burst."""
    rules, event = door.rules, delivery.event
    reason = rejection(rules.filters, event.data)
    coalesce = rules.coalesce
    status = DeliveryStatus.RECEIVED
    if reason:
        status = DeliveryStatus.IGNORED
    elif coalesce is not None and not replay_of:
        status = DeliveryStatus.COALESCED
    is_held = coalesce is not None and status is DeliveryStatus.COALESCED
    return Arrival(
        id=f"dlv_{uuid4().hex}",
        route=door.route.path,
        source_id=event.stream_id,
        key=key_of(delivery),
        body_hash=delivery.body_hash,
        known_seconds=known_seconds(delivery),
        status=status,
        data=orjson.dumps(event.data),
        reason=reason,
        group=_group(coalesce, event.data) if coalesce and is_held else "",
        window=coalesce.window if coalesce and is_held else 0.0,
        max_wait=coalesce.max_wait if coalesce and is_held else 0.0,
        replay_of=replay_of,
    )


def key_of(delivery: Delivery) -> str:
    """Return what a delivery is known by within its route: its name, else the hash of its body."""
    return delivery.delivery_id or _BODY + delivery.body_hash


def known_seconds(delivery: Delivery) -> float:
    """Return how long a delivery is known again."""
    return DEDUPE_SECONDS if delivery.delivery_id else UNNAMED_SECONDS


def _group(coalesce: Coalesce, data: Data) -> str:
    # Never empty: deliveries without the key are one group too.
    return "=" + _short(text_of(coalesce.key.fill(data)))


def delivery_of(row: DeliveryRow, rules: Rules, name: str = "") -> Delivery:
    """Return a delivery as it was, or under another name. Raises NotFound."""
    data = carried(row)
    if row.superseded:
        data["superseded"] = row.superseded
    own_name = "" if row.key == _BODY + row.body_hash else row.key
    return Delivery(
        event_of(row.source_id, data), name or own_name, row.body_hash, inputs_of(rules, data)
    )


def carried(row: DeliveryRow) -> dict[str, Any]:
    """Return the data of a delivery's event. Raises NotFound if it is kept no more: a ledger in memory forgets it."""
    data: dict[str, Any] = orjson.loads(row.data)
    if not data:
        raise NotFound(f"what {row.id} carried is not kept any more", subject=row.id)
    return data


def event_of(source_id: str, data: dict[str, Any]) -> AgentEvent:
    """Return the event that a delivery makes."""
    return AgentEvent(type=EventType.WEBHOOK_RECEIVED, stream_id=source_id, data=data)


def inputs_of(rules: Rules, data: Data) -> dict[str, Any]:
    """Return what the route's `input` makes of a delivery."""
    return {key: template.fill(data) for key, template in rules.input.items()}


def name_of(places: Sequence[Place], data: Data) -> str:
    """Return the name that a sender gave a delivery, empty for none; a very long one becomes its hash."""
    for place in places:
        value = place.value(data)
        if text := "" if value is ABSENT else text_of(value):
            return _short(text)
    return ""


def _short(text: str) -> str:
    if len(text) <= LONGEST_NAME:
        return text
    return _BODY + hashlib.sha256(text.encode(errors="replace")).hexdigest()
