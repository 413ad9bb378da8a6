"""Accepting executions on SQLite: deduplicated, admitted, numbered within their session, durable."""

from __future__ import annotations

from hive_daemon.errors import AlreadyRegistered, IdempotencyConflict, SessionNotFound
from hive_daemon.ids import execution_id, session_of
from hive_daemon.storage.admission_rules import UNBOUND, Verdict, decide
from hive_daemon.storage.sqlite.inbox import cancel_if_there
from hive_daemon.storage.sqlite.rows import dump_chain
from hive_daemon.storage.sqlite.standing import LaneStanding, keep_arrivals, take_in
from hive_daemon.storage.sqlite.turns import HELD, READY, stage_of
from hive_daemon.storage.sqlite.tx import Holder, Tx
from hive_daemon.storage.values import BACKGROUND, Dedupe, Submission, Submitted

_PLAIN = (
    "n, id, session_id, ordinal, agent, graph_id, entry_point, stream_id, lane, status, joined, "
    "stage, background, priority, key, source, correlation, causation, trace_id, "
    "trace_parent, created_at, "
    "updated_at, input, state"
)
_RULED = "due_at, slot_at, expires_at, hold, hold_key, gathered, carry_from"
_INSERT = f"""
INSERT INTO executions ({_PLAIN})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_RULED = f"""
INSERT INTO executions ({_PLAIN}, {_RULED})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?, ?, ?, ?, ?)
"""
_KNOWN = """
SELECT execution_id, body_hash FROM dedupe WHERE namespace = ? AND key = ? AND expires_at > ?
"""
_EXPIRED = """
DELETE FROM dedupe WHERE (namespace, key) IN
    (SELECT namespace, key FROM dedupe WHERE expires_at <= ? LIMIT 2)
"""


def submit(tx: Tx, submission: Submission) -> Submitted:
    """Take a submission in under its rules, or answer the execution that one of its keys names."""
    keys = submission.keys
    for at, key in enumerate(keys):
        known = _known(tx, key)
        if known is not None:
            for before in keys[:at]:
                _remember(tx, before, known.execution_id)
            return known
    if submission.refusal is not None:
        raise submission.refusal
    replaced = submission.replaces
    if submission.admission is None:
        answer = _insert(tx, submission, UNBOUND)
    else:
        verdict = decide(submission, LaneStanding(tx, submission), tx.now)
        answer = _carry_out(tx, submission, verdict)
        replaced += verdict.gives_way
    for key in keys:
        _remember(tx, key, answer.execution_id)
    for old in replaced:
        cancel_if_there(tx, old, f"replaced by {answer.execution_id}")
    return answer


def _carry_out(tx: Tx, submission: Submission, verdict: Verdict) -> Submitted:
    taken_in = verdict.taken_in
    if taken_in is None:
        answer = _insert(tx, verdict.submission or submission, verdict)
    else:
        held, due_at = taken_in.held, taken_in.due_at
        take_in(tx, taken_in)
        answer = Submitted(held.execution_id, held.session_id, False, coalesced=True, due_at=due_at)
    if verdict.arrivals:
        keep_arrivals(tx, submission.lane, verdict.arrivals)
    return answer


def _insert(tx: Tx, submission: Submission, verdict: Verdict) -> Submitted:
    session_id, lane = submission.session_id, submission.lane
    ordinal = _next_ordinal(tx, submission)
    name = execution_id(session_id, ordinal)
    state, due_at = submission.state, verdict.due_at
    is_background = submission.source in BACKGROUND
    if due_at is not None and due_at > tx.now:
        stage = HELD
    else:
        is_following = ordinal > 1 and not submission.is_joined
        waits = (session_id, lane, verdict.key, int(is_background), submission.priority)
        stage = stage_of(tx, waits) if is_following else READY
    if verdict.key:
        tx.execute("INSERT INTO lanes VALUES (?, '') ON CONFLICT DO NOTHING", (lane,))
    plain = (
        tx.take_row(),
        name,
        session_id,
        ordinal,
        submission.agent,
        submission.graph_id,
        submission.entry_point,
        submission.stream_id,
        lane,
        submission.is_joined,
        stage,
        is_background,
        submission.priority,
        verdict.key,
        submission.source,
        submission.correlation_id or name,
        dump_chain(submission.causation),
        submission.trace_id,
        submission.trace_parent,
        tx.now,
        tx.now,
        tx.keep(submission.input, Holder.EXECUTION, name),
        None if state is None else tx.keep(state, Holder.EXECUTION, name),
    )
    if verdict is UNBOUND:
        tx.execute(_INSERT, plain)
        tx.shift(lane, 1)
        return Submitted(name, session_id, True)
    ruled = (
        due_at,
        verdict.slot_at,
        verdict.expires_at,
        verdict.hold,
        verdict.hold_key,
        verdict.gathered,
        verdict.carry_from,
    )
    tx.execute(_INSERT_RULED, plain + ruled)
    tx.shift(lane, 1)
    return Submitted(name, session_id, True, replaced=verdict.gives_way, due_at=due_at)


def _known(tx: Tx, dedupe: Dedupe) -> Submitted | None:
    row = tx.execute(_KNOWN, (dedupe.namespace, dedupe.key, tx.now)).fetchone()
    if row is None:
        return None
    name, body_hash = row
    if body_hash and dedupe.body_hash and body_hash != dedupe.body_hash:
        raise IdempotencyConflict(
            f"the key {dedupe.key!r} was used with another body, for {name}",
            hint="use a new key for a new request",
            subject=name,
        )
    return Submitted(name, session_of(name), False)


def _remember(tx: Tx, dedupe: Dedupe, name: str) -> None:
    # Two go for each that comes, so the table stays as small as its windows allow.
    tx.execute(_EXPIRED, (tx.now,))
    tx.execute(
        "INSERT OR REPLACE INTO dedupe VALUES (?, ?, ?, ?, ?)",
        (dedupe.namespace, dedupe.key, dedupe.body_hash, name, tx.now + dedupe.window_seconds),
    )


def _next_ordinal(tx: Tx, submission: Submission) -> int:
    session_id = submission.session_id
    (last,) = tx.execute(
        "SELECT max(ordinal) FROM executions WHERE session_id = ?", (session_id,)
    ).fetchone()
    if submission.is_new_session:
        if last is not None:
            raise AlreadyRegistered(subject=session_id)
        return 1
    if last is None:
        raise SessionNotFound(subject=session_id)
    pruned = tx.execute("SELECT value FROM meta WHERE key = ?", (ordinals(session_id),)).fetchone()
    return 1 + max(int(last), int(pruned[0]) if pruned else 0)


def ordinals(session_id: str) -> str:
    """Return the key under which the last ordinal is kept that a pruned execution of a session had."""
    return f"ordinal {session_id}"
