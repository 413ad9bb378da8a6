"""An agent with timers on a clock of the test's own, and what its ledger says."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime

from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import EventType
from hive_daemon.runtime.timer_orders import TimerOrders
from tests.fakes.embedded import GOAL, Heard, function, graph_of, services_at

NINE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC).timestamp()  # a Monday
LANE = "agent/report"
DONE, SKIPPED = EventType.EXECUTION_COMPLETED, EventType.TRIGGER_SKIPPED


async def look_at(event: dict) -> dict:
    """Be a node that answers what set it off."""
    return event


def timer(entry_point="report", *, session="new", max_concurrent=10, **config):
    """An entry point that a timer sets off."""
    level = "isolated" if session == "reuse" else "shared"
    return EntryPointSpec(
        id=entry_point,
        trigger_type="timer",
        trigger_config=config,
        isolation_level=level,
        session=session,
        max_concurrent=max_concurrent,
    )


REPORT = function("report", look_at, inputs=["event"])


class Agent:
    """A running agent with timers."""

    def __init__(self, clock, services, runtime):
        """Listen to what it tells."""
        self.clock, self.services, self.runtime = clock, services, runtime
        self.heard = Heard.of(runtime)

    async def ledger(self, timer_id=LANE):
        """What became of the due instants, oldest first, as (seconds after nine, outcome)."""
        rows = await self.services.store.timers.occurrences(timer_id)
        return [(round(row.scheduled_at - NINE, 3), row.outcome.value) for row in rows[::-1]]

    async def rows(self, timer_id=LANE):
        """Return the rows of the ledger, oldest first."""
        return (await self.services.store.timers.occurrences(timer_id, 500))[::-1]

    async def row(self, timer_id=LANE):
        """Return what the ledger knows of a timer."""
        rows = {row.timer_id: row for row in await self.services.store.timers.rows()}
        return rows[timer_id]

    @property
    def orders(self):
        """What a person may order, now."""
        return TimerOrders(self.runtime.opened.timers, self.clock.time())

    async def fired(self, count, stream_id="report"):
        """Wait until so many executions are over; what the last was given."""
        event = await self.heard.until(DONE, stream_id, count=count)
        return event.data["output"]["answer"]

    async def skipped(self, count):
        """Wait until so many instants were passed over; why the last was."""
        event = await self.heard.until(SKIPPED, "report", count=count)
        return event.data["outcome"], event.data["reason"]


@asynccontextmanager
async def agent(path, clock, *specs, graph=None):
    """A running agent with these entry points; stopped at once afterwards."""
    async with services_at(path, clock) as (services, placement):
        runtime = AgentRuntime(graph or graph_of(REPORT), GOAL, placement=placement)
        for spec in specs:
            runtime.register_entry_point(spec)
        made = Agent(clock, services, runtime)
        await runtime.start()
        try:
            yield made
        finally:
            await runtime.stop(0.0)
