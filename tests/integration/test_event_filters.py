"""Choosing events over the control socket: any value of one field, all fields, from a time on."""

from __future__ import annotations

import json

import pytest

from hive_daemon.storage.event_values import Notice
from tests.fakes.control_client import Client
from tests.fakes.control_host import running_host


@pytest.fixture
async def host(tmp_path):
    async with running_host(tmp_path) as host:
        host.gate.is_open.set()
        yield host


@pytest.fixture
def client(host):
    return Client(host.socket)


async def finished(client, address="ops/triage"):
    """Run an execution until it stops, and answer its id."""
    answer = await client.post(f"/v1/entry-points/{address}/trigger", {})
    name = answer.json["execution_id"]
    await client.get(f"/v1/executions/{name}?wait=15")
    return name


async def shown(client, query):
    messages = await client.messages(f"/v1/events?until=caught_up&{query}")
    return [json.loads(message.data) for message in messages if message.id]


def values(events, field):
    return {event[field] for event in events}


async def test_any_value_of_one_field_and_all_fields(client):
    one, two, asked = (
        await finished(client),
        await finished(client),
        await finished(client, "desk/ask"),
    )
    everything = await shown(client, "")
    assert values(everything, "execution_id") == {one, two, asked}
    both = f"execution_id={one}&execution_id={asked}"
    assert values(await shown(client, both), "execution_id") == {one, asked}
    assert values(await shown(client, f"{both}&agent=desk"), "execution_id") == {asked}
    assert values(await shown(client, f"{both}&agent=desk&agent=ops"), "agent") == {"desk", "ops"}
    assert values(await shown(client, f"session_id={two}&session_id={one}"), "session_id") == {
        one,
        two,
    }
    assert values(await shown(client, f"correlation_id={two}"), "execution_id") == {two}
    assert values(await shown(client, "graph_id=desk"), "agent") == {"desk"}
    assert values(await shown(client, "stream_id=ask&stream_id=rest"), "stream_id") == {"ask"}
    assert values(await shown(client, "stream_id=triage"), "execution_id") == {one, two}
    nodes = values(everything, "node_id") - {None}
    name = sorted(nodes)[0]
    assert values(await shown(client, f"node_id={name}"), "node_id") == {name}
    rest = "&".join(f"node_id={node}" for node in nodes)
    assert values(await shown(client, rest), "node_id") == nodes


async def test_the_newest_of_a_rare_kind_are_found(client):
    first = await finished(client, "desk/ask")
    for _ in range(3):
        await finished(client)
    whole = await shown(client, f"node_id=first&session_id={first}")
    assert whole
    assert await shown(client, f"node_id=first&session_id={first}&last=1") == whole[-1:]


async def test_a_stream_begins_at_a_time(host, client):
    await finished(client)
    before = await shown(client, "")
    await finished(client)
    after = (await shown(client, ""))[len(before) :]
    moment = after[0]["timestamp"]
    assert await shown(client, f"since={moment}") == after
    assert await shown(client, "since=2020-01-01T00:00:00%2B01:00") == [*before, *after]
    assert await shown(client, "since=2999-01-01T00:00:00Z") == []


@pytest.mark.parametrize("filtered", ["", "&node_id=parse"])
async def test_a_stream_begins_with_the_newest_since_a_time(client, filtered):
    await finished(client)
    before = await shown(client, filtered)
    await finished(client)
    after = (await shown(client, filtered))[len(before) :]
    since = f"since={after[0]['timestamp']}{filtered}"
    assert await shown(client, f"{since}&last=1") == after[-1:]
    assert await shown(client, f"{since}&last={len(after) + 1}") == after
    assert await shown(client, f"{since}&last=0") == []


@pytest.mark.parametrize(
    "query", ["since=yesterday", "since=2026-03-02T09:00:00", "node_id=", "agent=nobody", "nod=x"]
)
async def test_what_cannot_be_meant_is_refused(client, query):
    answer = await client.get(f"/v1/events?until=caught_up&{query}")
    assert answer.status in (400, 404)
    assert answer.error["hint"]


async def test_a_notice_is_shown_among_the_events(host, client):
    await finished(client)
    notice = Notice("trigger_skipped", 5.0, "ops", "triage", "report", b'{"reason": "busy"}')
    await host.services.store.notices.post(notice)
    (told,) = await shown(client, "type=trigger_*&agent=ops")
    assert (told["data"], told["stream_id"]) == ({"reason": "busy"}, "report")
    assert [told[key] for key in ("execution_id", "session_id", "execution_seq")] == [None] * 3
    assert told["causation"] == []
