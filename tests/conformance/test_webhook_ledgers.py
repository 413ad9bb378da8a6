"""Every ledger of webhook deliveries keeps the laws of its port."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hive_daemon.errors import IdempotencyConflict
from hive_daemon.runtime.webhook_memory import MemoryLedger
from hive_daemon.storage.webhook_deliveries import (
    Arrival,
    DeliveryFilter,
    DeliveryLedger,
    DeliveryStatus,
    Settlement,
)
from tests.fakes.store_kit import SetClock
from tests.fakes.webhook_bench import open_ledger

RECEIVED, COALESCED, QUEUED = (
    DeliveryStatus.RECEIVED,
    DeliveryStatus.COALESCED,
    DeliveryStatus.QUEUED,
)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture(params=["memory", "sqlite"])
async def ledger(
    request: pytest.FixtureRequest, tmp_path: Path, clock: SetClock
) -> AsyncIterator[DeliveryLedger]:
    if request.param == "memory":
        yield MemoryLedger(clock)
        return
    async with open_ledger(tmp_path, clock) as made:
        await made.prepare()
        yield made


def arrival(name: str, **changes: object) -> Arrival:
    given = Arrival(
        id=f"dlv_{name}",
        route="/hook",
        source_id="github",
        key=name,
        body_hash="hash",
        known_seconds=60.0,
        status=RECEIVED,
        data=b'{"payload":{"n":1}}',
    )
    return replace(given, **changes)  # type: ignore[arg-type]


def held(name: str, group: str = "=7") -> Arrival:
    return arrival(name, status=COALESCED, group=group, window=10.0, max_wait=25.0)


async def only(ledger: DeliveryLedger, name: str) -> DeliveryStatus:
    [row] = await ledger.query(DeliveryFilter(ids=(f"dlv_{name}",)))
    return row.status


async def test_a_delivery_is_kept_as_it_arrived(ledger: DeliveryLedger, clock: SetClock) -> None:
    admission = await ledger.admit(arrival("a", replay_of="dlv_z"))
    assert admission.is_new
    [row] = await ledger.query(DeliveryFilter())
    assert row == admission.row
    assert (row.id, row.route, row.key, row.status) == ("dlv_a", "/hook", "a", RECEIVED)
    assert (row.received_at, row.settled_at, row.due_at) == (clock.now, None, None)
    assert (row.data, row.replay_of, row.execution_ids) == (b'{"payload":{"n":1}}', "dlv_z", ())


async def test_the_same_key_again_is_the_same_delivery(ledger: DeliveryLedger) -> None:
    await ledger.admit(arrival("a"))
    await ledger.settle(Settlement("dlv_a", QUEUED, ("e1", "e2")))
    again = await ledger.admit(arrival("a", id="dlv_b"))
    assert not again.is_new
    assert (again.row.id, again.row.execution_ids) == ("dlv_a", ("e1", "e2"))
    [row] = await ledger.query(DeliveryFilter())
    assert row.repeats == 1


async def test_the_same_key_with_another_body_is_refused(ledger: DeliveryLedger) -> None:
    await ledger.admit(arrival("a"))
    with pytest.raises(IdempotencyConflict):
        await ledger.admit(arrival("a", id="dlv_b", body_hash="other"))
    assert len(await ledger.query(DeliveryFilter())) == 1


async def test_the_same_key_on_another_route_is_another_delivery(ledger: DeliveryLedger) -> None:
    await ledger.admit(arrival("a"))
    assert (await ledger.admit(arrival("a", id="dlv_b", route="/other", body_hash="o"))).is_new


async def test_a_key_is_known_for_its_time(ledger: DeliveryLedger, clock: SetClock) -> None:
    await ledger.admit(arrival("a"))
    clock.now += 59
    assert not (await ledger.admit(arrival("a", id="dlv_b"))).is_new
    clock.now += 1
    assert (await ledger.admit(arrival("a", id="dlv_c", body_hash="other"))).is_new


async def test_what_is_withdrawn_never_came(ledger: DeliveryLedger) -> None:
    await ledger.admit(arrival("a"))
    await ledger.withdraw("dlv_a")
    assert await ledger.query(DeliveryFilter()) == []
    assert (await ledger.admit(arrival("a", body_hash="other"))).is_new


async def test_what_was_refused_arrives_anew_under_its_first_id(
    ledger: DeliveryLedger, clock: SetClock
) -> None:
    await ledger.admit(arrival("a"))
    await ledger.admit(arrival("b"))
    await ledger.settle(Settlement("dlv_a", DeliveryStatus.REFUSED, reason="queue_full"))
    [row] = await ledger.query(DeliveryFilter(keys=("a",)))
    assert (row.status, row.reason, row.data) == (
        DeliveryStatus.REFUSED,
        "queue_full",
        b'{"payload":{"n":1}}',
    )
    with pytest.raises(IdempotencyConflict):
        await ledger.admit(arrival("a", id="dlv_c", body_hash="other"))
    clock.now += 5
    again = await ledger.admit(arrival("a", id="dlv_d"))
    assert again.is_new
    assert (again.row.id, again.row.status, again.row.reason) == ("dlv_a", RECEIVED, "")
    assert (again.row.repeats, again.row.received_at) == (1, clock.now)
    assert [row.key for row in await ledger.query(DeliveryFilter())] == ["a", "b"]


async def test_what_was_refused_may_have_been_taken_all_the_same(ledger: DeliveryLedger) -> None:
    await ledger.admit(arrival("a"))
    await ledger.settle(Settlement("dlv_a", DeliveryStatus.REFUSED, reason="queue_full"))
    await ledger.settle(Settlement("dlv_a", QUEUED, ("e1",)))
    again = await ledger.admit(arrival("a", id="dlv_b"))
    assert (again.is_new, again.row.execution_ids) == (False, ("e1",))


async def test_deliveries_are_listed_without_what_they_carried(ledger: DeliveryLedger) -> None:
    admitted = await ledger.admit(arrival("a"))
    [row] = await ledger.query(DeliveryFilter(with_data=False))
    assert row == replace(admitted.row, data=b"{}")


async def test_what_is_settled_stays(ledger: DeliveryLedger, clock: SetClock) -> None:
    await ledger.admit(arrival("a"))
    clock.now += 5
    await ledger.settle(Settlement("dlv_a", DeliveryStatus.FAILED, reason="why"))
    await ledger.withdraw("dlv_a")
    await ledger.settle(Settlement("dlv_a", QUEUED, ("e1",)))
    await ledger.settle(Settlement("dlv_none", QUEUED, ("e1",)))
    [row] = await ledger.query(DeliveryFilter())
    assert (row.status, row.reason, row.settled_at) == (DeliveryStatus.FAILED, "why", clock.now)


async def test_what_is_ignored_is_final_at_once(ledger: DeliveryLedger, clock: SetClock) -> None:
    await ledger.admit(arrival("a", status=DeliveryStatus.IGNORED, reason="filters[0]"))
    [row] = await ledger.query(DeliveryFilter())
    assert (row.status, row.reason, row.settled_at) == (
        DeliveryStatus.IGNORED,
        "filters[0]",
        clock.now,
    )


async def test_a_group_is_due_after_its_last_but_not_long_after_its_first(
    ledger: DeliveryLedger, clock: SetClock
) -> None:
    start = clock.now
    due = []
    for name in "abcd":
        due.append((await ledger.admit(held(name))).row.due_at)
        clock.now += 8
    assert due == [start + 10, start + 18, start + 25, start + 25]
    other = await ledger.admit(held("e", "=8"))
    assert other.row.due_at == clock.now + 10


async def test_of_a_group_the_last_is_released_and_stands_for_the_others(
    ledger: DeliveryLedger,
) -> None:
    for name in "abc":
        await ledger.admit(held(name))
    await ledger.admit(held("other", "=8"))
    row = await ledger.release("/hook", "=7")
    assert row is not None
    assert (row.id, row.status, row.superseded) == ("dlv_c", RECEIVED, 2)
    assert row.data == b'{"payload":{"n":1}}'
    assert await ledger.release("/hook", "=7") is None
    await ledger.settle(Settlement("dlv_c", QUEUED, ("e1",)))
    rows = await ledger.query(DeliveryFilter(ids=("dlv_a", "dlv_b")))
    assert {(row.status, row.superseded_by, row.execution_ids) for row in rows} == {
        (DeliveryStatus.SUPERSEDED, "dlv_c", ("e1",))
    }
    assert await only(ledger, "other") is COALESCED


async def test_deliveries_are_found_by_what_they_are_newest_first(
    ledger: DeliveryLedger, clock: SetClock
) -> None:
    start = clock.now
    for at, name in enumerate("abcd"):
        clock.now = start + at
        await ledger.admit(arrival(name, route="/odd" if at % 2 else "/even"))
    await ledger.settle(Settlement("dlv_a", QUEUED))

    async def found(**wanted: object) -> str:
        rows = await ledger.query(DeliveryFilter(**wanted))  # type: ignore[arg-type]
        return "".join(row.key for row in rows)

    assert await found() == "dcba"
    assert await found(routes=("/even",)) == "ca"
    assert await found(statuses=(QUEUED,)) == "a"
    assert await found(since=start + 1, until=start + 3) == "cb"
    assert await found(limit=2) == "dc"
    assert await found(before="dlv_c", limit=1) == "b"
    assert await found(before="dlv_none") == ""


async def test_what_is_old_and_final_and_known_no_more_is_forgotten(
    ledger: DeliveryLedger, clock: SetClock
) -> None:
    for name in "abc":
        await ledger.admit(arrival(name))
    await ledger.admit(held("held"))
    await ledger.settle(Settlement("dlv_a", QUEUED), Settlement("dlv_b", QUEUED))
    assert await ledger.prune(clock.now + 1) == 0
    clock.now += 100
    assert await ledger.prune(clock.now - 101) == 0
    assert await ledger.prune(clock.now - 50) == 2
    assert {row.key for row in await ledger.query(DeliveryFilter())} == {"c", "held"}


async def test_memory_forgets_the_oldest_final_ones_beyond_its_bound(clock: SetClock) -> None:
    ledger = MemoryLedger(clock, most=3)
    await ledger.admit(held("held"))
    for name in "abcd":
        await ledger.admit(arrival(name))
        await ledger.settle(Settlement(f"dlv_{name}", QUEUED))
    assert {row.key for row in await ledger.query(DeliveryFilter())} == {"held", "c", "d"}
    assert (await ledger.admit(arrival("a"))).is_new
