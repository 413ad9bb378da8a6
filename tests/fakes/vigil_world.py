"""An agent that is watched over: real services on a clock of the test's own, and a sink that keeps what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hive_daemon.clock import Clock
from hive_daemon.graph.edge import GraphSpec
from hive_daemon.monitoring.alert_rules import Alert
from hive_daemon.monitoring.alerts import AlertFailed, AlertRule
from hive_daemon.monitoring.vigil import Vigil, keep_vigil
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig
from hive_daemon.runtime.services import Services
from hive_daemon.storage.incident_book import FAILURES_IN_A_ROW, Incident, IncidentFilter
from tests.fakes.embedded import GOAL, SECONDS, Heard, services_at


@dataclass
class Ears:
    """A sink that keeps what it is told, after failing so many times."""

    failures: int = 0
    tries: int = 0
    told: list[Alert] = field(default_factory=list)

    async def deliver(self, alert: Alert) -> None:
        """Keep it."""
        self.tries += 1
        if self.failures:
            self.failures -= 1
            raise AlertFailed("not now")
        self.told.append(alert)

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """What was told, of which pattern."""
        return [(alert.kind.value, alert.incident.pattern) for alert in self.told]


@dataclass
class Watched:
    """What runs, who watches, and who is told."""

    services: Services
    runtime: AgentRuntime
    vigil: Vigil
    ears: Ears
    heard: Heard

    async def run(self, entry_point: str = "api", **inputs: Any) -> str:
        """Run an execution to its end, and let the vigil work in what happened; its status."""
        result = await self.runtime.trigger_and_wait(entry_point, inputs, timeout=SECONDS)
        await self.settle()
        return "none" if result is None else result.status

    async def settle(self) -> None:
        """Let everything that happened be published, reported and told."""
        await self.services.hub.flush()
        await self.vigil.desk.settle()
        await self.services.hub.flush()
        await self.vigil.alerts.settle(SECONDS)

    async def incidents(self) -> list[Incident]:
        """All incidents, first seen first."""
        found = await self.services.store.incidents.listing(IncidentFilter(limit=500))
        return sorted(found, key=lambda each: each.first_seen)


@asynccontextmanager
async def watched(
    path: Path,
    clock: Clock,
    graph: GraphSpec,
    *specs: EntryPointSpec,
    rules: Sequence[AlertRule] | None = None,
    stall_seconds: float = 0.0,
    failures: int = FAILURES_IN_A_ROW,
    **given: Any,
) -> AsyncIterator[Watched]:
    """Run an agent, with somebody who watches over it; silence counts only if a test says from when on."""
    ears = Ears()
    settings = AgentRuntimeConfig(stall_seconds=stall_seconds)
    if rules is None:
        rules = [AlertRule("ears", ears, "ears")]
    async with (
        services_at(path, clock, settings) as (services, placement),
        keep_vigil(services, rules, failures) as vigil,
    ):
        runtime = AgentRuntime(graph, GOAL, placement=placement, **given)
        for spec in specs or (EntryPointSpec(id="api"),):
            runtime.register_entry_point(spec)
        await runtime.start()
        try:
            yield Watched(services, runtime, vigil, ears, Heard.of(runtime))
        finally:
            await runtime.stop(0.0)
