"""Whether the daemon is alive, and whether it takes new work: cheap looks, each with a name and a line of text.

`health` only looks at what is in memory. `ready` also has the store make something durable, once in a few seconds
however often it is asked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hive_daemon.clock import LOOK_AGAIN_SECONDS, Clock
from hive_daemon.control.answers import Json
from hive_daemon.control.host import Host, agents_of, state_of, troubles_of
from hive_daemon.control.socket import BoundSocket
from hive_daemon.errors import StorageError, StorageFull
from hive_daemon.observability.redaction import redactor
from hive_daemon.runtime.lifecycle import RunState

FRESH_SECONDS = 5.0
"""How long one proof that the store can be written counts."""

PROOF_SECONDS = 5.0
"""A store that takes longer than this for one small write cannot be called ready."""

DISPATCHER_TASK = "dispatcher: claim"

MOST_SILENT_SECONDS = 10.0
"""An end that nobody is told of for longer than this waits for a mirror that does not answer."""

MOST_TICKS = 3
"""Ticks that may be missed: timers look at the clock every `LOOK_AGAIN_SECONDS` at least."""

STARTING = (RunState.NEW, RunState.STARTING)


@dataclass(frozen=True, slots=True)
class Check:
    """What one look found."""

    is_ok: bool
    detail: str

    def view(self) -> Json:
        """Return it as it is shown."""
        return {"ok": self.is_ok, "detail": redactor().redact_text(self.detail)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How things stand, and whether that is good news."""

    is_ok: bool
    status: str
    checks: dict[str, Check]

    def view(self) -> Json:
        """Return it as it is shown."""
        return {
            "status": self.status,
            "checks": {name: check.view() for name, check in self.checks.items()},
        }


class StoreProof:
    """Remembers whether the store could be written when that was last tried."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._last = Check(True, "open")
        self._tried_at = float("-inf")
        self._turn = asyncio.Lock()

    @property
    def last(self) -> Check:
        """What was found last."""
        return self._last

    async def fresh(self) -> Check:
        """Return what is found now, or was a few seconds ago."""
        async with self._turn:
            clock: Clock = self._host.services.clock
            if clock.monotonic() - self._tried_at >= FRESH_SECONDS:
                self._last = await self._try()
                self._tried_at = clock.monotonic()
            return self._last

    async def _try(self) -> Check:
        services = self._host.services
        try:
            async with asyncio.timeout(PROOF_SECONDS):
                await services.store.lease.heartbeat(services.node)
        except TimeoutError:
            return Check(False, f"did not take one small write within {PROOF_SECONDS:g} s")
        except (StorageError, StorageFull) as error:
            return Check(False, f"cannot be written: {error}")
        return Check(True, "writable")


class Vitals:
    """Looks at the daemon."""

    def __init__(self, host: Host, bound: BoundSocket) -> None:
        self._host = host
        self._bound = bound
        self._store = StoreProof(host)

    def health(self) -> Verdict:
        """Say whether the process is alive, from memory alone."""
        checks = {"store": self._store.last, **self._tasks(), **self._parts()}
        if not all(check.is_ok for check in self._tasks().values()):
            return Verdict(False, "failing", checks)
        is_well = all(check.is_ok for check in checks.values())
        return Verdict(True, "ok" if is_well else "degraded", checks)

    async def ready(self) -> Verdict:
        """Say whether new work is welcome."""
        state = state_of(self._host)
        if state in STARTING:
            return Verdict(False, "starting", {"store": self._store.last, **self._parts()})
        checks = {"store": await self._store.fresh(), **self._tasks(), **self._parts()}
        if state is not RunState.RUNNING:
            return Verdict(False, "draining", checks)
        needed = (check for name, check in checks.items() if name != "agents")
        if all(check.is_ok for check in needed):
            return Verdict(True, "ready", checks)
        return Verdict(False, "failing", checks)

    def _tasks(self) -> dict[str, Check]:
        """Look whether what drives everything still runs."""
        if state_of(self._host) in STARTING:
            return {}
        alive = {task.get_name() for task in asyncio.all_tasks()}
        return {
            "dispatcher": _running(DISPATCHER_TASK in alive),
            "events": self._events(),
            "timers": self._timers(),
        }

    def _events(self) -> Check:
        """Look whether what commits is told of."""
        silent = self._host.services.hub.silent_seconds
        if silent > MOST_SILENT_SECONDS:
            return Check(
                False, f"an end waits to be told for {silent:.0f} s: its files are not written"
            )
        return Check(True, "what commits is told of")

    def _timers(self) -> Check:
        """Look whether the clock is looked at."""
        ages = [
            agent.runtime.opened.timers.source.tick_age
            for agent in agents_of(self._host)
            if agent.runtime is not None and agent.runtime.opened is not None
        ]
        oldest = max(ages, default=0.0)
        if oldest > MOST_TICKS * LOOK_AGAIN_SECONDS:
            return Check(False, f"nobody looked at the clock for {oldest:.0f} s")
        return Check(True, f"looked at the clock {oldest:.0f} s ago")

    def _parts(self) -> dict[str, Check]:
        return {"control": self._control(), "http": self._http(), "agents": self._agents()}

    def _control(self) -> Check:
        if self._bound.is_in_place:
            return Check(True, f"listens on {self._bound.path}")
        return Check(False, f"somebody removed or replaced {self._bound.path}: restart the daemon")

    def _http(self) -> Check:
        webhooks = self._host.webhooks
        if webhooks.is_running:
            return Check(True, f"listens on port {webhooks.port}")
        if not webhooks.routes:
            return Check(True, "not needed: no agent has a webhook route")
        return Check(state_of(self._host) is not RunState.RUNNING, "does not listen")

    def _agents(self) -> Check:
        agents = agents_of(self._host)
        troubled = [
            f"{agent.name}: {why}" for agent in agents for why in troubles_of(self._host, agent)
        ]
        if troubled:
            return Check(False, "; ".join(" ".join(line.split()) for line in troubled))
        return Check(True, f"{len(agents)} loaded")


def _running(is_alive: bool) -> Check:
    return Check(is_alive, "runs" if is_alive else "has ended: the log says why")
