"""The health judge: a graph that looks at the other executions of its agent every two minutes.

    await runtime.add_graph(
        "judge", judge_graph, judge_goal, {"health_check": HEALTH_JUDGE_ENTRY_POINT}, "graphs/judge"
    )

It asks no model and no tool: it reads the events of what runs, by the thresholds of `monitoring.health`. What it has
seen it keeps in the memory of its own session, bounded by what runs. A ticket is an event of its execution, durable
together with the note that it was told: no ticket is lost or told twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from hive_daemon.clock import iso_z
from hive_daemon.errors import ConfigError
from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.facts import Fact, Recorder
from hive_daemon.graph.goal import Constraint, Goal, SuccessCriterion
from hive_daemon.graph.node import NodeContext, NodeSpec
from hive_daemon.monitoring.health import (
    WATCHED,
    Finding,
    Standing,
    Watch,
    diagnose,
    fold,
    is_news,
    reviewed,
    standing,
)
from hive_daemon.monitoring.ticket import EVIDENCE_CHARS, EscalationTicket
from hive_daemon.runtime.entry_point import (
    EntryPointSpec,
    IsolationLevel,
    SessionChoice,
    TriggerType,
)
from hive_daemon.runtime.services import Services
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.ports import ExecutionStore
from hive_daemon.storage.values import MAX_PAGE, EventFilter, ExecutionFilter, ExecutionRow

GRAPH_ID = "judge-graph"
NODE_ID = "judge"
GOAL_ID = "worker-health-monitor"


class _Opened(Protocol):
    @property
    def services(self) -> Services: ...


class WatchedRuntime(Protocol):
    """What the judge needs to know of the runtime that it is part of."""

    @property
    def agent(self) -> str:
        """The agent's name in the process."""

    @property
    def opened(self) -> _Opened | None:
        """What is open while it runs."""


@dataclass(frozen=True, slots=True)
class WorkerEscalated(Fact):
    """An execution does not get on; `ticket` has the fields of EscalationTicket."""

    kind = "worker_escalation_ticket"
    ticket: Mapping[str, Any]


