"""A stream: the executions of one entry point, from the moment they are claimed until they have really ended."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hive_daemon.errors import Fenced
from hive_daemon.graph.executor import ExecutionResult
from hive_daemon.graph.walk_state import WalkState
from hive_daemon.ids import new_trace_id, span_id_of
from hive_daemon.observability.trace_context import (
    remember_trace,
    reset_trace_context,
    set_trace_context,
)
from hive_daemon.runtime.drafting import Desk, Spawner
from hive_daemon.runtime.entry_point import EntryPointSpec, IsolationLevel
from hive_daemon.runtime.events import ENDINGS, AgentEvent, status_told
from hive_daemon.runtime.execution import Execution, StopReason
from hive_daemon.runtime.intake import Call, Intake, Send, accepted
from hive_daemon.runtime.patches import waiting_at
from hive_daemon.runtime.results import ResultShelf
from hive_daemon.runtime.run import ExecutionRun
from hive_daemon.runtime.services import Services
from hive_daemon.runtime.stream_control import StreamControl
from hive_daemon.runtime.stream_setup import StreamSetup
from hive_daemon.runtime.stream_view import Parked
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.mirror_fold import MirrorMeta
from hive_daemon.storage.values import Claim, ExecutionRow, Submitted
from hive_daemon.storage.waiting import read
from hive_daemon.tasks import Scope

__all__ = ["EntryPointSpec", "ExecutionStream", "IsolationLevel"]

logger = logging.getLogger(__name__)

PUT_AWAY_SECONDS = 0.5
"""How long it may take to make durable that work was left behind."""

_PUT_AWAY = (
    ExecutionStatus.PAUSED,
    ExecutionStatus.WAITING_INPUT,
    ExecutionStatus.WAITING_APPROVAL,
    ExecutionStatus.INTERRUPTED,
)


class ExecutionStream(StreamControl):
    """The executions of one entry point.

    Laws: never more run than its limit, nor of a key than its own; a slot is free only when the work has really
    returned; who waits for an execution hears of its end when its slot is free and its files are complete.
    """

    def __init__(self, setup: StreamSetup, services: Services, spawner: Spawner) -> None:
        self.setup = setup
        self._services = services
        self._desk = Desk(
            store=services.store,
            hub=services.hub,
            clock=services.clock,
            shared=setup.shared,
            spawner=spawner,
            keep_checkpoints=services.settings.keep_checkpoints,
        )
        self._scope = Scope(setup.lane)
        self._running = {}
        self._ended = {}
        self._parked = {}
        self._orders = {}
        self._counts = Counter()
        self._results = ResultShelf(services.clock, setup.result_max, setup.result_ttl_seconds)
        self._intake = Intake(setup, services, self)
        self._is_running = False

    # --- what the dispatcher sees -----------------------------------------------------------

    def begin(self, claim: Claim) -> None:
        """Run a claimed execution."""
        name = claim.execution_id
        execution = Execution(claim, self._services.clock)
        reason = claim.cancel_reason or self._orders.pop(name, None)
        if reason is not None:
            execution.stop(StopReason.CANCEL, reason)
        self._running[name] = execution
        self._intake.claimed(name)
        self._parked.pop(name, None)
        self._results.drop(name)
        self._services.mirror.begin(self._meta(claim, self._services.clock.time()), claim.seq)
        self._services.stalls.follow(execution)
        execution.task = self._scope.spawn(name, self._run(execution))

    def _meta(self, known: Claim | ExecutionRow, started_at: float) -> MirrorMeta:
        return MirrorMeta(
            agent=known.agent,
            session_id=known.session_id,
            execution_id=known.execution_id,
            ordinal=known.ordinal,
            is_joined=known.is_joined,
            graph_id=known.graph_id,
            goal_id=self.setup.goal.id,
            entry_point=known.entry_point,
            stream_id=known.stream_id,
            correlation_id=known.correlation_id,
            isolation_level=self.setup.isolation.value,
            input=known.input,
            created_at=known.created_at,
            started_at=started_at,
            trace_id=known.trace_id,
            directory=self.setup.directory,
        )

    def describe(self, row: ExecutionRow) -> MirrorMeta:
        """Return what the mirror needs to know of an execution of this stream."""
        return self._meta(row, row.created_at if row.started_at is None else row.started_at)

    async def _run(self, execution: Execution) -> None:
        claim = execution.claim
        execution.is_started = True
        trace_id = claim.trace_id or new_trace_id()
        remember_trace(claim.execution_id, trace_id)
        token = set_trace_context(
            trace_id=trace_id,
            span_id=span_id_of(claim.execution_id),
            execution_id=claim.execution_id,
            session_id=claim.session_id,
            run_id=claim.execution_id,
            stream_id=claim.stream_id,
            goal_id=self.setup.goal.id,
            agent_id=self.setup.agent,
        )
        try:
            budgets = self._services.budgets
            await ExecutionRun(self.setup, self._desk, execution, budgets).perform()
        except Fenced as error:
            logger.warning("the execution is dropped here", extra={"reason": str(error)})
        finally:
            self._finish(execution)
            reset_trace_context(token)

    # --- how it ends ------------------------------------------------------------------------

    def _finish(self, execution: Execution) -> None:
        """Give the slot back. The result is shown once the end is published."""
        name, result = execution.execution_id, execution.result
        self._services.stalls.leave(execution)
        if self._running.get(name) is execution:
            del self._running[name]
        if result is not None:
            _log_end(name, result)
            if execution.is_published:
                self._show(execution, result)
            else:
                self._ended[name] = execution
        self._services.dispatcher.freed()

    def published(self, event: AgentEvent) -> None:
        """Take note that the end, or the pause, of an execution was published."""
        name = event.execution_id or ""
        self._orders.pop(name, None)
        execution = self._running.get(name)
        if execution is not None and execution.result is not None:
            execution.is_published = True
            return
        ended = self._ended.pop(name, None)
        if ended is not None and ended.result is not None:
            self._show(ended, ended.result)
        elif execution is None and event.type in ENDINGS:
            # It ended without running here: cancelled while it waited.
            self._intake.claimed(name)
            self._parked.pop(name, None)
            self._results.drop(name)
            self._counts[status_told(event)] += 1

    def _show(self, execution: Execution, result: ExecutionResult) -> None:
        """Let everybody see how an execution stopped, unless it goes on already."""
        name, status = execution.execution_id, ExecutionStatus(result.status)
        if status.is_terminal:
            self._counts[status] += 1
        if name in self._running or self._intake.knows(name):
            return
        self._results.put(name, result)
        if status.is_parked:
            state = WalkState() if execution.step is None else execution.step.state
            self._parked[name] = Parked.of(status, waiting_at(state))

    # --- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Learn what is queued and put away from earlier, and begin to claim."""
        if self._is_running:
            return
        async for row in self._rows(_PUT_AWAY):
            await self._learn(row)
        await self._intake.learn()
        self._is_running = True
        self._services.dispatcher.register(self)

    async def _learn(self, row: ExecutionRow) -> None:
        name = row.execution_id
        if row.status.is_parked:
            self._parked[name] = Parked.of(row.status, read(row.waiting))
        else:
            # An earlier life of the stream in this same process put it away.
            await self._services.store.queue.requeue(name)

    def close(self) -> None:
        """Claim no more; what is queued stays queued."""
        self._services.dispatcher.unregister(self.lane)
        self._is_running = False

    async def drain(self, seconds: float) -> list[str]:
        """Let executions end for a while; name the tasks that did not."""
        return await self._scope.drain(seconds)

    def hurry(self) -> None:
        """Wait no longer for what runs: put it away now."""
        for execution in tuple(self._running.values()):
            execution.stop(StopReason.DRAIN, "the runtime is stopping")

    async def stop(self) -> list[str]:
        """Claim no more and put away what runs; name the tasks still alive."""
        self.close()
        return await self.interrupt()

    async def interrupt(self, timeout: float | None = 5.0) -> list[str]:
        """Put away what runs, to go on at the next start; name the tasks still alive, which may not write any more.

        Who waits for what did not begin is told so.
        """
        self.hurry()
        alive = await self._scope.drain(timeout)
        await self._leave_behind(tuple(self._running.values()))
        self._services.hub.let_go([*self._intake.waiting, *self._running])
        return alive

    async def _leave_behind(self, stubborn: Sequence[Execution]) -> None:
        """Put away executions whose work does not return: the next start must not take them for crashed."""
        last_words = []
        for execution in stubborn:
            execution.is_left_behind = True
            name = f"put away {execution.execution_id}"
            last_words.append(self._scope.spawn(name, _put_away(execution)))
        if last_words:
            await asyncio.wait(last_words, timeout=PUT_AWAY_SECONDS)
        for execution in stubborn:
            execution.abandon()

    # --- what sets it off ------------------------------------------------------------------

    def took(self, submitted: Submitted) -> None:
        """Carry out what a submission means that is durable now."""
        self._intake.took(submitted)

    def replaced(self, execution_ids: Iterable[str], by: str) -> None:
        """Carry out that these executions gave way to another, which is durable."""
        for name in execution_ids:
            self.ordered(name, f"replaced by {by}")

    # --- the programming interface ----------------------------------------------------------

    async def execute(
        self,
        input_data: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        session_state: Mapping[str, Any] | None = None,
    ) -> str:
        """Accept an execution and return its id; it is durable then."""
        call = Call.of(input_data, correlation_id, session_state)
        return accepted(await self.submit(call)).execution_id

    async def submit(self, call: Call, send: Send | None = None) -> Submitted | None:
        """Accept a call; see `Intake.submit`."""
        return await self._intake.submit(call, send)


async def _put_away(execution: Execution) -> None:
    try:
        await execution.put_away()
    except Fenced as error:
        logger.warning("the execution is dropped here", extra={"reason": str(error)})


def _log_end(execution_id: str, result: ExecutionResult) -> None:
    told = {"status": result.status, "steps": result.steps_executed, "error": result.error}
    if result.status in (ExecutionStatus.FAILED, ExecutionStatus.RECOVERY_EXHAUSTED):
        logger.error("execution failed", extra={**told, "repeat_key": execution_id})
    else:
        logger.info("execution ended", extra=told)
