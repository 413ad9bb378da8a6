"""What can be done to the executions of a stream: wait for them, cancel them, pause them, speak to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from hive_daemon.errors import ExecutionNotFound
from hive_daemon.graph.executor import ExecutionResult
from hive_daemon.graph.resumption import check_graph
from hive_daemon.ids import session_of
from hive_daemon.runtime.endings import result_from, unfinished
from hive_daemon.runtime.execution import Execution, StopReason
from hive_daemon.runtime.patches import restored
from hive_daemon.runtime.services import Services
from hive_daemon.runtime.stream_view import ASKING, StreamView
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.event_values import CancelOrder
from hive_daemon.storage.values import MAX_PAGE, ExecutionFilter, ExecutionRow
from hive_daemon.tasks import Scope

_UNENDED = tuple(status for status in ExecutionStatus if not status.is_terminal)
_OPEN = (ExecutionStatus.QUEUED, ExecutionStatus.RUNNING)


class StreamControl(StreamView):
    """The part of a stream that deals with executions which exist.

    `_orders` are cancellations of executions that are being claimed at this moment.
    """

    _services: Services
    _orders: dict[str, str]
    _scope: Scope

    # --- waiting ----------------------------------------------------------------------------

    async def wait_for_completion(
        self, execution_id: str, timeout: float | None = None
    ) -> ExecutionResult | None:
        """Wait until an execution stops, for now or for good; None after `timeout` seconds.

        If the runtime stops before it began, the result says so. Raises ExecutionNotFound.
        """
        known = self.get_result(execution_id)
        if known is not None:
            return known
        try:
            async with asyncio.timeout(timeout):
                return await self._wait(execution_id)
        except TimeoutError:
            return None

    async def _wait(self, execution_id: str) -> ExecutionResult:
        store, hub = self._services.store, self._services.hub
        while True:
            with hub.waiting(execution_id) as stopped:
                # Looked at after the waiting began: what stops from here on is noticed.
                known = self.get_result(execution_id)
                if known is not None:
                    return known
                if not self._is_open(execution_id):
                    row = await store.executions.load(execution_id)
                    if row.status not in _OPEN and not self._is_open(execution_id):
                        return self.get_result(execution_id) or await result_from(store, row)
                if not await stopped:
                    return unfinished(execution_id, is_running=execution_id in self._running)
            await self._until_free(execution_id)

    async def _until_free(self, execution_id: str) -> None:
        """Wait until an execution whose end was published has given its slot back."""
        execution = self._running.get(execution_id)
        if execution is None or execution.task is None or execution.is_left_behind:
            return
        if execution.is_published:
            await asyncio.wait([execution.task])

    # --- stopping ---------------------------------------------------------------------------

    async def cancel_execution(self, execution_id: str, reason: str = "cancelled") -> bool:
        """Cancel an execution of this stream; say whether the order was taken.

        It holds its slot until its work has returned; what is completed by then stays completed.
        """
        try:
            if not self.holds(execution_id):
                row = await self._services.store.executions.load(execution_id)
                if (row.agent, row.stream_id) != (self.setup.agent, self.setup.stream_id):
                    return False
            status = await self._services.store.inbox.cancel(execution_id, reason)
        except ExecutionNotFound:
            return False
        if status is ExecutionStatus.RUNNING:
            self._stop(execution_id, reason)
        return status in (ExecutionStatus.RUNNING, ExecutionStatus.CANCELLED)

    async def call_back(self, order: CancelOrder, accepted_by: float) -> None:
        """Cancel the executions of this stream that an order concerns and that were accepted by then (wall seconds)."""
        async for row in self._rows(_UNENDED):
            named = (row.execution_id, row.session_id, row.correlation_id)
            if row.created_at <= accepted_by and order.concerns(*named):
                await self.cancel_execution(row.execution_id, order.reason)

    async def _rows(self, statuses: tuple[ExecutionStatus, ...]) -> AsyncIterator[ExecutionRow]:
        """Yield the executions of this stream with one of these statuses, newest first, page by page."""
        before: int | None = None
        while True:
            rows = await self._services.store.executions.query(
                ExecutionFilter(
                    agent=self.setup.agent,
                    stream_id=self.setup.stream_id,
                    statuses=statuses,
                    before=before,
                    limit=MAX_PAGE,
                )
            )
            for row in rows:
                yield row
            if len(rows) < MAX_PAGE:
                return
            before = rows[-1].n

    def obey(self) -> None:
        """Stop what the store was ordered to cancel, also what is being claimed at this moment; does not wait."""
        self._scope.spawn("orders to cancel", self._obey())

    async def _obey(self) -> None:
        running = ExecutionFilter(
            agent=self.setup.agent,
            stream_id=self.setup.stream_id,
            statuses=(ExecutionStatus.RUNNING,),
            limit=MAX_PAGE,
        )
        for row in await self._services.store.executions.query(running):
            if row.cancel_reason is not None:
                self._stop(row.execution_id, row.cancel_reason)

    def ordered(self, execution_id: str, reason: str) -> None:
        """Carry out a cancellation that the store has taken, of an execution that ran or was queued then."""
        if execution_id in self._running or self._intake.knows(execution_id):
            self._stop(execution_id, reason)

    def _stop(self, execution_id: str, reason: str) -> None:
        execution = self._running.get(execution_id)
        if execution is not None:
            execution.stop(StopReason.CANCEL, reason)
        elif not self.has_begun(execution_id):
            # It is being claimed at this moment, or was cancelled in the queue, which is published soon.
            self._orders[execution_id] = reason

    def request_pause(self, execution_id: str, reason: str = "") -> bool:
        """Put an execution away at its next node boundary; say whether it runs."""
        execution = self._running.get(execution_id)
        if execution is None or execution.result is not None:
            return False
        if execution.stop_reason is StopReason.NONE:
            execution.stop_text = reason
        execution.pause.set()
        return True

    def goes_on(self, execution_id: str) -> None:
        """Take note that an execution that was put away is queued again."""
        execution = self._running.get(execution_id)
        if execution is not None and execution.result is None:
            return
        self._ended.pop(execution_id, None)
        self._parked.pop(execution_id, None)
        self._results.drop(execution_id)
        self._intake.again(execution_id)

    async def check_graph(self, execution_id: str, *, accepts_change: bool = False) -> str:
        """Raise GraphChanged if an execution may not go on in the graph as it is; return that graph's hash."""
        topology = self.setup.topology
        kept = await self._services.store.sessions.restore(execution_id)
        if kept is not None:
            known = restored(kept)
            check_graph(topology, known.state, known.graph_hash, accepts_change=accepts_change)
        return topology.graph_hash

    # --- speaking ---------------------------------------------------------------------------

    async def inject_input(self, node_id: str, content: str, key: str = "") -> bool:
        """Say something to a node that waits for it, or that runs; say whether there is one.

        Raises GraphChanged if what waits may not go on in the graph as it is.
        """
        for execution_id, parked in self._parked.items():
            if node_id in parked.asking and parked.status in ASKING:
                await self.check_graph(execution_id)
                inbox = self._services.store.inbox
                injected = await inbox.inject(session_of(execution_id), node_id, content, key)
                if injected.woke and injected.execution_id == execution_id:
                    self.goes_on(execution_id)
                return True
        for execution in self._running.values():
            if execution.runs(node_id) and execution.result is None:
                await self.say(execution, node_id, content, key)
                return True
        return False

    async def say(self, execution: Execution, node_id: str, content: str, key: str = "") -> None:
        """Say something to a running execution; its node hears it at its next turn."""
        inbox = self._services.store.inbox
        item = await inbox.inject(execution.session_id, node_id, content, key)
        execution.hear(item.item_id, node_id, content)
