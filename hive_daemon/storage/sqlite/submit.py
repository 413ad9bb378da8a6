"""Accepting executions on SQLite: deduplicated, numbered within their session, durable."""

from __future__ import annotations

from hive_daemon.errors import AlreadyRegistered, IdempotencyConflict, SessionNotFound
from hive_daemon.ids import execution_id, session_of
from hive_daemon.storage.sqlite.inbox import cancel_if_there
from hive_daemon.storage.sqlite.rows import dump_chain
from hive_daemon.storage.sqlite.tx import Holder, Tx
from hive_daemon.storage.values import Dedupe, Submission, Submitted

_INSERT = """
INSERT INTO executions (n, id, session_id, ordinal, agent, graph_id, entry_point, stream_id, lane,
    status, joined, priority, source, correlation, causation, trace_id, created_at, updated_at,
    input, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_KNOWN = """
SELECT execution_id, body_hash FROM dedupe WHERE namespace = ? AND key = ? AND expires_at > ?
"""
_EXPIRED = """
DELETE FROM dedupe WHERE (namespace, key) IN
    (SELECT namespace, key FROM dedupe WHERE expires_at <= ? LIMIT 2)
"""


def submit(tx: Tx, submission: Submission) -> Submitted:
    """Insert an execution, or answer the one that its dedupe key names."""
    dedupe = submission.dedupe
    if dedupe is not None:
        known = _known(tx, dedupe)
        if known is not None:
            return known
    session_id = submission.session_id
    ordinal = _next_ordinal(tx, submission)
    name = execution_id(session_id, ordinal)
    state = submission.state
    tx.execute(
        _INSERT,
        (
            tx.take_row(),
            name,
            session_id,
            ordinal,
            submission.agent,
            submission.graph_id,
            submission.entry_point,
            submission.stream_id,
            submission.lane,
            submission.is_joined,
            submission.priority,
            submission.source,
            submission.correlation_id or name,
            dump_chain(submission.causation),
            submission.trace_id,
            tx.now,
            tx.now,
            tx.keep(submission.input, Holder.EXECUTION, name),
            None if state is None else tx.keep(state, Holder.EXECUTION, name),
        ),
    )
    if dedupe is not None:
        _remember(tx, dedupe, name)
    for old in submission.replaces:
        cancel_if_there(tx, old, f"replaced by {name}")
    return Submitted(name, session_id, True)


def _known(tx: Tx, dedupe: Dedupe) -> Submitted | None:
    row = tx.execute(_KNOWN, (dedupe.namespace, dedupe.key, tx.now)).fetchone()
    if row is None:
        return None
    name, body_hash = row
    if body_hash != dedupe.body_hash:
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
