"""What one process shares among all its agents: the store, the hub, the mirror, the dispatcher, the clock."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import StorageFull, StorageUnavailable
from hive_daemon.ids import new_node_id
from hive_daemon.runtime.dispatcher import Dispatcher
from hive_daemon.runtime.hub import Hub
from hive_daemon.storage.mirror import Mirror, MirrorMode
from hive_daemon.storage.mirror_catch_up import MirrorCatchUp
from hive_daemon.storage.ports import Store, StoreListener
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.values import Fence, StepCommit, StoredEvent
from hive_daemon.tasks import Scope

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
FIRST_SWEEP_SECONDS = 2.0
"""When to look again if the store could not be written."""
ATTEMPTS_CEILING = 100
"""How often an execution may take the process down whatever its entry point says; each stream has its own limit."""


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """How the shared parts are set up."""

    state_dir: Path
    max_concurrent_executions: int = 100
    mirror: MirrorMode = MirrorMode.FULL
    keep_checkpoints: int = 5


@dataclass(frozen=True, slots=True)
class Services:
    """The shared parts, running."""

    settings: ServiceSettings
    store: Store
    hub: Hub
    mirror: Mirror
    dispatcher: Dispatcher
    clock: Clock
    node: str
    scope: Scope


class _Relay(StoreListener):
    """Stands for the hub until there is one: the store is opened first."""

    def __init__(self) -> None:
        self.hub: Hub | None = None

    def committed(
        self, fence: Fence | None, step: StepCommit | None, events: Sequence[StoredEvent]
    ) -> None:
        if self.hub is not None:
            self.hub.committed(fence, step, events)

    def queued(self, lane: str) -> None:
        if self.hub is not None:
            self.hub.queued(lane)


@asynccontextmanager
async def open_services(
    settings: ServiceSettings, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[Services]:
    """Open everything that agents share; all or nothing. Nothing is claimed before `begin_work`."""
    async with AsyncExitStack() as stack:
        relay = _Relay()
        store = await stack.enter_async_context(open_sqlite(settings.state_dir, relay, clock))
        mirror = Mirror(settings.state_dir, settings.mirror, clock, settings.keep_checkpoints)
        stack.push_async_callback(mirror.close)
        node = new_node_id()
        total = settings.max_concurrent_executions
        dispatcher = Dispatcher(store.queue, node, clock, total)
        hub = Hub(mirror, dispatcher.hint)
        relay.hub = hub
        stack.push_async_callback(hub.close)
        scope = Scope("services")
        stack.push_async_callback(scope.close)
        stack.push_async_callback(dispatcher.stop)
        hub.start()
        yield Services(settings, store, hub, mirror, dispatcher, clock, node, scope)
        await hub.flush()


async def take_over(services: Services) -> None:
    """Queue again what an earlier process left running. Before the streams start, so that they see it.

    If the store cannot be written now, that is tried again later.
    """
    await _sweep_or_say(services)


def begin_work(services: Services) -> None:
    """Begin to claim, to look again every minute for what nobody owns, and to mend the readable files."""
    services.dispatcher.start()
    services.scope.spawn("sweep", _keep_sweeping(services))
    describe = services.dispatcher.describe
    catch_up = MirrorCatchUp(services.mirror, services.store, describe, services.clock)
    services.scope.spawn("mirror catch-up", catch_up.run())


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
    await services.store.lease.heartbeat(services.node)
    swept = await services.store.lease.sweep(services.node, ATTEMPTS_CEILING)
    if swept.requeued:
        logger.info("executions are taken up again", extra={"count": len(swept.requeued)})
    for name in swept.exhausted:
        logger.error("execution given up after repeated crashes", extra={"execution_id": name})
