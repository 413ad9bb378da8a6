"""Whatever is done, in whatever order and however much at once: SQLite answers what the in-memory store answers.

A story is a list of moments; the operations of one moment are given to the store together, so that SQLite does them in
one transaction.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.errors import HiveError, IllegalMove
from hive_daemon.ids import execution_id
from hive_daemon.status import ExecutionStatus as S
from hive_daemon.storage.admission import (
    Admission,
    Batch,
    Debounce,
    QueueFilter,
    Rate,
    Strategy,
)
from hive_daemon.storage.ports import Store
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.timer_values import TimerFire, TimerOutcome, TimerSkip, TimerSpec
from hive_daemon.storage.values import (
    BACKGROUND,
    Checkpoint,
    CheckpointKind,
    Claim,
    Dedupe,
    EventFilter,
    EventRecord,
    ExecutionFilter,
    ExecutionRow,
    Limits,
    StateWrite,
    StepCommit,
    Submission,
)
from tests.fakes.memory_store import MemoryDisk, open_memory
from tests.fakes.store_kit import Ear, SetClock, ending, session

LANES = (("x", "main"), ("x", "side"), ("y", "main"))
LIMITS = Limits(
    total=4,
    lanes={"x/main": 3, "x/side": 2, "y/main": 3},
    agents={"x": 3},
    groups={"x/main": 1, "y/main": 2},
    background=2,
)
NODES = ("node-1", "node-2")
SESSIONS = 4
TIMERS = ("x/t1", "x/t2")


@dataclass(frozen=True)
class Op:
    """One thing to do; the numbers choose among what there is."""

    kind: str
    a: int
    b: int
    c: int


KINDS = (
    ["submit"] * 6 + ["claim"] * 5 + ["commit"] * 10 + ["end"] * 4 + ["inject"] * 3 + ["sweep"] * 2
    + ["expire", "front", "front"]
    + ["release", "requeue", "requeue", "cancel", "cancel", "beat", "prune", "prune"]
    + ["fire", "fire", "fire", "account", "pause", "sync", "state", "clear"]
)  # fmt: skip
Call = Callable[[], Awaitable[Any]]
numbers = st.integers(0, 11)
ops = st.builds(Op, st.sampled_from(KINDS), numbers, numbers, numbers)
stories = st.lists(st.lists(ops, min_size=1, max_size=6), min_size=1, max_size=14)


PROLOGUE = [
    [Op("sync", 0, 0, 1), *(Op("submit", n, 0, n) for n in range(SESSIONS))],
    [Op("claim", 0, 0, 0)],
]
"""How every story begins: the timers are known, each session has an execution, most of them run."""


@dataclass
class Player:
    """Plays a story on one store and keeps what it answered."""

    store: Store
    clock: SetClock
    ear: Ear
    limits: Limits = LIMITS
    claims: list[Claim] = field(default_factory=list)
    answers: list[object] = field(default_factory=list)

    async def play(self, moment: list[Op]) -> None:
        """Do a moment's operations at once."""
        self.clock.now += 1
        # All are made up before the first is given: what a store tells meanwhile must not change the others.
        calls = [self._call(op) for op in moment]
        results = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
        for op, result in zip(moment, results, strict=True):
            if isinstance(result, BaseException) and not isinstance(result, HiveError):
                raise result
            failed = isinstance(result, HiveError)
            self.answers.append((op.kind, type(result).__name__ if failed else result))
            if op.kind == "claim" and not failed:
                self.claims.extend(result)

    def _call(self, op: Op) -> Call:
        a, b, c = op.a, op.b, op.c
        store = self.store
        match op.kind:
            case "submit":
                return partial(store.queue.submit, self._submission(op))
            case "claim":
                return partial(store.queue.claim, NODES[a % 2], self.limits)
            case "commit" | "end" if self.claims:
                return partial(store.executions.commit, self._claim(a).fence, self._step(op))
            case "release" if self.claims:
                return partial(store.queue.release, self._claim(a).fence)
            case "requeue":
                return partial(store.queue.requeue, self._name(a), b"s" if b % 2 else None)
            case "cancel":
                return partial(store.inbox.cancel, self._name(a), f"reason {b}")
            case "inject":
                key = f"k{c % 3}" if c % 2 else ""
                return partial(
                    store.inbox.inject, session(a % SESSIONS), f"n{b % 2}", f"said {c}", key
                )
            case "expire":
                return partial(store.queue.expire)
            case "front":
                return partial(store.queue.to_front, self._name(a))
            case "sweep":
                return partial(store.lease.sweep, NODES[a % 2], 2 + b % 2)
            case "prune":
                return partial(store.executions.prune, [self._name(a), self._name(b)])
            case "fire":
                return partial(store.timers.fire, self._fire(op))
            case "pause":
                ids = [TIMERS[a % 2], "x/none"] if c % 5 == 0 else [TIMERS[a % 2]]
                until = float(a) if c % 3 == 0 else None
                return partial(
                    store.timers.set_paused, ids, b % 2 == 0, by="me", note=f"{c}", until=until
                )
            case "account":
                return partial(store.timers.account, [*TIMERS[a % 2 :], "x/none"])
            case "sync":
                left = (None, 3, 1)[b % 3]
                specs = [
                    TimerSpec(t, "x", t, f"every {a % 2}", float(b), a % 3, c % 3 == 2, "w", left)
                    for t in TIMERS
                ]
                return partial(store.timers.sync, "x", specs[: 1 + c % 2])
            case "state":
                return partial(store.sessions.write_state, self._writes(op))
            case "clear":
                return partial(store.sessions.clear_state, f"g{a % 2}")
        return partial(store.lease.heartbeat, NODES[a % 2])

    def _claim(self, number: int) -> Claim:
        # Counted from the newest, so that fences are mostly alive.
        return self.claims[-1 - number % min(len(self.claims), 6)]

    def _name(self, number: int) -> str:
        return execution_id(session(number % SESSIONS), 1 + number // SESSIONS)

    def _submission(self, op: Op) -> Submission:
        agent, stream = LANES[op.b % 3]
        key = Dedupe("n", f"k{op.c % 2}", f"h{op.a % 2}", 4) if op.c % 4 == 0 else None
        return Submission(
            agent=agent,
            graph_id="g",
            entry_point="default",
            stream_id=stream,
            session_id=session(op.a % SESSIONS),
            input=b"%d" % op.c,
            source=("api", "timer", "event", "api")[(op.a + op.c) % 4],
            is_new_session=op.b % 2 == 0,
            is_joined=op.c % 5 == 1,
            priority=op.c % 3,
            dedupe=key,
            replaces=(self._name(op.b),) if op.c == 7 else (),
            admission=rules_of(op),
            refusal_event=EventRecord("trigger_refused", None, 1.0, b'{"n": 1}')
            if op.a % 3
            else None,
        )

    def _step(self, op: Op) -> StepCommit:
        claim = self._claim(op.a)
        mine = [c.seq for c in self.claims if c.execution_id == claim.execution_id]
        done = [row for row in self.ear.commits if row[0] is not None]
        last = max(
            [s.seq for f, s, _ in done if s and f and f.execution_id == claim.execution_id] + mine
        )
        # Mostly the next step, now and then one before or after.
        seq = max(0, last + (1, 1, 1, 1, 0, 2, -1)[op.b % 7])
        kind = (CheckpointKind.NODE_START, CheckpointKind.NODE_COMPLETE, None)[op.c % 3]
        taken = None
        if kind is not None:
            taken = Checkpoint(kind, b"w%d" % seq, b"p%d" % seq, is_snapshot=op.c % 4 == 0)
        statuses = (S.COMPLETED, S.FAILED, S.PAUSED, S.WAITING_INPUT, S.WAITING_INPUT, S.INTERRUPTED)  # fmt: skip
        waiting = b'{"node_id": "n%d"}' % (op.c % 2) if op.c % 3 else None
        return StepCommit(
            seq=seq,
            node_id=f"n{op.b}",
            checkpoint=taken,
            events=tuple(EventRecord(f"e{n}", None, 1.0, b"{}") for n in range(op.c % 4)),
            records={f"r{op.b % 3}": b"v" if op.c % 3 else None},
            state=tuple(self._writes(op)) if op.c % 4 == 1 else (),
            spawn=(self._submission(op),) if op.b % 3 == 0 else (),
            taken=(1 + op.c % 4,) if op.c % 3 == 2 else (),
            ending=ending(statuses[op.b % 6], waiting=waiting) if op.kind == "end" else None,
            steps=op.c,
            keep=1 + op.c % 3 if op.c % 2 else None,
        )

    def _writes(self, op: Op) -> list[StateWrite]:
        expect = op.c % 3 if op.b % 2 else None
        return [
            StateWrite(f"g{op.a % 2}", f"k{op.b % 2}", b"%d" % op.c, expect),
            StateWrite(f"g{op.a % 2}", f"k{op.c % 2}", b"%d" % op.b, expect),
        ]

    def _fire(self, op: Op) -> TimerFire:
        outcomes = tuple(TimerOutcome)
        action: Submission | TimerSkip = self._submission(op)
        if op.c % 2:
            earlier = (float(op.a), float(op.a) + 0.5) if op.c % 5 == 0 else ()
            action = TimerSkip(outcomes[op.b % len(outcomes)], "why", earlier, op.c % 4)
        at = float(op.b)
        then = at + 1 if op.c % 3 else None
        return TimerFire(TIMERS[op.a % 2], at, then, action, 2.5, "r", again=op.c % 6 == 2)

    async def seen(self) -> list[object]:
        """Return everything that can be read."""
        store = self.store
        scopes = ("g0", "g1")
        sessions = [session(number) for number in range(SESSIONS)]
        return [
            await store.executions.query(ExecutionFilter(limit=500)),
            await store.executions.query(ExecutionFilter(latest_of_session=True)),
            await store.executions.query(ExecutionFilter(statuses=(S.QUEUED, S.COMPLETED))),
            await store.executions.history(EventFilter()),
            [await store.sessions.checkpoints(name) for name in sessions],
            [await store.sessions.records(name, "") for name in sessions],
            [await store.sessions.restore(row.execution_id) for row in await rows_of(store)],
            await store.sessions.state(scopes),
            await store.timers.rows(),
            [await store.timers.occurrences(timer) for timer in TIMERS],
            dict((await store.executions.stats()).by_status),
            self.ear.commits,
            await store.queue.depths(),
            await store.queue.listing(QueueFilter(limit=500)),
            await store.queue.listing(QueueFilter(lane="x/main", offset=1, limit=2)),
            await store.queue.listing(QueueFilter(agent="x", offset=2)),
            [await explanation(store, row.execution_id) for row in await rows_of(store)],
        ]


def rules_of(op: Op) -> Admission | None:
    """Return the rules of a submission, none for every third."""
    if op.a % 3 == 0:
        return None
    holds = (Debounce(2, 5), Batch(2, 3, "h"), Debounce(3, 4, "h"), None, None, None)
    return Admission(
        key=("", "a", "b")[op.a % 3] if op.b % 4 else "",
        limit=(1, 2, None)[op.b % 3],
        slots=(None, 3)[op.a % 2],
        strategy=tuple(Strategy)[(op.b + op.c) % 5],
        queue_max=(1, 2, None, 5)[op.c % 4],
        queue_seconds=(2, None, 6)[op.b % 3],
        rate=Rate(2, 3, "r") if op.c % 5 == 0 else None,
        hold=holds[(op.a + op.b) % 6],
        throttle=Rate(1, 2) if op.c % 4 == 2 else None,
    )


async def explanation(store: Store, name: str) -> object:
    """Return why an execution waits, or that it does not."""
    try:
        return await store.queue.explain(name, LIMITS)
    except IllegalMove as error:
        return type(error)


async def rows_of(store: Store) -> list[ExecutionRow]:
    """Return all executions."""
    return await store.executions.query(ExecutionFilter(limit=500))


async def check_laws(store: Store, limits: Limits) -> None:
    """Never more than the limits; one writer per session; ended if and only if terminal."""
    rows = await rows_of(store)
    running = [row for row in rows if row.status is S.RUNNING]
    lanes = Counter(f"{row.agent}/{row.stream_id}" for row in running)
    agents = Counter(row.agent for row in running)
    writers = Counter(row.session_id for row in running if not row.is_joined)
    assert len(running) <= limits.total
    assert all(count <= limits.lanes[lane] for lane, count in lanes.items())
    assert all(agents[agent] <= most for agent, most in limits.agents.items())
    assert all(count == 1 for count in writers.values())
    groups = Counter((f"{row.agent}/{row.stream_id}", row.key) for row in running)
    assert all(count <= limits.groups.get(lane, count) for (lane, _), count in groups.items())
    if limits.background is not None:
        assert sum(row.source in BACKGROUND for row in running) <= limits.background
    assert sum(row.attempts > 2 for row in running) <= 1
    assert all((row.ended_at is not None) == row.status.is_terminal for row in rows)
    assert len({row.execution_id for row in rows}) == len(rows)


async def live(story: list[list[Op]], limits: Limits) -> None:
    """Play a story on SQLite and look at the laws after every moment."""
    with tempfile.TemporaryDirectory() as name:
        ear, clock = Ear(), SetClock()
        async with open_sqlite(Path(name), ear, clock) as store:
            player = Player(store, clock, ear, limits)
            for moment in story:
                await player.play(moment)
                await check_laws(store, limits)


async def tell(story: list[list[Op]], reopen_at: int) -> None:
    """Play a story on both stores, closing and opening them again once."""
    disk = MemoryDisk()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "state"
        ears = (Ear(), Ear())
        clocks = (SetClock(), SetClock())
        kept: tuple[Player, ...] = ()
        for part in (story[:reopen_at], story[reopen_at:]):
            async with (
                open_sqlite(directory, ears[0], clocks[0]) as sqlite,
                open_memory(ears[1], clocks[1], disk) as memory,
            ):
                players = tuple(
                    Player(store, clock, ear)
                    for store, clock, ear in zip((sqlite, memory), clocks, ears, strict=True)
                )
                for player, old in zip(players, kept, strict=False):
                    player.claims = old.claims
                for moment in part:
                    for player in players:
                        await player.play(moment)
                    assert players[0].answers == players[1].answers
                assert await players[0].seen() == await players[1].seen()
                kept = players


@settings(max_examples=40, deadline=None)
@given(story=stories, reopen_at=st.integers(0, 14))
def test_sqlite_answers_what_memory_answers(story: list[list[Op]], reopen_at: int) -> None:
    asyncio.run(tell(PROLOGUE + story, reopen_at))


small = st.integers(0, 4)
limits = st.builds(
    lambda total, main, side, other, agent, group, behind: Limits(
        total, {"x/main": main, "x/side": side, "y/main": other}, {"x": agent}, {"x/main": group},
        behind,
    ),
    small, small, small, small, small, small, st.none() | small,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(story=stories, limits=limits)
def test_running_never_exceeds_a_limit_and_a_session_has_one_writer(
    story: list[list[Op]], limits: Limits
) -> None:
    asyncio.run(live(PROLOGUE + story, limits))


async def drain(story: list[list[Op]]) -> None:
    """Play a story, then let everything run that waits: in the end nothing does."""
    with tempfile.TemporaryDirectory() as name:
        ear, clock = Ear(), SetClock()
        async with open_sqlite(Path(name), ear, clock) as store:
            player = Player(store, clock, ear)
            for moment in story:
                await player.play(moment)
            clock.now += 100
            late = await store.queue.expire()
            await store.lease.sweep("the last", 99)
            while claims := await store.queue.claim("the last", LIMITS):
                for claim in claims:
                    assert claim.execution_id not in late
                    over = StepCommit(seq=claim.seq + 1, ending=ending(S.COMPLETED))
                    await store.executions.commit(claim.fence, over)
            left = [row for row in await rows_of(store) if row.status in (S.QUEUED, S.RUNNING)]
            assert left == []


@settings(max_examples=40, deadline=None)
@given(story=stories)
def test_whatever_was_accepted_runs_in_the_end_or_waited_too_long(story: list[list[Op]]) -> None:
    asyncio.run(drain(PROLOGUE + story))
