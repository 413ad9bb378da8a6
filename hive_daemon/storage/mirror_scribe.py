"""The mirror's own work: which executions it follows, and when what it knows of them reaches their files.

Everything here happens in one thread. An execution that is over before its first file was due is written once, as a
whole; one that lasts has its logs appended as they grow and its state rewritten at most four times a second. What
cannot be written is no longer followed and remembered as lagging, to be rebuilt from the store later.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection, Iterable

from hive_daemon.clock import Clock
from hive_daemon.ids import session_of
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.mirror_files import Place
from hive_daemon.storage.mirror_fold import (
    MirrorMeta,
    SessionRecord,
    begin,
    fold_events,
    fold_step,
)
from hive_daemon.storage.mirror_items import Lag, Offered, Rebuilt
from hive_daemon.storage.mirror_pages import Live, Pages, place_of
from hive_daemon.storage.values import ExecutionRow

logger = logging.getLogger(__name__)

STATE_SECONDS = 0.25
"""The least time between two writings of one state.json, and before the first."""
LOG_SECONDS = 0.05
"""How long a line for a log may wait for others."""
FIRST_SECONDS = 0.125
"""How long the first line waits: an execution that is over by then is written once."""
CALM = 16
"""With more executions alive than this, logs grow only together with the state."""
MOST_LIVE = 4_096
MOST_LAGGING = 10_000
COMPLAINT_SECONDS = 60.0

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)


class Scribe:
    """Follows executions and writes their files. What happened up to the event `after_seq` is on disk.

    `losses` counts the executions that began to lag.
    """

    def __init__(self, pages: Pages, clock: Clock, keep: int, after_seq: int) -> None:
        self._pages = pages
        self._clock = clock
        self._keep = keep
        self._live: dict[str, Live] = {}
        self._owed: dict[str, Live] = {}
        self._sessions: dict[str, dict[str, None]] = {}
        self._seen: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._lagging: dict[str, int] = {}
        self._after_seq: int | None = after_seq
        self._newest = after_seq
        self.losses = 0
        self._is_refused = False
        self._skipped = 0
        self._quiet_until = clock.monotonic()

    @property
    def lag(self) -> Lag:
        """What is to be rebuilt."""
        return Lag(tuple(self._lagging), self._after_seq)

    @property
    def mirrored_seq(self) -> int:
        """The last event up to which everything is written."""
        owed = [live.owed_from for live in self._owed.values() if live.owed_from is not None]
        floor = min([*owed, *self._lagging.values(), self._newest + 1]) - 1
        return floor if self._after_seq is None else min(floor, self._after_seq)

    # --- what happens -----------------------------------------------------------------------

    def begin(self, meta: MirrorMeta, seq: int) -> None:
        """Follow an execution that has committed nothing yet; one that has lags."""
        if seq > 0:
            self._lose(meta.execution_id, self._newest + 1)
            self._note_seen(meta.execution_id, seq, 0)
            return
        self._forget(meta.execution_id)
        if len(self._live) >= MOST_LIVE:
            self._retire(next(iter(self._live)))
        is_first = meta.ordinal == 1 or meta.is_joined
        live = Live(
            begin(meta, self._keep),
            place_of(meta),
            due=self._clock.monotonic() + STATE_SECONDS,
            owed_from=self._newest + 1,
            exists=not is_first,
            has_strangers=not is_first,
        )
        self._follow(live)
        self._owed[meta.execution_id] = live

    def take(self, offered: Offered) -> None:
        """Take in what was committed; what does not follow on what is known makes the execution lag."""
        execution_id, step = offered.execution_id, offered.step
        first = offered.first or self._newest + 1
        self._newest = max(self._newest, offered.last)
        live = self._live.get(execution_id)
        if live is None or step is None or step.seq > live.chronicle.seq + 1:
            self._lose(execution_id, first)
            self._note_seen(execution_id, step.seq if step else 0, offered.last)
            return
        if not live.lines:
            patience = LOG_SECONDS if live.exists else FIRST_SECONDS
            live.logs_due = self._clock.monotonic() + patience
        try:
            live.add(fold_events(live.chronicle, offered.events))
            live.chronicle.event_seq = max(live.chronicle.event_seq, offered.last)
            fold_step(live.chronicle, step, offered.at)
        except _UNREADABLE as error:
            self._give_up(execution_id, error)
            return
        if live.owed_from is None:
            live.owed_from = first
        self._owed[execution_id] = live

    def settle(self, session_ids: Iterable[str]) -> None:
        """Write everything that is owed to these sessions: the last execution of each is the one that stays shown."""
        for session_id in session_ids:
            for execution_id in tuple(self._sessions.get(session_id, ())):
                live = self._owed.get(execution_id)
                if live is not None:
                    self._write(execution_id, live)

    def settle_all(self) -> None:
        """Write everything that is owed."""
        self.settle(tuple(self._sessions))

    def write_due(self) -> float | None:
        """Write what is due; return when something else is, in monotonic seconds, if anything is owed."""
        now = self._clock.monotonic()
        is_calm = len(self._live) <= CALM
        soonest = None
        for execution_id, live in tuple(self._owed.items()):
            logs_due = live.logs_due if live.lines and is_calm else live.due
            if live.is_over or now >= live.due or (now >= logs_due and not live.exists):
                self._write(execution_id, live)
                continue
            if now >= logs_due:
                self._write(execution_id, live, logs_only=True)
                logs_due = live.due
            soonest = min(logs_due, live.due, soonest or live.due)
        return soonest

    def rebuild(self, record: SessionRecord, force: bool) -> Rebuilt:
        """Write the files of a session from the store's rows, and follow those that run.

        Unless `force` is set, files that show the same step and status already are left as they are.
        """
        if self._is_older(record):
            return Rebuilt.STALE
        for _, row in record.executions:
            self._forget(row.execution_id)
        try:
            self._rebuild(record, force)
        except OSError as error:
            self.complain(error)
            for _, row in record.executions:
                self._lose(row.execution_id, self._lagging.get(row.execution_id, self._newest + 1))
            return Rebuilt.FAILED
        except _UNREADABLE as error:
            self._give_up(record.executions[0][1].session_id, error)
        self._is_refused = False
        self.dismiss(row.execution_id for _, row in record.executions)
        return Rebuilt.DONE

    def will_rebuild(self, session_ids: Collection[str]) -> bool:
        """Say whether one of these sessions lags and the disk is willing."""
        if not self._lagging or self._is_refused:
            return False
        return any(session_of(name) in session_ids for name in self._lagging)

    def dismiss(self, execution_ids: Iterable[str]) -> None:
        """Note that these executions lag no more."""
        for execution_id in execution_ids:
            self._lagging.pop(execution_id, None)

    def caught_up(self, after_seq: int | None) -> None:
        """Note that nothing up to `after_seq` lags except what is named; None: nothing at all."""
        self._after_seq = after_seq
        self._newest = max(self._newest, after_seq or 0)

    def remove(self, place: Place) -> None:
        """Remove a session's directory."""
        for execution_id in tuple(self._sessions.get(place[-1], ())):
            self._forget(execution_id)
        try:
            self._pages.remove(place)
        except OSError as error:
            self.complain(error)

    def complain(self, error: OSError) -> None:
        """Say once a minute that files could not be written."""
        self._is_refused = True
        self._skipped += 1
        now = self._clock.monotonic()
        if now < self._quiet_until:
            return
        self._quiet_until = now + COMPLAINT_SECONDS
        logger.warning(
            "the mirror is behind: files cannot be written, they will be rebuilt",
            extra={"error": str(error), "skipped": self._skipped},
        )
        self._skipped = 0

    # --- following --------------------------------------------------------------------------

    def _follow(self, live: Live) -> None:
        identity = live.chronicle.identity
        self._live[identity.execution_id] = live
        self._sessions.setdefault(identity.session_id, {})[identity.execution_id] = None

    def _forget(self, execution_id: str) -> None:
        live = self._live.pop(execution_id, None)
        self._owed.pop(execution_id, None)
        if live is None:
            return
        chronicle = live.chronicle
        self._note_seen(execution_id, chronicle.seq, chronicle.event_seq)
        siblings = self._sessions[chronicle.identity.session_id]
        siblings.pop(execution_id, None)
        if not siblings:
            del self._sessions[chronicle.identity.session_id]

    def _retire(self, execution_id: str) -> None:
        """Stop following an execution, with its files written; a later commit finds it lagging."""
        self._write(execution_id, self._live[execution_id])
        self._forget(execution_id)

    def _lose(self, execution_id: str, first: int) -> None:
        """Stop following an execution and remember that it is to be rebuilt."""
        self._forget(execution_id)
        self.losses += 1
        self._lagging.setdefault(execution_id, first)
        if len(self._lagging) > MOST_LAGGING:
            behind = min(self._lagging.values()) - 1
            self._after_seq = behind if self._after_seq is None else min(behind, self._after_seq)
            self._lagging.clear()

    def _give_up(self, subject: str, error: Exception) -> None:
        """Stop following what holds something that is not JSON of the shape agreed on."""
        logger.error("this cannot be mirrored", extra={"subject": subject}, exc_info=error)
        self._forget(subject)

    def _note_seen(self, execution_id: str, seq: int, event_seq: int) -> None:
        old_seq, old_event = self._seen.pop(execution_id, (0, 0))
        self._seen[execution_id] = (max(seq, old_seq), max(event_seq, old_event))
        if len(self._seen) > MOST_LIVE:
            self._seen.popitem(last=False)

    def _is_older(self, record: SessionRecord) -> bool:
        newest = {event.execution_id: event.seq for event in record.events}
        for _, row in record.executions:
            live = self._live.get(row.execution_id)
            seq, event_seq = self._seen.get(row.execution_id, (0, 0))
            if live is not None:
                seq, event_seq = live.chronicle.seq, live.chronicle.event_seq
            if row.seq < seq or newest.get(row.execution_id, 0) < event_seq:
                return True
        return False

    # --- writing ----------------------------------------------------------------------------

    def _write(self, execution_id: str, live: Live, *, logs_only: bool = False) -> None:
        try:
            if logs_only:
                self._pages.write_logs(live)
                return
            self._pages.write(live)
        except OSError as error:
            self.complain(error)
            self._pages.release(live.place[:1])
            self._lose(execution_id, live.owed_from or self._newest + 1)
            return
        except _UNREADABLE as error:
            self._give_up(execution_id, error)
            return
        self._is_refused = False
        live.owed_from = None
        live.due = self._clock.monotonic() + STATE_SECONDS
        self._owed.pop(execution_id, None)
        if live.is_over:
            self._forget(execution_id)
            self._pages.release(live.place)

    def _rebuild(self, record: SessionRecord, force: bool) -> None:
        started = [(meta, row) for meta, row in record.executions if row.started_at is not None]
        mains = [row for meta, row in started if not meta.is_joined]
        for meta, row in started:
            rows = [row] if meta.is_joined else mains
            is_shown = row is rows[-1]
            place = place_of(meta)
            # The state tells of the last execution only: where there are others, it proves nothing.
            if is_shown and (force or len(rows) > 1 or not self._pages.shows(place, row)):
                self._pages.rebuild(record, rows, place)
            if row.status is ExecutionStatus.RUNNING:
                self._resume(record, meta, row, is_shown)

    def _resume(
        self, record: SessionRecord, meta: MirrorMeta, row: ExecutionRow, is_shown: bool
    ) -> None:
        chronicle, _ = record.fold(row.execution_id, self._keep)
        self._follow(
            Live(
                chronicle,
                place_of(meta),
                due=self._clock.monotonic() + STATE_SECONDS,
                owed_from=None,
                exists=True,
                is_shown=is_shown,
                checkpoints=frozenset(shown.file for shown in chronicle.checkpoints),
            )
        )
