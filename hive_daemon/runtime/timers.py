"""The timers of a runtime: from entry points to a timer source, and from a due instant to an execution."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any

from hive_daemon.clock import iso_z
from hive_daemon.errors import (
    BudgetExceeded,
    Busy,
    Draining,
    HiveError,
    Refused,
    StorageFull,
    StorageUnavailable,
    TimerNotFound,
)
from hive_daemon.graph.topology import EVENT_KEY
from hive_daemon.runtime.budget_desk import HOLDS_TIMERS
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.graph_host import GraphHost
from hive_daemon.runtime.intake import Call
from hive_daemon.runtime.joining import join_for, own_session
from hive_daemon.runtime.services import Services
from hive_daemon.runtime.triggers.gate import Admit, Policy, Reading, decide
from hive_daemon.runtime.triggers.timer import SCHEDULED, Due, Timer
from hive_daemon.runtime.triggers.timer_config import Overlap, TimerConfig
from hive_daemon.runtime.triggers.timer_source import Change, TimerNews, TimerSource
from hive_daemon.storage.ports import Store, TimerLease
from hive_daemon.storage.timer_values import LEDGER_NAME, TimerFire, TimerOutcome, TimerSkip
from hive_daemon.storage.values import Submission, Submitted
from hive_daemon.tasks import Scope

logger = logging.getLogger(__name__)

_NEWS = {
    Change.PAUSED: EventType.TIMER_PAUSED,
    Change.RESUMED: EventType.TIMER_RESUMED,
    Change.DONE: EventType.TIMER_DONE,
}
_LEVELS = {TimerOutcome.FAILED: logging.ERROR, TimerOutcome.MISSED: logging.WARNING}
_OTHER_KEYS = {
    "jitter",
    "run_immediately",
    "idle_timeout_seconds",
    "overlap",
    "catchup",
    "catchup_window",
    "remaining_actions",
    "pause_on_failure",
    "paused",
    "note",
}
"""The keys of a timer that do not say when it is due; `jitter` says only when it begins."""


@dataclass(frozen=True, slots=True)
class TimerDesk:
    """What firing a timer needs to know of the runtime."""

    services: Services
    zone: tzinfo
    hosts: Callable[[], Iterable[GraphHost]]
    tell: Callable[[AgentEvent], None]
    is_draining: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class TimerPlace:
    """Where a timer stands: its graph, its stream, and what its owner wrote of it."""

    host: GraphHost
    stream: ExecutionStream
    config: TimerConfig


class RuntimeTimers:
    """The timers of one runtime."""

    def __init__(self, agent: str, desk: TimerDesk) -> None:
        self._agent = agent
        self._desk = desk
        services = desk.services
        self.source = TimerSource(
            agent, services.clock, services.store.timers, self._fire, self._tell
        )
        self._places: dict[str, TimerPlace] = {}
        self._scope = Scope("timer ends")
        self._token: int | None = None

    async def start(self) -> None:
        """Begin with the timers of every graph."""
        self._token = self._desk.services.hub.listen(self._heard, self._agent)
        found = [timer for host in self._desk.hosts() for timer in self._timers(host)]
        await self.source.start(found)

    async def add(self, host: GraphHost) -> None:
        """Watch the timers of a further graph."""
        await self.source.add(self._timers(host))

    async def remove(self, host: GraphHost) -> None:
        """Watch the timers of a graph no more."""
        gone = [timer_id for timer_id, place in self._places.items() if place.host is host]
        for timer_id in gone:
            del self._places[timer_id]
        await self.source.remove(gone)

    async def stop(self) -> None:
        """Let nothing fire any more. Idempotent."""
        if self._token is not None:
            self._desk.services.hub.unlisten(self._token)
        await self.source.stop()
        await self._scope.close()

    @property
    def store(self) -> Store:
        """The store in which its executions are kept."""
        return self._desk.services.store

    def place(self, timer_id: str) -> TimerPlace:
        """Return where a timer stands. Raises TimerNotFound."""
        found = self._places.get(timer_id)
        if found is None:
            raise TimerNotFound(subject=timer_id)
        return found

    def _timers(self, host: GraphHost) -> list[Timer]:
        made = []
        for spec in host.timers():
            stream = host.streams[spec.id]
            config = TimerConfig.read(spec.trigger_config)
            for remark in config.remarks:
                told = {"remark": remark, "repeat_key": f"{stream.lane} {remark}"}
                logger.warning("timer setting without effect", extra=told)
            timer = Timer(
                stream.lane,
                stream.stream_id,
                config.rules,
                config.schedule(self._desk.zone, self._desk.services.clock.time(), stream.lane),
                signature_of(config, self._desk.zone),
            )
            self._places[timer.timer_id] = TimerPlace(host, stream, config)
            made.append(timer)
        return made

    # --- news -------------------------------------------------------------------------------

    def _heard(self, event: AgentEvent) -> None:
        """Take note that an execution failed; nothing is lost if nobody does, the next fire looks again."""
        lane = f"{self._agent}/{event.stream_id}"
        if event.type is EventType.EXECUTION_FAILED and lane in self._places:
            self._scope.spawn(lane, self._account(lane))

    async def _account(self, timer_id: str) -> None:
        try:
            await self.source.account([timer_id])
        except (StorageFull, StorageUnavailable) as error:
            logger.warning("failures are counted later", extra={"error": str(error)})

    def _tell(self, news: TimerNews) -> None:
        timer_id = news.timer.timer_id
        told: dict[str, Any] = {"timer": timer_id, "by": news.by, "reason": news.reason}
        is_alarm = news.change is Change.PAUSED and news.by == LEDGER_NAME
        logger.log(
            logging.ERROR if is_alarm else logging.INFO,
            "timer changed",
            extra={**told, "change": news.change.value, "repeat_key": timer_id},
        )
        if news.change is Change.PAUSED:
            told["until"] = None if news.until is None else iso_z(news.until)
        if news.change is Change.DONE:
            del told["by"]
        if timer_id in self._places:
            self._publish(_NEWS[news.change], self._places[timer_id].stream, told)

    def _publish(self, kind: EventType, stream: ExecutionStream, data: dict[str, Any]) -> None:
        setup = stream.setup
        self._desk.tell(
            AgentEvent(
                kind,
                stream.stream_id,
                data=data,
                graph_id=setup.graph_id,
                agent=setup.agent,
            )
        )

    # --- firing -----------------------------------------------------------------------------

    async def _fire(self, due: Due) -> None:
        """Settle a due instant: an execution or a reason, either way one row in the ledger."""
        place = self._places.get(due.timer.timer_id)
        if place is None:
            return  # Its graph was taken out meanwhile.
        stream = place.stream
        if due.skip is not None:
            await self._skip(due, stream, due.skip)
            return
        session = await own_session(self._desk.services.store, stream)
        verdict = self._decide(due, place, session.is_waiting)
        if isinstance(verdict, Admit):
            verdict = await self._held(stream) or verdict
        if isinstance(verdict, TimerSkip):
            await self._skip(due, stream, verdict)
            return
        try:
            await self.begin(due, session.session_id, replaces=verdict.replaces)
        except (StorageFull, StorageUnavailable):
            raise
        except TimerNotFound:
            return  # Its graph was taken out meanwhile.
        except HiveError as error:
            # It would fail the same way every time: the instant is settled, with the reason.
            await self._skip(due, stream, _refused(error))

    async def _held(self, stream: ExecutionStream) -> TimerSkip | None:
        """Say whether a budget is spent that holds the timers under it."""
        setup = stream.setup
        budgets = self._desk.services.budgets
        held = await budgets.refusal(setup.spender(), setup.budgets, HOLDS_TIMERS)
        return None if held is None else _refused(held)

    def _decide(self, due: Due, place: TimerPlace, waiting: bool) -> Admit | TimerSkip:
        timer, stream = due.timer, place.stream
        overlap = timer.rules.overlap_for(1 if stream.takes_over else stream.limit + 1)
        policy = Policy(
            Overlap.BUFFER_ALL if due.queues else overlap, timer.rules.idle_timeout_seconds
        )
        reading = Reading(
            is_paused=timer.holds(due.scheduled_at),
            is_draining=self._desk.is_draining(),
            # It is reckoned over every stream of the graph: only where somebody asks.
            idle_seconds=place.host.idle_seconds if policy.idle_timeout_seconds else math.inf,
            running=stream.get_active_count(),
            queued=stream.queued_count,
            waiting=waiting,
        )
        return decide(policy, reading)

    async def begin(
        self, due: Due, session_id: str, *, replaces: bool = False, key: str = ""
    ) -> Submitted | None:
        """Begin the execution of a due instant, which is settled with it; None if nothing began.

        Raises HiveError if nothing can begin: then the instant is not settled.
        """
        store, timer = self._desk.services.store, due.timer
        stream = self.place(timer.timer_id).stream
        call = await self.call(due, session_id, replaces=replaces, queues=not replaces)
        if key:
            call = replace(call, idempotency_key=key, body_hash=key)
        submitted = await stream.submit(call, _Settle(due, store.timers))
        if submitted is None:
            # Settled before, or the ledger knew better than to fire: it paused the timer.
            await self.source.account([timer.timer_id])
            return None
        logger.info(
            "timer fired",
            extra={
                "timer": timer.timer_id,
                "scheduled_at": iso_z(due.scheduled_at),
                "execution_id": submitted.execution_id,
            },
        )
        if not due.again and timer.use_one():
            self._tell(
                TimerNews(timer, Change.DONE, reason="none of its remaining_actions is left")
            )
        return submitted

    async def call(
        self, due: Due, session_id: str, *, replaces: bool = False, queues: bool = False
    ) -> Call:
        """Return the call for an execution that this timer begins, whoever sets it off."""
        stream = self.place(due.timer.timer_id).stream
        spec = stream.setup.spec
        joins = None
        if not replaces and not stream.takes_over:
            joins = await join_for(stream, self._desk.hosts(), self._desk.services.store)
        return Call(
            input_data=payload(due, spec),
            session_id=session_id,
            joins=joins,
            source="timer",
            replaces=replaces,
            queues=queues,
        )

    async def _skip(self, due: Due, stream: ExecutionStream, skip: TimerSkip) -> None:
        await self._desk.services.store.timers.fire(due.settled(skip))
        count = 1 + len(skip.earlier) + skip.uncounted
        data = {
            "timer": due.timer.timer_id,
            "scheduled_for": iso_z(due.scheduled_at),
            "outcome": skip.outcome.value,
            "reason": skip.reason + (f" ({count} instants up to this one)" if count > 1 else ""),
        }
        extra = {**data, "repeat_key": due.timer.timer_id}
        logger.log(_LEVELS.get(skip.outcome, logging.INFO), "timer skipped", extra=extra)
        self._publish(EventType.TRIGGER_SKIPPED, stream, data)
        if skip.outcome is TimerOutcome.FAILED:
            await self.source.account([due.timer.timer_id])


@dataclass(frozen=True, slots=True)
class _Settle:
    """Submits an execution and settles its due instant in one moment."""

    due: Due
    ledger: TimerLease

    async def __call__(self, submission: Submission) -> Submitted | None:
        due = self.due
        return await self.ledger.fire(
            TimerFire(
                due.timer.timer_id,
                due.scheduled_at,
                due.next_at,
                submission,
                late_by=round(due.late_by, 3),
                reason="" if due.reason == SCHEDULED else due.reason,
                again=due.again,
            )
        )


def payload(due: Due, spec: EntryPointSpec) -> dict[str, Any]:
    """Return what an execution begun by a timer is given."""
    event = {
        "source": "timer",
        "reason": due.reason,
        "timer": due.timer.timer_id,
        "scheduled_for": iso_z(due.scheduled_at),
        "late_by": round(due.late_by, 3),
    }
    return {EVENT_KEY: event, **({"task": spec.task} if spec.task else {})}


def signature_of(config: TimerConfig, zone: tzinfo) -> str:
    """Return what changes when the timer's schedule does: a changed one begins a new phase."""
    when = config.model_dump_json(exclude=_OTHER_KEYS)
    text = f"{when} {config.timezone or zone}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _refused(error: HiveError) -> TimerSkip:
    """Say why an instant starts nothing: a queue that takes no more is no failure of the timer."""
    if isinstance(error, Draining):
        return TimerSkip(TimerOutcome.SKIPPED_PAUSED, "the daemon is draining")
    if isinstance(error, BudgetExceeded):
        return TimerSkip(TimerOutcome.HELD_BUDGET, str(error))
    if isinstance(error, Busy | Refused):
        return TimerSkip(TimerOutcome.SKIPPED_OVERLAP, str(error))
    return TimerSkip(TimerOutcome.FAILED, str(error))
