"""Every book of incidents keeps the laws of its port."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from hive_daemon.errors import IllegalMove
from hive_daemon.storage.incident_book import (
    KEPT_EXECUTIONS,
    UNRESOLVED,
    IncidentBook,
    IncidentFilter,
    IncidentNotFound,
    IncidentStatus,
    Sighting,
)
from hive_daemon.storage.sqlite.database import prepare_directory
from hive_daemon.storage.sqlite.incidents import SqliteIncidents
from hive_daemon.storage.sqlite.reader import Readers
from hive_daemon.storage.sqlite.writer import Writer
from tests.fakes.memory_incidents import MemoryIncidents
from tests.fakes.store_kit import Ear, SetClock

SEEN = Sighting(
    agent="ops",
    entry_point="nightly",
    pattern="failures",
    error="no such file #",
    severity="medium",
    cause="it failed twice in a row",
    action="look at it",
    at=1_000.0,
    execution_id="one",
)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture(params=["memory", "sqlite"])
async def book(
    request: pytest.FixtureRequest, tmp_path: Path, clock: SetClock
) -> AsyncIterator[IncidentBook]:
    if request.param == "memory":
        yield MemoryIncidents(clock)
        return
    prepare_directory(tmp_path)
    async with AsyncExitStack() as stack:
        writer = Writer(tmp_path / "hive.db", clock, Ear())
        stack.push_async_callback(writer.close)
        await writer.open()
        readers = Readers(tmp_path / "hive.db")
        stack.callback(readers.close)
        made = SqliteIncidents(writer, readers)
        await made.prepare()
        yield made


async def test_the_same_signature_is_one_incident_that_is_counted(book):
    first = await book.report(SEEN)
    again = await book.report(
        replace(SEEN, at=2_000.0, execution_id="two", severity="high", cause="thrice")
    )
    assert (first.is_opened, again.is_opened) == (True, False)
    kept = await book.load(first.incident.id)
    assert kept == again.incident
    assert (kept.count, kept.first_seen, kept.last_seen) == (2, 1_000.0, 2_000.0)
    assert (kept.executions, kept.severity, kept.cause) == (("one", "two"), "high", "thrice")


@pytest.mark.parametrize("field", ["agent", "entry_point", "pattern", "error"])
async def test_another_signature_is_another_incident(book, field):
    one = await book.report(SEEN)
    other = await book.report(replace(SEEN, **{field: "another"}))
    assert other.is_opened
    assert other.incident.id != one.incident.id


async def test_what_is_over_is_opened_anew_by_a_sighting_only(book):
    name = (await book.report(SEEN)).incident.id
    await book.acknowledge(name, "ann", "I know")
    (over,) = await book.resolve([name], "ann")
    assert (over.status, over.by) == (IncidentStatus.RESOLVED, "ann")
    assert await book.resolve([name], "bob") == []
    again = await book.report(replace(SEEN, at=3_000.0))
    assert again.is_opened
    kept = again.incident
    assert (kept.status, kept.openings, kept.opened_at) == (IncidentStatus.OPEN, 2, 3_000.0)
    assert (kept.by, kept.note, kept.acknowledged_at, kept.resolved_at) == ("", "", None, None)


async def test_an_acknowledged_incident_is_still_open(book):
    name = (await book.report(SEEN)).incident.id
    await book.acknowledge(name, "ann", "I know")
    again = await book.report(SEEN)
    assert not again.is_opened
    kept = again.incident
    assert (kept.status, kept.by, kept.note) == (IncidentStatus.ACKNOWLEDGED, "ann", "I know")


async def test_what_is_over_cannot_be_acknowledged(book):
    name = (await book.report(SEEN)).incident.id
    await book.resolve([name], "ann")
    with pytest.raises(IllegalMove):
        await book.acknowledge(name, "ann")


async def test_an_unknown_incident_is_not_found_and_changes_nothing(book):
    name = (await book.report(SEEN)).incident.id
    with pytest.raises(IncidentNotFound):
        await book.resolve([name, "inc_0"], "ann")
    for asked in (
        book.load("inc_0"),
        book.acknowledge("inc_0", "a"),
        book.may_alert("inc_0", "s", 1),
    ):
        with pytest.raises(IncidentNotFound):
            await asked
    assert (await book.load(name)).status is IncidentStatus.OPEN


async def test_the_last_executions_are_named_each_once(book):
    for number in range(KEPT_EXECUTIONS + 3):
        await book.report(replace(SEEN, execution_id=f"e{number}"))
    last = await book.report(replace(SEEN, execution_id="e5"))
    assert len(last.incident.executions) == KEPT_EXECUTIONS
    assert last.incident.executions[-2:] == (f"e{KEPT_EXECUTIONS + 2}", "e5")
    assert len(set(last.incident.executions)) == KEPT_EXECUTIONS


async def test_incidents_are_listed_last_seen_first(book):
    names = [
        (await book.report(replace(SEEN, error=f"e{at}", at=at))).incident.id
        for at in (2.0, 1.0, 3.0)
    ]
    await book.resolve([names[0]], "ann")
    other = await book.report(replace(SEEN, agent="other", at=9.0))
    listed = await book.listing(IncidentFilter(agent="ops"))
    assert [each.id for each in listed] == [names[2], names[0], names[1]]
    still = await book.listing(IncidentFilter(statuses=UNRESOLVED, offset=1, limit=1))
    assert [each.id for each in still] == [names[2]]
    assert await book.listing(IncidentFilter(agent="other")) == [other.incident]
    assert await book.listing(IncidentFilter(entry_point="hourly")) == []


async def test_a_sink_is_told_once_in_its_cooldown(book, clock):
    name = (await book.report(SEEN)).incident.id
    assert await book.may_alert(name, "log", 60.0)
    assert not await book.may_alert(name, "log", 60.0)
    assert await book.may_alert(name, "pager", 60.0)
    clock.now += 60.0
    assert await book.may_alert(name, "log", 60.0)


async def test_nobody_is_told_of_what_is_acknowledged(book):
    name = (await book.report(SEEN)).incident.id
    await book.acknowledge(name, "ann")
    assert not await book.may_alert(name, "log", 0.0)
