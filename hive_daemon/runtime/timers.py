"""The timers of a runtime: from entry points to a timer source, and from a due instant to an execution."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from hive_daemon.clock import iso_z
from hive_daemon.errors import HiveError, StorageFull, StorageUnavailable
from hive_daemon.graph.topology import EVENT_KEY
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.graph_host import GraphHost
from hive_daemon.runtime.intake import Call
from hive_daemon.runtime.joining import join_for, own_session
from hive_daemon.runtime.services import Services
from hive_daemon.runtime.triggers.gate import Admit, Policy, Reading, decide
from hive_daemon.runtime.triggers.timer import Due, Timer, TimerSource
from hive_daemon.runtime.triggers.timer_config import TimerConfig
from hive_daemon.storage.ports import TimerLease
from hive_daemon.storage.timer_values import TimerFire, TimerOutcome, TimerSkip
from hive_daemon.storage.values import Submission, Submitted

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TimerDesk:
    """What firing a timer needs to know of the runtime."""

    services: Services
    zone: tzinfo
    hosts: Callable[[], Iterable[GraphHost]]
    tell: Callable[[AgentEvent], None]
    is_draining: Callable[[], bool]


class RuntimeTimers:
    """The timers of one runtime."""

    def __init__(self, agent: str, desk: TimerDesk) -> None:
        self._desk = desk
        services = desk.services
        self.source = TimerSource(agent, services.clock, services.store.timers, self._fire)
        self._places: dict[str, tuple[GraphHost, ExecutionStream]] = {}

    async def start(self) -> None:
        """Begin with the timers of every graph."""
        found = [timer for host in self._desk.hosts() for timer in self._timers(host)]
        await self.source.start(found)

    async def add(self, host: GraphHost) -> None:
        """Watch the timers of a further graph."""
        await self.source.add(self._timers(host))

    async def remove(self, host: GraphHost) -> None:
        """Watch the timers of a graph no more."""
        gone = [timer_id for timer_id, (owner, _) in self._places.items() if owner is host]
        for timer_id in gone:
            del self._places[timer_id]
        await self.source.remove(gone)

    async def stop(self) -> None:
        """Let nothing fire any more."""
        await self.source.stop()

    def _timers(self, host: GraphHost) -> list[Timer]:
        made = []
        for spec in host.timers():
            stream = host.streams[spec.id]
            config = TimerConfig.read(spec.trigger_config)
            for remark in config.remarks:
                logger.warning("timer setting without effect", extra={"remark": remark})
            schedule = config.schedule(self._desk.zone, self._desk.services.clock.time())
            signature = _signature(spec, config)
            timer = Timer(stream.lane, stream.stream_id, config.rules, schedule, signature)
            self._places[timer.timer_id] = (host, stream)
            made.append(timer)
        return made

    # --- firing -----------------------------------------------------------------------------

    async def _fire(self, due: Due) -> None:
        """Settle a due instant: an execution or a reason, either way one row in the ledger."""
        host, stream = self._places[due.timer.timer_id]
        spec, rules = stream.setup.spec, due.timer.rules
        session = await own_session(self._desk.services.store, stream)
        policy = Policy(rules.overlap_for(spec.max_concurrent), rules.idle_timeout_seconds)
        reading = Reading(
            is_paused=due.timer.is_paused,
            is_draining=self._desk.is_draining(),
            # It is reckoned over every stream of the graph: only where somebody asks.
            idle_seconds=host.idle_seconds if policy.idle_timeout_seconds else math.inf,
            running=stream.get_active_count(),
            queued=stream.queued_count,
            waiting=session.is_waiting,
        )
        verdict = decide(policy, reading)
        if isinstance(verdict, TimerSkip):
            await self._skip(due, stream, verdict)
            return
        try:
            await self._start(due, stream, verdict, session.session_id)
        except (StorageFull, StorageUnavailable):
            raise
        except HiveError as error:
            # It would fail the same way every time: the instant is settled, with the reason.
            await self._skip(due, stream, TimerSkip(TimerOutcome.FAILED, str(error)))

    async def _start(
        self, due: Due, stream: ExecutionStream, verdict: Admit, session_id: str
    ) -> None:
        store = self._desk.services.store
        spec = stream.setup.spec

        joins = None
        if not verdict.replaces and spec.max_concurrent > 1:
            joins = await join_for(stream, self._desk.hosts(), store)
        call = Call(
            input_data=payload(due, spec),
            session_id=session_id,
            joins=joins,
            source="timer",
            replaces=verdict.replaces,
        )
        submitted = await stream.submit(call, _Settle(due, store.timers))
        if submitted is not None:
            logger.info(
                "timer fired",
                extra={
                    "timer": due.timer.timer_id,
                    "scheduled_at": iso_z(due.scheduled_at),
                    "execution_id": submitted.execution_id,
                },
            )

    async def _skip(self, due: Due, stream: ExecutionStream, skip: TimerSkip) -> None:
        await self._desk.services.store.timers.fire(due.settled(skip))
        level = logging.ERROR if skip.outcome is TimerOutcome.FAILED else logging.INFO
        logger.log(
            level,
            "timer skipped",
            extra={"timer": due.timer.timer_id, "outcome": skip.outcome, "reason": skip.reason},
        )
        data = {
            "timer": due.timer.timer_id,
            "scheduled_for": iso_z(due.scheduled_at),
            "outcome": skip.outcome.value,
            "reason": skip.reason,
        }
        setup = stream.setup
        self._desk.tell(
            AgentEvent(
                EventType.TRIGGER_SKIPPED,
                stream.stream_id,
                data=data,
                graph_id=setup.graph_id,
                agent=setup.agent,
            )
        )


@dataclass(frozen=True, slots=True)
class _Settle:
    """Submits an execution and settles its due instant in one moment."""

    due: Due
    ledger: TimerLease

    async def __call__(self, submission: Submission) -> Submitted | None:
        due = self.due
        return await self.ledger.fire(
            TimerFire(due.timer.timer_id, due.scheduled_at, due.next_at, submission)
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


def _signature(spec: EntryPointSpec, config: TimerConfig) -> str:
    """Return what changes when the timer's schedule does: a changed one begins a new phase."""
    when = {"cron": config.cron, "every": config.every, "minutes": config.interval_minutes}
    text = json.dumps({**when, "zone": config.timezone}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
