"""Going on with a session: the same execution if it was put away, else the next one.

What failed, was cancelled or given up is continued by the next execution at the very place where it stopped, with the
memory it had; what was put away before its first step begins anew with its own input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hive_daemon.control.host import Host
from hive_daemon.control.once import Note, Once
from hive_daemon.control.query import shown
from hive_daemon.errors import CheckpointNotFound, IllegalMove, NotRunning
from hive_daemon.graph.resumption import ACCEPTS_CHANGE
from hive_daemon.graph.walk_state import OutcomeKind
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.intake import Call, accepted
from hive_daemon.runtime.patches import restored
from hive_daemon.runtime.resume_state import left_by, state_of
from hive_daemon.runtime.session_binding import RESUMABLE
from hive_daemon.status import RETRYABLE, ExecutionStatus
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import MAX_PAGE, ExecutionFilter, ExecutionRow, Submitted

_GOES_ON = (ExecutionStatus.QUEUED, ExecutionStatus.RUNNING)
_FAILED = (ExecutionStatus.FAILED, ExecutionStatus.RECOVERY_EXHAUSTED)


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody wants to go on with a session.

    `stream` is the entry point at which the next execution begins; None for a resume, which stays where it was, or goes
    back to `checkpoint`. `retries_failed` refuses to resume what did not fail; `accepts_change` resumes also in a graph
    that was changed.
    """

    session_id: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    source: str = "resume"
    correlation_id: str = ""
    key: str = ""
    digest: str = ""
    stream: ExecutionStream | None = None
    checkpoint: str = ""
    retries_failed: bool = False
    accepts_change: bool = False

    def begins_next(self, latest: ExecutionRow) -> bool:
        """Say whether the session's next execution begins, rather than its latest going on."""
        return bool(self.checkpoint) or latest.status not in RESUMABLE


async def carry_on(host: Host, once: Once, wish: Wish) -> Submitted:
    """Go on with a session, durably, once for each key.

    Raises IllegalMove if a resume finds nothing to resume, CheckpointNotFound, IdempotencyConflict, NotRunning, and
    whatever `submit` raises.
    """
    session_id, key = wish.session_id, wish.key
    async with once.turn(session_id):
        note = await once.recall(session_id, key, wish.digest) if key else None
        if note is not None:
            done = note.done or await _what_became(host.services.store, note)
            if done:
                return Submitted(done, session_id, False)
        latest = await _latest(host.services.store, session_id)
        if wish.stream is None:
            _check(wish, latest)
        if key and note is None:
            note = await _begin(host, once, wish, latest)
        submitted = replace(await _go_on(host, wish, latest), created=True)
        if note is not None:
            await once.complete(session_id, key, note, submitted.execution_id)
        return submitted


def stream_of(host: Host, row: ExecutionRow) -> ExecutionStream:
    """Return the stream that an execution belongs to. Raises NotRunning if its agent does not have it now."""
    agent = host.agents.agents.get(row.agent)
    runtime = agent.runtime if agent is not None else None
    if runtime is None:
        raise NotRunning(
            f"the agent {row.agent} of {row.execution_id} does not run",
            hint="see `hive agents list`",
        )
    runtime.running()
    stream = runtime.get_stream(row.stream_id)
    if stream is None:
        raise NotRunning(
            f"the agent {row.agent} has no entry point {row.stream_id} any more",
            hint="bring it back, or trigger another one",
        )
    return stream


async def _begin(host: Host, once: Once, wish: Wish, latest: ExecutionRow) -> Note:
    newest = await _newest(host.services.store, wish.session_id, 1)
    note = Note(
        wish.digest,
        host.services.clock.time(),
        latest.execution_id,
        latest.updated_at,
        newest[0].ordinal,
        is_next=wish.begins_next(latest),
    )
    await once.keep(wish.session_id, wish.key, note)
    return note


async def _what_became(store: Store, note: Note) -> str:
    """Return the execution that a request came to which nobody saw end, empty if it came to nothing."""
    target = await store.executions.load(note.target)
    if not note.is_next:
        return target.execution_id if target.updated_at != note.seen else ""
    newer = await _newest(store, target.session_id, MAX_PAGE)
    begun = [row for row in newer if row.ordinal > note.ordinal and not row.is_joined]
    return begun[-1].execution_id if begun else ""


