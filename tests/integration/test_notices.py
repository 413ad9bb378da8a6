"""Notices: durable if the store takes them, told in any case."""

from __future__ import annotations

import asyncio

from hive_daemon.errors import StorageFull
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.notices import Notices
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.values import EventFilter
from tests.fakes.store_kit import Ear


class FullBoard:
    """A board that has no room."""

    async def post(self, notice):
        raise StorageFull("the disk is full")


def skipped():
    return AgentEvent(
        EventType.TRIGGER_SKIPPED, "report", data={"reason": "busy"}, agent="ops", graph_id="g"
    )


async def test_a_notice_is_published_by_the_store_once_it_is_durable(tmp_path):
    published, ear = [], Ear()
    async with open_sqlite(tmp_path, ear) as store:
        Notices(store.notices, published.append).tell(skipped())
        while not ear.events:
            await asyncio.sleep(0)
        assert ear.events == await store.executions.history(EventFilter())
    assert published == []
    assert (ear.events[0].type, ear.events[0].data) == ("trigger_skipped", b'{"reason":"busy"}')


async def test_a_notice_that_the_store_refuses_is_published_without_a_number(caplog):
    published = []
    event = skipped()
    Notices(FullBoard(), published.append).tell(event)
    while not published:
        await asyncio.sleep(0)
    assert published == [event]
    assert "could not be made durable" in caplog.text


async def test_any_other_event_is_published_at_once():
    published = []
    event = AgentEvent(EventType.CUSTOM, "s")
    Notices(FullBoard(), published.append).tell(event)
    assert published == [event]
