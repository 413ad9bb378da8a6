"""The face of the agent runtime that begins executions, waits for them, cancels them and speaks to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hive_daemon.errors import EntryPointNotFound
from hive_daemon.graph.executor import ExecutionResult
from hive_daemon.runtime.endings import result_from
from hive_daemon.runtime.intake import Call, accepted
from hive_daemon.runtime.outside import Origin
from hive_daemon.runtime.runtime_base import RuntimeBase
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import Submitted


class ExecutionFace(RuntimeBase):
    """Executions, as programs begin and follow them."""

    async def trigger(
        self,
        entry_point_id: str,
        input_data: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        session_state: Mapping[str, Any] | None = None,
        *,
        graph_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Accept an execution and return its id without waiting for it; it is durable then.

        Raises NotRunning, Draining, EntryPointNotFound, InvalidInput, IdempotencyConflict, StorageFull.
        """
        call = Call.of(input_data, correlation_id, session_state, idempotency_key)
        self.running()
        stream = self.find_stream(entry_point_id, graph_id)
        origin = Origin.current()
        if origin is not None:
            call = await origin.apply(call, stream, self)
        return accepted(await stream.submit(call)).execution_id

    async def submit(self, entry_point_id: str, call: Call) -> Submitted:
        """Accept a call as it is, and say what became of it; raises like `trigger`."""
        self.running()
        return accepted(await self.find_stream(entry_point_id).submit(call))

    async def trigger_and_wait(
        self,
        entry_point_id: str,
        input_data: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        session_state: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        *,
        graph_id: str | None = None,
    ) -> ExecutionResult | None:
        """Accept an execution and wait until it stops; None after `timeout` seconds, while it goes on."""
        execution_id = await self.trigger(
            entry_point_id, input_data, correlation_id, session_state, graph_id=graph_id
        )
        return await self.wait_for_completion(execution_id, timeout)

    async def wait_for_completion(
        self, execution_id: str, timeout: float | None = None
    ) -> ExecutionResult | None:
        """Wait until an execution stops, for now or for good; None after `timeout` seconds.

        Its readable files are complete then. Raises ExecutionNotFound.
        """
        for stream in self._streams.values():
            if stream.holds(execution_id):
                return await stream.wait_for_completion(execution_id, timeout)
        store = (self.opened or self.running()).services.store
        row = await store.executions.load(execution_id)
        found = self.get_stream(row.stream_id) if row.agent == self.agent else None
        if found is not None:
            return await found.wait_for_completion(execution_id, timeout)
        if row.status in (ExecutionStatus.QUEUED, ExecutionStatus.RUNNING):
            raise EntryPointNotFound(
                f"{execution_id} belongs to the stream {row.agent}/{row.stream_id}, which is not here"
            )
        return await result_from(store, row)

    async def cancel_execution(
        self, entry_point_id: str, execution_id: str, graph_id: str | None = None
    ) -> bool:
        """Cancel an execution; say whether it took effect."""
        return await self.find_stream(entry_point_id, graph_id).cancel_execution(execution_id)

    def get_execution_result(
        self, entry_point_id: str, execution_id: str, graph_id: str | None = None
    ) -> ExecutionResult | None:
        """Return the result of an execution that stopped not long ago."""
        return self.find_stream(entry_point_id, graph_id).get_result(execution_id)

    async def inject_input(
        self, node_id: str, content: str, graph_id: str | None = None, key: str = ""
    ) -> bool:
        """Say something to a node that waits for it, or that runs; say whether there is one."""
        self.running()
        self._last_input = self.clock.monotonic()
        first = self._hosts.get(graph_id or self.active_graph_id)
        hosts = [host for host in (first, *self._hosts.values()) if host is not None]
        for host in hosts:
            for stream in host.streams.values():
                if await stream.inject_input(node_id, content, key):
                    return True
        return False
