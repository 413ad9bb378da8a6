"""Signs of life: whether a piece of work gets on, told from wherever in it something happens.

Whoever runs the work lets it be felt (`felt`); what happens in it calls `beat`, at any depth and in the threads that
its context was carried to; what waits for a reason marks that by `resting`. Work that nobody feels the pulse of may do
the same, without effect. Nothing here keeps anybody awake: a pulse is only looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Pulse:
    """The signs of life of one piece of work at a node.

    `now` is a monotonic clock; `is_told`: its silence was told; `cut` ends the work, where somebody can mend that;
    `model` is the one that is being asked, empty for none.
    """

    def __init__(self, node_id: str, now: Callable[[], float]) -> None:
        self.node_id = node_id
        self.is_told = False
        self.cut: Callable[[], None] | None = None
        self.model = ""
        self._now = now
        self._last = now()
        self._rests = 0

    @property
    def quiet_seconds(self) -> float:
        """Seconds since it last gave a sign of life; 0 while it rests."""
        return 0.0 if self._rests else self._now() - self._last

    def beat(self) -> None:
        """Give a sign of life: a further silence is a new one."""
        self._last = self._now()
        self.is_told = False

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Mark a stretch in which silence means nothing."""
        self._rests += 1
        try:
            yield
        finally:
            self._rests -= 1
            self.beat()


_NOBODYS = Pulse("", lambda: 0.0)
_felt: ContextVar[Pulse] = ContextVar("hive_pulse", default=_NOBODYS)


@contextmanager
def felt(pulse: Pulse) -> Iterator[None]:
    """Let what happens inside be felt in this pulse."""
    token = _felt.set(pulse)
    try:
        yield
    finally:
        _felt.reset(token)


@contextmanager
def cuttable(cut: Callable[[], None]) -> Iterator[None]:
    """Let whoever finds the work that this is part of too silent end it."""
    pulse = _felt.get()
    before, pulse.cut = pulse.cut, cut
    try:
        yield
    finally:
        pulse.cut = before


@contextmanager
def asking(model: str) -> Iterator[None]:
    """Mark a stretch in which the work that this is part of waits for this model."""
    pulse = _felt.get()
    before, pulse.model = pulse.model, model
    try:
        yield
    finally:
        pulse.model = before


def beat() -> None:
    """Give a sign of life of the work that this is part of."""
    _felt.get().beat()


@contextmanager
def resting() -> Iterator[None]:
    """Mark a stretch in which the silence of the work that this is part of means nothing."""
    with _felt.get().resting():
        yield
