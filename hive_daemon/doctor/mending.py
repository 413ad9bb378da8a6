"""What `hive doctor --fix` does: each mend by itself; it says in a sentence what it did. Nothing is lost by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from hive_daemon.doctor.daemon_checks import is_stale
from hive_daemon.doctor.finding import Finding, Mend
from hive_daemon.doctor.patient import Patient
from hive_daemon.errors import HiveError
from hive_daemon.storage.mirror import Mirror
from hive_daemon.storage.mirror_catch_up import MirrorCatchUp
from hive_daemon.storage.mirror_fold import MirrorMeta, MirrorMode
from hive_daemon.storage.session_reader import SessionReader
from hive_daemon.storage.sqlite.archive import Archive
from hive_daemon.storage.sqlite.reading import Deaf
from hive_daemon.storage.sqlite.salvage import salvage
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.values import ExecutionRow


def mend(patient: Patient, findings: list[Finding]) -> list[str]:
    """Mend what can be mended safely; answer what was done, or why not, a sentence each."""
    told = []
    for finding in findings:
        if finding.mend is None:
            continue
        try:
            told.append(_MENDS[finding.mend](patient))
        except (HiveError, OSError) as error:
            told.append(f"{finding.id} was left as it is: {error}")
    return told


def _remove_socket(patient: Patient) -> str:
    path = patient.socket
    if not is_stale(str(path)):
        return f"{path} was left: somebody listens on it now"
    path.unlink()
    return f"removed {path}, on which nobody listened"


def _salvage(patient: Patient) -> str:
    stamp = datetime.fromtimestamp(patient.clock.time(), UTC).strftime("%Y%m%dT%H%M%SZ")
    done = salvage(patient.database, stamp)
    count = done.rows.get("executions", 0)
    lost = f"; something is missing in {', '.join(done.torn)}" if done.torn else ""
    return (
        f"salvaged {sum(done.rows.values())} rows ({count} executions) into a new "
        f"{patient.database.name}{lost}; the damaged bytes are kept in {done.kept}"
    )


def _rebuild_mirror(patient: Patient) -> str:
    is_done = asyncio.run(_catch_up(patient))
    where = patient.state_dir / "agents"
    if is_done:
        return f"rebuilt what lagged of the readable files below {where}"
    return f"the readable files below {where} could not all be written: is there room?"


async def _catch_up(patient: Patient) -> bool:
    config = patient.loaded.config
    root: Path = patient.state_dir
    describe = partial(_described, SessionReader(root, Archive(patient.database)), root)
    async with open_sqlite(root, Deaf(), patient.clock) as store:
        mode = MirrorMode(config.mirror.value)
        mirror = Mirror(root, mode, patient.clock, config.checkpoints.keep)
        try:
            return await MirrorCatchUp(mirror, store, describe, patient.clock).once()
        finally:
            await mirror.close()


def _described(reader: SessionReader, root: Path, row: ExecutionRow) -> MirrorMeta:
    """Return what the readable files need to know; the folder of an agent may not be there yet."""
    return replace(reader.meta_of(row), directory=root / "agents" / row.agent)


_MENDS: dict[Mend, Callable[[Patient], str]] = {
    Mend.REMOVE_SOCKET: _remove_socket,
    Mend.SALVAGE: _salvage,
    Mend.REBUILD_MIRROR: _rebuild_mirror,
}
