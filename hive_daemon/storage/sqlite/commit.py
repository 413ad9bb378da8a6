"""THE write on SQLite: one fenced step of an execution."""

from __future__ import annotations

from collections.abc import Mapping

from hive_daemon.errors import Fenced
from hive_daemon.status import ExecutionStatus, check_move
from hive_daemon.storage.admission_rules import REFUSALS, refusal_event
from hive_daemon.storage.sqlite.cancel_orders import carry_out
from hive_daemon.storage.sqlite.events import append_events, recall
from hive_daemon.storage.sqlite.inbox import wake_if_unread
from hive_daemon.storage.sqlite.state import check_versions, write_all
from hive_daemon.storage.sqlite.submit import submit
from hive_daemon.storage.sqlite.turns import promote
from hive_daemon.storage.sqlite.tx import Held, Holder, Row, Tx
from hive_daemon.storage.values import (
    Checkpoint,
    CheckpointKind,
    Ending,
    Fence,
    StepCommit,
    Submitted,
)

_ADVANCE = """
UPDATE executions SET seq = ?, node_id = coalesce(?, node_id), steps = coalesce(?, steps),
    attempts = CASE WHEN ? THEN 0 ELSE max(attempts - ?, 0) END, event_seq = ?, updated_at = ?
"""
_END = """
    , status = ?, was = ?, result = coalesce(?, result), error = ?, error_code = ?, waiting = ?,
    ended_at = ?, owner = CASE WHEN ? THEN owner END
"""
_IF_NEXT = """
WHERE n = ? AND id = ? AND epoch = ? AND status = 'running' AND seq = ? AND event_seq = ?
"""
_STEP = _ADVANCE + _IF_NEXT
_LAST_STEP = _ADVANCE + _END + _IF_NEXT
_IS_NEXT = """
SELECT 1 FROM executions WHERE n = ? AND id = ? AND epoch = ? AND status = 'running' AND seq = ?
"""
_FOUND = "SELECT epoch, seq, claimed_seq, status FROM executions WHERE n = ? AND id = ?"
_NEEDED = """
SELECT max(seq) FROM checkpoints WHERE x = ?1 AND is_snapshot AND seq <= (
    SELECT min(seq) FROM (SELECT seq FROM checkpoints WHERE x = ?1 ORDER BY seq DESC LIMIT ?2))
"""
_TAKE = "UPDATE inbox SET taken_at = ? WHERE id = ? AND session_id = ?"


def commit(tx: Tx, fence: Fence, step: StepCommit) -> tuple[Submitted | None, ...]:
    """Apply one step if the fence still holds and the step is the next one; answer what became of its spawn.

    An execution that wants to wait for what is there already is queued again at once.
    """
    if step.ending is not None:
        check_move(ExecutionStatus.RUNNING, step.ending.status)
    if step.state and _is_next(tx, fence, step):
        check_versions(tx, step.state)
    held = _advance(tx, fence, step)
    if held is None:
        # What is remembered may be stale: look at the row itself.
        tx.held.pop(fence.row, None)
        held = _advance(tx, fence, step)
    if held is None:
        _refuse_unless_done(tx, fence, step)
        return ()
    tx.step = (fence, step)
    if step.checkpoint is not None:
        tx.add_checkpoint(_checkpoint_row(tx, fence, step, step.checkpoint))
    if step.events:
        tx.add_events(held.identity, step.events, held.event_seq)
    session_id = held.identity.session_id
    if step.state:
        write_all(tx, step.state)
    if step.records:
        _set_records(tx, session_id, step.records)
    for item in step.taken:
        tx.execute(_TAKE, (tx.now, item, session_id))
    if step.keep is not None and step.seq > step.keep:
        _prune_checkpoints(tx, fence, step.keep)
    if step.ending is not None:
        tx.shift(held.lane, 0, -1)
        promote(tx, session_id)
        if wake_if_unread(tx, fence.row, session_id, step.ending):
            tx.shift(held.lane, 1)
            tx.woken = held.lane
    # Last, because what is spawned may replace the execution that spawns it.
    spawned = _spawn(tx, fence, step) if step.spawn or step.cancels else ()
    if step.ending is not None:
        tx.held.pop(fence.row, None)
    return spawned


def _spawn(tx: Tx, fence: Fence, step: StepCommit) -> tuple[Submitted | None, ...]:
    answers: list[Submitted | None] = []
    for place, submission in enumerate(step.spawn):
        carry_out(tx, step.cancels, place)
        try:
            answers.append(submit(tx, submission))
        except REFUSALS as refusal:
            if submission.refusal_event is None:
                raise
            append_events(tx, fence.row, (refusal_event(submission.refusal_event, refusal),))
            answers.append(None)
    carry_out(tx, step.cancels, len(step.spawn))
    return tuple(answers)


