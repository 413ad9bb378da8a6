"""How items and answers cross between the daemon and the process that writes its mirror.

A frame is its length in eight bytes and a pickle. Pickle is safe here and only here: both ends are the same program,
and nobody else can reach a socket pair. Commits, which are many, cross as bare tuples: they take a third of the time.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from hive_daemon.storage.mirror_items import Offered
from hive_daemon.storage.values import Checkpoint, Ending, StepCommit, StoredEvent

_HEAD = 8

_of_step = attrgetter("seq", "node_id", "steps")
_of_checkpoint = attrgetter("kind", "walk", "patch", "is_snapshot", "next_node")
_of_ending = attrgetter("status", "result", "error")
_of_event = attrgetter(
    "seq",
    "execution_seq",
    "type",
    "timestamp",
    "agent",
    "graph_id",
    "stream_id",
    "node_id",
    "execution_id",
    "session_id",
    "correlation_id",
    "causation",
    "data",
)


def frame(values: Sequence[object]) -> bytes:
    """Return values as one frame."""
    content = pickle.dumps([_bare(v) if type(v) is Offered else v for v in values], 5)
    return len(content).to_bytes(_HEAD) + content


class Frames:
    """Puts frames together again from the bytes that arrive."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def take(self, arrived: bytes) -> list[Any]:
        """Return the values of all frames that are complete now, in order."""
        self._bytes += arrived
        values: list[Any] = []
        place = 0
        while len(self._bytes) - place >= _HEAD:
            end = place + _HEAD + int.from_bytes(self._bytes[place : place + _HEAD])
            if end > len(self._bytes):
                break
            with memoryview(self._bytes) as view, view[place + _HEAD : end] as content:
                values.extend(_whole(v) if type(v) is tuple else v for v in pickle.loads(content))
            place = end
        del self._bytes[:place]
        return values


def _bare(offered: Offered) -> tuple[Any, ...]:
    step = offered.step
    parts = None
    if step is not None:
        checkpoint = None if step.checkpoint is None else _of_checkpoint(step.checkpoint)
        ending = None if step.ending is None else _of_ending(step.ending)
        parts = (_of_step(step), checkpoint, ending)
    events = [_of_event(event) for event in offered.events]
    return (offered.execution_id, parts, offered.first, offered.last, events, offered.at)


def _whole(bare: tuple[Any, ...]) -> Offered:
    execution_id, parts, first, last, events, at = bare
    step = None
    if parts is not None:
        (seq, node_id, steps), checkpoint, ending = parts
        step = StepCommit(
            seq,
            node_id,
            None if checkpoint is None else Checkpoint(*checkpoint),
            ending=None if ending is None else Ending(*ending),
            steps=steps,
        )
    shown = [StoredEvent(*event) for event in events]
    return Offered(execution_id, step, first, last, shown, at)
