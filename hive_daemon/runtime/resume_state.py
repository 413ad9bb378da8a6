"""What lets another execution go on where one stopped: a session state, read from what the store holds.

Guarantee: whatever an execution was, parked, ended or never begun, and in whichever process it ran, the state holds its
place, its memory and its graph's hash; of one that took no step, what it was to begin with.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hive_daemon.graph.memory import ROOT
from hive_daemon.graph.outcome import place_of
from hive_daemon.graph.topology import EVENT_KEY
from hive_daemon.runtime.encoding import loads
from hive_daemon.runtime.patches import Restored, restored
from hive_daemon.runtime.session_state import Beginning
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import Claim, ExecutionFilter, ExecutionRow

PAGE = 50


class Left(NamedTuple):
    """A session state, and what somebody said that nobody has heard yet."""

    state: dict[str, Any]
    unheard: dict[str, Any]

    @property
    def whole(self) -> dict[str, Any]:
        """Everything as one session state: what nobody has heard is in its memory."""
        if not self.unheard:
            return self.state
        known = self.state.get("memory") or self.state.get("data_buffer") or {}
        return {**self.state, "memory": {**known, **self.unheard}}


def state_of(known: Restored) -> dict[str, Any]:
    """Return the session state that goes on at a checkpoint."""
    state: dict[str, Any] = {
        "memory": known.memory.read([ROOT]),
        "execution_path": known.path,
        "node_visit_counts": dict(known.state.visits),
        "walk": known.state.to_json(),
        "graph_hash": known.graph_hash,
        "resume_from": place_of(known.state),
    }
    if known.memory.layers:
        state["branch_writes"] = [list(w) for w in known.memory.writes() if w.scope != ROOT]
    return state


async def left_by(store: Store, row: ExecutionRow) -> Left:
    """Return what an execution left. Raises ExecutionNotFound."""
    kept = await store.sessions.restore(row.execution_id) if row.seq else None
    if kept is not None:
        return Left(state_of(restored(kept)), {})
    return await meant_for(store, row)


async def meant_for(store: Store, of: Claim | ExecutionRow) -> Left:
    """Return what an execution that took no step was to begin with."""
    beginning = Beginning.decode(of.state)
    state = dict(beginning.session_state)
    if (beginning.carries_memory or of.carry_from is not None) and "memory" not in state:
        state["memory"] = await memory_left(store, of)
    return Left(state, {**loads(of.input), **beginning.resume_input})


async def memory_left(store: Store, of: Claim | ExecutionRow) -> dict[str, Any]:
    """Return the memory that the session's main executions before this one left.

    It is that of the last one that took a step, up to `carry_from` where that is set; the event that set it off was its
    own.
    """
    last = of.ordinal - 1 if of.carry_from is None else min(of.carry_from, of.ordinal - 1)
    before: int | None = None
    while True:
        rows = await store.executions.query(
            ExecutionFilter(session_id=of.session_id, before=before, limit=PAGE)
        )
        for row in rows:
            if row.ordinal > last or row.is_joined or not row.seq:
                continue
            left = await store.sessions.restore(row.execution_id)
            if left is not None:
                memory = restored(left).memory.read([ROOT])
                memory.pop(EVENT_KEY, None)
                return memory
        if len(rows) < PAGE:
            return {}
        before = rows[-1].n
