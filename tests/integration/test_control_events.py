"""Event streams over the control socket: everything once, in order, whatever happens to the reader."""

import asyncio
import json
from dataclasses import dataclass, replace

import pytest

from hive_daemon.clock import SYSTEM_CLOCK
from hive_daemon.control import feed, streams
from hive_daemon.control.wire import KEEPALIVE
from hive_daemon.errors import StorageUnavailable
from hive_daemon.graph.live_text import LiveText
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.hub import Hub
from tests.fakes.control_client import Client, becomes
from tests.fakes.control_host import running_host


@pytest.fixture
async def host(tmp_path):
    async with running_host(tmp_path) as host:
        yield host


@pytest.fixture
def client(host):
    return Client(host.socket)


async def start(client, address="ops/triage", body=None):
    answer = await client.post(f"/v1/entry-points/{address}/trigger", body or {})
    return answer.json["execution_id"]


async def finished(host, client, count=1):
    """Run executions to their end and answer their ids."""
    host.gate.is_open.set()
    names = [await start(client) for _ in range(count)]
    for name in names:
        await client.get(f"/v1/executions/{name}?wait=15")
    return names


def data(message):
    return json.loads(message.data)


def seqs(messages):
    return [int(message.id) for message in messages if message.id is not None]


async def test_a_stream_gives_what_is_stored_and_then_what_happens(host, client):
    name = await start(client)
    await host.gate.entered.wait()
    async with client.stream(f"/v1/sessions/{name}/events?until=settled") as stream:
        stored = await stream.until("stream.caught_up")
        host.gate.is_open.set()
        live = await stream.until("stream.end")
    assert [message.event for message in stored[:-1]] == [
        "execution_started",
        "node_started",
        "node_completed",
        "edge_traversed",
        "node_started",
    ]
    assert data(stored[-1]) == {"seq": 5}
    assert live[-2].event == "execution_completed"
    assert seqs([*stored, *live]) == list(range(1, 11))
    end = data(live[-1])
    assert (end["reason"], end["seq"]) == ("settled", 10)
    assert (end["execution"]["id"], end["execution"]["status"]) == (name, "completed")
    assert "input" not in end["execution"]


async def test_an_event_is_the_object_of_the_contract(host, client):
    (name,) = await finished(host, client)
    first, *_ = await client.messages(f"/v1/sessions/{name}/events?until=caught_up")
    event = data(first)
    assert first.id == str(event["seq"])
    assert first.event == event["type"] == "execution_started"
    assert event["timestamp"].endswith("Z")
    assert (event["agent"], event["graph_id"], event["stream_id"]) == ("ops", "triage", "triage")
    assert event["execution_id"] == event["session_id"] == name


@pytest.mark.parametrize(
    ("start_at", "first"),
    [
        ("", 1),
        ("after=4", 5),
        ("last=3", 8),
        ("last=0", None),
        ("last=10000", 1),
        ("after=10", None),
    ],
)
async def test_where_a_stream_begins(host, client, start_at, first):
    await finished(host, client)
    messages = await client.messages(f"/v1/events?until=caught_up&{start_at}")
    expected = [] if first is None else list(range(first, 11))
    assert seqs(messages) == expected
    assert [message.event for message in messages[-2:]] == ["stream.caught_up", "stream.end"]
    assert data(messages[-1]) == {"reason": "caught_up", "seq": 10, "execution": None}


async def test_the_header_of_a_reader_that_comes_back_wins(host, client):
    await finished(host, client)
    messages = await client.messages("/v1/events?until=caught_up&after=2", Last_Event_ID="7")
    assert seqs(messages) == [8, 9, 10]


async def test_the_newest_of_a_few_entry_points_are_found(host, client):
    await finished(host, client, 3)
    for _ in range(2):
        await client.get(f"/v1/executions/{await start(client, 'desk/ask')}?wait=15")
    whole = await client.messages("/v1/events?until=caught_up&entry_point=triage&entry_point=rest")
    part = await client.messages(
        "/v1/events?until=caught_up&entry_point=triage&entry_point=rest&last=15"
    )
    assert len(seqs(whole)) == 30
    assert seqs(part) == seqs(whole)[-15:]


