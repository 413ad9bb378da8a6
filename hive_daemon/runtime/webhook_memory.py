"""A ledger of webhook deliveries in memory: for a server that stands by itself, without a store.

Laws: those of `DeliveryLedger`, but nothing survives the process, only the last 10,000 deliveries are known again, and
what is settled is kept without its data.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import IdempotencyConflict
from hive_daemon.storage.webhook_deliveries import (
    MAX_PAGE,
    OPEN,
    Admission,
    Arrival,
    DeliveryFilter,
    DeliveryRow,
    DeliveryStatus,
    Settlement,
)

MOST_ROWS = 10_000

_UNSETTLED = (DeliveryStatus.RECEIVED, DeliveryStatus.REFUSED)


@dataclass(slots=True)
class _Kept:
    row: DeliveryRow
    known_until: float


class MemoryLedger:
    """The deliveries of one process."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK, most: int = MOST_ROWS) -> None:
        self._clock = clock
        self._most = most
        self._rows: OrderedDict[str, _Kept] = OrderedDict()
        self._keys: dict[tuple[str, str], str] = {}

    async def admit(self, arrival: Arrival) -> Admission:
        """See `DeliveryLedger.admit`."""
        now = self._clock.time()
        known = self._rows.get(self._keys.get((arrival.route, arrival.key), ""))
        if known is not None and known.known_until > now:
            if known.row.body_hash != arrival.body_hash:
                raise IdempotencyConflict(subject=arrival.key)
            found = known.row
            if found.status is DeliveryStatus.REFUSED:
                self._forget(found.id)
                return self._keep(replace(arrival, id=found.id), found.repeats + 1)
            known.row = replace(found, repeats=found.repeats + 1)
            return Admission(found, is_new=False)
        return self._keep(arrival, 0)

    def _keep(self, arrival: Arrival, repeats: int) -> Admission:
        now = self._clock.time()
        row = replace(_row_of(arrival, now, self._due_at(arrival, now)), repeats=repeats)
        self._rows[row.id] = _Kept(row, now + arrival.known_seconds)
        self._keys[arrival.route, arrival.key] = row.id
        self._make_room()
        return Admission(row, is_new=True)

    async def settle(self, *settled: Settlement) -> None:
        """See `DeliveryLedger.settle`."""
        for each in settled:
            self._settle(each)

    def _settle(self, settled: Settlement) -> None:
        kept = self._rows.get(settled.delivery_id)
        if kept is None or kept.row.status not in _UNSETTLED:
            return
        ids = tuple(settled.execution_ids)
        kept.row = replace(
            kept.row,
            status=settled.status,
            reason=settled.reason,
            execution_ids=ids,
            settled_at=self._clock.time(),
            data=kept.row.data if settled.status is DeliveryStatus.REFUSED else b"{}",
        )
        if not kept.row.superseded:
            return
        for other in self._rows.values():
            if other.row.superseded_by == settled.delivery_id:
                other.row = replace(other.row, execution_ids=ids)

    async def withdraw(self, delivery_id: str) -> None:
        """See `DeliveryLedger.withdraw`."""
        kept = self._rows.get(delivery_id)
        if kept is not None and kept.row.status is DeliveryStatus.RECEIVED:
            self._forget(delivery_id)

    async def release(self, route: str, group: str) -> DeliveryRow | None:
        """See `DeliveryLedger.release`."""
        waiting = self._waiting(route, group)
        if not waiting:
            return None
        last = waiting.pop()
        for kept in waiting:
            kept.row = replace(
                kept.row,
                status=DeliveryStatus.SUPERSEDED,
                superseded_by=last.row.id,
                settled_at=self._clock.time(),
                data=b"{}",
            )
        last.row = replace(last.row, status=DeliveryStatus.RECEIVED, superseded=len(waiting))
        return last.row

    async def query(self, wanted: DeliveryFilter) -> list[DeliveryRow]:
        """See `DeliveryLedger.query`."""
        rows = [kept.row for kept in reversed(self._rows.values())]
        if wanted.before:
            names = [row.id for row in rows]
            rows = rows[names.index(wanted.before) + 1 :] if wanted.before in names else []
        found = [row for row in rows if _fits(row, wanted)][: min(wanted.limit, MAX_PAGE)]
        return found if wanted.with_data else [replace(row, data=b"{}") for row in found]

    async def prune(self, older_than: float) -> int:
        """See `DeliveryLedger.prune`."""
        now = self._clock.time()
        old = [
            kept.row.id
            for kept in self._rows.values()
            if kept.row.received_at < older_than
            and kept.known_until <= now
            and kept.row.status not in OPEN
        ]
        for delivery_id in old:
            self._forget(delivery_id)
        return len(old)

    def _waiting(self, route: str, group: str) -> list[_Kept]:
        return [
            kept
            for kept in self._rows.values()
            if kept.row.status is DeliveryStatus.COALESCED
            and (kept.row.route, kept.row.group) == (route, group)
        ]

    def _due_at(self, arrival: Arrival, now: float) -> float | None:
        if arrival.status is not DeliveryStatus.COALESCED:
            return None
        waiting = self._waiting(arrival.route, arrival.group)
        began = waiting[0].row.received_at if waiting else now
        return min(now + arrival.window, began + arrival.max_wait)

    def _make_room(self) -> None:
        for _ in range(len(self._rows) - self._most):
            # What is still open is worth more than the bound.
            final = (name for name, kept in self._rows.items() if kept.row.status not in OPEN)
            if (oldest := next(final, None)) is None:
                return
            self._forget(oldest)

    def _forget(self, delivery_id: str) -> None:
        row = self._rows.pop(delivery_id).row
        if self._keys.get((row.route, row.key)) == delivery_id:
            del self._keys[row.route, row.key]


def _row_of(arrival: Arrival, now: float, due_at: float | None) -> DeliveryRow:
    is_final = arrival.status is DeliveryStatus.IGNORED
    return DeliveryRow(
        id=arrival.id,
        route=arrival.route,
        source_id=arrival.source_id,
        key=arrival.key,
        body_hash=arrival.body_hash,
        status=arrival.status,
        reason=arrival.reason,
        group=arrival.group,
        received_at=now,
        due_at=due_at,
        settled_at=now if is_final else None,
        execution_ids=(),
        superseded=0,
        superseded_by="",
        repeats=0,
        replay_of=arrival.replay_of,
        data=b"{}" if is_final else arrival.data,
    )


def _fits(row: DeliveryRow, wanted: DeliveryFilter) -> bool:
    return (
        (not wanted.ids or row.id in wanted.ids)
        and (not wanted.keys or row.key in wanted.keys)
        and (not wanted.routes or row.route in wanted.routes)
        and (not wanted.statuses or row.status in wanted.statuses)
        and (wanted.since is None or row.received_at >= wanted.since)
        and (wanted.until is None or row.received_at < wanted.until)
    )
