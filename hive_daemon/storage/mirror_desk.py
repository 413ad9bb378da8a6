"""Where the mirror is written: takes items in as they come and answers them, round by round, until there are no more.

A desk has a thread or a process of its own, and is the only one that writes below its root.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from hive_daemon.clock import Clock
from hive_daemon.storage.mirror_files import Files, sweep
from hive_daemon.storage.mirror_items import (
    Answer,
    Barrier,
    Begun,
    Behind,
    CaughtUp,
    Closed,
    Dismissed,
    Item,
    LagAsked,
    Offered,
    Rebuilding,
    Removed,
    Said,
    Settings,
)
from hive_daemon.storage.mirror_marker import Marker
from hive_daemon.storage.mirror_pages import Pages
from hive_daemon.storage.mirror_scribe import Scribe

MARK_SECONDS = 1.0
HOLD_SECONDS = 1.0

Say = Callable[[Sequence[Said]], None]
"""Takes what was said, in order."""


class Inbox(Protocol):
    """Where items come from."""

    def take(self, patience: float | None) -> Sequence[Item]:
        """Wait for items, so many seconds at most, None: for ever. Raises EOFError if none can come any more."""


class Desk:
    """Writes what it takes from its inbox. Everything of it is used by one thread only."""

    def __init__(self, settings: Settings, clock: Clock, inbox: Inbox, say: Say) -> None:
        self._settings = settings
        self._clock = clock
        self._inbox = inbox
        self._say = say
        files = Files()
        self._files = files
        self._marker = Marker(settings.root, settings.mode, files, settings.start)
        self._scribe = Scribe(
            Pages(files, settings.mode, settings.keep_checkpoints),
            clock,
            settings.keep_checkpoints,
            settings.start.after_seq,
        )
        self._said: list[Said] = []
        self._held: list[tuple[float, Barrier]] = []
        self._is_tended = False
        self._is_closed = False
        self._due: float | None = None
        self._mark_due: float | None = None

    def run(self) -> None:
        """Write until the inbox says that it is closed. Raises EOFError, and writes no more, if it never says so."""
        try:
            self._sweep()
            while not self._is_closed:
                self._round()
            self._scribe.settle_all()
            self._mark(is_closed=True)
        finally:
            self._files.close()

    def _round(self) -> None:
        """Take in what has queued up, answer whoever waits, write what is due."""
        items = self._inbox.take(self._patience())
        losses = self._scribe.losses
        for item in items:
            self._take(item)
        if self._held:
            self._settle()
        self._speak()
        self._due = self._scribe.write_due()
        if self._scribe.losses > losses:
            self._said.append(Behind())
            self._speak()
        self._mark_in_time(bool(items))

    def _speak(self) -> None:
        if self._said:
            said, self._said = self._said, []
            self._say(said)

    def _patience(self) -> float | None:
        held_until = self._held[0][0] if self._held else None
        ends = (self._due, self._mark_due, held_until)
        due = min((end for end in ends if end is not None), default=None)
        return None if due is None else max(due - self._clock.monotonic(), 0.0)

    def _take(self, item: Item) -> None:
        match item:
            case Offered():
                self._scribe.take(item)
            case Begun(meta, seq):
                self._scribe.begin(meta, seq)
            case Rebuilding(record, force, token):
                self._said.append(Answer(token, self._scribe.rebuild(record, force)))
            case Barrier():
                self._held.append((self._clock.monotonic() + HOLD_SECONDS, item))
            case LagAsked(token):
                self._is_tended = True
                self._said.append(Answer(token, self._scribe.lag))
            case Dismissed(execution_ids):
                self._scribe.dismiss(execution_ids)
            case CaughtUp(after_seq):
                self._scribe.caught_up(after_seq)
            case Removed(place):
                self._scribe.remove(place)
            case Closed():
                self._is_closed = True

    def _settle(self) -> None:
        """Write what is waited for, and let go of those that need not wait for a rebuilding."""
        self._scribe.settle({name for _, barrier in self._held for name in barrier.session_ids})
        now = self._clock.monotonic()
        held, self._held = self._held, []
        for until, barrier in held:
            is_in_time = self._is_tended and now < until
            if is_in_time and self._scribe.will_rebuild(barrier.session_ids):
                self._held.append((until, barrier))
            else:
                self._said.append(Answer(barrier.token, None))

    def _sweep(self) -> None:
        root = self._settings.root
        try:
            sweep((root, *root.glob("agents/*")))
        except OSError as error:
            self._scribe.complain(error)

    def _mark_in_time(self, has_news: bool) -> None:
        """Move the marker once a second while anything happens, and not at all otherwise."""
        now = self._clock.monotonic()
        if self._mark_due is None:
            self._mark_due = now + MARK_SECONDS if has_news else None
        elif now >= self._mark_due:
            self._mark()
            self._mark_due = None

    def _mark(self, *, is_closed: bool = False) -> None:
        try:
            self._marker.write(
                self._scribe.mirrored_seq, self._clock.monotonic(), is_closed=is_closed
            )
        except OSError as error:
            self._scribe.complain(error)
