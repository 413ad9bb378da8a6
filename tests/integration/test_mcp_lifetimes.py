"""No process of a tool server outlives whoever started it, however that ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from hive_daemon.tools.mcp_process import Launch, ServerProcess
from hive_daemon.tools.mcp_values import ServerState
from tests.fakes.mcp_world import DEADLINE, TINY, World, gone, marked, new_mark, tiny

ROOT = Path(__file__).parents[2]


async def program(tmp_path: Path, *servers: dict[str, object]) -> asyncio.subprocess.Process:
    """Run a program that runs servers; returns when they are ready."""
    path = tmp_path / "mcp_servers.json"
    path.write_text(json.dumps({"servers": servers}))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.fakes.mcp_parent", str(path)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE):
        states = (await process.stdout.readline()).split()
    assert states == [b"ready"] * len(servers)
    return process


async def test_a_killed_program_leaves_no_process(tmp_path):
    mark = new_mark()
    modes = ("good", "breeds", "stubborn", "good")
    servers = [tiny(mode, mark, name=f"{mode}-{at}") for at, mode in enumerate(modes)]
    process = await program(tmp_path, *servers)
    # Each server behind its guard, and the two children that two of them started.
    async with asyncio.timeout(DEADLINE):
        while len(marked(mark)) != 10:
            await asyncio.sleep(0.02)
    process.kill()
    await process.wait()
    assert await gone(mark) == []


async def test_a_killed_guard_takes_its_server_along():
    mark = new_mark()
    async with World(tiny("good", mark)) as world:
        guards = [pid for pid in marked(mark) if b"guard.py" in _command(pid)]
        os.kill(guards[0], signal.SIGKILL)
        await world.until(ServerState.READY, starts=2)
        async with asyncio.timeout(DEADLINE):
            while len(marked(mark)) != 2:
                await asyncio.sleep(0.02)
    assert await gone(mark) == []


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_a_start_that_is_cancelled_leaves_no_process():
    mark = new_mark()
    world = World(tiny("deaf", mark))
    starting = asyncio.ensure_future(world.__aenter__())
    async with asyncio.timeout(DEADLINE):
        while not marked(mark):
            await asyncio.sleep(0.005)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await world.servers.stop()
    assert await gone(mark) == []


async def test_a_process_is_stopped_even_when_the_stop_is_cancelled():
    mark = new_mark()
    command = (sys.executable, "-I", "-S", TINY, "stubborn", mark)
    process = await ServerProcess.start(Launch("tiny", command, dict(os.environ)))
    stopping = asyncio.ensure_future(process.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait([stopping])
    assert await gone(mark) == []
    await process.stop()


@pytest.mark.slow
async def test_two_hundred_reconnects_leave_nothing_behind():
    mark = new_mark()
    names = [f"tiny-{at}" for at in range(4)]
    async with World(*(tiny("quits", mark, name=name) for name in names)) as world:
        for starts in (3, 50):
            await asyncio.gather(*(_started(world, name, starts) for name in names))
            if starts == 3:
                before = _holdings()
        after = _holdings()
    assert await gone(mark) == []
    # Four servers are amid their starts at either look: each may hold a few descriptors and tasks more or less.
    assert all(now <= then + 40 for now, then in zip(after, before, strict=True))


async def _started(world: World, name: str, starts: int) -> None:
    async with asyncio.timeout(100):
        while world.view(name).starts < starts:
            await asyncio.sleep(0.02)


def _holdings() -> tuple[int, int, int]:
    return len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()), threading.active_count()
