"""How items and answers cross between the daemon and the process that writes its mirror.

A frame is its length in eight bytes and a pickle. Pickle is safe here and only here: both ends are the same program,
and nobody else can reach a socket pair. The values that are sent often are reduced by C code.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

from hive_daemon.storage.values import Checkpoint, Ending, StepCommit, StoredEvent

_HEAD = 8


def _reducer(kind: type) -> Callable[[Any], tuple[Any, ...]]:
    """Return what reduces a value of this dataclass to its fields, in the order of its constructor."""
    get = attrgetter(*(field.name for field in fields(kind)))
    return lambda value: (kind, get(value))


_REDUCED: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    kind: _reducer(kind) for kind in (Checkpoint, Ending, StepCommit, StoredEvent)
}


def frame(values: Sequence[object]) -> bytes:
    """Return values as one frame."""
    out = io.BytesIO()
    out.write(bytes(_HEAD))
    pickler = pickle.Pickler(out, 5)
    pickler.dispatch_table = _REDUCED
    pickler.dump(values)
    size = out.tell() - _HEAD
    view = out.getbuffer()
    view[:_HEAD] = size.to_bytes(_HEAD)
    return view.tobytes()


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
                values.extend(pickle.loads(content))
            place = end
        del self._bytes[:place]
        return values
