"""What pays for the calls of one execution: each is held against the budgets before it goes out.

Laws: a call goes out only when what it may come to is durably held; what it came to replaces that, also if the
execution is cancelled meanwhile; one that is refused ends or parks the execution as the rule says, and is told of.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

from hive_daemon.budgets.decisions import Reached, action_of, hardest
from hive_daemon.budgets.rules import NOTHING, Amount, OnExceed, Rule, Spender
from hive_daemon.errors import BudgetExceeded, StorageFull, StorageUnavailable
from hive_daemon.graph.budget_facts import BudgetReached, BudgetWarned
from hive_daemon.ids import new_span_id
from hive_daemon.llm.failures import CallRejected
from hive_daemon.llm.purse import Came, Stand, Wanted
from hive_daemon.pulse import resting
from hive_daemon.runtime.budget_desk import BudgetDesk
from hive_daemon.runtime.execution import Execution, StopReason
from hive_daemon.runtime.pen import RETRY_SECONDS
from hive_daemon.storage.budget_ledger import Actual, Answer, Asking, Check, News, NewsKind

logger = logging.getLogger(__name__)

ELSEWHERE_SECONDS = 10.0
"""How long a blocking call on another thread waits for the event loop."""

CANCEL_SECONDS = 1.0
"""How long a refused call waits to be cancelled with its execution."""

_STOPS = {
    OnExceed.DEGRADE: StopReason.BUDGET,
    OnExceed.PAUSE: StopReason.BUDGET,
    OnExceed.REJECT: StopReason.OUT_OF_BUDGET,
    OnExceed.KILL: StopReason.OUT_OF_BUDGET,
}


class ExecutionPurse:
    """The purse of one execution; see `llm.purse`. Made on the event loop that the store belongs to."""

    def __init__(
        self, desk: BudgetDesk, execution: Execution, spender: Spender, own: tuple[Rule, ...]
    ) -> None:
        self._desk = desk
        self._execution = execution
        self._spender = spender
        self._found = desk.concerning(spender, own)
        self._home = asyncio.get_running_loop()
        # A life is kept only where a rule asks for it; everything else is always counted.
        lives = {f"execution:{spender.execution_id}", f"session:{spender.session_id}"}
        wanted = {subject for _, subject in self._found}
        known = spender.subjects.values()
        self._subjects = tuple(each for each in known if each not in lives or each in wanted)

    @property
    def counts(self) -> bool:
        """Whether any budget concerns the execution."""
        return bool(self._found)

    async def hold(self, wanted: Wanted) -> _Held:
        """Admit a model call. Raises BudgetExceeded, CallRejected."""
        if asyncio.get_running_loop() is not self._home:
            return await self._from_elsewhere(wanted)
        await self._check_price(wanted)
        is_last = wanted.stand is Stand.LAST
        checks = tuple(
            self._desk.check(
                rule, subject, binds=not (is_last and rule.on_exceed is OnExceed.DEGRADE)
            )
            for rule, subject in self._found
        )
        estimate = Amount(wanted.cost_usd or 0.0, wanted.tokens, requests=1)
        asking = Asking(new_span_id(), self._subjects, self._desk.hour(), estimate, checks)
        answer = await self._reserve(asking)
        if not answer.is_admitted:
            raise await self._refused(answer.exceeded, wanted.stand)
        return _Held(self, asking.call_id)

    async def hold_tool(self, name: str) -> None:
        """Admit a tool call, which counts at once. Raises BudgetExceeded."""
        found = [each for each in self._found if each[0].limits.tool_calls is not None]
        if not found:
            return
        checks = tuple(self._desk.check(rule, subject) for rule, subject in found)
        estimate = Amount(tool_calls=1)
        asking = Asking(
            new_span_id(), self._subjects, self._desk.hour(), estimate, checks, is_final=True
        )
        answer = await self._reserve(asking)
        if not answer.is_admitted:
            raise await self._refused(answer.exceeded, Stand.ALONE)

    def settled(self, call_id: str, came: Came | None) -> None:
        """Note what a call came to, from whatever thread."""
        actual = None
        if came is not None:
            amount = Amount(came.cost_usd or 0.0, came.tokens, requests=1)
            actual = Actual(amount, is_unpriced=came.cost_usd is None)
        if _running() is self._home:
            self._settle(call_id, actual)
        elif not self._home.is_closed():
            self._home.call_soon_threadsafe(self._settle, call_id, actual)

    # --- asking -----------------------------------------------------------------------------

    async def _from_elsewhere(self, wanted: Wanted) -> _Held:
        """Ask from the event loop of a blocking call, in another thread."""
        answer = asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(self.hold(wanted), self._home)
        )
        try:
            async with asyncio.timeout(ELSEWHERE_SECONDS):
                return await answer
        except TimeoutError:
            raise BudgetExceeded(
                "the call cannot be held against the budgets: the event loop is blocked",
                hint="await acomplete() instead of calling complete() in asynchronous code",
            ) from None

    async def _reserve(self, asking: Asking) -> Answer:
        """Ask the ledger and tell what is news; whoever is cancelled meanwhile holds nothing."""
        try:
            answer = await self._asked(asking)
            for news in answer.news:
                await self._tell(news)
        except BaseException:
            if not asking.is_final:
                self._settle(asking.call_id, Actual(NOTHING))
            raise
        return answer

    async def _asked(self, asking: Asking) -> Answer:
        """Ask the ledger; while the store cannot be written the call waits, as every commit of its execution does."""
        tries = 0
        while True:
            try:
                answer = await self._desk.ledger.reserve(asking)
                self._desk.settle_again()
                return answer
            except (StorageFull, StorageUnavailable) as error:
                pause = RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)]
                extra = {"error": str(error), "retry_in_seconds": pause}
                logger.warning("a call waits until it can be held", extra=extra)
            tries += 1
            with resting():
                await self._desk.clock.sleep(pause)

    def _settle(self, call_id: str, actual: Actual | None) -> None:
        self._desk.settle(call_id, actual)

    async def _check_price(self, wanted: Wanted) -> None:
        """Refuse a call without a price under a limit in dollars, unless such calls are allowed."""
        if wanted.cost_usd is not None or self._desk.budgets.allows_unpriced:
            return
        for rule, _ in self._found:
            if rule.limits.usd is not None:
                # The remedy is part of the sentence: that is what an execution that parks keeps.
                text = (
                    f"the price of {wanted.model} is not known, and the budget {rule.id} limits dollars: "
                    "name a model whose price is known, or set unpriced: allow"
                )
                refusal = BudgetExceeded(text, subject=rule.id)
                raise await self._stopped(rule, refusal, wanted.stand)

    # --- refusing ---------------------------------------------------------------------------

    async def _refused(
        self, exceeded: tuple[tuple[Check, Reached], ...], stand: Stand
    ) -> BudgetExceeded | CallRejected:
        """Carry out what the hardest rule says, and return the error of the call."""
        rule = hardest(check.rule for check, _ in exceeded)
        check, reached = next(each for each in exceeded if each[0].rule is rule)
        error = self._desk.refused(check.rule, reached)
        if check.rule.on_exceed is OnExceed.KILL:
            self._desk.kill(check.rule, check.subject, str(error))
        return await self._stopped(check.rule, error, stand)

    async def _stopped(
        self, rule: Rule, error: BudgetExceeded, stand: Stand
    ) -> BudgetExceeded | CallRejected:
        action = action_of(rule, can_degrade=stand is not Stand.ALONE)
        if action is OnExceed.DEGRADE and stand is Stand.BEFORE_LAST:
            return CallRejected(f"{error}; the last of the fallbacks goes on", hint=error.hint)
        self._execution.stop(_STOPS[action], str(error))
        # The cancellation comes here, unless somebody called from a task of their own.
        with suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_SECONDS):
                await asyncio.Event().wait()
        return error

    async def _tell(self, news: News) -> None:
        rule, reached = news.check.rule, news.reached
        told = (rule.id, news.check.subject, reached.measure.value, reached.limit, reached.used)
        resets_at = self._desk.resets_at(rule)
        extra = {
            "budget": rule.id,
            "used": reached.told,
            "resets_at": resets_at,
            "repeat_key": f"{rule.id} {news.check.subject}",
        }
        if news.kind is NewsKind.WARNING:
            logger.warning("a budget is nearly spent", extra=extra)
            await self._execution.remark(BudgetWarned(None, *told, resets_at=resets_at))
            return
        logger.error("a budget is spent", extra={**extra, "on_exceed": rule.on_exceed.value})
        await self._execution.remark(
            BudgetReached(None, *told, resets_at=resets_at, on_exceed=rule.on_exceed.value)
        )


@dataclass(frozen=True, slots=True)
class _Held:
    """What is held for one call."""

    purse: ExecutionPurse
    call_id: str

    def settle(self, came: Came | None) -> None:
        """Say what the call came to."""
        self.purse.settled(self.call_id, came)


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
