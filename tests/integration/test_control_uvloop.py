"""The control API on the event loop that the daemon runs on."""

import asyncio
import json

import uvloop

from hive_daemon.control import streams
from tests.fakes.control_client import Client, becomes
from tests.fakes.control_host import running_host


def run(work):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


def test_requests_and_streams_are_answered(tmp_path):
    run(_requests_and_streams(tmp_path))


async def _requests_and_streams(tmp_path):
    async with running_host(tmp_path) as host:
        client = Client(host.socket)
        answer = await client.post("/v1/entry-points/ops/triage/trigger", {"input": {}}, key="k")
        name = answer.json["execution_id"]
        async with client.stream(f"/v1/sessions/{name}/events?until=settled") as stream:
            host.gate.is_open.set()
            messages = await stream.until("stream.end")
        assert json.loads(messages[-1].data)["execution"]["status"] == "completed"
        async with client.stream("/v1/events") as stream:
            await stream.until("stream.caught_up")
            await host.control.stop()
            end = (await stream.until("stream.end"))[-1]
        assert json.loads(end.data)["reason"] == "stopping"


def test_a_reader_that_stands_still_is_told_that_it_lagged(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "STALL_SECONDS", 0.2)
    run(_standing_still(tmp_path))


async def _standing_still(tmp_path):
    async with running_host(tmp_path) as host:
        client = Client(host.socket)
        for _ in range(3):
            await client.post(
                "/v1/entry-points/ops/triage/trigger", {"input": {"log": "x" * 400_000}}
            )
        await host.gate.entered.wait()
        async with client.connected() as (reader, writer):
            reader._transport.pause_reading()
            writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
            boxes = host.control._control.feed._boxes
            await becomes(lambda: len(boxes) == 1)
            await becomes(lambda: not boxes)
            reader._transport.resume_reading()
            rest = await asyncio.wait_for(reader.read(), 15)
        assert b'event: stream.end\ndata: {"reason":"lagged"' in rest
        assert (await client.get("/v1/health")).json["status"] == "ok"


def test_half_a_request_harms_nobody(tmp_path):
    run(_half_a_request(tmp_path))


async def _half_a_request(tmp_path):
    async with running_host(tmp_path) as host:
        client = Client(host.socket)
        limit = host.control._door._most
        idle = [await asyncio.open_unix_connection(str(host.socket)) for _ in range(limit + 5)]
        assert (await client.get("/v1/stats")).status == 200
        for _, writer in idle:
            writer.close()