@pytest.mark.parametrize(
    ("wanted", "types"),
    [
        ("type=execution_started", {"execution_started"}),
        ("type=execution_*", {"execution_started", "execution_completed"}),
        ("type=execution_started&type=node_c*", {"execution_started", "node_completed"}),
    ],
)
async def test_events_are_chosen_by_type(host, client, wanted, types):
    await finished(host, client)
    messages = await client.messages(f"/v1/events?until=caught_up&{wanted}")
    assert {message.event for message in messages if message.id} == types


async def test_events_are_chosen_by_where_they_belong(host, client):
    first, second = await finished(host, client, 2)
    asking = await start(client, "desk/ask")
    await client.get(f"/v1/executions/{asking}?wait=15")

    async def executions(query):
        messages = await client.messages(f"/v1/events?until=caught_up&{query}")
        return {data(message)["execution_id"] for message in messages if message.id}

    assert await executions("agent=desk") == {asking}
    assert await executions("entry_point=ops/triage") == {first, second}
    assert await executions("entry_point=triage&entry_point=ask") == {first, second, asking}
    assert await executions(f"session_id={second}") == {second}
    assert await executions(f"execution_id={first}&agent=ops") == {first}
    assert await executions(f"execution_id={first}&agent=desk") == set()


async def test_an_event_type_that_does_not_exist_is_refused(client):
    answer = await client.get("/v1/events?type=node_*&type=nonsense")
    assert (answer.status, answer.code) == (400, "invalid")
    assert '"nonsense"' in answer.error["message"]


async def test_only_the_stream_of_a_session_can_end_when_it_is_settled(client):
    answer = await client.get("/v1/events?until=settled")
    assert (answer.status, answer.code) == (400, "invalid")


async def test_a_stream_of_one_execution_ends_with_that_one(host, client):
    (name,) = await finished(host, client)
    host.gate.is_open.clear()
    host.gate.entered.clear()
    await start(client, body={"session_id": name})
    await host.gate.entered.wait()
    messages = await client.messages(
        f"/v1/sessions/{name}/events?until=settled&execution_id={name}"
    )
    assert data(messages[-1])["execution"]["id"] == name
    assert {data(message)["execution_id"] for message in messages if message.id} == {name}


async def test_an_execution_of_another_session_is_not_found_in_this_one(host, client):
    first, second = await finished(host, client, 2)
    answer = await client.get(f"/v1/sessions/{first}/events?execution_id={second}")
    assert (answer.status, answer.code) == (404, "not_found")
    assert second in answer.error["hint"]


async def test_a_question_settles_a_session(client):
    name = await start(client, "desk/ask")
    messages = await client.messages(f"/v1/sessions/{name}/events?until=settled")
    assert data(messages[-1])["execution"]["waiting"]["question"] == "May I go on?"


async def test_a_stream_of_cancelled_work_ends(host, client):
    name = await start(client)
    await host.gate.entered.wait()
    async with client.stream(f"/v1/sessions/{name}/events?until=settled") as stream:
        await stream.until("stream.caught_up")
        await client.post(f"/v1/executions/{name}/cancel")
        messages = await stream.until("stream.end")
    assert data(messages[-1])["execution"]["status"] == "cancelled"


# --- live events ----------------------------------------------------------------------------


def delta(session, text):
    return AgentEvent(
        EventType.LLM_TEXT_DELTA,
        "triage",
        node_id="hold",
        execution_id=session,
        session_id=session,
        agent="ops",
        graph_id="triage",
        data={"content": text},
    )


async def test_live_events_come_without_an_id_and_only_while_somebody_watches(host, client):
    name = await start(client)
    await host.gate.entered.wait()
    hub = host.services.hub
    assert not hub.is_watched("ops", name)
    async with client.stream(f"/v1/sessions/{name}/events") as stream:
        await stream.until("stream.caught_up")
        assert hub.is_watched("ops", name)
        hub.show(delta(name, "wr\u00eft\ning"))
        (message,) = await stream.until("llm_text_delta")
    assert message.id is None
    assert data(message)["data"] == {"content": "wr\u00eft\ning"}
    assert (data(message)["seq"], data(message)["execution_seq"]) == (None, None)


PIECE = "0123456789" * 20


def writing(host, session):
    """A node that writes, as the model loop shows it; what it shows goes to those who watch the host."""
    return LiveText(Shown(host.services.hub, session), SYSTEM_CLOCK, "hold", is_client_facing=False)


