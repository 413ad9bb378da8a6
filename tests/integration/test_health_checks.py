"""Every health check fails for the reason it is there for, and says so by name."""

import asyncio
from dataclasses import dataclass

import orjson
import pytest

from hive_daemon.clock import SystemClock
from tests.fakes.control_client import Client
from tests.fakes.control_host import Host, running_host

MINUTES = 600.0


@dataclass
class World:
    """A daemon at work, and a connection to it that was made before anything went wrong."""

    host: Host
    client: Client

    def end_task(self, name: str) -> None:
        """End a task of the daemon as a fault in it would."""
        (task,) = [task for task in asyncio.all_tasks() if task.get_name() == name]
        task.cancel()


class Later(SystemClock):
    """The clock, some minutes later."""

    def monotonic(self) -> float:
        return super().monotonic() + MINUTES


@pytest.fixture
async def world(tmp_path):
    async with running_host(tmp_path) as host:
        yield World(host, Client(host.socket))


async def end_dispatcher(world: World) -> None:
    await world.host.services.dispatcher.stop()


async def end_publisher(world: World) -> None:
    world.end_task("hub: publisher")
    await asyncio.sleep(0)


async def let_the_clock_go_unseen(world: World) -> None:
    opened = world.host.runtime("ops").opened
    assert opened is not None
    opened.timers.source.clock = Later()


async def remove_socket(world: World) -> None:
    world.host.socket.unlink()


async def close_port(world: World) -> None:
    await world.host.webhooks.stop()


async def degrade(world: World) -> None:
    world.host.degrade("broken", "its folder has no graph")


CAUSES = {
    "dispatcher": end_dispatcher,
    "events": end_publisher,
    "timers": let_the_clock_go_unseen,
    "control": remove_socket,
    "http": close_port,
    "agents": degrade,
}
ELSEWHERE = {"store"}
"""`test_control_api.py::test_a_full_disk_is_told_by_ready_and_by_every_request_that_needs_it`."""


async def test_every_check_has_its_cause(world):
    checks = (await world.client.get("/v1/ready")).json["checks"]
    assert set(checks) == {*CAUSES, *ELSEWHERE}
    assert all(check["ok"] for check in checks.values())


@pytest.mark.parametrize("name", CAUSES)
async def test_a_check_fails_for_its_reason_and_no_other_does(world, name):
    async with world.client.connected() as (reader, writer):
        await CAUSES[name](world)
        writer.write(b"GET /v1/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    checks = orjson.loads(body)["checks"]
    assert [one for one, check in checks.items() if not check["ok"]] == [name]
    assert checks[name]["detail"]
    # A broken folder is one agent's trouble: the daemon takes work for the others.
    assert head.startswith(b"HTTP/1.1 200" if name == "agents" else b"HTTP/1.1 503")
