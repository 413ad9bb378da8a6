"""Sessions, as the control API shows them: what their executions come to together, and the state of the latest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from hive_daemon.clock import iso_z
from hive_daemon.control.answers import Json
from hive_daemon.control.host import Host
from hive_daemon.control.views import Walked, address_of, current_node, execution_view, waiting_view
from hive_daemon.control.walked import walked_by
from hive_daemon.spending import NO_CALLS, Spending
from hive_daemon.storage.ports import ExecutionStore
from hive_daemon.storage.values import MAX_PAGE, ExecutionFilter, ExecutionRow

_REMEMBERED_SESSIONS = 1_024


@dataclass(frozen=True, slots=True)
class Sums:
    """What some executions of a session come to together, the newest of them being row `n`.

    `entry_point` and `created_at` are those of the oldest.
    """

    entry_point: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0
    n: int = 0
    count: int = 0
    steps: int = 0
    spending: Spending = NO_CALLS

    @classmethod
    def of(cls, row: ExecutionRow, walked: Walked) -> Sums:
        """Return what one execution comes to."""
        return cls(
            address_of(row),
            row.created_at,
            row.updated_at,
            row.n,
            1,
            row.steps,
            walked.spending,
        )

    def after(self, older: Sums) -> Sums:
        """Return these together with older ones."""
        return Sums(
            older.entry_point or self.entry_point,
            older.created_at or self.created_at,
            max(self.updated_at, older.updated_at),
            max(self.n, older.n),
            self.count + older.count,
            self.steps + older.steps,
            self.spending.plus(older.spending),
        )


class SessionBook:
    """Adds up sessions.

    Terminal executions never change, so what the oldest of a session come to is remembered: looking at a session again
    costs what was added since, however long it is.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._settled: OrderedDict[str, Sums] = OrderedDict()

    async def show(self, latest: ExecutionRow, now: float) -> Json:
        """Return a session by its latest execution that is not joined, with that execution."""
        walked = await walked_by(self._host, latest)
        view = await self._view(latest, walked)
        return {**view, "latest_execution": execution_view(latest, walked, now)}

    async def list_one(self, latest: ExecutionRow) -> Json:
        """Return a session as it stands in lists, by its latest execution that is not joined."""
        return await self._view(latest, await walked_by(self._host, latest))

    async def _view(self, latest: ExecutionRow, walked: Walked) -> Json:
        sums = await self._sums(latest.session_id)
        return {
            "id": latest.session_id,
            "agent": latest.agent,
            "entry_point": sums.entry_point or address_of(latest),
            "status": latest.status,
            "created_at": iso_z(sums.created_at or latest.created_at),
            "updated_at": iso_z(max(sums.updated_at, latest.updated_at)),
            "executions": max(sums.count, 1),
            "latest_execution_id": latest.execution_id,
            "current_node": current_node(latest, walked),
            "waiting": waiting_view(latest),
            "steps": sums.steps,
            **sums.spending.to_json(),
        }

    async def _sums(self, session_id: str) -> Sums:
        settled = self._settled.pop(session_id, Sums())
        newer, ended = Sums(), Sums()
        store = self._host.services.store.executions
        async for row in _rows_after(store, session_id, settled.n):
            one = Sums.of(row, await walked_by(self._host, row))
            newer = newer.after(one)
            # What is older than the oldest that may still change.
            ended = ended.after(one) if row.status.is_terminal else Sums()
        self._settled[session_id] = ended.after(settled)
        while len(self._settled) > _REMEMBERED_SESSIONS:
            self._settled.popitem(last=False)
        return newer.after(settled)


async def _rows_after(
    store: ExecutionStore, session_id: str, after: int
) -> AsyncIterator[ExecutionRow]:
    """Yield the executions of a session that are newer than row `after`, newest first."""
    before: int | None = None
    while True:
        rows = await store.query(
            ExecutionFilter(session_id=session_id, before=before, limit=MAX_PAGE)
        )
        for row in rows:
            if row.n <= after:
                return
            yield row
        if len(rows) < MAX_PAGE:
            return
        before = rows[-1].n
