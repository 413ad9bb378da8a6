"""Every health check fails for the reason it is there for, and says so by name."""

import asyncio
import os
import re
import resource
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from hive_daemon.clock import SystemClock
from hive_daemon.control import vitals
from hive_daemon.storage.mirror_fold import MirrorMode
from tests.fakes.control_client import Client
from tests.fakes.control_host import Host, running_host
from tests.fakes.mirrored import mirror_pid

DOCS = Path(__file__).parents[2] / "docs" / "control-api.md"
MINUTES = 600.0


@dataclass
class World:
    """A daemon at work, and a connection to it that was made before anything went wrong; what is to be undone."""

    host: Host
    client: Client
    undo: ExitStack


class Later(SystemClock):
    """The clock, some minutes later."""

    def monotonic(self) -> float:
        return super().monotonic() + MINUTES


@pytest.fixture
async def world(tmp_path):
    async with running_host(tmp_path, mirror=MirrorMode.FULL, mirror_process=True) as host:
        yield World(host, Client(host.socket), ExitStack())


async def refuse_writes(world: World) -> None:
    """Have the system refuse every write that makes a file larger than less than a page of the store."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    world.undo.callback(resource.setrlimit, resource.RLIMIT_FSIZE, before)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, before[1]))


async def end_dispatcher(world: World) -> None:
    await world.host.services.dispatcher.stop()


async def halt_the_mirror(world: World) -> None:
    """Have the process that writes the readable files stand still, and an execution end that they are to show."""
    pid = mirror_pid()
    os.kill(pid, signal.SIGSTOP)
    world.undo.callback(os.kill, pid, signal.SIGCONT)
    world.undo.enter_context(pytest.MonkeyPatch.context()).setattr(
        vitals, "MOST_SILENT_SECONDS", 0.0
    )
    world.host.gate.is_open.set()
    answer = await world.client.post("/v1/entry-points/ops/triage/trigger", {})
    while not world.host.services.hub.is_to_tell(answer.json["execution_id"]):
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
    "store": refuse_writes,
    "dispatcher": end_dispatcher,
    "events": halt_the_mirror,
    "timers": let_the_clock_go_unseen,
    "control": remove_socket,
    "http": close_port,
    "agents": degrade,
}


async def test_every_check_has_its_cause(world):
    checks = (await world.client.get("/v1/ready")).json["checks"]
    assert checks.keys() == CAUSES.keys()
    assert all(check["ok"] for check in checks.values())


def test_every_check_is_documented_and_nothing_else_is():
    _, _, section = DOCS.read_text().partition("\n### check\n")
    table = section.partition("\n### ")[0].partition("| name | fails when |")[2]
    assert re.findall(r"^\| `(\w+)` \|", table, flags=re.M) == list(CAUSES)


@pytest.mark.parametrize("name", CAUSES)
async def test_a_check_fails_for_its_reason_and_no_other_does(world, name):
    async with world.client.connected() as (reader, writer):
        with world.undo:
            await CAUSES[name](world)
            writer.write(b"GET /v1/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    checks = orjson.loads(body)["checks"]
    assert [one for one, check in checks.items() if not check["ok"]] == [name]
    assert checks[name]["detail"]
    # A broken folder is one agent's trouble: the daemon takes work for the others.
    assert head.startswith(b"HTTP/1.1 200" if name == "agents" else b"HTTP/1.1 503")
