"""The desk: what happens to a delivery once it is known to be genuine.

Laws: a delivery is in the ledger before its sender is told that it was taken; what was taken is handed on, once, also
after a crash (`recover`); what is refused leaves no row, but where there was only no room for it, a row that says so,
and the same delivery arrives anew when its sender tries again; a repeated delivery gets the executions of the first; of
a burst with one coalescing key the last is handed on, `window` after it and at most `max_wait` after the first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from uuid import uuid4

from hive_daemon.clock import Clock, sleep_until
from hive_daemon.errors import (
    BudgetExceeded,
    Busy,
    HiveError,
    NotFound,
    NotRunning,
    QueueFull,
    RateLimited,
    Refused,
    StorageError,
    StorageFull,
)
from hive_daemon.runtime.webhook_delivery import (
    Delivery,
    Door,
    Outcome,
    Taken,
    arrival_of,
    delivery_of,
    key_of,
    known_seconds,
)
from hive_daemon.storage.webhook_deliveries import (
    OPEN,
    DeliveryFilter,
    DeliveryLedger,
    DeliveryRow,
    DeliveryStatus,
    Settlement,
)
from hive_daemon.tasks import Scope

logger = logging.getLogger(__name__)

KEPT_SECONDS = 7 * 86_400.0
"""How long what became of a delivery can be looked up, at least."""
TIDY_SECONDS = 3_600.0
RETRY_SECONDS = 5.0
CLOSE_SECONDS = 1.0
"""How long a stop waits until the ledger knows what was handed on."""
NO_ROOM = (QueueFull, RateLimited, BudgetExceeded, Busy)
"""Why an entry point refuses a genuine delivery that may fit later: its row says so."""
_PAGE = 50


Fresh = tuple[Door, Delivery]


class WebhookDesk:
    """Takes deliveries for the doors of one server."""

    def __init__(self, doors: Mapping[str, Door], ledger: DeliveryLedger, clock: Clock) -> None:
        self.ledger = ledger
        self._doors = doors
        self._clock = clock
        self._scope = Scope("webhooks")
        self._under_way: dict[str, asyncio.Future[tuple[str, ...]]] = {}
        self._due: dict[tuple[str, str], float] = {}
        self._handed_on: dict[str, tuple[str, ...]] = {}
        self._noting: asyncio.Task[None] | None = None

    # --- taking -----------------------------------------------------------------------------

    async def take(self, door: Door, delivery: Delivery, *, replay_of: str = "") -> Taken:
        """Make a delivery durable and hand it on.

        Raises IdempotencyConflict, and whatever the door's intake refuses it with: then it left no row, or one of
        status refused.
        """
        arrival = arrival_of(door, delivery, replay_of)
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
            # Whether its sender had an answer before a crash, nobody knows.
            ids = await self._hand_on(row, is_promised=True)
        return Taken(row.id, Outcome.DUPLICATE, ids)

    async def _hand_on(
        self, row: DeliveryRow, fresh: Fresh | None = None, *, is_promised: bool
    ) -> tuple[str, ...]:
        """Hand a received delivery on, once however many ask for it; what was not promised may be turned away."""
        if (under_way := self._under_way.get(row.id)) is not None:
            return await asyncio.shield(under_way)
        if (handed_on := self._handed_on.get(row.id)) is not None:
            return handed_on
        answer = asyncio.get_running_loop().create_future()
        self._under_way[row.id] = answer
        try:
            ids = await self._give(row, fresh)
            answer.set_result(ids)
        except HiveError as error:
            if not is_promised:
                await self._turn_away(row, error)
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
        self._note(row.id, ids)
        return ids

    def _note(self, delivery_id: str, ids: tuple[str, ...]) -> None:
        """Have the ledger told, together with others: a crash before that makes the next start hand it on once more."""
        self._handed_on[delivery_id] = ids
        if self._noting is None:
            self._noting = self._scope.spawn("note", self._note_all())

    async def _note_all(self) -> None:
        try:
            while batch := dict(self._handed_on):
                noted = [
                    Settlement(name, DeliveryStatus.QUEUED, ids) for name, ids in batch.items()
                ]
                await self._until_taken(partial(self.ledger.settle, *noted), "note")
                for name in batch:
                    del self._handed_on[name]
        finally:
            self._noting = None

    async def noted(self) -> None:
        """Wait until the ledger knows of everything that was handed on."""
        if self._noting is not None:
            await asyncio.shield(self._noting)

    def _again_of(self, row: DeliveryRow, name: str = "") -> Fresh:
        """Return the door and the delivery of a row. Raises NotFound if the route is not there any more."""
        door = self._doors.get(row.route)
        if door is None:
            raise NotFound(f"no webhook route has the path {row.route} any more", subject=row.route)
        return door, delivery_of(row, door.rules, name)

    async def _turn_away(self, row: DeliveryRow, error: HiveError) -> None:
        """Keep that there was no room for a delivery; forget one that was refused for anything else."""
        try:
            if isinstance(error, NO_ROOM):
                reason = f"{error.code}: {error}"
                await self.ledger.settle(Settlement(row.id, DeliveryStatus.REFUSED, reason=reason))
            else:
                await self.ledger.withdraw(row.id)
        except (StorageError, StorageFull) as failure:
            # It stays received: the sender's next try, or the next start, hands the same delivery on.
            logger.warning(
                "a refused delivery could not be withdrawn",
                extra={"delivery_id": row.id, "error": str(failure)},
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
            await self.ledger.settle(Settlement(row.id, DeliveryStatus.FAILED, reason=str(error)))

    async def _until_taken(self, work: Callable[[], Awaitable[object]], subject: str) -> None:
        while True:
            try:
                await work()
            except (Refused, Busy, NotRunning, StorageError) as error:
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

    async def known(self, door: Door, delivery: Delivery) -> DeliveryRow | None:
        """Return the delivery that one is known by, None if it would be new."""
        wanted = DeliveryFilter(
            keys=(key_of(delivery),), routes=(door.route.path,), limit=1, with_data=False
        )
        since = self._clock.time() - known_seconds(delivery)
        rows = await self.ledger.query(wanted)
        return next((row for row in rows if row.received_at > since), None)

    async def load(self, delivery_id: str) -> DeliveryRow:
        """Return one delivery. Raises NotFound."""
        found = await self.ledger.query(DeliveryFilter(ids=(delivery_id,), limit=1))
        if not found:
            raise NotFound(f"no webhook delivery has the id {delivery_id}", subject=delivery_id)
        return found[0]

    async def replay(self, delivery_id: str, key: str = "") -> Taken:
        """Take a delivery once more, as a new one, by the rules of today; a duplicate only of a replay with this key.

        Raises NotFound if it or its route is not there, and what `take` raises.
        """
        row = await self.load(delivery_id)
        door, once_more = self._again_of(row, f"replay:{key or uuid4().hex}:{row.id}")
        door.ready()
        return await self.take(door, once_more, replay_of=row.id)

    async def close(self) -> None:
        """Wait for nothing any more but for what is being noted; what is open is taken up by the next start."""
        if self._noting is not None:
            await asyncio.wait([self._noting], timeout=CLOSE_SECONDS)
        await self._scope.close()
        self._due.clear()