async def _latest(store: Store, session_id: str) -> ExecutionRow:
    rows = await store.executions.query(
        ExecutionFilter(session_id=session_id, latest_of_session=True, limit=1)
    )
    return rows[0]


async def _newest(store: Store, session_id: str, limit: int) -> list[ExecutionRow]:
    return await store.executions.query(ExecutionFilter(session_id=session_id, limit=limit))


async def _go_on(host: Host, wish: Wish, latest: ExecutionRow) -> Submitted:
    call = Call(
        input_data=wish.inputs,
        correlation_id=wish.correlation_id,
        session_id=wish.session_id,
        source=wish.source,
        session_state={ACCEPTS_CHANGE: True} if wish.accepts_change else {},
    )
    if wish.checkpoint:
        row, state = await _at_checkpoint(host.services.store, wish)
        stream, again = stream_of(host, row), replace(call, gives_up=True)
        return accepted(await stream.submit(_with_state(again, state)))
    if latest.status in RESUMABLE:
        return accepted(await stream_of(host, latest).submit(call))
    if wish.stream is not None:
        keyed = replace(call, idempotency_key=wish.key, body_hash=wish.digest)
        return accepted(await wish.stream.submit(keyed))
    left = await left_by(host.services.store, latest)
    said = replace(call, input_data={**left.unheard, **call.input_data})
    return accepted(await stream_of(host, latest).submit(_with_state(said, left.state)))


def _with_state(call: Call, state: Mapping[str, Any]) -> Call:
    return replace(call, session_state={**state, **call.session_state})


async def _at_checkpoint(store: Store, wish: Wish) -> tuple[ExecutionRow, dict[str, Any]]:
    """Return the execution of the checkpoint that is wished for, and the session state that goes on there.

    Raises CheckpointNotFound, IllegalMove.
    """
    known = await store.sessions.checkpoints(wish.session_id)
    found = next((row for row in known if row.checkpoint_id == wish.checkpoint), None)
    kept = None if found is None else await store.sessions.restore(found.execution_id, found.seq)
    if found is None or kept is None:
        raise CheckpointNotFound(
            f"{wish.session_id} has no checkpoint {shown(wish.checkpoint)}",
            hint=f"see `hive sessions checkpoints {wish.session_id}`",
        )
    row, at = await store.executions.load(found.execution_id), restored(kept)
    outcome = at.state.outcome
    if row.is_joined:
        raise IllegalMove(
            f"{row.execution_id} ran beside the session", hint="choose a checkpoint of the session"
        )
    if outcome is not None and outcome.kind is OutcomeKind.COMPLETED:
        raise IllegalMove(
            f"{wish.checkpoint} is the end of {row.execution_id}: nothing follows it",
            hint="choose an earlier one",
        )
    return row, state_of(at)


def _check(wish: Wish, latest: ExecutionRow) -> None:
    """Raise IllegalMove if the session cannot go on as it is wished."""
    name, status = latest.execution_id, latest.status
    if wish.checkpoint:
        if status in _GOES_ON:
            raise _nothing_to_resume(latest)
    elif status not in RESUMABLE | RETRYABLE:
        raise _nothing_to_resume(latest)
    elif wish.retries_failed and status not in _FAILED:
        hint = f"go on with it by `hive sessions resume {latest.session_id}`"
        raise IllegalMove(f"{name} is {status}: nothing failed", hint=hint)


def _nothing_to_resume(latest: ExecutionRow) -> IllegalMove:
    name, status = latest.execution_id, latest.status
    if status is ExecutionStatus.COMPLETED:
        return IllegalMove(
            f"{name} is completed: there is nothing to resume",
            hint=f"go on with the session by `hive trigger ENTRY_POINT --session {latest.session_id}`",
        )
    return IllegalMove(
        f"{name} is {status}: it goes on already",
        hint=f"watch it with `hive sessions tail -f {latest.session_id}`",
    )
