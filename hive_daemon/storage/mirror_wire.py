"""How items and answers cross between the daemon and the process that writes its mirror.

A frame is its length in eight bytes and a pickle. Pickle is safe here and only here: both ends are the same program,
and nobody else can reach a socket pair. What is said of every execution crosses as bare tuples, of which the first
element says what they are: they take a third of the time.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.chronicle import ShownEvent, ShownStep
from hive_daemon.storage.mirror_fold import MirrorMeta
from hive_daemon.storage.mirror_items import Answer, Barrier, Begun, Offered
from hive_daemon.storage.values import Checkpoint, CheckpointKind, Ending

_HEAD = 8

_of_meta = attrgetter(*(name for name in MirrorMeta.__match_args__ if name != "directory"))
_of_step = attrgetter(*ShownStep._fields[:3])
_of_checkpoint = attrgetter("kind.value", "walk", "patch", "is_snapshot", "next_node")
_of_ending = attrgetter("status.value", "result", "error")
_of_event = attrgetter(*ShownEvent._fields)

_BEGUN, _OFFERED, _BARRIER, _ANSWER = range(4)


def frame(values: Sequence[object]) -> bytes:
    """Return values as one frame."""
    content = pickle.dumps([_bare(value) for value in values], 5)
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
                values.extend(_whole(value) for value in pickle.loads(content))
            place = end
        del self._bytes[:place]
        return values


def _bare(value: object) -> object:
    make = _BARE.get(type(value))
    return value if make is None else make(value)


def _bare_begun(begun: Begun) -> tuple[Any, ...]:
    return (_BEGUN, _of_meta(begun.meta), str(begun.meta.directory), begun.seq)


def _bare_offered(offered: Offered) -> tuple[Any, ...]:
    execution_id, step, first, last, events, at = offered
    parts = None
    if step is not None:
        checkpoint = None if step.checkpoint is None else _of_checkpoint(step.checkpoint)
        ending = None if step.ending is None else _of_ending(step.ending)
        parts = (*_of_step(step), checkpoint, ending)
    return (_OFFERED, execution_id, parts, first, last, [_of_event(e) for e in events], at)


def _bare_barrier(barrier: Barrier) -> tuple[Any, ...]:
    return (_BARRIER, *barrier)


def _bare_answer(answer: Answer) -> tuple[Any, ...]:
    return (_ANSWER, *answer)


def _whole(value: Any) -> object:
    return _MAKE[value[0]](*value[1:]) if type(value) is tuple else value


def _offered(
    execution_id: str,
    parts: tuple[Any, ...] | None,
    first: int,
    last: int,
    events: Sequence[tuple[Any, ...]],
    at: float,
) -> Offered:
    step = None
    if parts is not None:
        *where, checkpoint, ending = parts
        shown = None if checkpoint is None else _checkpoint(*checkpoint)
        end = None if ending is None else _ending(*ending)
        step = ShownStep._make((*where, shown, end))
    return Offered(execution_id, step, first, last, [ShownEvent._make(e) for e in events], at)


def _checkpoint(kind: str, *rest: Any) -> Checkpoint:
    return Checkpoint(CheckpointKind(kind), *rest)


def _ending(status: str, *rest: Any) -> Ending:
    return Ending(ExecutionStatus(status), *rest)


def _begun(known: tuple[Any, ...], directory: str, seq: int) -> Begun:
    fields = (*known, _path(directory))
    return Begun(MirrorMeta(*fields), seq)


_path = lru_cache(maxsize=256)(Path)

_MAKE: Mapping[int, Callable[..., object]] = {
    _BEGUN: _begun,
    _OFFERED: _offered,
    _BARRIER: Barrier,
    _ANSWER: Answer,
}

_BARE: Mapping[type, Callable[[Any], tuple[Any, ...]]] = {
    Begun: _bare_begun,
    Offered: _bare_offered,
    Barrier: _bare_barrier,
    Answer: _bare_answer,
}
