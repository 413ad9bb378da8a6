"""How the shared parts of a process are opened: the one place that chooses SQLite and the mirror."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.ids import new_node_id
from hive_daemon.runtime.dispatcher import Dispatcher
from hive_daemon.runtime.hub import Hub
from hive_daemon.runtime.services import Services, ServiceSettings
from hive_daemon.storage.mirror import Mirror
from hive_daemon.storage.mirror_catch_up import MirrorCatchUp
from hive_daemon.storage.ports import StoreListener
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
        catch_up = MirrorCatchUp(mirror, store, dispatcher.describe, clock)
        yield Services(settings, store, hub, mirror, catch_up, dispatcher, clock, node, scope)
        await hub.flush()