def _is_next(tx: Tx, fence: Fence, step: StepCommit) -> bool:
    mine = (fence.row, fence.execution_id, fence.epoch, step.seq - 1)
    return tx.execute(_IS_NEXT, mine).fetchone() is not None


def _advance(tx: Tx, fence: Fence, step: StepCommit) -> Held | None:
    """Write the execution's own row; None if the step is not the next one or the fence does not hold."""
    row = fence.row
    held = tx.held.get(row) or recall(tx, row)
    if held is None:
        return None
    checkpoint, ending = step.checkpoint, step.ending
    last_event = held.event_seq + len(step.events)
    advance = (
        step.seq,
        step.node_id,
        step.steps,
        checkpoint is not None and checkpoint.kind is not CheckpointKind.NODE_START,
        ending is not None and ending.status is ExecutionStatus.INTERRUPTED,
        last_event,
        tx.now,
    )
    if_next = (row, fence.execution_id, fence.epoch, step.seq - 1, held.event_seq)
    if ending is None:
        written = tx.execute(_STEP, advance + if_next)
    else:
        written = tx.execute(_LAST_STEP, advance + _end_values(tx, fence, ending) + if_next)
    if written.rowcount == 0:
        return None
    held.event_seq = last_event
    tx.held[row] = held
    return held


def _end_values(tx: Tx, fence: Fence, ending: Ending) -> Row:
    status, name = ending.status, fence.execution_id
    is_over = status.is_terminal
    result, waiting = ending.result, ending.waiting
    return (
        status,
        None if is_over else status,
        None if result is None else tx.keep(result, Holder.EXECUTION, name),
        ending.error,
        ending.error_code,
        None if waiting is None else tx.keep(waiting, Holder.EXECUTION, name),
        tx.now if is_over else None,
        status is ExecutionStatus.INTERRUPTED,
    )


def _refuse_unless_done(tx: Tx, fence: Fence, step: StepCommit) -> None:
    """Do nothing if this fence committed the step before; otherwise raise Fenced."""
    name = fence.execution_id
    found = tx.execute(_FOUND, (fence.row, name)).fetchone()
    if found is None or found[0] != fence.epoch:
        raise Fenced(subject=name)
    _, seq, claimed_seq, status = found
    if not claimed_seq < step.seq <= seq:
        raise Fenced(
            f"{name} is {status} at step {seq}: step {step.seq} cannot be written", subject=name
        )


def _checkpoint_row(tx: Tx, fence: Fence, step: StepCommit, checkpoint: Checkpoint) -> Row:
    name, part = fence.execution_id, str(step.seq)
    return (
        fence.row,
        step.seq,
        checkpoint.kind,
        step.node_id,
        checkpoint.next_node,
        tx.now,
        tx.keep(checkpoint.walk, Holder.CHECKPOINT, name, part),
        tx.keep(checkpoint.patch, Holder.CHECKPOINT, name, part),
        checkpoint.is_snapshot,
    )


def _set_records(tx: Tx, session_id: str, records: Mapping[str, bytes | None]) -> None:
    keys = [(session_id, key) for key in records]
    tx.connection.executemany(
        f"DELETE FROM blob_refs WHERE kind = '{Holder.RECORD}' AND owner = ? AND part = ?", keys
    )
    gone = [(session_id, key) for key, value in records.items() if value is None]
    kept = [
        (session_id, key, tx.keep(value, Holder.RECORD, session_id, key))
        for key, value in records.items()
        if value is not None
    ]
    if gone:
        tx.connection.executemany("DELETE FROM records WHERE session_id = ? AND key = ?", gone)
    tx.connection.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", kept)


def _prune_checkpoints(tx: Tx, fence: Fence, keep: int) -> None:
    """Forget all but the newest `keep` checkpoints and those that rebuild the oldest of them."""
    tx.flush()
    (needed,) = tx.execute(_NEEDED, (fence.row, max(keep, 1))).fetchone()
    if needed is None:
        return
    tx.execute("DELETE FROM checkpoints WHERE x = ? AND seq < ?", (fence.row, needed))
    tx.execute(
        "DELETE FROM blob_refs WHERE kind = ? AND owner = ? AND CAST(part AS INTEGER) < ?",
        (Holder.CHECKPOINT, fence.execution_id, needed),
    )
