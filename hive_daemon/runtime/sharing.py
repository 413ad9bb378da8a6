"""What one execution shares with others, by its entry point's isolation level."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hive_daemon.graph.performer import NothingShared, SharedValues
from hive_daemon.runtime.entry_point import IsolationLevel
from hive_daemon.runtime.shared_state import SharedStateManager


@dataclass(frozen=True, slots=True)
class SharedKeys:
    """The keys that the graph names in `memory_keys`, shared over the agent's global scope."""

    manager: SharedStateManager
    stream_id: str
    isolation: IsolationLevel
    keys: frozenset[str]

    def ambient(self) -> dict[str, Any]:
        """Return the shared values that the execution sees."""
        return self.manager.ambient(self.stream_id, self.isolation)

    def versions(self) -> dict[str, int] | None:
        """Return the versions of the shared keys, or None when the last write wins."""
        if self.isolation is not IsolationLevel.SYNCHRONIZED:
            return None
        return self.manager.versions(self.keys)

    def shares(self, key: str) -> bool:
        """Say whether a write to this key is shared."""
        return key in self.keys

    def leads(self, key: str) -> bool:
        """Say whether the shared value counts even where the execution has set the key itself."""
        return self.isolation is IsolationLevel.SYNCHRONIZED and key in self.keys


def sharing_for(
    manager: SharedStateManager, stream_id: str, isolation: IsolationLevel, keys: Iterable[str]
) -> SharedValues:
    """Return what an execution of this stream shares."""
    if isolation is IsolationLevel.ISOLATED:
        return NothingShared()
    return SharedKeys(manager, stream_id, isolation, frozenset(keys))