async def judge(ctx: NodeContext, health_watch: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Look at every other execution of the agent that runs, and write a ticket for each that newly needs one.

    Sets `health_verdict` (`{checked_at, workers: [{session_id, execution_id, graph_id, node_id, status, …}], tickets}`)
    and `health_watch`, what the next look begins with. Raises ConfigError outside an agent runtime.
    """
    seen = await look(ctx, health_watch or {})
    for ticket in seen.tickets:
        seen.recorder.note(WorkerEscalated(ctx.node_id, ticket.model_dump()))
    tickets = [ticket.ticket_id for ticket in seen.tickets]
    verdict = {"checked_at": iso_z(seen.at), "workers": seen.workers, "tickets": tickets}
    return {"health_verdict": verdict, "health_watch": seen.watched}


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at the workers found: how each gets on, the new tickets, what the next look begins with."""

    at: float
    recorder: Recorder
    workers: list[dict[str, Any]]
    tickets: list[EscalationTicket]
    watched: dict[str, Any]


async def look(ctx: NodeContext, health_watch: Mapping[str, Any]) -> Seen:
    """Look at every other execution of the agent that runs. Raises ConfigError outside an agent runtime."""
    runtime: WatchedRuntime | None = ctx.runtime
    if runtime is None or runtime.opened is None or ctx.recorder is None:
        raise ConfigError("the health judge runs inside an agent runtime only")
    services = runtime.opened.services
    limits = replace(services.settings.health, stall_seconds=services.settings.stall_seconds)
    now = services.clock.time()
    seen = Seen(now, ctx.recorder, [], [], {})
    for row in await _workers(services.store.executions, runtime.agent, ctx.execution_id):
        kept = Watch.decode(health_watch.get(row.execution_id, {}))
        watch = await _folded(services.store.executions, kept, row)
        quiet = services.stalls.quiet_seconds(row.execution_id)
        finding = diagnose(watch, now, limits, quiet)
        if finding is not None and is_news(watch, finding):
            seen.tickets.append(ticket_for(row, watch, finding, now))
        seen.watched[row.execution_id] = reviewed(watch, finding).encode()
        status = standing(watch, now, limits, quiet)
        seen.workers.append(_seen(row, watch, status, now))
    return seen


async def _workers(store: ExecutionStore, agent: str, own_id: str) -> list[ExecutionRow]:
    """Return what runs, but for the judge's own graph: a judge that hangs cannot look at itself."""
    rows: list[ExecutionRow] = []
    before: int | None = None
    while True:
        page = await store.query(
            ExecutionFilter(
                agent=agent, statuses=(ExecutionStatus.RUNNING,), before=before, limit=MAX_PAGE
            )
        )
        rows.extend(page)
        if len(page) < MAX_PAGE:
            break
        before = page[-1].n
    own = {row.graph_id for row in rows if row.execution_id == own_id}
    return [row for row in rows if row.graph_id not in own]


async def _folded(store: ExecutionStore, watch: Watch, row: ExecutionRow) -> Watch:
    """Work in what happened since the watch was kept; an execution that told nothing yet was begun just now."""
    while True:
        events = await store.history(
            EventFilter(after_seq=watch.seq, execution_id=row.execution_id, types=WATCHED)
        )
        watch = fold(watch, events)
        if len(events) < MAX_PAGE:
            return watch


def ticket_for(row: ExecutionRow, watch: Watch, finding: Finding, now: float) -> EscalationTicket:
    """Return the ticket of a finding."""
    quiet = watch.stall_minutes(now)
    reasoning = (
        f"{watch.total_steps} steps so far, {watch.since_accept} verdicts since the last ACCEPT, "
        f"the last {watch.complaints} of them alike; last step at {iso_z(watch.last_step_at)}"
    )
    return EscalationTicket(
        created_at=iso_z(now),
        worker_agent_id=row.agent,
        worker_session_id=row.session_id,
        worker_node_id=watch.node_id or row.node_id or "",
        worker_graph_id=row.graph_id,
        severity=finding.severity,
        cause=finding.cause,
        judge_reasoning=reasoning,
        suggested_action=finding.action,
        recent_verdicts=list(watch.verdicts),
        total_steps_checked=watch.total_steps,
        steps_since_last_accept=watch.since_accept,
        stall_minutes=quiet,
        evidence_snippet=watch.evidence[:EVIDENCE_CHARS],
    )


def _seen(row: ExecutionRow, watch: Watch, status: Standing, now: float) -> dict[str, Any]:
    return {
        "session_id": row.session_id,
        "execution_id": row.execution_id,
        "graph_id": row.graph_id,
        "node_id": watch.node_id,
        "status": status.value,
        "total_steps": watch.total_steps,
        "steps_since_last_accept": watch.since_accept,
        "stall_minutes": watch.stall_minutes(now),
    }


judge_goal = Goal(
    id=GOAL_ID,
    name="Worker health monitor",
    description="Find executions that do not get on, and call for help before anybody has to ask.",
    success_criteria=[
        SuccessCriterion(
            id="finds-what-is-stuck",
            description="An execution that stalls, repeats itself or retries without end has a ticket.",
            metric="custom",
            target="every pattern is told at the first look that can know it",
        ),
        SuccessCriterion(
            id="no-false-alarm",
            description="An execution that gets on has none.",
            metric="custom",
            target="0 tickets",
        ),
    ],
    constraints=[
        Constraint(
            id="conservative-escalation",
            description="Escalate from 10 verdicts without an ACCEPT or 4 minutes without a step on, not before.",
            constraint_type="hard",
            category="safety",
        ),
        Constraint(
            id="complete-tickets",
            description="A ticket says which execution, how urgent, why, and what to do.",
            constraint_type="hard",
            category="quality",
        ),
    ],
)

judge_node = NodeSpec(
    id=NODE_ID,
    name="Health judge",
    description="Looks at what runs and writes tickets for what does not get on.",
    node_type="function",
    function=judge,
    output_keys=["health_verdict", "health_watch"],
    nullable_output_keys=["health_verdict"],
    max_node_visits=0,
    # The next look comes soon enough.
    max_retries=1,
    timeout_seconds=60.0,
)

judge_graph = GraphSpec(
    id=GRAPH_ID,
    goal_id=GOAL_ID,
    entry_node=NODE_ID,
    terminal_nodes=[NODE_ID],
    nodes=[judge_node],
    description="Watches over the other executions of its agent.",
)

HEALTH_JUDGE_ENTRY_POINT = EntryPointSpec(
    id="health_check",
    name="Health check",
    entry_node=NODE_ID,
    trigger_type=TriggerType.TIMER,
    trigger_config={
        "interval_minutes": 2,
        "run_immediately": True,
        # The judge is there for times when the agent is at work.
        "idle_timeout_seconds": 0,
        "overlap": "skip",
    },
    isolation_level=IsolationLevel.ISOLATED,
    session=SessionChoice.REUSE,
    max_concurrent=1,
)
"""Every two minutes, and at once, in one session of its own that carries what was seen from look to look."""
