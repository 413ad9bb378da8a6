"""The desk: what happens to a delivery once it is known to be genuine.

Laws: a delivery is in the ledger before its sender is told that it was taken; what was taken is handed on, once, also
after a crash (`recover`); what is refused leaves no row; a repeated delivery gets the executions of the first; of a
burst with one coalescing key the last is handed on, `window` after it and at most `max_wait` after the first.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import uuid4

import orjson

from hive_daemon.clock import Clock, sleep_until
from hive_daemon.errors import HiveError, NotFound, NotRunning, Refused, StorageError
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.intake import DEDUPE_SECONDS
from hive_daemon.runtime.webhook_filters import rejection
from hive_daemon.runtime.webhook_places import ABSENT, Data, Place, text_of
from hive_daemon.runtime.webhook_route import Coalesce, Rules, WebhookRoute
from hive_daemon.storage.webhook_deliveries import (
    OPEN,
    Arrival,
    DeliveryFilter,
    DeliveryLedger,
    DeliveryRow,
    DeliveryStatus,
)
from hive_daemon.tasks import Scope

logger = logging.getLogger(__name__)

UNNAMED_SECONDS = 300.0
"""How long a delivery without a name is known again, by its body."""
KEPT_SECONDS = 7 * 86_400.0
"""How long what became of a delivery can be looked up, at least."""
TIDY_SECONDS = 3_600.0
RETRY_SECONDS = 5.0
LONGEST_NAME = 256
_PAGE = 50
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
    """A route with everything a request needs. `answered` counts the answers by status."""

    route: WebhookRoute
    rules: Rules
    intake: Intake
    ready: Ready
    results: Results
    answered: Counter[int] = field(default_factory=Counter)


Fresh = tuple[Door, Delivery]


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


class WebhookDesk:
    """Takes deliveries for the doors of one server."""

    def __init__(self, doors: Mapping[str, Door], ledger: DeliveryLedger, clock: Clock) -> None:
        self.ledger = ledger
        self._doors = doors
        self._clock = clock
        self._scope = Scope("webhooks")
        self._under_way: dict[str, asyncio.Future[tuple[str, ...]]] = {}
        self._due: dict[tuple[str, str], float] = {}

    # --- taking -----------------------------------------------------------------------------

    async def take(self, door: Door, delivery: Delivery, *, replay_of: str = "") -> Taken:
        """Make a delivery durable and hand it on.

        Raises IdempotencyConflict, and whatever the door's intake refuses it with: then it left no row.
        """
        arrival = _arrival(door, delivery, replay_of)
        admission = await self.ledger.admit(arrival)
        row = admission.row
        if not admission.is_new:
            return await self._again(row)
        match row.status:
            case DeliveryStatus.IGNORED:
                return Taken(row.id, Outcome.IGNORED, reason=row.reason)
            case DeliveryStatus.COALESCED:
                self._hold(row)
                return Taken(row.id, Outcome.COALESCED)
            case _:
                ids = await self._hand_on(row, (door, delivery), is_promised=False)
                return Taken(row.id, Outcome.QUEUED, ids)

    async def _again(self, row: DeliveryRow) -> Taken:
        """Answer a delivery that came before; if its first answer was never given, it is handed on now."""
        ids = row.execution_ids
        if row.status is DeliveryStatus.RECEIVED:
            ids = await self._hand_on(row, is_promised=bool(row.group))
        return Taken(row.id, Outcome.DUPLICATE, ids)

    async def _hand_on(
        self, row: DeliveryRow, fresh: Fresh | None = None, *, is_promised: bool
    ) -> tuple[str, ...]:
        """Hand a received delivery on, once however many ask for it; a refusal withdraws it unless it was promised."""
        if (under_way := self._under_way.get(row.id)) is not None:
            return await asyncio.shield(under_way)
        answer = asyncio.get_running_loop().create_future()
        self._under_way[row.id] = answer
        try:
            ids = await self._give(row, fresh)
            answer.set_result(ids)
        except HiveError as error:
            if not is_promised:
                await self._withdraw(row)
            answer.set_exception(error)
            # Nobody else may be waiting for it.
            answer.exception()
            raise
        finally:
            del self._under_way[row.id]
            answer.cancel()
        return ids

    async def _give(self, row: DeliveryRow, fresh: Fresh | None) -> tuple[str, ...]:
        door, delivery = fresh or self._again_of(row)
        ids = tuple(await door.intake(delivery))
        await self.ledger.settle(row.id, DeliveryStatus.QUEUED, ids)
        return ids

    def _again_of(self, row: DeliveryRow, name: str = "") -> Fresh:
        """Return the door and the delivery of a row. Raises NotFound if the route is not there any more."""
        door = self._doors.get(row.route)
        if door is None:
            raise NotFound(f"no webhook route has the path {row.route} any more", subject=row.route)
        return door, delivery_of(row, door.rules, name)

    async def _withdraw(self, row: DeliveryRow) -> None:
        try:
            await self.ledger.withdraw(row.id)
        except StorageError as error:
            # It stays received: the sender's next try, or the next start, hands the same delivery on.
            logger.warning(
                "a refused delivery could not be withdrawn",
                extra={"delivery_id": row.id, "error": str(error)},
            )

    # --- coalescing -------------------------------------------------------------------------

    def _hold(self, row: DeliveryRow) -> None:
        group = (row.route, row.group)
        is_held = group in self._due
        self._due[group] = row.due_at or self._clock.time()
        if not is_held:
            self._scope.spawn(f"coalesce {row.route}", self._wait(group))

    async def _wait(self, group: tuple[str, str]) -> None:
        while self._clock.time() < self._due[group]:
            await sleep_until(self._clock, self._due[group])
        del self._due[group]
        await self._until_taken(lambda: self._release(group), group[0])

    async def _release(self, group: tuple[str, str]) -> None:
        row = await self.ledger.release(*group)
        if row is not None:
            self._scope.spawn(f"hand on {row.id}", self._keep_promise(row))

    async def _keep_promise(self, row: DeliveryRow) -> None:
        """Hand on what its sender was told is taken; what cannot be now is tried again, what never can has failed."""
        try:
            await self._until_taken(lambda: self._hand_on(row, is_promised=True), row.id)
        except HiveError as error:
            logger.error("a webhook failed", extra={"delivery_id": row.id, "error": str(error)})
            await self.ledger.settle(row.id, DeliveryStatus.FAILED, reason=str(error))

    async def _until_taken(self, work: Callable[[], Awaitable[object]], subject: str) -> None:
        while True:
            try:
                await work()
            except (Refused, NotRunning, StorageError) as error:
                logger.warning(
                    "a webhook is tried again",
                    extra={"delivery": subject, "error": str(error), "repeat_key": subject},
                )
                await self._clock.sleep(RETRY_SECONDS)
            else:
                return

    # --- over restarts ----------------------------------------------------------------------

    async def recover(self) -> int:
        """Take up what a former process took and did not hand on; answer how many. Begin to forget what is old."""
        count = 0
        async for row in self._open_rows():
            if row.route not in self._doors:
                logger.warning(
                    "a delivery waits for a webhook route that is not there",
                    extra={"delivery_id": row.id, "path": row.route},
                )
            elif row.status is DeliveryStatus.COALESCED:
                self._hold_older(row)
            elif row.id not in self._under_way:
                self._scope.spawn(f"hand on {row.id}", self._keep_promise(row))
            count += 1
        self._scope.spawn("tidy", self._tidy())
        return count

    async def _open_rows(self) -> AsyncIterator[DeliveryRow]:
        wanted = DeliveryFilter(statuses=OPEN, limit=_PAGE)
        while page := await self.ledger.query(wanted):
            for row in page:
                yield row
            wanted = DeliveryFilter(statuses=OPEN, before=page[-1].id, limit=_PAGE)

    def _hold_older(self, row: DeliveryRow) -> None:
        # Newest first: the first row of a group that is seen knows when it is due.
        if (row.route, row.group) not in self._due:
            self._hold(row)

    async def _tidy(self) -> None:
        while True:
            await self._until_taken(self._prune, "tidy")
            await self._clock.sleep(TIDY_SECONDS)

    async def _prune(self) -> int:
        return await self.ledger.prune(self._clock.time() - KEPT_SECONDS)

    async def load(self, delivery_id: str) -> DeliveryRow:
        """Return one delivery. Raises NotFound."""
        found = await self.ledger.query(DeliveryFilter(ids=(delivery_id,), limit=1))
        if not found:
            raise NotFound(f"no webhook delivery has the id {delivery_id}", subject=delivery_id)
        return found[0]

    async def replay(self, delivery_id: str) -> Taken:
        """Take a delivery once more, as a new one, by the rules of today; it is never a duplicate.

        Raises NotFound if it or its route is not there, and what `take` raises.
        """
        row = await self.load(delivery_id)
        door, once_more = self._again_of(row, f"replay:{uuid4().hex}")
        door.ready()
        return await self.take(door, once_more, replay_of=row.id)

    async def close(self) -> None:
        """Wait for nothing any more; what is open is taken up by the next start."""
        await self._scope.close()
        self._due.clear()


# --- values -----------------------------------------------------------------------------------


def _arrival(door: Door, delivery: Delivery, replay_of: str) -> Arrival:
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
        key=delivery.delivery_id or _BODY + delivery.body_hash,
        body_hash=delivery.body_hash,
        known_seconds=DEDUPE_SECONDS if delivery.delivery_id else UNNAMED_SECONDS,
        status=status,
        data=orjson.dumps(event.data),
        reason=reason,
        group=_group(coalesce, event.data) if coalesce and is_held else "",
        window=coalesce.window if coalesce and is_held else 0.0,
        max_wait=coalesce.max_wait if coalesce and is_held else 0.0,
        replay_of=replay_of,
    )


def _group(coalesce: Coalesce, data: Data) -> str:
    # Never empty: deliveries without the key are one group too.
    return "=" + _short(text_of(coalesce.key.fill(data)))


def delivery_of(row: DeliveryRow, rules: Rules, name: str = "") -> Delivery:
    """Return a delivery as it was, or under another name."""
    data = orjson.loads(row.data)
    if row.superseded:
        data["superseded"] = row.superseded
    own_name = "" if row.key == _BODY + row.body_hash else row.key
    return Delivery(
        event_of(row.source_id, data), name or own_name, row.body_hash, inputs_of(rules, data)
    )


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
