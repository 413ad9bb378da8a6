"""The files of one execution: which of them a writing changes, and how all of them are made from the store's rows."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

import orjson

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.chronicle import Chronicle
from hive_daemon.storage.files import LOG_BYTES, log_names
from hive_daemon.storage.mirror_files import Change, Files, Place, session_place
from hive_daemon.storage.mirror_fold import Line, MirrorMeta, MirrorMode, SessionRecord
from hive_daemon.storage.session_logs import DETAILS, SUMMARY, TOOLS, summary_json
from hive_daemon.storage.session_state import STATE, checkpoint_documents, state_json
from hive_daemon.storage.values import ExecutionRow


@dataclass(slots=True)
class Live:
    """An execution that the mirror follows, and what of it is on disk.

    `due` is when its state is written next, `logs_due` when its logs are, in monotonic seconds; `owed_from` is the
    first event that its files may lack; `checkpoints` are the files of those written. `is_shown` is False while a later
    execution of the session is the one that the main files show; `has_strangers` means that other files may lie among
    its checkpoints.
    """

    chronicle: Chronicle
    place: Place
    due: float
    owed_from: int | None
    exists: bool = False
    has_strangers: bool = False
    is_shown: bool = True
    logs_due: float = 0.0
    lines: dict[str, list[bytes]] = field(default_factory=dict)
    checkpoints: frozenset[str] = frozenset()

    @property
    def is_over(self) -> bool:
        """Whether nothing more is expected of it for now."""
        return self.chronicle.status is not ExecutionStatus.RUNNING

    def add(self, lines: Iterable[Line]) -> None:
        """Keep lines until the logs are written."""
        for line in lines:
            self.lines.setdefault(line.file, []).append(line.text)


def place_of(meta: MirrorMeta) -> Place:
    """Return where an execution is shown: in its session, or in a corner of it if it only joined."""
    place = session_place(meta.directory, meta.session_id)
    return (*place, "executions", str(meta.ordinal)) if meta.is_joined else place


class Pages:
    """Writes and rebuilds the files of executions. Every method raises OSError."""

    def __init__(self, files: Files, mode: MirrorMode, keep: int) -> None:
        self._files = files
        self._is_full = mode is MirrorMode.FULL
        self._keep = keep

    def write_logs(self, live: Live) -> None:
        """Append the lines that are owed."""
        self._files.update(live.place, Change(lines=self._lines(live)))
        live.lines.clear()

    def write(self, live: Live) -> None:
        """Write everything that is owed; `state.json` is the last, and tells that the rest is there."""
        if not live.is_shown:
            self.write_logs(live)
            return
        lines = self._lines(live)
        kept = frozenset(shown.file for shown in live.chronicle.checkpoints)
        fresh = self._checkpoints(live.chronicle, live.checkpoints)
        documents = {**fresh, **self._summary_and_state(live.chronicle)}
        if live.exists or not self._files.create(live.place, {**lines, **documents}):
            gone = live.checkpoints - kept
            if self._is_full and (live.has_strangers or not live.exists):
                gone = self._strangers(live.place, documents)
            self._files.update(live.place, Change(lines, documents, sorted(gone)))
        live.has_strangers = False
        live.exists = True
        live.lines.clear()
        live.checkpoints = kept

    def rebuild(self, record: SessionRecord, rows: Sequence[ExecutionRow], place: Place) -> None:
        """Make a place show the last of these executions, and its logs tell of all of them."""
        folded = [record.fold(row.execution_id, self._keep) for row in rows]
        shown = folded[-1][0]
        change = Change()
        if self._is_full:
            change.documents = _logs(line for _, lines in folded for line in lines)
            change.documents |= checkpoint_documents(shown)
            summed_up = [chronicle for chronicle, _ in folded if chronicle.has_summary]
            if summed_up:
                change.documents[SUMMARY] = summary_json(summed_up[-1])
        change.documents[STATE] = state_json(shown)
        self._files.release(place)
        if self._files.create(place, change.documents):
            return
        if self._is_full:
            logs = {*log_names(DETAILS), *log_names(TOOLS), SUMMARY}
            gone = logs - set(change.documents)
            change.gone = sorted(gone | self._strangers(place, change.documents))
        self._files.update(place, change)
        self._files.release(place)

    def shows(self, place: Place, row: ExecutionRow) -> bool:
        """Say whether a place shows this step of this execution; a damaged state is put aside."""
        content = self._files.read(place, STATE)
        if content is None:
            return False
        try:
            state = orjson.loads(content)
            shown = (state["execution_id"], state["seq"], state["status"])
        except (ValueError, KeyError, TypeError):
            self._files.put_aside(place, STATE)
            return False
        return shown == (row.execution_id, row.seq, row.status)

    def release(self, place: Place) -> None:
        """Close what is open at or below a place."""
        self._files.release(place)

    def remove(self, place: Place) -> None:
        """Remove a directory with everything in it."""
        self._files.remove(place)

    def _lines(self, live: Live) -> dict[str, bytes]:
        if not self._is_full:
            return {}
        return {file: b"".join(texts) for file, texts in live.lines.items()}

    def _checkpoints(self, chronicle: Chronicle, written: frozenset[str]) -> dict[str, bytes]:
        return checkpoint_documents(chronicle, written) if self._is_full else {}

    def _summary_and_state(self, chronicle: Chronicle) -> dict[str, bytes]:
        documents = {}
        if chronicle.has_summary and self._is_full:
            documents[SUMMARY] = summary_json(chronicle)
        documents[STATE] = state_json(chronicle)
        return documents

    def _strangers(self, place: Place, documents: Container[str]) -> frozenset[str]:
        """Return what lies among the checkpoints and is none of these documents."""
        found = (f"checkpoints/{name}" for name in self._files.names((*place, "checkpoints")))
        return frozenset(p for p in found if p.endswith(".json") and p not in documents)


def _logs(lines: Iterable[Line]) -> dict[str, bytes]:
    """Return the files of whole logs, in order of the events: as many, and as large, as if the logs had grown."""
    logs: dict[str, list[bytearray]] = {}
    for line in sorted(lines, key=lambda line: line.seq):
        parts = logs.setdefault(line.file, [bytearray()])
        if parts[-1] and len(parts[-1]) > LOG_BYTES - len(line.text):
            parts.append(bytearray())
        parts[-1] += line.text
    return {
        name: bytes(part)
        for file, parts in logs.items()
        for name, part in zip(log_names(file), reversed(parts), strict=False)
    }
