"""The back ends of the store, each held to the same suite: a further one is one more parameter here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from hive_daemon.clock import Clock
from hive_daemon.storage.ports import Store, StoreListener
from hive_daemon.storage.sqlite.store import open_sqlite
from tests.fakes.memory_store import MemoryDisk, open_memory
from tests.fakes.store_kit import Ear, SetClock


class Backend(Protocol):
    """A place where stores keep their contents; opening it again finds them."""

    def open(self, listener: StoreListener, clock: Clock) -> AbstractAsyncContextManager[Store]:
        """Open the store."""


@dataclass
class SqliteBackend:
    """SQLite in a directory."""

    directory: Path

    def open(self, listener: StoreListener, clock: Clock) -> AbstractAsyncContextManager[Store]:
        """Open the store."""
        return open_sqlite(self.directory, listener, clock)


@dataclass
class MemoryBackend:
    """The in-memory store."""

    directory: Path
    disk: MemoryDisk = field(default_factory=MemoryDisk)

    def open(self, listener: StoreListener, clock: Clock) -> AbstractAsyncContextManager[Store]:
        """Open the store."""
        return open_memory(listener, clock, self.disk)


@pytest.fixture(params=[SqliteBackend, MemoryBackend], ids=["sqlite", "memory"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """One back end after the other."""
    made: Backend = request.param(tmp_path / "state")
    return made


@pytest.fixture
def clock() -> SetClock:
    """The store's clock."""
    return SetClock()


@pytest.fixture
def ear() -> Ear:
    """The store's listener."""
    return Ear()


@pytest.fixture
async def store(backend: Backend, ear: Ear, clock: SetClock) -> AsyncIterator[Store]:
    """An open store."""
    async with backend.open(ear, clock) as opened:
        yield opened
