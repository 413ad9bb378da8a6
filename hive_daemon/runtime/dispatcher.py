"""The dispatcher: one task that claims what is queued for all free slots and hands it to the streams.

It sleeps until a lane has something or a slot is free; it polls only while the store cannot be written.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from hive_daemon.clock import Clock, sleep_until
from hive_daemon.errors import Fenced, StorageError, StorageFull
from hive_daemon.storage.mirror_fold import MirrorMeta
from hive_daemon.storage.ports import ExecutionQueue
from hive_daemon.storage.values import Claim, ExecutionRow, Fence, Limits
from hive_daemon.tasks import Scope

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Slots:
    """How many executions may run in the process: `total`, and of these `background` that timers and events began."""

    total: int
    background: int | None = None


class Lane(Protocol):
    """A stream, as the dispatcher sees it."""

    @property
    def lane(self) -> str:
        """Its address in the process."""

    @property
    def limit(self) -> int:
        """How many of its executions may run."""

    @property
    def group_limit(self) -> int | None:
        """How many of its executions with the same key may run, None if nothing bounds that."""

    @property
    def background_count(self) -> int:
        """How many of its executions run that timers and events began."""

    @property
    def delays(self) -> bool:
        """Whether what waits in it may become due, or too old, by itself."""

    @property
    def queued_count(self) -> int:
        """How many of its executions are known to wait."""

    def get_active_count(self) -> int:
        """Return how many of its executions run."""

    def begin(self, claim: Claim) -> None:
        """Run a claimed execution."""

    def goes_on(self, execution_id: str) -> None:
        """Take note that an execution that was put away is queued again."""

    async def check_graph(self, execution_id: str, *, accepts_change: bool = False) -> str:
        """Raise GraphChanged if an execution may not go on in the graph as it is; return that graph's hash."""

    def ordered(self, execution_id: str, reason: str) -> None:
        """Carry out a cancellation that the store has taken, if the execution is one of its own."""

    def describe(self, row: ExecutionRow) -> MirrorMeta:
        """Return what the mirror needs to know of one of its executions."""


