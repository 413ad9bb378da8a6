"""The outputs that a node has set so far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from hive_daemon.graph.conversation_store import OUTPUTS, ConversationStore


@dataclass
class OutputAccumulator:
    """What `set_output` has set, by key. With a `store` of a program's own every value is kept at once."""

    values: dict[str, Any] = field(default_factory=dict)
    store: ConversationStore | None = None

    async def set(self, key: str, value: Any) -> None:
        """Set a value."""
        self.values[key] = value
        if self.store is not None:
            kept = await self.store.read_cursor() or {}
            await self.store.write_cursor({**kept, OUTPUTS: dict(self.values)})

    def get(self, key: str) -> Any:
        """Return a value, None when it is not set."""
        return self.values.get(key)

    def has_all_keys(self, required: Iterable[str]) -> bool:
        """Say whether each of these has a value."""
        return all(self.values.get(key) is not None for key in required)

    def to_dict(self) -> dict[str, Any]:
        """Return a copy of the values."""
        return dict(self.values)

    @classmethod
    async def restore(cls, store: ConversationStore) -> Self:
        """Return what a store has kept."""
        kept = await store.read_cursor() or {}
        return cls(dict(kept.get(OUTPUTS) or {}), store)
