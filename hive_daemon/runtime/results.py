"""Results that programs may still ask for: bounded by number and by age."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from hive_daemon.clock import Clock
from hive_daemon.graph.executor import ExecutionResult


@dataclass(slots=True)
class ResultShelf:
    """The last results of a stream. `most` bounds their number, `ttl_seconds` (None: forever) their age."""

    clock: Clock
    most: int
    ttl_seconds: float | None = None
    _kept: OrderedDict[str, tuple[float, ExecutionResult]] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, execution_id: str, result: ExecutionResult) -> None:
        """Keep a result; the oldest make room."""
        self._kept[execution_id] = (self.clock.monotonic(), result)
        self._kept.move_to_end(execution_id)
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)
        self._expire()

    def get(self, execution_id: str) -> ExecutionResult | None:
        """Return a result that is still kept."""
        self._expire()
        kept = self._kept.get(execution_id)
        return kept[1] if kept else None

    def drop(self, execution_id: str) -> None:
        """Forget a result: the execution goes on."""
        self._kept.pop(execution_id, None)

    def _expire(self) -> None:
        if self.ttl_seconds is None:
            return
        limit = self.clock.monotonic() - self.ttl_seconds
        while self._kept:
            name, (kept_at, _) = next(iter(self._kept.items()))
            if kept_at > limit:
                return
            del self._kept[name]
