"""What is known of an execution whose story is told, and where the process ended while it ran. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from hive_daemon.insight.exits import ExitNote
from hive_daemon.insight.happenings import at
from hive_daemon.insight.story import Daemon, Link
from hive_daemon.storage.admission import Explained
from hive_daemon.storage.values import ExecutionRow, StoredEvent


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of an execution.

    `events` are its events of the types TELLING, oldest first; `explained` is set while it is queued; `node` is where
    the daemon sees it at work; `trouble` is why its agent does not run, empty if it does; `origin` is what led to it;
    `exits` are the ends that the daemon chose while it ran, oldest first; `first_node` is where it begins, if known.
    """

    row: ExecutionRow
    now: float
    events: tuple[StoredEvent, ...] = ()
    explained: Explained | None = None
    daemon: Daemon = Daemon.RUNNING
    node: str | None = None
    trouble: str = ""
    origin: tuple[Link, ...] = ()
    exits: tuple[ExitNote, ...] = ()
    first_node: str | None = None


def newest(evidence: Evidence, *types: str) -> StoredEvent | None:
    """Return the newest event of one of these types."""
    return next((event for event in reversed(evidence.events) if event.type in types), None)


def _last_exit(evidence: Evidence) -> ExitNote | None:
    """Return the last end that the daemon chose while it ran, if no node of it began or ended since."""
    step = newest(evidence, "node_started", "node_completed")
    note = evidence.exits[-1] if evidence.exits else None
    return note if note is not None and (step is None or note.at >= step.timestamp) else None


def because(evidence: Evidence) -> str:
    """Say why the process ended last, as far as it said so itself."""
    note = _last_exit(evidence)
    return "" if note is None else f" ({note.sentence})"


def cut_off_at(evidence: Evidence) -> str:
    """Name the node that was at work when the process ended, as far as anybody noted that."""
    note = _last_exit(evidence)
    noted = note.about(evidence.row.execution_id) if note is not None else None
    if noted is not None and noted.nodes:
        return at(noted.nodes[0])
    began = newest(evidence, "node_started")
    node = began.node_id if began is not None else evidence.row.node_id
    if node is not None or evidence.row.steps:
        return at(node)
    return at(evidence.first_node) or " at its first node"
