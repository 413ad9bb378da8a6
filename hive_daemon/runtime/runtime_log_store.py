"""RuntimeLogStore, the documented face of the logs: hive.db where there is one, files where not.

Sessions have their logs in `sessions/{id}/logs/`, or, if they joined one, in its `executions/{n}/logs/`; other runs in
`runs/{id}/`. Whatever is not in the database may still be in files; what is written here goes to files only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from hive_daemon.clock import iso_z, parse_iso
from hive_daemon.ids import check_name, is_execution_id, is_session_id, session_of
from hive_daemon.runtime.runtime_log_schemas import (
    NodeDetail,
    NodeStepLog,
    RunDetailsLog,
    RunSummaryLog,
    RunToolLogs,
    totals_of,
)
from hive_daemon.storage.chronicle import Chronicle
from hive_daemon.storage.files import append_line, read_file, read_log, replace_file
from hive_daemon.storage.mirror_fold import Line
from hive_daemon.storage.session_logs import DETAILS, SUMMARY, TOOLS, summary_record
from hive_daemon.storage.session_reader import SessionReader
from hive_daemon.storage.session_state import SESSIONS, statuses_named
from hive_daemon.tasks import to_thread

Model = TypeVar("Model", bound=BaseModel)

IN_PROGRESS = "in_progress"
PAGE = 50

_RUNS = "runs"
_SESSION_PREFIX = "session_"


class RuntimeLogStore:
    """The logs below `base_path`; if that is named `runtime_logs`, those of the directory above.

    Ids that are no names are refused with InvalidInput, before they touch a path. A session's own id means its last
    main execution.
    """

    def __init__(self, base_path: str | Path) -> None:
        path = Path(base_path).expanduser()
        self.base_path = path.parent if path.name == "runtime_logs" else path

    # --- reading ----------------------------------------------------------------------------

    async def load_summary(self, run_id: str) -> RunSummaryLog | None:
        """Return the L1 summary; one of a run that is not over says `in_progress`; None if there is no such run."""
        return await to_thread(self._summary, _checked(run_id))

    async def load_details(self, run_id: str) -> RunDetailsLog | None:
        """Return the L2 details, None if there is no such run."""
        nodes = await to_thread(self._records, _checked(run_id), DETAILS, NodeDetail)
        return None if nodes is None else RunDetailsLog(run_id=run_id, nodes=nodes)

    async def load_tool_logs(self, run_id: str) -> RunToolLogs | None:
        """Return the L3 tool calls, None if there is no such run."""
        steps = await to_thread(self._records, _checked(run_id), TOOLS, NodeStepLog)
        return None if steps is None else RunToolLogs(run_id=run_id, steps=steps)

    async def list_runs(
        self, status: str = "", needs_attention: bool | None = None, limit: int = 20
    ) -> list[RunSummaryLog]:
        """Return the newest runs, newest first.

        `status` may be one of ours or an older word (success, failure, in_progress, …).
        """
        return await to_thread(self._list, status, needs_attention, limit)

    def read_node_details_sync(self, run_id: str) -> list[NodeDetail]:
        """Return the L2 details, from a thread that may block."""
        return self._records(_checked(run_id), DETAILS, NodeDetail) or []

    # --- writing ----------------------------------------------------------------------------

    def ensure_run_dir(self, run_id: str) -> None:
        """Make the directory of a run's logs."""
        self._directory(_checked(run_id)).mkdir(mode=0o700, parents=True, exist_ok=True)

    def append_step(self, run_id: str, step: NodeStepLog) -> None:
        """Append a step to L3. Raises StorageUnavailable."""
        append_line(self._file(_checked(run_id), TOOLS), _line(step))

    def append_node_detail(self, run_id: str, detail: NodeDetail) -> None:
        """Append a node to L2. Raises StorageUnavailable."""
        append_line(self._file(_checked(run_id), DETAILS), _line(detail))

    async def save_summary(self, run_id: str, summary: RunSummaryLog) -> None:
        """Write L1. Raises StorageUnavailable."""
        await to_thread(replace_file, self._file(_checked(run_id), SUMMARY), _line(summary))

    # --- from the database ------------------------------------------------------------------

    def _known(self, run_id: str) -> tuple[Chronicle, list[Line]] | None:
        if not is_execution_id(run_id):
            return None
        reader = SessionReader.find(self.base_path)
        return None if reader is None else reader.read(run_id)

    def _summary(self, run_id: str) -> RunSummaryLog | None:
        known = self._known(run_id)
        if known is not None:
            return _summary_of(run_id, known[0])
        content = read_file(self._file(run_id, SUMMARY))
        if content is not None:
            for summary in self._own(run_id, list(_parsed([content], RunSummaryLog))):
                return summary
        return self._in_progress(run_id)

    def _records(self, run_id: str, file: str, model: type[Model]) -> list[Model] | None:
        known = self._known(run_id)
        if known is not None:
            return list(_parsed((line.text for line in known[1] if line.file == file), model))
        path = self._file(run_id, file)
        lines = read_log(path).split(b"\n")
        records = self._own(run_id, list(_parsed(lines, model)))
        return records if records or self._has_directory(run_id) else None

    def _own(self, run_id: str, records: list[Model]) -> list[Model]:
        """Leave out what other executions of the session wrote into the same log."""
        if not is_execution_id(run_id):
            return records
        writers = [w for r in records if (w := getattr(r, "execution_id", ""))]
        if not writers:
            return records
        own = run_id if not is_session_id(run_id) else writers[-1]
        return [r for r in records if getattr(r, "execution_id", "") in ("", own)]

    # --- from files -------------------------------------------------------------------------

    def _directory(self, run_id: str) -> Path:
        if not run_id.startswith(_SESSION_PREFIX):
            return self.base_path / _RUNS / run_id
        session_id = session_of(run_id) if is_execution_id(run_id) else run_id
        session = self.base_path / SESSIONS / session_id
        joined = session / "executions" / run_id.removeprefix(f"{session_id}-")
        return joined / "logs" if run_id != session_id and joined.is_dir() else session / "logs"

    def _has_directory(self, run_id: str) -> bool:
        """Say whether a run has a directory; a later execution of a session may share the session's."""
        directory = self._directory(run_id)
        is_later = is_execution_id(run_id) and not is_session_id(run_id)
        is_shared = is_later and directory.parent.name == session_of(run_id)
        return directory.is_dir() and not is_shared

    def _file(self, run_id: str, file: str) -> Path:
        return self._directory(run_id) / file.removeprefix("logs/")

    def _in_progress(self, run_id: str) -> RunSummaryLog | None:
        nodes = self._records(run_id, DETAILS, NodeDetail)
        if nodes is None:
            return None
        return RunSummaryLog(
            run_id=run_id,
            status=IN_PROGRESS,
            started_at=_started_at(run_id),
            nodes_executed=[node.node_id or "" for node in nodes],
            **totals_of(nodes),
            needs_attention=any(node.needs_attention for node in nodes),
        )

    def _list(self, status: str, needs_attention: bool | None, limit: int) -> list[RunSummaryLog]:
        wanted = statuses_named(status)
        if status and not wanted:
            return []
        found: list[RunSummaryLog] = []
        for summary in self._all(status):
            if len(found) >= limit:
                break
            is_wanted = not status or not wanted.isdisjoint(statuses_named(summary.status))
            if is_wanted and needs_attention in (None, summary.needs_attention):
                found.append(summary)
        return found

    def _all(self, status: str) -> Iterator[RunSummaryLog]:
        reader = SessionReader.find(self.base_path)
        if reader is not None:
            yield from _from_database(reader, status)
        else:
            yield from self._from_files(SESSIONS, _SESSION_PREFIX)
        yield from self._from_files(_RUNS, "")

    def _from_files(self, folder: str, prefix: str) -> Iterator[RunSummaryLog]:
        """Go through the runs of a folder, newest first: their names begin with their time."""
        try:
            names = os.listdir(self.base_path / folder)
        except OSError:
            return
        for name in sorted((n for n in names if n.startswith(prefix)), reverse=True):
            summary = self._summary(name)
            if summary is not None:
                yield summary


