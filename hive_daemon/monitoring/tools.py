"""The tools of a model that watches over executions: a summary of how one gets on, and ways to call for help.

They read the store of `storage_path` as anybody may, from outside.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from hive_daemon.clock import SYSTEM_CLOCK, Clock, iso_z
from hive_daemon.errors import InvalidInput
from hive_daemon.ids import is_session_id
from hive_daemon.monitoring.health import Watch, fold
from hive_daemon.monitoring.ticket import EVIDENCE_CHARS, EscalationTicket
from hive_daemon.runtime.event_bus import EventBus
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.sqlite.archive import Archive, find_archive
from hive_daemon.storage.values import ExecutionRow
from hive_daemon.tasks import to_thread
from hive_daemon.tools.registry import ToolRegistry

AUTO = "auto"
PAGE = 50


def register_worker_monitoring_tools(
    registry: ToolRegistry,
    event_bus: EventBus,
    storage_path: str | Path,
    stream_id: str = "judge",
    worker_graph_id: str | None = None,
    *,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Add get_worker_health_summary, emit_escalation_ticket and notify_operator; before the runtime is made.

    `storage_path` is the agent's. `worker_graph_id` keeps to the executions of one graph; without it those of the
    streams of `stream_id`'s graph are left out.
    """
    desk = WorkerDesk(event_bus, Path(storage_path).expanduser(), stream_id, worker_graph_id, clock)
    tools: tuple[Callable[..., Awaitable[str]], ...] = (
        desk.get_worker_health_summary,
        desk.emit_escalation_ticket,
        desk.notify_operator,
    )
    for tool in tools:
        registry.register_function(tool)


@dataclass(frozen=True, slots=True)
class WorkerDesk:
    """What the tools work with."""

    bus: EventBus
    path: Path
    stream_id: str
    graph_id: str | None
    clock: Clock

    async def get_worker_health_summary(
        self, session_id: str = AUTO, last_n_steps: int = 40
    ) -> str:
        """Tell how a worker gets on: steps, verdicts, time without a step. "auto" takes the one that runs.

        Answers a JSON object; `stall_minutes` is null below one minute.
        """
        row, watch = await to_thread(self._look, session_id or AUTO)
        summary = {
            "worker_agent_id": row.agent,
            "worker_graph_id": row.graph_id,
            "session_id": row.session_id,
            "session_status": row.status.value,
            "total_steps": watch.total_steps,
            "recent_verdicts": list(watch.verdicts[-last_n_steps:]) if last_n_steps > 0 else [],
            "steps_since_last_accept": watch.since_accept,
            "last_step_time_iso": iso_z(watch.last_step_at) if watch.last_step_at else None,
            "stall_minutes": self._stalled_for(row, watch),
            "evidence_snippet": watch.evidence[:EVIDENCE_CHARS],
        }
        return orjson.dumps(summary).decode()

    async def emit_escalation_ticket(self, ticket_json: str) -> str:
        """Call for help: publish an escalation ticket, given as a JSON object.

        Needed: worker_agent_id, worker_session_id, worker_node_id, worker_graph_id, severity (low, medium, high,
        critical), cause, judge_reasoning, suggested_action.
        """
        try:
            ticket = EscalationTicket.model_validate_json(ticket_json)
        except ValidationError as error:
            wrong = [
                f"{'.'.join(map(str, each['loc'])) or 'ticket'}: {each['msg']}"
                for each in error.errors()
            ]
            raise InvalidInput(f"the ticket is not complete: {'; '.join(wrong)}") from error
        await self._publish(EventType.WORKER_ESCALATION_TICKET, ticket=ticket.model_dump())
        answer = {"status": "emitted", "ticket_id": ticket.ticket_id, "severity": ticket.severity}
        return orjson.dumps(answer).decode()

    async def notify_operator(self, ticket_id: str, analysis: str, urgency: str) -> str:
        """Tell a person about a ticket: what is to be known of it, and how urgent it is."""
        await self._publish(
            EventType.ESCALATION_REQUESTED,
            reason=analysis,
            context=f"ticket {ticket_id}, urgency {urgency}",
        )
        return orjson.dumps({"status": "notified", "ticket_id": ticket_id}).decode()

    async def _publish(self, kind: EventType, **data: Any) -> None:
        graph_id = self.stream_id.partition("::")[0]
        await self.bus.publish(AgentEvent(kind, self.stream_id, data=data, graph_id=graph_id))

    # --- reading ----------------------------------------------------------------------------

    def _look(self, session_id: str) -> tuple[ExecutionRow, Watch]:
        archive = find_archive(self.path)
        if archive is None:
            raise InvalidInput(f"there is no hive.db for {self.path}")
        found = self._found(archive, session_id)
        if found is None:
            raise InvalidInput(
                "there is no worker session yet"
                if session_id == AUTO
                else f"there is no session {session_id}"
            )
        rows = archive.session(found.session_id)
        events = rows.events if rows is not None else ()
        return found, fold(Watch(), (e for e in events if e.execution_id == found.execution_id))

    def _found(self, archive: Archive, session_id: str) -> ExecutionRow | None:
        if session_id != AUTO:
            rows = archive.session(session_id) if is_session_id(session_id) else None
            mains = [row for row in rows.executions if not row.is_joined] if rows else []
            return mains[-1] if mains else None
        running = self._newest(archive, (ExecutionStatus.RUNNING,))
        return running or self._newest(archive, ())

    def _newest(
        self, archive: Archive, statuses: tuple[ExecutionStatus, ...]
    ) -> ExecutionRow | None:
        """Return the newest session's last main execution that is a worker's."""
        before: int | None = None
        while rows := archive.latest(statuses, before=before, limit=PAGE):
            for row in rows:
                if self._is_worker(row):
                    return row
            before = rows[-1].n
        return None

    def _is_worker(self, row: ExecutionRow) -> bool:
        if self.graph_id is not None:
            return row.graph_id == self.graph_id
        return row.graph_id != self.stream_id.partition("::")[0]

    def _stalled_for(self, row: ExecutionRow, watch: Watch) -> float | None:
        """Return for how long nothing was done; what does not run does not stall."""
        is_running = row.status is ExecutionStatus.RUNNING and watch.last_step_at
        return watch.stall_minutes(self.clock.time()) if is_running else None
