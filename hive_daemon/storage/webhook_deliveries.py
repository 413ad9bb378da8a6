"""The ledger of webhook deliveries: what arrived, what became of it, and how a repeated one is known again.

Guarantees of `DeliveryLedger` are in its docstrings; `tests/conformance/test_webhook_ledgers.py` holds every back end
to them. Times are wall seconds of the ledger's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

MAX_PAGE = 500


class DeliveryStatus(StrEnum):
    """What became of a delivery.

    received → queued | refused | failed; coalesced → received (the last of its group) | superseded; refused → received,
    when its sender tries again; queued, ignored, superseded and failed are final.
    """

    RECEIVED = "received"
    COALESCED = "coalesced"
    QUEUED = "queued"
    IGNORED = "ignored"
    REFUSED = "refused"
    SUPERSEDED = "superseded"
    FAILED = "failed"


OPEN = (DeliveryStatus.RECEIVED, DeliveryStatus.COALESCED)
"""What still has to be handed on: after a crash this is taken up again."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A delivery to be admitted: as received, coalesced or ignored.

    `key` names it within its route for `known_seconds`; `data` is the event's data as JSON. `group`, `window` and
    `max_wait` are for a coalesced one. `replay_of` is the delivery that it repeats on purpose.
    """

    id: str
    route: str
    source_id: str
    key: str
    body_hash: str
    known_seconds: float
    status: DeliveryStatus
    data: bytes = field(repr=False)
    reason: str = ""
    group: str = ""
    window: float = 0.0
    max_wait: float = 0.0
    replay_of: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One delivery. `due_at` is when the group of a coalesced one is released, as far as it knew.

    `superseded` counts the deliveries of its group that it stands for; `superseded_by` is the one that stands for it.
    `repeats` counts how often it came again.
    """

    id: str
    route: str
    source_id: str
    key: str
    body_hash: str
    status: DeliveryStatus
    reason: str
    group: str
    received_at: float
    due_at: float | None
    settled_at: float | None
    execution_ids: tuple[str, ...]
    superseded: int
    superseded_by: str
    repeats: int
    replay_of: str
    data: bytes = field(default=b"{}", repr=False)


@dataclass(frozen=True, slots=True)
class Admission:
    """The row of a delivery, and whether it is its first arrival."""

    row: DeliveryRow
    is_new: bool


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a delivery."""

    delivery_id: str
    status: DeliveryStatus
    execution_ids: Sequence[str] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries: all that is given must fit. `since` and `until` are times of arrival, `until` excluded.

    `before` is the id of the last delivery of the page before. Without `with_data` the rows carry `{}`.
    """

    ids: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    statuses: tuple[DeliveryStatus, ...] = ()
    since: float | None = None
    until: float | None = None
    before: str = ""
    limit: int = 100
    with_data: bool = True


class DeliveryLedger(Protocol):
    """Where deliveries are kept."""

    async def admit(self, arrival: Arrival) -> Admission:
        """Make a delivery durable, or find the row of the one that it repeats.

        Laws: of one route, one row per key while the key is known; one that was refused arrives anew, under its first
        id; a coalesced row is due `window` after it, but at most `max_wait` after the first row of its group that still
        waits. Raises IdempotencyConflict if the key came with another body, StorageFull, StorageUnavailable; then
        nothing is stored.
        """

    async def settle(self, *settled: Settlement) -> None:
        """Say what became of received or refused deliveries; those that they superseded have the same executions."""

    async def withdraw(self, delivery_id: str) -> None:
        """Forget a received delivery, as if it had never come: its sender is refused and may send it again."""

    async def release(self, route: str, group: str) -> DeliveryRow | None:
        """End the wait of a group: its last row becomes received, the others superseded; None if none waits."""

    async def query(self, wanted: DeliveryFilter) -> list[DeliveryRow]:
        """Return deliveries, newest first, at most MAX_PAGE."""

    async def prune(self, older_than: float) -> int:
        """Forget final deliveries that arrived before a time and whose key is known no more; answer how many."""
