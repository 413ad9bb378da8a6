"""What stands at the moment of a submission on SQLite, and taking it into an execution that is held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hive_daemon.storage.admission import Admission, Depth
from hive_daemon.storage.admission_rules import Held, Meter, Open, TakenIn
from hive_daemon.storage.sqlite.codec import key_in
from hive_daemon.storage.sqlite.reader import required
from hive_daemon.storage.sqlite.turns import HELD, READY, stage_of
from hive_daemon.storage.sqlite.tx import Holder, LaneCount, Tx
from hive_daemon.storage.values import Submission

_ARRIVAL = "SELECT arrival FROM rates WHERE lane = ? AND meter = ? AND key = ?"
_PASSED = """
DELETE FROM rates WHERE (lane, meter, key) IN
    (SELECT lane, meter, key FROM rates WHERE arrival <= ? LIMIT 2)
"""
_HELD = """
SELECT n, id, session_id, input, created_at, due_at, slot_at, gathered
FROM executions INDEXED BY executions_holds
WHERE status = 'queued' AND lane = ? AND hold_key = ? AND due_at > ? ORDER BY n DESC LIMIT 1
"""
_GROUP = """
SELECT n, id, session_id, ordinal, status = 'running', joined, seq, carry_from
FROM executions INDEXED BY executions_open
WHERE ended_at IS NULL AND status <> 'queued' AND status = 'running' AND lane = ?1 AND key = ?2
UNION ALL
SELECT n, id, session_id, ordinal, 0, joined, seq, carry_from FROM executions INDEXED BY {index}
WHERE status = 'queued' AND lane = ?1 AND key = ?2 {test} ORDER BY 1
"""
_OF_KEY = _GROUP.format(index="executions_groups", test="AND key <> ''")
_OF_NONE = _GROUP.format(index="executions_queue", test="")
_COUNT = """
SELECT (SELECT count(*) FROM executions INDEXED BY executions_queue
        WHERE status = 'queued' AND lane = ?1),
    (SELECT count(*) FROM executions INDEXED BY executions_open
        WHERE ended_at IS NULL AND status <> 'queued' AND status = 'running' AND lane = ?1)
"""
_OLDEST = """
SELECT min(n) FROM executions INDEXED BY executions_queue WHERE status = 'queued' AND lane = ?
"""
_SINCE = "SELECT created_at FROM executions WHERE n = ? AND status = 'queued'"
_TAKE_IN = """
UPDATE executions SET input = ?, gathered = ?, due_at = ?, expires_at = ?, updated_at = ?,
    hold_key = CASE WHEN ? THEN NULL ELSE hold_key END, stage = ?
WHERE n = ?
"""


@dataclass(frozen=True, slots=True)
class LaneStanding:
    """What stands for one submission; see `Standing`."""

    tx: Tx
    submission: Submission

    def arrival(self, meter: Meter, key: str) -> float:
        """See `Standing.arrival`."""
        row = self.tx.execute(_ARRIVAL, (self.submission.lane, meter, key)).fetchone()
        return 0.0 if row is None else float(row[0])

    def held(self, hold_key: str) -> Held | None:
        """See `Standing.held`."""
        tx = self.tx
        row = tx.execute(_HELD, (self.submission.lane, hold_key, tx.now)).fetchone()
        if row is None:
            return None
        n, name, session_id, given, *rest = row
        return Held(n, name, session_id, required(tx.connection, given), *rest)

    def group(self) -> Sequence[Open]:
        """See `Standing.group`."""
        rules = self.submission.admission
        key = "" if rules is None else rules.key
        statement = _OF_KEY if key else _OF_NONE
        found = self.tx.execute(statement, (self.submission.lane, key)).fetchall()
        return [
            Open(name, session_id, ordinal, bool(runs), bool(joined), seq, carry_from)
            for _, name, session_id, ordinal, runs, joined, seq, carry_from in found
        ]

    def excess(self, admission: Admission) -> int:
        """See `Standing.excess`."""
        count = self._count()
        slots = admission.limit if admission.slots is None else admission.slots
        return count.queued - max(0, (slots or 0) - count.running)

    def depth(self) -> Depth:
        """See `Standing.depth`."""
        tx, lane, count = self.tx, self.submission.lane, self._count()
        since = None
        if count.oldest is not None:
            since = tx.execute(_SINCE, (count.oldest,)).fetchone()
        if since is None:
            (count.oldest,) = tx.execute(_OLDEST, (lane,)).fetchone()
            since = tx.execute(_SINCE, (count.oldest,)).fetchone()
        return Depth(lane, count.queued, None if since is None else since[0])

    def _count(self) -> LaneCount:
        tx, lane = self.tx, self.submission.lane
        count = tx.lanes.get(lane)
        if count is None:
            count = tx.lanes[lane] = LaneCount(*tx.execute(_COUNT, (lane,)).fetchone())
        return count


def keep_arrivals(tx: Tx, lane: str, arrivals: Sequence[tuple[Meter, str, float]]) -> None:
    """Set rates; two that are not in use any more go for each that comes."""
    tx.execute(_PASSED, (tx.now,))
    for meter, key, arrival in arrivals:
        tx.execute("INSERT OR REPLACE INTO rates VALUES (?, ?, ?, ?)", (lane, meter, key, arrival))


def take_in(tx: Tx, taken: TakenIn) -> None:
    """Put a submission into the execution that is held for it."""
    held = taken.held
    _let_go_of_input(tx, held)
    is_due = taken.due_at <= tx.now
    stage = HELD
    if is_due:
        found = tx.execute(
            "SELECT joined OR ordinal = 1, session_id, lane, key, background, priority "
            "FROM executions WHERE n = ?",
            (held.row,),
        ).fetchone()
        stage = READY if found[0] else stage_of(tx, found[1:])
    tx.execute(
        _TAKE_IN,
        (
            tx.keep(taken.input, Holder.EXECUTION, held.execution_id),
            taken.gathered,
            taken.due_at,
            taken.expires_at,
            tx.now,
            taken.is_full or is_due,
            stage,
            held.row,
        ),
    )


def _let_go_of_input(tx: Tx, held: Held) -> None:
    """Forget an input that is a blob of its own, unless the state is the same one."""
    row = tx.execute("SELECT input, state FROM executions WHERE n = ?", (held.row,)).fetchone()
    key = key_in(row[0])
    if key is not None and row[0] != row[1]:
        tx.execute(
            "DELETE FROM blob_refs WHERE kind = ? AND owner = ? AND key = ?",
            (Holder.EXECUTION, held.execution_id, key),
        )
