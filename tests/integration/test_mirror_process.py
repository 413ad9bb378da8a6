"""The mirror, written by a process of its own: the same files, and what happens when one of the two is lost."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hive_daemon.storage import mirror_remote
from hive_daemon.storage.mirror_items import LagAsked
from hive_daemon.storage.mirror_process import Line
from hive_daemon.storage.mirror_wire import frame
from tests.fakes.mirrored import SESSION, World, mirror_pid, mirrored, read_json, read_lines, tree
from tests.fakes.still_clock import StillClock

NAME = SESSION.format(1)
OTHER = SESSION.format(2)

ABANDON = """
import asyncio, os, signal, sys
from pathlib import Path
from hive_daemon.storage.mirror import Mirror
from hive_daemon.storage.mirror_fold import MirrorMode

async def main():
    mirror = Mirror(Path(sys.argv[1]), MirrorMode.FULL, has_process=True)
    await mirror.lag()
    print(children(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

def children():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[0]

asyncio.run(main())
"""


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
async def world(tmp_path: Path, clock: StillClock) -> AsyncIterator[World]:
    async with mirrored(tmp_path, clock, has_process=True) as world:
        yield world


def is_gone(pid: int) -> bool:
    """Wait until a process is gone, ten seconds at most."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 10)[0])
    finally:
        os.close(handle)


async def caught_up(world: World, clock: StillClock) -> None:
    """Let a second go by, and wait until another process has made up for what was missed."""
    while not clock._sleepers:
        await asyncio.sleep(0)
    world.mirror.behind.clear()
    clock.advance(1)
    await world.mirror.behind.wait()
    assert await world.catch_up.once()


async def test_a_process_writes_the_same_files_as_a_thread(
    tmp_path: Path, clock: StillClock
) -> None:
    trees = []
    for has_process in (False, True):
        root = tmp_path / str(has_process)
        async with mirrored(root, clock, has_process=has_process) as world:
            running = await world.start(NAME)
            await world.step(running, "fetch", {"a": 1})
            await world.end(running)
            await world.drained(NAME)
            trees.append(tree(world.session(NAME)))
    first, second = (without_spans(files) for files in trees)
    assert first == second


def without_spans(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: content for path, content in files.items() if path != "logs/summary.json"}


async def test_many_are_complete_at_the_barrier(world: World) -> None:
    names = [SESSION.format(n) for n in range(100, 130)]
    await world.run_all(names)
    for name in names:
        assert read_json(world.session(name) / "state.json")["status"] == "completed"
        assert len(read_lines(world.session(name) / "logs/details.jsonl")) == 2


async def test_closing_writes_what_is_owed(tmp_path: Path, clock: StillClock) -> None:
    async with mirrored(tmp_path, clock, has_process=True) as world:
        running = await world.start(NAME)
        await world.step(running, "fetch", {"a": 1})
    assert read_json(world.session(NAME) / "state.json")["memory"] == {"a": 1}


async def test_a_lost_process_keeps_nobody_waiting_and_another_makes_up_for_it(
    world: World, clock: StillClock
) -> None:
    running = await world.start(NAME)
    await world.step(running, "fetch", {"a": 1})
    await world.mirror.lag()
    os.kill(mirror_pid(), signal.SIGKILL)
    await world.step(running, "parse", {"b": 2})
    await world.drained(NAME)
    await caught_up(world, clock)
    await world.end(running)
    await world.drained(NAME)
    state = read_json(world.session(NAME) / "state.json")
    assert (state["status"], state["memory"]) == ("completed", {"a": 1, "b": 2})
    lines = read_lines(world.session(NAME) / "logs/details.jsonl")
    assert [line["node_id"] for line in lines] == ["fetch", "parse", "z"]


async def test_what_ended_while_there_was_no_process_is_made_up_for(
    world: World, clock: StillClock
) -> None:
    await world.mirror.lag()
    os.kill(mirror_pid(), signal.SIGKILL)
    await world.mirror.lag()
    running = await world.start(NAME)
    await world.end(running)
    await world.drained(NAME)
    await caught_up(world, clock)
    assert read_json(world.session(NAME) / "state.json")["status"] == "completed"


async def test_a_process_that_is_hopelessly_behind_is_replaced(
    world: World, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.mirror.lag()
    os.kill(mirror_pid(), signal.SIGSTOP)
    monkeypatch.setattr(mirror_remote, "MOST_UNSENT", 1)
    running = await world.start(NAME)
    await world.step(running, "fetch", {"a": "x" * 4_000_000})
    await world.end(running)
    await world.drained(NAME)
    monkeypatch.undo()
    await caught_up(world, clock)
    assert read_json(world.session(NAME) / "state.json")["status"] == "completed"


async def test_a_process_that_owes_an_answer_and_stands_still_is_replaced(
    world: World, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await world.start(NAME)
    await world.mirror.lag()
    os.kill(mirror_pid(), signal.SIGSTOP)
    monkeypatch.setattr(mirror_remote, "MOST_SILENT_SECONDS", 0.01)
    await world.end(running)
    await world.drained(NAME)
    monkeypatch.undo()
    await caught_up(world, clock)
    assert read_json(world.session(NAME) / "state.json")["status"] == "completed"


async def test_what_it_logs_is_logged_here(world: World, caplog: pytest.LogCaptureFixture) -> None:
    sessions = world.directory / "sessions"
    sessions.parent.mkdir(parents=True)
    sessions.write_text("in the way")
    with caplog.at_level(logging.WARNING):
        running = await world.start(NAME)
        await world.end(running)
        await world.drained(NAME)
    (complaint,) = [r for r in caplog.records if "the mirror is behind" in r.getMessage()]
    assert complaint.name == "hive_daemon.storage.mirror_scribe"


async def test_it_ends_when_the_daemon_is_killed(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        ABANDON,
        str(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    output, _ = await process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert await asyncio.to_thread(is_gone, int(output))


def test_what_a_daemon_that_is_gone_had_still_sent_is_left_to_the_next() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        line = Line(theirs)
        with ours:
            ours.sendall(frame([LagAsked(1)]))
            assert line.take(0) == [LagAsked(1)]
            ours.sendall(frame([LagAsked(2)]))
        with pytest.raises(EOFError):
            line.take(None)
