"""The in-memory store's admission: what stands at a submission, and what waits as a person sees it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from hive_daemon.errors import IllegalMove
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.admission import Admission, Depth, Explained, Queued, QueueFilter
from hive_daemon.storage.admission_rules import Figures, Held, Meter, Open, TakenIn, explained
from hive_daemon.storage.values import MAX_PAGE, Limits, Submission, Submitted
from tests.fakes.memory_world import Entry, World

S = ExecutionStatus
SUSPECT_AFTER = 2


@dataclass(frozen=True)
class WorldStanding:
    """See `Standing`."""

    world: World
    submission: Submission

    def arrival(self, meter: Meter, key: str) -> float:
        """See `Standing.arrival`."""
        return self.world.arrivals.get((self.submission.lane, meter, key), 0.0)

    def held(self, hold_key: str) -> Held | None:
        """See `Standing.held`."""
        for entry in reversed(self._lane()):
            row, due_at = entry.row, entry.row.due_at
            takes_in = entry.is_queued and entry.hold_key == hold_key
            if takes_in and due_at is not None and due_at > self.world.now:
                return Held(
                    row.n,
                    row.execution_id,
                    row.session_id,
                    row.input,
                    row.created_at,
                    due_at,
                    entry.slot_at,
                    entry.gathered,
                )
        return None

    def group(self) -> Sequence[Open]:
        """See `Standing.group`."""
        rules = self.submission.admission
        return [
            Open(
                e.row.execution_id,
                e.row.session_id,
                e.row.ordinal,
                e.row.status is S.RUNNING,
                e.row.is_joined,
                e.row.seq,
                e.row.carry_from,
            )
            for e in self._lane()
            if rules is not None and e.row.key == rules.key
            if e.row.status in (S.RUNNING, S.QUEUED)
        ]

    def excess(self, admission: Admission) -> int:
        """See `Standing.excess`."""
        running = sum(e.row.status is S.RUNNING for e in self._lane())
        slots = admission.limit if admission.slots is None else admission.slots
        return self.depth().count - max(0, (slots or 0) - running)

    def depth(self) -> Depth:
        """See `Standing.depth`."""
        queued = [e.row.created_at for e in self._lane() if e.is_queued]
        return Depth(self.submission.lane, len(queued), next(iter(queued), None))

    def _lane(self) -> list[Entry]:
        return [e for e in self.world.entries.values() if e.lane == self.submission.lane]


def take_in(world: World, submission: Submission, taken: TakenIn) -> Submitted:
    """Put a submission into the execution that is held for it."""
    held = taken.held
    entry = world.entries[held.row]
    world.put(
        entry.but(
            input=taken.input,
            gathered=taken.gathered,
            due_at=taken.due_at,
            expires_at=taken.expires_at,
            hold_key=None if taken.is_full else entry.hold_key,
            updated_at=world.now,
        )
    )
    return Submitted(held.execution_id, held.session_id, False, coalesced=True, due_at=taken.due_at)


def turn(world: World, entry: Entry) -> tuple[object, ...]:
    """Return where a queued execution stands among the heads of its lane's keys."""
    key = entry.row.key
    is_moved = entry.front < 0
    passed = not is_moved and key <= world.last_keys.get(entry.lane, "")
    in_turn = (False, "") if is_moved else (passed, key)
    return (entry.front, -entry.priority, *in_turn, entry.row.n)


def to_front(world: World, name: str) -> None:
    """See `ExecutionQueue.to_front`."""
    entry = _queued(world, name)
    front = min(e.front for e in world.entries.values() if e.is_queued and e.lane == entry.lane)
    world.put(entry.but(front=front - 1))
    world.lanes.append(entry.lane)


def listing(world: World, now: float, wanted: QueueFilter) -> list[Queued]:
    """See `ExecutionQueue.listing`."""
    lanes = sorted({e.lane for e in world.entries.values() if e.is_queued})
    found = [
        queued
        for lane in lanes
        if wanted.lane in (None, lane) and wanted.agent in (None, lane.split("/")[0])
        for queued in in_turn(world, now, lane)
    ]
    start = max(wanted.offset, 0)
    return found[start : start + max(0, min(wanted.limit, MAX_PAGE))]


def in_turn(world: World, now: float, lane: str) -> Iterator[Queued]:
    """Yield what is queued in a lane, in the order of claiming."""
    laps: dict[object, int] = {}
    placed = []
    for entry in world.entries.values():
        if not entry.is_queued or entry.lane != lane:
            continue
        row, due = entry.row, entry.row.due_at
        lap = 0
        if due is None or due <= now:
            due = None
            level = (entry.front, entry.priority, row.key)
            lap = laps[level] = laps.get(level, 0) + 1
        passed = row.key <= world.last_keys.get(lane, "")
        order = (entry.front, -entry.priority, lap, passed, row.key, row.n)
        placed.append(((due is not None, due or 0.0, *order), entry))
    for position, (_, entry) in enumerate(sorted(placed, key=lambda pair: pair[0]), 1):
        row = entry.row
        yield Queued(
            row.execution_id,
            row.session_id,
            lane,
            row.key,
            row.source,
            entry.priority,
            row.created_at,
            row.due_at,
            entry.expires_at if entry.was is None else None,
            position,
        )


def names(world: World, lane: str) -> list[str]:
    """See `ExecutionQueue.names`."""
    waiting = (entry for entry in world.entries.values() if entry.is_queued and entry.lane == lane)
    return [entry.row.execution_id for entry in waiting]


def depths(world: World) -> list[Depth]:
    """See `ExecutionQueue.depths`."""
    waiting: dict[str, list[float]] = {}
    for entry in world.entries.values():
        if entry.is_queued:
            waiting.setdefault(entry.lane, []).append(entry.row.created_at)
    return [Depth(lane, len(since), since[0]) for lane, since in sorted(waiting.items())]


def explain(world: World, now: float, name: str, limits: Limits) -> Explained:
    """See `ExecutionQueue.explain`."""
    entry = _queued(world, name)
    row, running = entry.row, world.running()
    queued = next(q for q in in_turn(world, now, entry.lane) if q.execution_id == name)
    writers = [
        e.row.execution_id
        for e in running
        if not (row.is_joined or e.row.is_joined) and e.row.session_id == row.session_id
    ]
    figures = Figures(
        queued=queued,
        agent=row.agent,
        now=now,
        hold=entry.hold,
        slot_at=entry.slot_at,
        gathered=entry.gathered,
        writer=writers[0] if writers else None,
        of_key=sum((e.lane, e.row.key) == (entry.lane, row.key) for e in running),
        of_lane=sum(e.lane == entry.lane for e in running),
        of_agent=sum(e.row.agent == row.agent for e in running),
        in_background=sum(e.is_background for e in running),
        is_background=entry.is_background,
        running=len(running),
        is_suspect=row.attempts >= SUSPECT_AFTER,
        suspect_runs=any(e.row.attempts > SUSPECT_AFTER for e in running),
    )
    return explained(figures, limits)


def next_due(world: World, now: float, lanes: Collection[str]) -> float | None:
    """See `ExecutionQueue.next_due`."""
    times = [
        at
        for e in world.entries.values()
        if e.is_queued and e.lane in lanes
        for at in (e.row.due_at if (e.row.due_at or 0) > now else None, _expiry(e))
        if at is not None
    ]
    return min(times, default=None)


def _expiry(entry: Entry) -> float | None:
    return entry.expires_at if entry.was is None else None


def _queued(world: World, name: str) -> Entry:
    entry = world.known(name)
    if not entry.is_queued:
        raise IllegalMove(subject=name)
    return entry