@dataclass
class Shown:
    """A recorder of one session that only shows."""

    hub: Hub
    session: str

    def show(self, fact):
        """Show a fact of the node."""
        self.hub.show(replace(delta(self.session, ""), data=fact.data()))

    @property
    def is_watched(self):
        """Whether anybody watches."""
        return self.hub.is_watched("ops", self.session)


def text_of(messages):
    """Put a text together as docs/control-api.md says: the whole where it comes along, else what continues it."""
    text = ""
    for message in messages:
        if message.event == "llm_text_delta":
            said = data(message)["data"]
            text = said.get("snapshot", text + said["content"])
    return text


async def written(live, count):
    """Write pieces, and let others take their turn after each."""
    for _ in range(count):
        live.write(PIECE)
        await asyncio.sleep(0)


async def test_a_long_answer_costs_a_few_times_its_bytes_and_is_whole_also_for_who_comes_late(
    host, client
):
    """Source: fault W58, the whole text so far with every piece."""
    name = await start(client)
    await host.gate.entered.wait()
    target, answer = f"/v1/sessions/{name}/events", PIECE * 500
    live = writing(host, name)
    async with client.stream(target) as early:
        await early.until("stream.caught_up")
        await written(live, 250)
        async with client.stream(target) as late:
            await late.until("stream.caught_up")
            await written(live, 250)
            host.gate.is_open.set()
            heard, heard_late = [await one.until("node_completed") for one in (early, late)]
    for messages in (heard, heard_late):
        assert text_of(messages) == answer
        assert sum(len(message.encode()) for message in messages) < 5 * len(answer)


async def test_who_lost_pieces_is_told_the_whole_with_the_next(host, client, monkeypatch):
    name = await start(client)
    await host.gate.entered.wait()
    async with client.stream(f"/v1/sessions/{name}/events") as stream:
        await stream.until("stream.caught_up")
        live = writing(host, name)
        live.write("one " * 50)
        first = await stream.until("llm_text_delta")
        monkeypatch.setattr(feed, "BOX_MESSAGES", 0)
        live.write("two " * 50)
        monkeypatch.undo()
        live.write("six " * 50)
        live.write("ten " * 50)
        third, fourth = [await stream.until("llm_text_delta") for _ in range(2)]
    assert (await client.get("/v1/stats")).json["events"]["dropped"] == 1
    assert text_of(first + third) == "one " * 50 + "two " * 50 + "six " * 50
    assert "snapshot" not in data(fourth[-1])["data"]
    assert text_of(first + third + fourth).endswith("six ten " + "ten " * 49)


async def test_a_try_that_begins_anew_and_another_answer_say_so(host, client):
    name = await start(client)
    await host.gate.entered.wait()
    async with client.stream(f"/v1/sessions/{name}/events") as stream:
        await stream.until("stream.caught_up")
        live = writing(host, name)
        live.write("a" * 200)
        live.begin(2)
        live.write("b" * 200)
        live.write("b" * 200)
        writing(host, name).write("c" * 200)
        told = [data((await stream.until("llm_text_delta"))[-1])["data"] for _ in range(5)]
    assert [(said["content"][:1], said.get("snapshot")) for said in told] == [
        ("a", "a" * 200),
        ("", ""),
        ("b", "b" * 200),
        ("b", None),
        ("c", "c" * 200),
    ]
    assert [said["is_reset"] for said in told] == [False, True, False, False, False]


async def test_live_events_are_left_out_on_request(host, client):
    name = await start(client)
    await host.gate.entered.wait()
    async with client.stream(f"/v1/sessions/{name}/events?live=false") as stream:
        await stream.until("stream.caught_up")
        assert not host.services.hub.is_watched("ops", name)
        host.services.hub.show(delta(name, "writing"))
        host.gate.is_open.set()
        messages = await stream.until("execution_completed")
    assert all(message.id for message in messages)


async def test_what_no_json_can_hold_is_shown_all_the_same(host, client):
    async with client.stream("/v1/events?last=0") as stream:
        await stream.until("stream.caught_up")
        host.services.hub.show(delta("session_20260302_090000_1a2b3c4d", "\ud800"))
        (message,) = await stream.until("llm_text_delta")
    assert data(message)["data"] == {"content": "\ufffd"}


# --- readers --------------------------------------------------------------------------------


async def test_a_silent_stream_gives_signs_of_life(host, client, monkeypatch):
    monkeypatch.setattr("hive_daemon.control.tail.QUIET_SECONDS", 0.01)
    async with client.stream("/v1/events") as stream:
        await stream.until("stream.caught_up")
        host.gate.is_open.set()
        while len(stream.comments) < 3:
            assert await stream._take()
    assert stream.comments[0] == KEEPALIVE.splitlines()[0]


