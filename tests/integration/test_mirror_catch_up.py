"""What a new process does for the mirror of one that died."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from hive_daemon.errors import StorageUnavailable
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.mirror import Mirror
from hive_daemon.storage.mirror_fold import MirrorMeta, MirrorMode
from hive_daemon.storage.mirror_marker import MARKER, Start, read_marker
from hive_daemon.storage.values import Claim, ExecutionRow
from tests.fakes.mirrored import SESSION, World, mirrored, read_json, tree
from tests.fakes.still_clock import StillClock

NAME = SESSION.format(1)
OTHER = SESSION.format(2)
S = ExecutionStatus


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


async def run_one(world: World, name: str) -> None:
    running = await world.start(name)
    await world.step(running, "fetch", {"a": 1})
    await world.end(running)
    await world.drained(name)


async def test_what_was_never_mirrored_is_made_up_for(tmp_path: Path, clock: StillClock) -> None:
    async with mirrored(tmp_path, clock, MirrorMode.OFF) as world:
        await run_one(world, NAME)
        await run_one(world, OTHER)
    async with mirrored(tmp_path, clock) as world:
        assert await world.catch_up.once()
        assert len(tree(world.session(NAME))) == len(tree(world.session(OTHER))) == 6
        assert (await world.mirror.lag()).after_seq is None


async def test_what_was_written_is_left_alone(tmp_path: Path, clock: StillClock) -> None:
    async with mirrored(tmp_path, clock) as world:
        await run_one(world, NAME)
    path = world.session(NAME) / "state.json"
    before = path.stat().st_ino
    async with mirrored(tmp_path, clock) as world:
        assert await world.catch_up.once()
        assert path.stat().st_ino == before


async def test_an_orderly_end_leaves_nothing_to_look_at(tmp_path: Path, clock: StillClock) -> None:
    async with mirrored(tmp_path, clock) as world:
        assert await world.catch_up.once()
        await run_one(world, NAME)
    assert read_marker(tmp_path, "full") == Start(after_seq=4)


async def test_what_a_dead_process_had_not_written_is_written(
    tmp_path: Path, clock: StillClock
) -> None:
    async with mirrored(tmp_path, clock) as world:
        assert await world.catch_up.once()
        await run_one(world, NAME)
    marker = (tmp_path / MARKER).read_bytes()
    async with mirrored(tmp_path, clock, MirrorMode.OFF) as world:
        await run_one(world, OTHER)
    (tmp_path / MARKER).write_bytes(marker.replace(b'"is_closed":true', b'"is_closed":false'))
    async with mirrored(tmp_path, clock) as world:
        assert world.mirror.start == Start(after_seq=4)
        assert await world.catch_up.once()
        assert read_json(world.session(OTHER) / "state.json")["status"] == "completed"


async def test_after_the_machine_died_what_looks_written_is_written_again(
    tmp_path: Path, clock: StillClock
) -> None:
    async with mirrored(tmp_path, clock) as world:
        assert await world.catch_up.once()
        await run_one(world, NAME)
    log = world.session(NAME) / "logs/details.jsonl"
    whole = log.read_bytes()
    log.write_bytes(b"")  # the kernel had not written it back
    marker = read_json(tmp_path / MARKER)
    (tmp_path / MARKER).write_bytes(
        orjson.dumps({**marker, "boot": "another", "is_closed": False, "settled_seq": 0})
    )
    async with mirrored(tmp_path, clock) as world:
        assert world.mirror.start == Start(after_seq=0, is_doubtful=True)
        assert await world.catch_up.once()
        assert log.read_bytes() == whole


async def test_another_mode_begins_at_the_beginning(tmp_path: Path, clock: StillClock) -> None:
    async with mirrored(tmp_path, clock, MirrorMode.STATE) as world:
        await run_one(world, NAME)
        assert await world.catch_up.once()
    assert read_marker(tmp_path, "full") == Start()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"mode":"full"}', b"null"])
async def test_a_damaged_marker_means_the_beginning(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MARKER).write_bytes(content)
    assert read_marker(tmp_path, "full") == Start()


async def test_a_database_older_than_the_marker_is_gone_through_as_a_whole(
    tmp_path: Path, clock: StillClock
) -> None:
    async with mirrored(tmp_path, clock) as world:
        assert await world.catch_up.once()
        await run_one(world, NAME)
    state = world.session(NAME) / "state.json"
    state.unlink()
    marker = read_json(tmp_path / MARKER)
    (tmp_path / MARKER).write_bytes(orjson.dumps({**marker, "seq": 1_000}))
    async with mirrored(tmp_path, clock) as world:
        assert await world.catch_up.once()
        assert read_json(state)["status"] == "completed"


async def test_the_marker_does_not_pass_what_lags(tmp_path: Path, clock: StillClock) -> None:
    async with mirrored(tmp_path, clock) as world:
        assert await world.catch_up.once()
        running = await world.start(NAME)
        await world.step(running, "fetch", {})
        world.mirror.offer(NAME, None, ())
        await run_one(world, OTHER)
    assert read_marker(tmp_path, "full").after_seq == 2


async def test_a_damaged_state_is_kept_beside_and_made_again(
    tmp_path: Path, clock: StillClock
) -> None:
    async with mirrored(tmp_path, clock) as world:
        await run_one(world, NAME)
    state = world.session(NAME) / "state.json"
    whole = state.read_bytes()
    state.write_bytes(b'{"status": "runn')
    (tmp_path / MARKER).unlink()
    for _ in range(2):
        async with mirrored(tmp_path, clock) as world:
            assert await world.catch_up.once()
    assert state.read_bytes() == whole
    kept = [path for path in tree(world.session(NAME)) if "damaged" in path]
    assert kept == ["state.json.damaged-1"]
    assert (world.session(NAME) / kept[0]).read_bytes() == b'{"status": "runn'


async def test_what_still_runs_is_followed_again(tmp_path: Path, clock: StillClock) -> None:
    async with mirrored(tmp_path, clock) as world:
        running = await world.start(NAME)
        await world.step(running, "fetch", {"a": 1})
        assert await world.catch_up.once()
        world.mirror.offer(NAME, None, ())  # something happened that no step tells of
        assert await world.catch_up.once()
        await world.step(running, "parse", {"b": 2})
        await world.end(running)
        await world.drained(NAME)
        assert (await world.mirror.lag()).executions == ()
    state = read_json(world.session(NAME) / "state.json")
    assert (state["status"], state["memory"]) == ("completed", {"a": 1, "b": 2})


async def test_a_session_that_was_pruned_meanwhile_lags_no_more(
    tmp_path: Path, clock: StillClock
) -> None:
    async with mirrored(tmp_path, clock) as world:
        await run_one(world, NAME)
        world.mirror.offer(NAME, None, ())
        await world.store.executions.prune([NAME])
        assert await world.catch_up.once()
        assert (await world.mirror.lag()).executions == ()


async def test_an_agent_that_is_not_known_any_more_is_passed_over(
    tmp_path: Path, clock: StillClock
) -> None:
    async with mirrored(tmp_path, clock, MirrorMode.OFF) as world:
        await run_one(world, NAME)
    async with mirrored(tmp_path, clock) as world:
        world.catch_up._describe = lambda row: None
        assert await world.catch_up.once()
        assert not world.session(NAME).exists()


async def test_a_store_that_cannot_be_read_is_asked_again_later(
    tmp_path: Path, clock: StillClock, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(row: ExecutionRow | Claim) -> MirrorMeta:
        raise StorageUnavailable

    async with mirrored(tmp_path, clock, MirrorMode.OFF) as world:
        await run_one(world, NAME)
    async with mirrored(tmp_path, clock) as world:
        world.catch_up._describe = refuse
        task = asyncio.ensure_future(world.catch_up.run())
        try:
            while not clock._sleepers:
                await world.mirror.lag()
            world.catch_up._describe = world.describe
            clock.advance(31)
            while (await world.mirror.lag()).after_seq is not None:
                await asyncio.sleep(0)
        finally:
            task.cancel()
        assert read_json(world.session(NAME) / "state.json")["status"] == "completed"
    assert [r.getMessage() for r in caplog.records] == ["the mirror cannot catch up now"]


async def test_unfinished_files_of_a_dead_process_are_swept(
    tmp_path: Path, clock: StillClock
) -> None:
    litter = tmp_path / "agents/reporter/.mirror/0/logs"
    litter.mkdir(parents=True)
    mirror = Mirror(tmp_path, MirrorMode.FULL, clock)
    await mirror.drained([NAME])
    await mirror.close()
    assert not litter.exists()
