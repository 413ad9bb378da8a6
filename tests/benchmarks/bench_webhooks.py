"""How many signed webhooks per second are answered 202, and how late the slowest of a hundred is.

"answer" verifies the signature, makes the event and answers; "commit" keeps the delivery in the real ledger and its
execution in the real queue before it answers: two commits, each made together with those of other requests. A client
in another process keeps `--connections` requests under way, each signed, of `--bytes`.

    python -m tests.benchmarks.bench_webhooks [--seconds 3] [--connections 64] [--loop uvloop|asyncio] [--profile FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hive_daemon.ids import new_session_id
from hive_daemon.runtime.encoding import dumps
from hive_daemon.runtime.webhook_server import (
    Delivery,
    Intake,
    WebhookRoute,
    WebhookServer,
    WebhookServerConfig,
)
from hive_daemon.storage.ports import Store
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.values import Dedupe, Fence, StepCommit, StoredEvent, Submission
from hive_daemon.storage.webhook_deliveries import DeliveryLedger
from tests.fakes.raw_http import request, signature

SECRET = "benchmark-secret"
PATH = "/webhooks/bench"
DEDUPE_SECONDS = 7 * 24 * 3600.0


class Quiet:
    """Listens to the store and takes no note."""

    def committed(
        self, fence: Fence | None, step: StepCommit | None, events: Sequence[StoredEvent]
    ) -> None:
        """Take no note of commits."""

    def queued(self, lane: str) -> None:
        """Take no note of what is queued."""


async def answer_only(delivery: Delivery) -> list[str]:
    """Set off nothing."""
    return ["session_20260302_090000_00000000"]


@dataclass(frozen=True, slots=True)
class Committing:
    """An intake that queues one execution durably."""

    store: Store

    async def __call__(self, delivery: Delivery) -> list[str]:
        submission = Submission(
            agent="bench",
            graph_id="g",
            entry_point="hook",
            stream_id="hook",
            session_id=new_session_id(time.time()),
            input=dumps({"event": delivery.event.to_dict()}),
            source="webhook",
            dedupe=Dedupe("bench/hook", delivery.delivery_id, delivery.body_hash, DEDUPE_SECONDS),
        )
        return [(await self.store.queue.submit(submission)).execution_id]


# --- the client, in a process of its own -----------------------------------------------------


@dataclass(slots=True)
class Load:
    """What all connections of the client share."""

    head: bytes
    tail: bytes
    until: float
    sent: int = 0
    failed: int = 0
    took: list[float] = field(default_factory=list)

    def next(self) -> bytes:
        """Return the next request, with a delivery id of its own."""
        self.sent += 1
        return self.head + b"%010d" % self.sent + self.tail


class Sender(asyncio.Protocol):
    """One connection that asks again as soon as it was answered."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.began = 0.0
        self.taken = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.load.next())

    def data_received(self, data: bytes) -> None:
        self.taken += data
        head, found, body = self.taken.partition(b"\r\n\r\n")
        if not found or not body.endswith(b"}"):
            return
        now = time.perf_counter()
        self.load.took.append(now - self.began)
        self.load.failed += not head.startswith(b"HTTP/1.1 202 ")
        self.taken = b""
        if now < self.load.until:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.failed += exc is not None
        self.done.set_result(None)


async def send(port: int, connections: int, seconds: float, size: int) -> dict[str, Any]:
    """Send for so many seconds; answer the figures."""
    body = json.dumps({"action": "opened", "text": "x" * (size - 33)}).encode()
    headers = [
        ("User-Agent", "GitHub-Hookshot/bench"),
        ("Accept", "*/*"),
        ("Content-Type", "application/json"),
        ("X-GitHub-Event", "pull_request"),
        ("X-Hub-Signature-256", signature(body, SECRET)),
        ("X-GitHub-Delivery", "@"),
    ]
    head, _, tail = request("POST", PATH, body, headers).partition(b"@")
    load = Load(head, tail, time.perf_counter() + seconds)
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Sender(load), "127.0.0.1", port)
        for _ in range(connections)
    ]
    began = time.perf_counter()
    for _, sender in made:
        await sender.done
    took = sorted(load.took)
    return {
        "rate": len(took) / (time.perf_counter() - began),
        "p50": took[len(took) // 2] * 1e3,
        "p99": took[len(took) * 99 // 100] * 1e3,
        "count": len(took),
        "failed": load.failed,
        "bytes": len(body),
    }


# --- the server -------------------------------------------------------------------------------


async def measure(
    intake: Intake, chosen: argparse.Namespace, ledger: DeliveryLedger | None = None
) -> dict[str, Any]:
    """Serve one client process and return what it found, with the CPU that a request took here."""
    server = WebhookServer(None, WebhookServerConfig(port=0), intake, ledger=ledger)
    server.add_route(WebhookRoute("bench", PATH, secret=SECRET))
    await server.start()
    command = [
        *(sys.executable, "-m", "tests.benchmarks.bench_webhooks", "--client", str(server.port)),
        *("--connections", str(chosen.connections), "--seconds", str(chosen.seconds)),
        *("--bytes", str(chosen.bytes)),
    ]
    before = resource.getrusage(resource.RUSAGE_SELF)
    client = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    printed, _ = await client.communicate()
    after = resource.getrusage(resource.RUSAGE_SELF)
    await server.stop()
    found: dict[str, Any] = json.loads(printed)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**found, "cpu": cpu / found["count"] * 1e3}


async def measure_answer(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure verifying and answering."""
    return await measure(answer_only, chosen)


async def measure_commit(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure a durable row before each answer."""
    with tempfile.TemporaryDirectory(dir=chosen.directory) as name:
        async with open_sqlite(Path(name), Quiet()) as store:
            return await measure(Committing(store), chosen, store.deliveries)


def run(work: Coroutine[Any, Any, dict[str, Any]], loop: str) -> dict[str, Any]:
    """Run on the event loop that was asked for."""
    if loop == "uvloop":
        import uvloop

        return uvloop.run(work)
    return asyncio.run(work)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--bytes", type=int, default=2048)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="uvloop")
    parser.add_argument("--directory", default=None, help="where to put the databases")
    parser.add_argument("--profile", default=None, help="profile the loop into this file")
    parser.add_argument("--only", choices=("answer", "commit"), default=None)
    parser.add_argument("--client", type=int, default=None, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.client is not None:
        work = send(chosen.client, chosen.connections, chosen.seconds, chosen.bytes)
        found = run(work, "uvloop")
        print(json.dumps(found))
        return 0
    print(f"{'':8} {'req/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'CPU ms':>8} {'failed':>7}")
    for name, measuring in (("answer", measure_answer), ("commit", measure_commit)):
        if chosen.only not in (None, name):
            continue
        profile = cProfile.Profile()
        if chosen.profile:
            profile.enable()
        found = run(measuring(chosen), chosen.loop)
        if chosen.profile:
            profile.disable()
            profile.dump_stats(chosen.profile)
        print(
            f"{name:8} {found['rate']:>8.0f} {found['p50']:>8.2f} {found['p99']:>8.2f} "
            f"{found['cpu']:>8.3f} {found['failed']:>7}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
