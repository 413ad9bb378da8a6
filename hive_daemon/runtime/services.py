"""What one process shares among all its agents: the store, the hub, the mirror, the dispatcher, the clock."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Protocol

from hive_daemon.budgets.rules import NO_BUDGETS, Budgets
from hive_daemon.clock import Clock
from hive_daemon.errors import StorageFull, StorageUnavailable
from hive_daemon.monitoring.health import USUAL, Thresholds
from hive_daemon.runtime.budget_desk import BudgetDesk
from hive_daemon.runtime.dispatcher import Dispatcher
from hive_daemon.runtime.hub import Hub, Mirror
from hive_daemon.runtime.stall_watch import STALL_SECONDS, StallWatch
from hive_daemon.storage.mirror_fold import MirrorMode
from hive_daemon.storage.ports import Store
from hive_daemon.tasks import Scope

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
FIRST_SWEEP_SECONDS = 2.0
"""When to look again if the store could not be written."""
ATTEMPTS_CEILING = 100
"""How often an execution may take the process down whatever its entry point says; each stream has its own limit."""


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """How the shared parts are set up.

    `interactive_slots` of `max_concurrent_executions` are never taken by timers and events; None is a fifth. A
    node that is silent for `stall_seconds` is told of, 0: none is. `health` says when an execution does not get on.
    `budgets` hold for all agents, in windows of `zone`. With `mirror_process` a process of its own writes the
    readable files, and not a thread.
    """

    state_dir: Path
    max_concurrent_executions: int = 100
    interactive_slots: int | None = None
    mirror: MirrorMode = MirrorMode.FULL
    mirror_process: bool = False
    keep_checkpoints: int = 5
    stall_seconds: float = STALL_SECONDS
    budgets: Budgets = NO_BUDGETS
    zone: tzinfo = UTC
    health: Thresholds = USUAL

    @property
    def background_slots(self) -> int:
        """How many executions may run that timers and events began: at least one."""
        total, kept = self.max_concurrent_executions, self.interactive_slots
        if kept is None:
            kept = max(1, total // 5)
        return max(1, total - kept)


class Work(Protocol):
    """Something that is done while the services run."""

    async def run(self) -> None:
        """Do it until it is done or cancelled."""


@dataclass(frozen=True, slots=True)
class Services:
    """The shared parts, running."""

    settings: ServiceSettings
    store: Store
    hub: Hub
    mirror: Mirror
    catch_up: Work
    dispatcher: Dispatcher
    clock: Clock
    node: str
    scope: Scope
    stalls: StallWatch
    budgets: BudgetDesk


async def take_over(services: Services) -> None:
    """Queue again what an earlier process left running. Before the streams start, so that they see it.

    If the store cannot be written now, that is tried again later.
    """
    await _sweep_or_say(services)


def begin_work(services: Services) -> None:
    """Begin to claim, to look for what nobody owns and what stalls, and to mend the readable files."""
    services.dispatcher.start()
    services.scope.spawn("sweep", _keep_sweeping(services))
    services.scope.spawn("mirror catch-up", services.catch_up.run())
    services.scope.spawn("stall watch", services.stalls.run())


async def _keep_sweeping(services: Services) -> None:
    pause = FIRST_SWEEP_SECONDS
    while True:
        await services.clock.sleep(pause)
        is_done = await _sweep_or_say(services)
        services.dispatcher.look_again()
        pause = SWEEP_SECONDS if is_done else FIRST_SWEEP_SECONDS


async def _sweep_or_say(services: Services) -> bool:
    try:
        await _sweep(services)
    except (StorageFull, StorageUnavailable) as error:
        logger.warning("the sweep failed, it comes again", extra={"error": str(error)})
        return False
    return True


async def _sweep(services: Services) -> None:
    beat = await services.store.lease.heartbeat(services.node)
    for name, reason in beat.cancelled:
        services.dispatcher.ordered(name, reason)
    swept = await services.store.lease.sweep(services.node, ATTEMPTS_CEILING)
    if swept.requeued:
        logger.info("executions are taken up again", extra={"count": len(swept.requeued)})
    for name in swept.exhausted:
        told = {"execution_id": name, "repeat_key": name}
        logger.error("execution given up after repeated crashes", extra=told)
