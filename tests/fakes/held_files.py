"""A mirror that writes nothing: a test says when the files of a session are complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.storage.mirror_fold import MirrorMeta
from hive_daemon.storage.values import StepCommit, StoredEvent


class HeldFiles:
    """Keeps in `asked` who waits for which session, in the order of asking; `count` says how often somebody asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Callable[[], None]]] = []
        self.count = 0

    def begin(self, meta: MirrorMeta, seq: int = 0) -> None:
        return

    def offer(
        self, execution_id: str, step: StepCommit | None, events: Sequence[StoredEvent]
    ) -> None:
        return

    def complete(self, session_id: str, then: Callable[[], None]) -> None:
        self.count += 1
        self.asked.append((session_id, then))

    def answer(self, place: int = 0) -> None:
        """Say to one of those who wait that the files are complete."""
        self.asked.pop(place)[1]()


class ReadyFiles(HeldFiles):
    """Has nothing to write: whoever asks is answered at once."""

    def complete(self, session_id: str, then: Callable[[], None]) -> None:
        self.count += 1
        then()


def stored(seq: int, name: str, kind: EventType = EventType.EXECUTION_COMPLETED) -> StoredEvent:
    """Return a durable event of the execution `name`, the only one of its session."""
    return StoredEvent(seq, seq, kind.value, 1e9, "a", "g", "s", None, name, name, "", (), b"{}")


def live(name: str) -> AgentEvent:
    """Return a live event of an execution."""
    return AgentEvent(EventType.CLIENT_OUTPUT_DELTA, "s", None, name, agent="a")