def _from_database(reader: SessionReader, status: str) -> Iterator[RunSummaryLog]:
    statuses = tuple(statuses_named(status)) if status else ()
    before = None
    while rows := reader.latest(statuses, before=before, limit=PAGE):
        for row in rows:
            known = reader.read(row.session_id)
            if known is not None:
                yield _summary_of(row.session_id, known[0])
        before = rows[-1].n


def _summary_of(run_id: str, chronicle: Chronicle) -> RunSummaryLog:
    record = {**summary_record(chronicle), "run_id": run_id}
    if not chronicle.has_summary:
        record["status"] = IN_PROGRESS
    return RunSummaryLog.model_validate(record)


def _checked(run_id: str) -> str:
    return check_name("run", run_id)


def _parsed(lines: Iterable[bytes], model: type[Model]) -> Iterator[Model]:
    """Read the lines that can be read; a torn or damaged one is passed over."""
    for line in lines:
        if not line.strip():
            continue
        try:
            yield model.model_validate(orjson.loads(line))
        except (orjson.JSONDecodeError, ValidationError):
            continue


def _line(record: BaseModel) -> bytes:
    fields: dict[str, Any] = record.model_dump(mode="json")
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def _started_at(run_id: str) -> str:
    """Read the time that an id begins with, `session_YYYYMMDD_HHMMSS_…` or `YYYYMMDDTHHMMSS_…`."""
    digits = run_id.removeprefix(_SESSION_PREFIX).replace("_", "T", 1)[:15]
    try:
        return iso_z(parse_iso(digits))
    except ValueError:
        return ""
