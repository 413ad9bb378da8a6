"""Floods: bad signatures, slow senders and endless bodies cost neither memory nor the other routes."""

import asyncio
import gc
from pathlib import Path

from hive_daemon.http.limits import ListenerLimits
from hive_daemon.runtime.webhook_route import WebhookRoute
from hive_daemon.runtime.webhook_server import WebhookServer
from tests.fakes.raw_http import RawClient, request, signature
from tests.fakes.webhook_bench import Executions, open_ledger, post, webhooks

BODY = b'{"action": "opened", "padding": "' + b"x" * 2_000 + b'"}'
FORGED = request("POST", "/hook", BODY, [("X-Hub-Signature-256", "sha256=" + "0" * 64)])
GUARDED = WebhookRoute("guarded", "/hook", secret="s3cret")
OTHER = WebhookRoute("other", "/other", secret="s3cret")
BATCH = 50
SLACK_KIB = 8 * 1024
"""What the allocator may keep; 10,000 bodies of 2 KiB would be 20 MiB."""
FLOODS = 3
"""What is kept of a flood is kept of each; an allocator needs new room once. One that takes none acquits the server."""


def resident_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


async def flood(server: WebhookServer, count: int) -> set[int]:
    """Send forged requests on eight connections, pipelined, and return the statuses."""

    async def send(times: int) -> set[int]:
        seen: set[int] = set()
        async with await RawClient.open(server.port or 0) as client:
            for _ in range(times // BATCH):
                await client.send(FORGED * BATCH)
                for _ in range(BATCH):
                    answer = await client.answer()
                    assert answer is not None
                    seen.add(answer.status)
        return seen

    return set().union(*await asyncio.gather(*(send(count // 8) for _ in range(8))))


async def test_ten_thousand_bad_signatures_leave_memory_flat_and_other_routes_answering(
    tmp_path: Path,
) -> None:
    intake = Executions()
    signed = {"X-Hub-Signature-256": signature(BODY, "s3cret")}
    async with (
        open_ledger(tmp_path) as ledger,
        webhooks(GUARDED, OTHER, intake=intake, ledger=ledger) as server,
    ):
        assert await flood(server, 800) == {401}
        grown = [await growth(server, signed)]
        while grown[-1] >= SLACK_KIB and len(grown) < FLOODS:
            grown.append(await growth(server, signed))
        answered = server.doors["/hook"].answered
    assert min(grown) < SLACK_KIB, grown
    assert len(intake.deliveries) == 1
    assert answered[401] == 800 + 10_000 * len(grown)


async def growth(server: WebhookServer, signed: dict[str, str]) -> int:
    """Flood one route while another answers; return by how many KiB this process grew."""
    gc.collect()
    before = resident_kib()
    flooding = asyncio.ensure_future(flood(server, 10_000))
    others = 0
    while not flooding.done():
        answer = await post(server, BODY, signed, target="/other")
        assert answer.status == 202
        others += 1
    assert await flooding == {401}
    assert others > 0
    gc.collect()
    return resident_kib() - before


async def test_a_body_of_two_gigabytes_is_refused_before_any_of_it_is_read() -> None:
    async with (
        webhooks(GUARDED) as server,
        await RawClient.open(server.port or 0) as client,
    ):
        await client.send(request("POST", "/hook", length=2 * 2**30))
        answer = await client.answer()
        assert answer is not None
        assert answer.status == 413
        assert await client.closed() == b""


async def test_an_endless_body_without_a_length_is_cut_off_at_the_limit() -> None:
    before = resident_kib()
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    endless = [("Transfer-Encoding", "chunked")]
    sent = 0
    async with (
        webhooks(GUARDED) as server,
        await RawClient.open(server.port or 0) as client,
    ):
        await client.send(request("POST", "/hook", headers=endless, length=-1))
        while not client.is_broken and sent < 2 * 2**30:
            await client.send(chunk)
            sent += len(chunk)
    # What lies in the buffers of both sockets was sent too.
    assert sent < 64 * 2**20
    assert resident_kib() - before < 32 * 1024


async def test_slow_senders_are_cut_off_while_others_are_served() -> None:
    limits = ListenerLimits(head_seconds=0.2, body_seconds=0.2)
    signed = {"X-Hub-Signature-256": signature(BODY, "s3cret")}
    intake = Executions()
    async with webhooks(GUARDED, OTHER, intake=intake, limits=limits) as server:
        slow = [await RawClient.open(server.port or 0) for _ in range(60)]
        for at, client in enumerate(slow):
            await client.send(
                request("POST", "/hook", length=1_000) if at % 2 else b"POST /hook HTTP/1.1\r\n"
            )
        assert (await post(server, BODY, signed, target="/other")).status == 202
        answers = await asyncio.gather(*(client.answer() for client in slow))
        assert {answer.status for answer in answers if answer} == {408}
        assert (await post(server, BODY, signed)).status == 202
        for client in slow:
            await client.close()
    assert len(intake.deliveries) == 1