class Dispatcher:
    """Hands claimed executions to their streams.

    Laws: a lane that may still have something queued is looked at again whenever a slot is free; what is held back is
    looked at when it becomes due, at most `clock.LOOK_AGAIN_SECONDS` late if the wall clock steps.
    """

    def __init__(self, queue: ExecutionQueue, node: str, clock: Clock, slots: Slots) -> None:
        self._queue = queue
        self._node = node
        self._clock = clock
        self._slots = slots
        self._agents: dict[str, int] = {}
        self._lanes: dict[str, Lane] = {}
        self._described: dict[str, Lane] = {}
        self._wanted: set[str] = set()
        self._homeless: deque[Fence] = deque()
        self._wake = asyncio.Event()
        self._scope = Scope("dispatcher")
        self._is_open = False
        self._has_freed = False
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = math.inf
        self._is_due = False

    # --- who may run what -------------------------------------------------------------------

    def register(self, lane: Lane) -> None:
        """Claim for this stream from now on, also what was queued before."""
        self._lanes[lane.lane] = self._described[lane.lane] = lane
        self.hint(lane.lane)

    def unregister(self, lane: str) -> None:
        """Claim for this stream no more; what is queued stays queued. Its executions can still be described."""
        self._lanes.pop(lane, None)
        self._wanted.discard(lane)

    def forget(self, lane: str) -> None:
        """Know nothing of this stream any more."""
        self.unregister(lane)
        self._described.pop(lane, None)

    def lane(self, lane: str) -> Lane | None:
        """Return the stream with this address, None if nobody claims for it."""
        return self._lanes.get(lane)

    def ordered(self, execution_id: str, reason: str) -> None:
        """Carry out a cancellation that reached the store without this process's doing."""
        for lane in tuple(self._described.values()):
            lane.ordered(execution_id, reason)

    def describe(self, row: ExecutionRow) -> MirrorMeta | None:
        """Return what the mirror needs to know of an execution; None if its stream is not here."""
        lane = self._described.get(f"{row.agent}/{row.stream_id}")
        return lane.describe(row) if lane is not None else None

    def limit_agent(self, agent: str, most: int) -> None:
        """Let at most so many executions of an agent run."""
        self._agents[agent] = most

    # --- when to look -----------------------------------------------------------------------

    def hint(self, lane: str) -> None:
        """Note that a lane may have something queued."""
        if lane in self._lanes:
            self._wanted.add(lane)
            self._wake.set()

    def look_again(self) -> None:
        """Look at every lane, whatever is known of it: no hint that went astray leaves work lying for ever."""
        self._is_due = True
        for lane in self._lanes:
            self.hint(lane)

    def freed(self) -> None:
        """Note that a slot is free again."""
        self._has_freed = True
        self._wake.set()

    def start(self) -> None:
        """Begin to claim."""
        self._is_open = True
        self._wake.set()
        self._scope.spawn("claim", self._run())

    async def stop(self) -> None:
        """Claim no more. What is being claimed at this moment is still handed out."""
        self._is_open = False
        self._wanted.clear()
        self._wake.set()
        self._silence()
        await self._scope.drain(None)

    async def _run(self) -> None:
        while self._is_open:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._give_back()
                if self._is_due:
                    await self._expire()
                if self._wanted:
                    await self._claim()
                    await self._set_alarm()
            except (StorageFull, StorageError) as error:
                logger.warning("nothing can be claimed", extra={"error": str(error)})
                await self._clock.sleep(RETRY_SECONDS)
                self._wake.set()

    async def _claim(self) -> None:
        asked = {lane: self._lanes[lane].limit for lane in self._wanted}
        self._wanted.clear()
        self._has_freed = False
        try:
            claims = await self._queue.claim(self._node, self._limits(asked))
        except BaseException:
            self._wanted.update(asked)
            raise
        for claim in claims:
            lane = self._lanes.get(claim.lane)
            if lane is None:
                self._homeless.append(claim.fence)
            else:
                lane.begin(claim)
        await self._give_back()
        self._want_again(asked)

    def _limits(self, asked: Mapping[str, int]) -> Limits:
        bounds = {lane: self._lanes[lane].group_limit for lane in asked}
        groups = {lane: most for lane, most in bounds.items() if most is not None}
        slots = self._slots
        return Limits(slots.total, asked, self._agents, groups, slots.background)

    @property
    def limits(self) -> Limits:
        """What bounds the executions of every lane that is claimed for."""
        return self._limits({name: lane.limit for name, lane in self._lanes.items()})

    # --- what becomes due by itself ---------------------------------------------------------

    async def _expire(self) -> None:
        """Let go of what has waited too long, and look at every lane that may hold something due."""
        self._is_due = False
        expired = await self._queue.expire()
        if expired:
            logger.warning(
                "executions waited too long and are cancelled", extra={"count": len(expired)}
            )
        self._wanted.update(self._delaying())

    def _delaying(self) -> list[str]:
        return [name for name, lane in self._lanes.items() if lane.delays]

    async def _set_alarm(self) -> None:
        """Wake up when the next execution becomes due or too old, if any is held back."""
        delaying = self._delaying()
        due = await self._queue.next_due(delaying) if delaying else None
        if due is None:
            self._silence()
        elif due != self._alarm_at:
            self._silence()
            self._alarm_at = due
            self._alarm = self._scope.spawn("alarm", self._ring(due))

    async def _ring(self, due: float) -> None:
        await sleep_until(self._clock, due)
        self._alarm_at = math.inf
        self._is_due = True
        self._wake.set()

    def _silence(self) -> None:
        self._alarm_at = math.inf
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    async def _give_back(self) -> None:
        """Queue again what was claimed for a lane that went away meanwhile."""
        while self._homeless:
            try:
                await self._queue.release(self._homeless[0])
            except Fenced:
                logger.info("a claim was taken over", extra={"fence": self._homeless[0]})
            self._homeless.popleft()

    def _want_again(self, asked: dict[str, int]) -> None:
        """Look again later at lanes that may still have something queued.

        Those are the ones that are full or bounded by key, that know of something that must wait, or that the limits
        above them stop. A slot that became free while the claim was on its way may have stopped any of them.
        """
        if self._has_freed:
            self._wanted.update(lane for lane in asked if lane in self._lanes)
            return
        running: Counter[str] = Counter()
        for address, lane in self._lanes.items():
            running[address.partition("/")[0]] += lane.get_active_count()
        is_full = running.total() >= self._slots.total or self._has_full_background()
        for address in asked:
            found = self._lanes.get(address)
            if found is None:
                continue
            agent = address.partition("/")[0]
            if (
                is_full
                or found.queued_count
                or found.group_limit is not None
                or found.get_active_count() >= found.limit
                or running[agent] >= self._agents.get(agent, self._slots.total)
            ):
                self._wanted.add(address)

    def _has_full_background(self) -> bool:
        most = self._slots.background
        return most is not None and most <= sum(
            lane.background_count for lane in self._lanes.values()
        )
