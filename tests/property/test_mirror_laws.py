"""Law: after any commits, the mirror's files are what a rebuilding from the store's rows makes."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.mirror import Rebuilt
from hive_daemon.storage.mirror_fold import MirrorMode
from hive_daemon.storage.values import ExecutionFilter
from tests.fakes.mirrored import SESSION, Running, World, mirrored, tool_completed, tree
from tests.fakes.still_clock import StillClock

S = ExecutionStatus
NODES = st.sampled_from(["fetch", "parse", "odd node/..", "report"])
VALUES = st.one_of(st.none(), st.text(max_size=5), st.integers(0, 9), st.floats(allow_nan=False))

MOVES = st.one_of(
    st.tuples(st.just("start"), st.integers(0, 1), st.booleans()),
    st.tuples(
        st.just("step"),
        st.integers(0, 5),
        NODES,
        st.dictionaries(st.sampled_from("abc"), VALUES, max_size=2),
        st.booleans(),
        st.booleans(),
    ),
    st.tuples(
        st.just("end"),
        st.integers(0, 5),
        st.sampled_from([S.COMPLETED, S.FAILED, S.PAUSED, S.WAITING_INPUT, S.INTERRUPTED]),
    ),
    st.tuples(st.just("resume"), st.integers(0, 5)),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("look")),
    st.tuples(st.just("wait")),
)


class Story:
    """A few executions of two sessions, told move by move."""

    def __init__(self, world: World, clock: StillClock) -> None:
        self.world = world
        self.clock = clock
        self.running: list[Running] = []
        self.parked: list[str] = []
        self.sessions: set[str] = set()

    async def make(self, move: tuple[Any, ...]) -> None:
        self.clock.advance(0.1)
        await getattr(self, move[0])(*move[1:])

    async def start(self, which: int, is_joined: bool) -> None:
        session = SESSION.format(which)
        is_new = session not in self.sessions
        self.sessions.add(session)
        await self.world.submit(session, is_new=is_new, is_joined=is_joined and not is_new)
        await self.claim()

    async def claim(self) -> None:
        for running in await self.world.claim():
            self.running.append(running)

    def pick(self, which: int) -> Running | None:
        return self.running[which % len(self.running)] if self.running else None

    async def step(
        self, which: int, node: str, writes: dict[str, Any], is_snapshot: bool, is_tool: bool
    ) -> None:
        running = self.pick(which)
        if running is None:
            return
        events = [tool_completed(node, self.clock.time())] if is_tool else None
        # A resumed execution does not know here what it had written: only whole ones can snapshot.
        is_snapshot = is_snapshot and running.claim.seq == 0
        await self.world.step(running, node, writes, events=events, is_snapshot=is_snapshot)

    async def end(self, which: int, status: ExecutionStatus) -> None:
        running = self.pick(which)
        if running is None:
            return
        self.running.remove(running)
        await self.world.end(running, status)
        if status is not S.COMPLETED and status is not S.FAILED:
            self.parked.append(running.claim.execution_id)
        await self.claim()

    async def resume(self, which: int) -> None:
        if self.parked:
            name = self.parked.pop(which % len(self.parked))
            await self.world.store.queue.requeue(name)
            self.world.mirror.offer(name, None, ())
            await self.claim()

    async def cancel(self, which: int) -> None:
        if self.parked:
            name = self.parked.pop(which % len(self.parked))
            await self.world.store.inbox.cancel(name, "no longer wanted")
            assert await self.world.catch_up.once()

    async def look(self) -> None:
        """Compare what is on disk with what a second mirror makes of the rows."""
        world = self.world
        assert await world.catch_up.once()
        await world.drained(*self.sessions)
        with tempfile.TemporaryDirectory() as elsewhere:
            other = World(Path(elsewhere), self.clock, world.mirror.mode, has_process=False)
            other.store = world.store
            try:
                for session in sorted(self.sessions):
                    world.catch_up._describe = other.describe
                    record = await world.catch_up.read(session)
                    world.catch_up._describe = world.describe
                    assert record is not None
                    assert await other.mirror.rebuild(record) is Rebuilt.DONE
            finally:
                await other.mirror.close()
            assert tree(world.directory) == tree(other.directory)

    async def wait(self) -> None:
        self.clock.advance(1.0)


async def tell(moves: list[tuple[Any, ...]], mode: MirrorMode) -> None:
    clock = StillClock()
    with tempfile.TemporaryDirectory() as root:
        async with mirrored(Path(root), clock, mode) as world:
            story = Story(world, clock)
            for move in moves:
                await story.make(move)
            await story.look()
            rows = await world.store.executions.query(ExecutionFilter())
            assert len(rows) >= len(story.running)


@settings(max_examples=50, deadline=None)
@given(st.lists(MOVES, min_size=1, max_size=25))
def test_the_mirror_after_any_commits_is_what_a_rebuilding_makes(
    moves: list[tuple[Any, ...]],
) -> None:
    asyncio.run(tell(moves, MirrorMode.FULL))


@settings(max_examples=20, deadline=None)
@given(st.lists(MOVES, min_size=1, max_size=15))
def test_the_same_holds_where_only_the_state_is_mirrored(moves: list[tuple[Any, ...]]) -> None:
    asyncio.run(tell(moves, MirrorMode.STATE))
