"""RuntimeLogger, for programs that log their own runs in the three documented levels.

The executions of hived are logged from their events and need none of this.
"""

from __future__ import annotations

import secrets
import threading
from datetime import UTC, datetime
from typing import Any

from hive_daemon.clock import SYSTEM_CLOCK, Clock, iso_z
from hive_daemon.observability.trace_context import get_trace_context
from hive_daemon.runtime.runtime_log_schemas import (
    NodeDetail,
    NodeStepLog,
    RunSummaryLog,
    ToolCallLog,
    totals_of,
)
from hive_daemon.runtime.runtime_log_store import RuntimeLogStore
from hive_daemon.storage.session_logs import attention_reasons


class RuntimeLogger:
    """Logs one run: `start_run`, then steps and nodes as they end, then `end_run`. Safe for threads."""

    def __init__(
        self, store: RuntimeLogStore, agent_id: str = "", clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.store = store
        self.agent_id = agent_id
        self.run_id = ""
        self._clock = clock
        self._goal_id = ""
        self._started_at = ""
        self._logged: set[str] = set()
        self._lock = threading.Lock()

    def start_run(self, goal_id: str = "", session_id: str = "") -> str:
        """Begin a run and return its id: the session's, or a new one."""
        now = self._clock.time()
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S")
        self.run_id = session_id or f"{stamp}_{secrets.token_hex(4)}"
        self._goal_id = goal_id
        self._started_at = iso_z(now)
        self._logged.clear()
        self.store.ensure_run_dir(self.run_id)
        return self.run_id

    def log_step(
        self,
        node_id: str,
        node_type: str,
        step_index: int,
        *,
        tool_calls: list[dict[str, Any]] | None = None,
        **fields: Any,
    ) -> None:
        """Append one step to L3; further fields are those of NodeStepLog."""
        calls = [ToolCallLog.model_validate(_renamed(call)) for call in tool_calls or ()]
        step = {
            "timestamp": iso_z(self._clock.time()),
            **self._trace(),
            **fields,
            "node_id": node_id,
            "node_type": node_type,
            "step_index": step_index,
            "tool_calls": calls,
        }
        with self._lock:
            self.store.append_step(self.run_id, NodeStepLog.model_validate(step))

    def log_node_complete(
        self, node_id: str, node_name: str, node_type: str, success: bool, **fields: Any
    ) -> None:
        """Append one node to L2; further fields are those of NodeDetail."""
        detail = {
            "timestamp": iso_z(self._clock.time()),
            "exit_status": "success" if success else "failure",
            **self._trace(),
            **fields,
            "node_id": node_id,
            "node_name": node_name,
            "node_type": node_type,
            "success": success,
        }
        reasons = attention_reasons(detail)
        detail.update(needs_attention=bool(reasons), attention_reasons=reasons)
        with self._lock:
            self._logged.add(node_id)
            self.store.append_node_detail(self.run_id, NodeDetail.model_validate(detail))

    def ensure_node_logged(
        self, node_id: str, node_name: str, node_type: str, success: bool, **fields: Any
    ) -> None:
        """Append a node to L2 unless it has logged itself."""
        if node_id not in self._logged:
            self.log_node_complete(node_id, node_name, node_type, success, **fields)

    async def end_run(
        self,
        status: str,
        duration_ms: int,
        node_path: list[str] | None = None,
        execution_quality: str = "",
    ) -> None:
        """Write L1 from what was logged."""
        nodes = self.store.read_node_details_sync(self.run_id)
        reasons = [f"{node.node_id}: {why}" for node in nodes for why in node.attention_reasons]
        await self.store.save_summary(
            self.run_id,
            RunSummaryLog(
                run_id=self.run_id,
                agent_id=self.agent_id,
                goal_id=self._goal_id,
                status=status,
                nodes_executed=[node.node_id or "" for node in nodes],
                node_path=node_path or [],
                **totals_of(nodes),
                needs_attention=bool(reasons),
                attention_reasons=reasons,
                started_at=self._started_at,
                duration_ms=duration_ms,
                execution_quality=execution_quality,
                trace_id=self._trace()["trace_id"],
                execution_id=self._trace()["execution_id"],
            ),
        )

    def _trace(self) -> dict[str, str]:
        context = get_trace_context()
        return {
            "trace_id": str(context.get("trace_id", "")),
            "execution_id": str(context.get("execution_id", "")),
        }


def _renamed(call: dict[str, Any]) -> dict[str, Any]:
    """Read a tool call whose result is called `content`, as some callers have it."""
    if "result" in call or "content" not in call:
        return call
    return {**call, "result": call["content"]}