async def test_a_reader_that_comes_back_sees_every_event_once(host, client):
    host.gate.is_open.set()
    working = asyncio.create_task(finished(host, client, 15))
    seen = [0]
    while seen[-1] < 150:
        async with client.stream("/v1/events", Last_Event_ID=str(seen[-1])) as stream:
            for _ in range(7):
                if seen[-1] < 150:
                    seen += seqs([await anext(stream)])
    await working
    assert seen == list(range(151))


async def test_a_reader_that_lags_behind_its_box_misses_nothing(host, client, monkeypatch):
    monkeypatch.setattr(feed, "BOX_MESSAGES", 3)
    name = (await finished(host, client))[0]
    async with client.stream("/v1/events") as stream:
        await stream.until("stream.caught_up")
        await finished(host, client, 10)
        async with asyncio.timeout(15):
            seen = [await anext(stream) for _ in range(100)]
    assert seqs(seen) == list(range(11, 111))
    assert name


async def test_a_reader_that_does_not_read_delays_nobody_and_costs_little(host, client):
    """Source: reliability.md, R36."""
    (name,) = await finished(host, client)
    async with client.connected() as (reader, writer):
        reader._transport.pause_reading()
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        await finished(host, client, 200)
        (box,) = host.control._control.feed._boxes
        assert box._size <= feed.BOX_BYTES
        reader._transport.resume_reading()
        seen = b""
        while b"\nid: 2010\n" not in seen:
            seen += await asyncio.wait_for(reader.read(65536), 15)
    assert name


async def test_a_reader_that_stands_still_is_told_that_it_lagged(host, client, monkeypatch):
    monkeypatch.setattr(streams, "STALL_SECONDS", 0.2)
    name = await start(client, body={"input": {"log": "x" * 400_000}})
    await host.gate.entered.wait()
    async with client.connected() as (reader, writer):
        reader._transport.pause_reading()
        writer.write(f"GET /v1/sessions/{name}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        boxes = host.control._control.feed._boxes
        await becomes(lambda: len(boxes) == 1)
        await becomes(lambda: not boxes)
        reader._transport.resume_reading()
        rest = await asyncio.wait_for(reader.read(), 15)
    assert b'event: stream.end\ndata: {"reason":"lagged"' in rest


async def test_a_reader_that_leaves_is_forgotten(host, client):
    async with client.stream("/v1/events") as stream:
        await stream.until("stream.caught_up")
        assert len(host.control._control.feed._boxes) == 1
    await becomes(lambda: not host.control._control.feed._boxes)
    assert not host.services.hub.is_watched("ops", "")


async def test_a_stream_that_the_store_fails_breaks_off(host, client, monkeypatch, caplog):
    async def gone(wanted):
        raise StorageUnavailable("the disk went away")

    monkeypatch.setattr(host.services.store.executions, "history", gone)
    async with client.connected() as (reader, writer):
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await reader.read()
    assert answer.count(b"HTTP/1.1") == 1
    assert not answer.endswith(b"0\r\n\r\n")
    assert "an event stream broke off" in caplog.text


async def test_streams_are_told_when_the_daemon_stops(host, client):
    await finished(host, client)
    async with client.stream("/v1/events") as stream:
        await stream.until("stream.caught_up")
        await host.control.stop()
        messages = await stream.until("stream.end")
    assert data(messages[-1]) == {"reason": "stopping", "seq": 10, "execution": None}


async def test_every_event_comes_once_across_a_restart(tmp_path):
    seen = []
    async with running_host(tmp_path) as host:
        client = Client(host.socket)
        name = await start(client)
        await host.gate.entered.wait()
        async with client.stream("/v1/events") as stream:
            seen += await stream.until("stream.caught_up")
            await host.runtime("ops").stop(0.0)
            seen += await stream.until("execution_paused")
    async with running_host(tmp_path) as host:
        client = Client(host.socket)
        host.gate.is_open.set()
        path = f"/v1/sessions/{name}/events?until=settled"
        seen += await client.messages(path, Last_Event_ID=str(seqs(seen)[-1]))
    assert seqs(seen) == list(range(1, len(seqs(seen)) + 1))
    assert data(seen[-1])["execution"]["status"] == "completed"
