"""The in-memory store's steps: committing them, and what they leave to sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from hive_daemon.errors import Fenced, StateConflict
from hive_daemon.status import ExecutionStatus, check_move
from hive_daemon.storage.admission_rules import REFUSALS, refusal_event
from hive_daemon.storage.event_values import CancelOrder
from hive_daemon.storage.values import (
    CheckpointKind,
    CheckpointRow,
    Ending,
    ExecutionRow,
    Fence,
    Restore,
    StateWrite,
    StepCommit,
    Submission,
    Submitted,
)
from tests.fakes.memory_world import WAITING, Entry, World, waits_at

S = ExecutionStatus
Submit = Callable[[World, Submission], Submitted]
Cancel = Callable[[World, str, str], ExecutionStatus]


def commit(
    world: World, fence: Fence, step: StepCommit, submit: Submit, cancel: Cancel
) -> tuple[Submitted | None, ...]:
    """See `ExecutionStore.commit`."""
    if step.ending is not None:
        check_move(S.RUNNING, step.ending.status)
    entry = world.held(fence)
    if entry is not None and entry.claimed_seq < step.seq <= entry.row.seq:
        return ()
    if entry is None or entry.row.status is not S.RUNNING or step.seq != entry.row.seq + 1:
        raise Fenced(subject=fence.execution_id)
    world.step = (fence, step)
    write_state(world, step.state)
    _keep_checkpoint(world, entry.row, step)
    _set_records(world, entry.row.session_id, step)
    checkpoint = step.checkpoint
    is_progress = checkpoint is not None and checkpoint.kind is not CheckpointKind.NODE_START
    world.put(
        entry.but(
            seq=step.seq,
            node_id=entry.row.node_id if step.node_id is None else step.node_id,
            steps=entry.row.steps if step.steps is None else step.steps,
            attempts=0 if is_progress else entry.row.attempts,
            updated_at=world.now,
        )
    )
    world.number(fence.row, step.events)
    if step.keep is not None:
        _prune_checkpoints(world, fence.row, max(step.keep, 1))
    if step.ending is not None:
        _end(world, world.entries[fence.row], step.ending)
    answers: list[Submitted | None] = []
    for place, submission in enumerate(step.spawn):
        _carry_out(world, step.cancels, place, cancel)
        try:
            answers.append(submit(world, submission))
        except REFUSALS as refusal:
            if submission.refusal_event is None:
                raise
            world.number(fence.row, (refusal_event(submission.refusal_event, refusal),))
            answers.append(None)
    _carry_out(world, step.cancels, len(step.spawn), cancel)
    return tuple(answers)


def _carry_out(world: World, orders: Sequence[CancelOrder], after: int, cancel: Cancel) -> None:
    for order in (order for order in orders if order.after == after):
        for entry in tuple(world.entries.values()):
            row = entry.row
            named = (row.execution_id, row.session_id, row.correlation_id)
            if entry.lane == order.lane and not row.status.is_terminal and order.concerns(*named):
                cancel(world, row.execution_id, order.reason)


def _keep_checkpoint(world: World, row: ExecutionRow, step: StepCommit) -> None:
    taken = step.checkpoint
    if taken is not None:
        world.checkpoints[row.n, step.seq] = CheckpointRow(
            row.execution_id,
            step.seq,
            taken.kind,
            step.node_id,
            taken.next_node,
            world.now,
            taken.walk,
            taken.patch,
            taken.is_snapshot,
        )


def _set_records(world: World, session_id: str, step: StepCommit) -> None:
    for key, value in step.records.items():
        world.records.pop((session_id, key), None)
        if value is not None:
            world.records[session_id, key] = value
    for id in step.taken:
        item = world.inbox.get(id)
        if item is not None and item.session_id == session_id:
            world.inbox[id] = replace(item, is_taken=True)


def _end(world: World, running: Entry, ending: Ending) -> None:
    status, row = ending.status, running.row
    is_interrupted = status is S.INTERRUPTED
    entry = running.but(
        status=status,
        was=None if status.is_terminal else status,
        result=row.result if ending.result is None else ending.result,
        error=ending.error,
        error_code=ending.error_code,
        waiting=ending.waiting,
        ended_at=world.now if status.is_terminal else None,
        owner=running.owner if is_interrupted else None,
        attempts=max(row.attempts - is_interrupted, 0),
    )
    world.put(entry)
    unread = [
        item.node_id
        for id, item in world.inbox.items()
        if item.session_id == row.session_id and id > entry.heard and not item.is_taken
    ]
    if status in WAITING and any(waits_at(ending.waiting, node_id) for node_id in unread):
        world.wake(entry.but(attempts=0))


def _chain(world: World, n: int, seq: int | None) -> list[CheckpointRow]:
    """Return the checkpoints that rebuild an execution, oldest first."""
    mine = [
        row for (x, s), row in world.checkpoints.items() if x == n and (seq is None or s <= seq)
    ]
    snapshots = [place for place, row in enumerate(mine) if row.is_snapshot]
    return mine[snapshots[-1] :] if snapshots else mine


def restore(world: World, name: str, seq: int | None) -> Restore | None:
    """See `SessionRecords.restore`."""
    chain = _chain(world, world.known(name).row.n, seq)
    return Restore(chain[-1].walk, tuple(row.patch for row in chain)) if chain else None


def _prune_checkpoints(world: World, n: int, keep: int) -> None:
    kept = [seq for x, seq in world.checkpoints if x == n][-keep:]
    chain = _chain(world, n, kept[0]) if kept else []
    if chain and chain[0].is_snapshot:
        _forget_checkpoints(world, ((n, seq) for seq in range(chain[0].seq)))


def _forget_checkpoints(world: World, places: Iterable[tuple[int, int]]) -> None:
    for place in tuple(places):
        world.checkpoints.pop(place, None)


def write_state(world: World, writes: Sequence[StateWrite]) -> None:
    """See `SessionRecords.write_state`."""
    absent = (b"", 0)
    for write in writes:
        version = world.state.get((write.scope, write.key), absent)[1]
        if write.expect not in (None, version):
            raise StateConflict(subject=write.key)
    for write in writes:
        version = world.state.get((write.scope, write.key), absent)[1]
        world.state[write.scope, write.key] = (write.value, version + 1)


def prune(world: World, names: Sequence[str]) -> int:
    """See `ExecutionStore.prune`."""
    pruned = 0
    for name in names:
        entry = world.named(name)
        if entry is None or not entry.row.status.is_terminal:
            continue
        n, session_id = entry.row.n, entry.row.session_id
        del world.entries[n]
        world.events = [event for event in world.events if event.execution_id != name]
        _forget_checkpoints(world, (place for place in world.checkpoints if place[0] == n))
        world.ordinals[session_id] = max(entry.row.ordinal, world.ordinals.get(session_id, 0))
        if not world.of_session(session_id):
            _forget_session(world, session_id)
        pruned += 1
    return pruned


def _forget_session(world: World, session_id: str) -> None:
    world.ordinals.pop(session_id, None)
    world.records = {k: v for k, v in world.records.items() if k[0] != session_id}
    world.inbox = {k: v for k, v in world.inbox.items() if v.session_id != session_id}
