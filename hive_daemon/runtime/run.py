"""Running one claimed execution: its surroundings, its walk, and how it ends when something outside ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from hive_daemon.errors import Fenced, HiveError
from hive_daemon.graph.node_run import Given, NodeRunner
from hive_daemon.graph.performer import Performer, Setting
from hive_daemon.llm.purse import purse
from hive_daemon.observability.redaction import redactor
from hive_daemon.runtime.budget_desk import BudgetDesk
from hive_daemon.runtime.endings import Verdict, verdict_on
from hive_daemon.runtime.execution import Execution, StopReason
from hive_daemon.runtime.execution_purse import ExecutionPurse
from hive_daemon.runtime.journal import Desk, ExecutionJournal
from hive_daemon.runtime.opening import Opening, open_walk
from hive_daemon.runtime.patches import restored
from hive_daemon.runtime.sharing import sharing_for
from hive_daemon.runtime.stream_setup import StreamSetup
from hive_daemon.status import ExecutionStatus
from hive_daemon.tools.policy import ToolRights

logger = logging.getLogger(__name__)

INTERNAL = Verdict(ExecutionStatus.FAILED, "an internal error, see the log", "internal")


@dataclass(slots=True)
class ExecutionRun:
    """One claimed execution being run."""

    setup: StreamSetup
    desk: Desk
    execution: Execution
    budgets: BudgetDesk
    is_ended: bool = False

    async def perform(self) -> None:
        """Run it to its end and make that end durable, whatever happens.

        Raises CancelledError after a stop from outside, and Fenced if somebody else holds it now; a fault of ours
        leaves it failed, and propagates.
        """
        journal = ExecutionJournal(self.desk, self.execution)
        self.execution.put_away = partial(self._put_away, journal)
        self.execution.remark = journal.remark
        try:
            with self._time_limit(), self._paid():
                await self._walk(journal)
            self.is_ended = True
        except Fenced:
            self.is_ended = True
            raise
        except asyncio.CancelledError:
            reason, text = self.execution.stop_reason, self.execution.stop_text
            await self._end(journal, verdict_on(reason, text))
            raise
        except HiveError as error:
            text = redactor().redact_text(str(error))
            await self._end(journal, Verdict(ExecutionStatus.FAILED, text, error.code))
        finally:
            if not self.is_ended:
                await self._end(journal, INTERNAL)

    async def _end(self, journal: ExecutionJournal, verdict: Verdict) -> None:
        """End it, to the last: from here on nothing stops it any more."""
        self.is_ended = True
        self.execution.is_ending = True
        await asyncio.shield(journal.close(verdict))

    async def _put_away(self, journal: ExecutionJournal) -> None:
        """End it although its work has not returned: the process goes, and the work with it."""
        if not self.is_ended:
            await self._end(
                journal, verdict_on(self.execution.stop_reason, self.execution.stop_text)
            )

    @contextmanager
    def _time_limit(self) -> Iterator[None]:
        seconds = self.setup.spec.timeout
        if seconds is None:
            yield
            return
        text = f"the execution took longer than {seconds:g} s"
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(seconds, self.execution.stop, StopReason.TIMEOUT, text)
        try:
            yield
        finally:
            alarm.cancel()

    @contextmanager
    def _paid(self) -> Iterator[None]:
        """Hold every model call and tool call against the budgets."""
        execution = self.execution
        spender = self.setup.spender(execution.session_id, execution.execution_id)
        payer = ExecutionPurse(self.budgets, execution, spender, self.setup.budgets)
        if not payer.counts:
            yield
            return
        self.budgets.enter(execution, spender)
        token = purse.set(payer)
        try:
            yield
        finally:
            purse.reset(token)
            self.budgets.leave(execution)

    async def _walk(self, journal: ExecutionJournal) -> None:
        claim, setup = self.execution.claim, self.setup
        kept = None if claim.restore is None else restored(claim.restore)
        if kept is not None:
            journal.go_on(kept)
        if self.execution.stop_reason is not StopReason.NONE:
            raise asyncio.CancelledError
        if self._is_exhausted:
            await self._end(journal, self._given_up)
            return
        opening = await open_walk(self.desk.store, claim, setup, kept)
        journal.open(opening.book, opening.answered)
        self.execution.inbox.extend(opening.unanswered)
        await self._performer(journal, opening).run(opening.step)

    @property
    def _is_exhausted(self) -> bool:
        """Whether it took the process down as often as its entry point allows."""
        claim = self.execution.claim
        crashed = claim.was is ExecutionStatus.RUNNING
        return crashed and claim.attempts > self.setup.recovery_attempts

    @property
    def _given_up(self) -> Verdict:
        times = self.execution.claim.attempts - 1
        counted = "once" if times == 1 else f"{times} times"
        text = f"the process ended {counted} while this ran; it is not tried again"
        status = ExecutionStatus.RECOVERY_EXHAUSTED
        return Verdict(status, text, status)

    def _performer(self, journal: ExecutionJournal, opening: Opening) -> Performer:
        setup, execution, clock = self.setup, self.execution, self.desk.clock
        equipment = setup.equipment
        given = Given(
            goal=setup.goal,
            llm=equipment.model_of(setup.spec),
            models=equipment.models,
            wish=setup.spec.wish,
            tools=equipment.tools_by_name,
            tool_executor=equipment.tool_executor,
            runtime=equipment.runtime,
            execution_id=execution.execution_id,
            session_id=execution.session_id,
            stream_id=setup.stream_id,
            accounts_prompt=equipment.accounts_prompt,
            data_dir=str(setup.directory / "sessions" / execution.session_id / "data"),
            max_tokens=setup.spec.max_tokens or equipment.max_tokens,
            record_prefix=execution.record_prefix,
            take_injected=journal.take_injected,
            on_question=setup.spec.input_policy,
            heals_stalls=setup.spec.ladder.mends_stalls,
            tool_rights=ToolRights(setup.spec.tool_policy, execution.claim.source),
        )
        runner = NodeRunner(setup.topology, setup.nodes, journal, given, clock, execution.pause)
        keys = setup.graph.memory_keys
        setting = Setting(
            topology=setup.topology,
            journal=journal,
            runner=runner,
            shared=sharing_for(setup.shared, setup.stream_id, setup.isolation, keys),
            clock=clock,
            pause=execution.pause,
            execution_id=execution.execution_id,
            session_id=execution.session_id,
            ladder=setup.spec.ladder,
        )
        return Performer(setting, opening.totals, opening.path)
