"""How the shared parts of a process are opened: the one place that chooses SQLite and the mirror."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.ids import new_node_id
from hive_daemon.runtime.budget_desk import BudgetDesk
from hive_daemon.runtime.dispatcher import Dispatcher, Slots
from hive_daemon.runtime.hub import Hub
from hive_daemon.runtime.services import Services, ServiceSettings
from hive_daemon.runtime.stall_watch import StallWatch
from hive_daemon.storage.mirror import Mirror
from hive_daemon.storage.mirror_catch_up import MirrorCatchUp
from hive_daemon.storage.mirror_fold import MirrorMode
from hive_daemon.storage.ports import Store, StoreListener
from hive_daemon.storage.sqlite.reading import read_sqlite
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.values import Fence, StepCommit, StoredEvent
from hive_daemon.tasks import Scope


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
        mirror = Mirror(
            settings.state_dir,
            settings.mirror,
            clock,
            settings.keep_checkpoints,
            has_process=settings.mirror_process,
        )
        stack.push_async_callback(mirror.close)
        services = _assembled(settings, store, mirror, clock)
        hub = relay.hub = services.hub
        stack.push_async_callback(hub.close)
        stack.push_async_callback(services.scope.close)
        stack.push_async_callback(services.dispatcher.stop)
        hub.start()
        yield services
        await hub.flush()


@asynccontextmanager
async def read_services(
    settings: ServiceSettings, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[Services]:
    """Open a store for reading, whoever owns it: nothing runs, nothing is written.

    Raises StorageUnavailable if there is no store.
    """
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(read_sqlite(settings.state_dir, clock))
        mirror = Mirror(settings.state_dir, MirrorMode.OFF, clock, settings.keep_checkpoints)
        stack.push_async_callback(mirror.close)
        yield _assembled(settings, store, mirror, clock)


def _assembled(settings: ServiceSettings, store: Store, mirror: Mirror, clock: Clock) -> Services:
    """Put the shared parts together; none of them runs."""
    node = new_node_id()
    slots = Slots(settings.max_concurrent_executions, settings.background_slots)
    dispatcher = Dispatcher(store.queue, node, clock, slots)
    hub = Hub(mirror, dispatcher.hint)
    return Services(
        settings,
        store,
        hub,
        mirror,
        MirrorCatchUp(mirror, store, dispatcher.describe, clock),
        dispatcher,
        clock,
        node,
        Scope("services"),
        StallWatch(clock, settings.stall_seconds),
        BudgetDesk(store.budgets, clock, settings.zone, settings.budgets),
    )
