"""What a person orders of a timer: to run now, and to run instants that were passed over.

What is ordered begins by the road of every due instant: the same payload, session and limits. Only the gate is not
asked, since somebody decided: a pause holds nothing back, and what runs already is not cancelled but waited for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hive_daemon.clock import iso_z
from hive_daemon.errors import Conflict, InvalidInput
from hive_daemon.runtime.intake import accepted
from hive_daemon.runtime.joining import own_session
from hive_daemon.runtime.timers import RuntimeTimers
from hive_daemon.runtime.triggers.catchup import CatchUp, missed
from hive_daemon.runtime.triggers.schedule import Schedule
from hive_daemon.runtime.triggers.timer import Due, Timer
from hive_daemon.runtime.triggers.trimmed import MomentSchedule
from hive_daemon.storage.timer_values import Occurrence, Span, TimerOutcome, TimerRow
from hive_daemon.storage.values import MAX_PAGE, Submitted

MOST_BACKFILLED = 500
"""The most instants that one order runs."""

BACKFILL = "backfill"
AFTER_PAUSE = "caught up after a pause"


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of one instant that was ordered to run: `execution_id` is None if it would begin one."""

    scheduled_at: float
    execution_id: str | None
    began: bool


@dataclass(frozen=True, slots=True)
class TimerOrders:
    """Carries out orders for the timers of one runtime; `now` is in wall seconds."""

    timers: RuntimeTimers
    now: float

    async def run_now(self, timer_id: str, key: str, digest: str) -> Submitted:
        """Begin an execution as the timer would; the same key begins it once. Raises HiveError if it cannot begin."""
        timer = self._timer(timer_id)
        due = Due(timer, round(self.now, 3), timer.next_at, 0.0, "by hand", again=True)
        session_id = await self._session(timer_id)
        call = await self.timers.call(due, session_id, queues=True)
        by_hand = replace(call, source="manual", idempotency_key=key, body_hash=digest)
        return accepted(await self.timers.place(timer_id).stream.submit(by_hand))

    async def plan(self, timer_id: str, row: TimerRow, start: float, end: float) -> list[Ran]:
        """Return the instants in [start, end], oldest first, each with the execution that it has.

        Raises InvalidInput if they are too many, or older than what the ledger knows.
        """
        instants = self._instants(timer_id, row, start, end)
        known = await self._fired(timer_id, start, end)
        return [Ran(instant, known.get(instant), began=False) for instant in instants]

    def _instants(
        self, timer_id: str, row: TimerRow, start: float, end: float
    ) -> tuple[float, ...]:
        if end < start:
            raise InvalidInput("the end lies before the start")
        if end > self.now:
            raise InvalidInput("the end lies in the future", hint="only what is past is run again")
        if row.forgotten is not None and start <= row.forgotten:
            raise InvalidInput(
                f"the ledger of {timer_id} goes back to {iso_z(row.forgotten)} only",
                hint="what ran before that is not known any more: begin later",
            )
        schedule, since = self._timer(timer_id).schedule, math.nextafter(start, -math.inf)
        count = schedule.count(since, end)
        if count > MOST_BACKFILLED:
            raise InvalidInput(
                f"{timer_id} was due {count:,} times then, at most {MOST_BACKFILLED} run at once",
                hint="take a shorter span",
            )
        return schedule.newest(since, end, MOST_BACKFILLED)

    async def _fired(self, timer_id: str, start: float, end: float) -> dict[float, str]:
        fired = (TimerOutcome.FIRED,)
        rows = await self._rows(timer_id, Span(start, math.nextafter(end, math.inf), fired))
        return {row.scheduled_at: row.execution_id or "" for row in rows}

    async def _rows(self, timer_id: str, span: Span) -> list[Occurrence]:
        """Return all rows of a span, newest first."""
        ledger, found = self.timers.source.ledger, list[Occurrence]()
        while True:
            page = await ledger.occurrences(timer_id, MAX_PAGE, span)
            found += page
            if len(page) < MAX_PAGE:
                return found
            span = replace(span, before=page[-1].scheduled_at)

    async def run_again(self, timer_id: str, wanted: Sequence[Ran], reason: str) -> list[Ran]:
        """Begin what has no execution yet, in order, each behind the one before; asked again it begins nothing twice.

        Raises HiveError where one cannot begin: those before it have begun.
        """
        return [
            ran if ran.execution_id else await self._again(timer_id, ran, reason) for ran in wanted
        ]

    async def _again(self, timer_id: str, ran: Ran, reason: str) -> Ran:
        timer, instant = self._timer(timer_id), ran.scheduled_at
        late = max(0.0, self.now - instant - timer.schedule.delay)
        due = Due(timer, instant, timer.next_at, late, reason, again=True)
        key = f"tm:{timer_id}:{iso_z(instant)}"
        submitted = await self.timers.begin(due, await self._session(timer_id), key=key)
        if submitted is not None:
            return Ran(instant, submitted.execution_id, began=submitted.created)
        # Somebody else was faster: it has its row.
        known = await self._fired(timer_id, instant, instant)
        return replace(ran, execution_id=known.get(instant))

    async def paused_over(self, row: TimerRow) -> list[Ran]:
        """Return what the catch-up policy lets run of what a timer's pause passed over, oldest first."""
        if row.paused_at is None:
            return []
        span = Span(since=row.paused_at, outcomes=(TimerOutcome.SKIPPED_PAUSED,))
        rows = await self._rows(row.timer_id, span)
        timer = self._timer(row.timer_id)
        instants = tuple(sorted(one.scheduled_at for one in rows))
        allowed = self._allowed(MomentSchedule(instants), timer.rules.catchup, timer)
        return [Ran(instant, None, began=False) for instant in allowed]

    def _allowed(self, passed: Schedule, policy: CatchUp, timer: Timer) -> tuple[float, ...]:
        now = self.now - timer.schedule.delay
        return missed(passed, -math.inf, now, policy, timer.rules.catchup_window).fire

    def _timer(self, timer_id: str) -> Timer:
        self.timers.place(timer_id)
        return self.timers.source.timers[timer_id]

    async def _session(self, timer_id: str) -> str:
        stream = self.timers.place(timer_id).stream
        session = await own_session(self.timers.store, stream)
        if session.is_waiting:
            raise Conflict(
                f"the session {session.session_id} of {timer_id} waits for a person",
                hint=f"answer it, or look at it with `hive sessions show {session.session_id}`",
            )
        return session.session_id
