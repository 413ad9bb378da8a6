"""The in-memory store's queue: accepting, claiming, giving back, cancelling, and what is said to executions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from hive_daemon.errors import (
    AlreadyRegistered,
    Fenced,
    IdempotencyConflict,
    IllegalMove,
    SessionNotFound,
)
from hive_daemon.ids import execution_id
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.admission_rules import Verdict, decide
from hive_daemon.storage.values import (
    Beat,
    Claim,
    Dedupe,
    Fence,
    InboxItem,
    Injected,
    Limits,
    Submission,
    Submitted,
    Swept,
)
from tests.fakes.memory_admission import WorldStanding, take_in, turn
from tests.fakes.memory_steps import restore
from tests.fakes.memory_world import WAITING, Entry, Item, World, new_row, waits_at

S = ExecutionStatus
RESUMABLE = (S.PAUSED, *WAITING, S.INTERRUPTED)
SUSPECT_AFTER = 2


def submit(world: World, submission: Submission) -> Submitted:
    """See `ExecutionQueue.submit`."""
    for at, key in enumerate(submission.keys):
        found = _deduped(world, key)
        if found is not None:
            _remember(world, submission.keys[:at], found)
            return found
    if submission.refusal is not None:
        raise submission.refusal
    verdict = decide(submission, WorldStanding(world, submission), world.now)
    if verdict.taken_in is None:
        answer = _insert(world, verdict.submission or submission, verdict)
    else:
        answer = take_in(world, submission, verdict.taken_in)
    for meter, rate_key, arrival in verdict.arrivals:
        world.arrivals[submission.lane, meter, rate_key] = arrival
    name = answer.execution_id
    _remember(world, submission.keys, answer)
    for old in (*submission.replaces, *verdict.gives_way):
        if world.named(old) is not None:
            cancel(world, old, f"replaced by {name}")
    world.lanes.append(submission.lane)
    return answer


def _insert(world: World, submission: Submission, verdict: Verdict) -> Submitted:
    session_id = submission.session_id
    ordinals = [entry.row.ordinal for entry in world.of_session(session_id)]
    if submission.is_new_session and ordinals:
        raise AlreadyRegistered(subject=session_id)
    if not submission.is_new_session and not ordinals:
        raise SessionNotFound(subject=session_id)
    ordinal = 1 + max(*ordinals, world.ordinals.get(session_id, 0)) if ordinals else 1
    name = execution_id(session_id, ordinal)
    world.last_row += 1
    row = replace(
        new_row(world, submission, name, ordinal),
        key=verdict.key,
        due_at=verdict.due_at,
        carry_from=verdict.carry_from,
    )
    world.put(
        Entry(
            row,
            submission.lane,
            submission.priority,
            slot_at=verdict.slot_at,
            expires_at=verdict.expires_at,
            hold=verdict.hold,
            hold_key=verdict.hold_key,
            gathered=verdict.gathered,
        )
    )
    return Submitted(name, session_id, True, replaced=verdict.gives_way, due_at=verdict.due_at)


def _remember(world: World, keys: Sequence[Dedupe], answer: Submitted) -> None:
    for key in keys:
        until = world.now + key.window_seconds
        kept = (key.body_hash, answer.execution_id, answer.session_id, until)
        world.dedupe[key.namespace, key.key] = kept


def _deduped(world: World, dedupe: Dedupe) -> Submitted | None:
    found = world.dedupe.get((dedupe.namespace, dedupe.key))
    if found is None or found[3] <= world.now:
        return None
    if found[0] and dedupe.body_hash and found[0] != dedupe.body_hash:
        raise IdempotencyConflict(subject=found[1])
    return Submitted(found[1], found[2], False)


def claim(world: World, node: str, limits: Limits) -> list[Claim]:
    """See `ExecutionQueue.claim`: of what may run take the best head of a lane, as long as there is one."""
    claims: list[Claim] = []
    while True:
        heads: dict[str, Entry] = {}
        for entry in world.entries.values():
            if entry.is_queued and _may_run(world, entry, limits):
                head = heads.setdefault(entry.lane, entry)
                heads[entry.lane] = min(head, entry, key=partial(turn, world))
        if not heads:
            return claims
        best = min(heads.values(), key=lambda e: (-e.priority, e.row.n))
        if not best.front:
            world.last_keys[best.lane] = best.row.key
        claims.append(_take(world, node, best))


def _may_run(world: World, entry: Entry, limits: Limits) -> bool:
    row, running = entry.row, world.running()
    in_lane = sum(e.lane == entry.lane for e in running)
    of_agent = sum(e.row.agent == row.agent for e in running)
    writers = {e.row.session_id for e in running if not e.row.is_joined}
    of_key = sum((e.lane, e.row.key) == (entry.lane, row.key) for e in running)
    behind = sum(e.is_background for e in running)
    is_suspect = row.attempts >= SUSPECT_AFTER
    return (
        len(running) < limits.total
        and (row.due_at is None or row.due_at <= world.now)
        and (entry.expires_at is None or entry.was is not None or entry.expires_at > world.now)
        and of_key < limits.groups.get(entry.lane, of_key + 1)
        and not (
            entry.is_background
            and behind >= (behind + 1 if limits.background is None else limits.background)
        )
        and in_lane < limits.lanes.get(entry.lane, 0)
        and of_agent < limits.agents.get(row.agent, of_agent + 1)
        and (row.is_joined or row.session_id not in writers)
        and not (is_suspect and any(e.row.attempts > SUSPECT_AFTER for e in running))
    )


def _take(world: World, node: str, queued: Entry) -> Claim:
    entry = queued.but(
        status=S.RUNNING,
        owner=node,
        epoch=queued.epoch + 1,
        attempts=queued.row.attempts + 1,
        claimed_seq=queued.row.seq,
        started_at=world.now if queued.row.started_at is None else queued.row.started_at,
        updated_at=world.now,
        waiting=None,
        heard=world.last_item,
    )
    world.put(entry)
    row = entry.row
    return Claim(
        execution_id=row.execution_id,
        session_id=row.session_id,
        agent=row.agent,
        graph_id=row.graph_id,
        entry_point=row.entry_point,
        stream_id=row.stream_id,
        fence=Fence(row.execution_id, entry.epoch, row.n),
        seq=row.seq,
        event_seq=entry.event_seq,
        attempts=row.attempts,
        input=row.input,
        source=row.source,
        correlation_id=row.correlation_id,
        causation=row.causation,
        created_at=row.created_at,
        ordinal=row.ordinal,
        is_joined=row.is_joined,
        cancel_reason=row.cancel_reason,
        state=row.state,
        trace_id=row.trace_id,
        was=entry.was,
        restore=restore(world, row.execution_id, None),
        inbox=_open_items(world, row.session_id) if entry.was is not None else (),
        key=row.key,
        carry_from=row.carry_from,
    )


def _open_items(world: World, session_id: str) -> tuple[InboxItem, ...]:
    return tuple(
        InboxItem(id, item.node_id, item.content, item.created_at)
        for id, item in world.inbox.items()
        if item.session_id == session_id and not item.is_taken
    )


def release(world: World, fence: Fence) -> None:
    """See `ExecutionQueue.release`."""
    entry = world.held(fence)
    if entry is None or entry.row.status is not S.RUNNING:
        raise Fenced(subject=fence.execution_id)
    attempts = max(entry.row.attempts - 1, 0)
    world.put(entry.but(status=S.QUEUED, owner=None, attempts=attempts, updated_at=world.now))
    world.lanes.append(entry.lane)


def requeue(world: World, name: str, state: bytes | None) -> None:
    """See `ExecutionQueue.requeue`."""
    entry = world.known(name)
    if entry.row.status not in RESUMABLE:
        raise IllegalMove(subject=name)
    kept = entry.row.state if state is None else state
    world.wake(entry.but(state=kept, attempts=0, cancel_reason=None, cancelled_by=""))


def heartbeat(world: World, node: str) -> Beat:
    """See `NodeLease.heartbeat`."""
    return Beat(
        True,
        tuple(
            (entry.row.execution_id, entry.row.cancel_reason)
            for entry in world.running()
            if entry.owner == node and entry.row.cancel_reason is not None
        ),
    )


def sweep(world: World, node: str, max_attempts: int) -> Swept:
    """See `NodeLease.sweep`."""
    requeued, exhausted = [], []
    for entry in tuple(world.entries.values()):
        row = entry.row
        if row.status not in (S.RUNNING, S.INTERRUPTED) or entry.owner == node:
            continue
        if row.attempts < max_attempts:
            world.wake(entry)
            requeued.append(row.execution_id)
            continue
        times = f"the daemon ended {row.attempts} times while this ran"
        error = f"{times}: {row.error or 'no error kept'}"
        world.end(entry, S.RECOVERY_EXHAUSTED, error, "recovery_exhausted")
        world.tell(row.n, "execution_failed", error=error, code="recovery_exhausted")
        exhausted.append(row.execution_id)
    return Swept(tuple(requeued), tuple(exhausted))


def expire(world: World) -> list[str]:
    """See `ExecutionQueue.expire`."""
    names = []
    late = [e for e in world.entries.values() if e.is_queued and e.was is None]
    for entry in sorted(late, key=lambda e: (e.expires_at or 0.0, e.row.n)):
        at, row = entry.expires_at, entry.row
        if at is not None and at <= world.now:
            waited = at - max(row.created_at, row.due_at or row.created_at)
            reason = f"waited longer than its queue_timeout of {waited:g} s"
            cancel(world, row.execution_id, reason, "queue_timeout")
            names.append(row.execution_id)
    return names


def cancel(
    world: World, name: str, reason: str, code: str = "cancelled", by: str = ""
) -> ExecutionStatus:
    """See `ControlInbox.cancel`."""
    entry = world.known(name)
    status = entry.row.status
    if status.is_terminal:
        return status
    if status is S.RUNNING:
        if entry.row.cancel_reason is None:
            world.put(entry.but(cancel_reason=reason, cancelled_by=by))
        return status
    ended = entry.but(cancel_reason=reason, cancelled_by=by, waiting=None)
    world.end(ended, S.CANCELLED, reason, code)
    world.tell(entry.row.n, "execution_cancelled", reason=reason)
    return S.CANCELLED


def inject(world: World, session_id: str, node_id: str, content: str, key: str) -> Injected:
    """See `ControlInbox.inject`."""
    mine = world.of_session(session_id)
    if not mine:
        raise SessionNotFound(subject=session_id)
    for id, item in world.inbox.items():
        if key and (item.session_id, item.key) == (session_id, key):
            return Injected(id, None, False)
    world.last_item += 1
    world.inbox[world.last_item] = Item(session_id, node_id, content, key, world.now)
    for entry in reversed(mine):
        if entry.row.status in WAITING and waits_at(entry.row.waiting, node_id):
            world.wake(entry.but(attempts=0))
            return Injected(world.last_item, entry.row.execution_id, True)
    running = [entry.row.execution_id for entry in mine if entry.row.status is S.RUNNING]
    return Injected(world.last_item, running[-1] if running else None, False)
