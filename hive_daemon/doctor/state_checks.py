"""The state directory and the store in it: permissions, room, soundness, the write-ahead log."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator

from hive_daemon.doctor.finding import Finding, Mend
from hive_daemon.doctor.patient import MIB, Patient
from hive_daemon.errors import StorageTooNew
from hive_daemon.storage.sqlite.inspection import fault_of, owner_of

_OTHERS = 0o077


def state_findings(patient: Patient) -> Iterator[Finding]:
    """Look at the state directory."""
    path = patient.state_dir
    if not path.exists():
        told = "there is no state directory: no daemon has run here yet"
        yield Finding("state_missing", str(path), told, "hived")
        return
    usable = path.is_dir() and os.access(path, os.R_OK | os.W_OK | os.X_OK)
    if not usable:
        told = f"it is no directory that user {os.geteuid()} can read and write"
        yield Finding("state_unusable", str(path), told, f"ls -ld {_quoted(path)}")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        told = f"its mode is {mode:04o}: others can look into prompts, answers and inputs"
        yield Finding("state_open", str(path), told, f"chmod 700 {_quoted(path)}")
    yield from _room(patient)


def _room(patient: Patient) -> Iterator[Finding]:
    path = patient.state_dir
    room = os.statvfs(path)
    free = room.f_bavail * room.f_frsize
    is_out_of_files = room.f_files > 0 and room.f_favail == 0
    command = f"df -h {_quoted(path)} && df -i {_quoted(path)}"
    if free < patient.full_bytes or is_out_of_files:
        told = f"{free // MIB} MiB are free: new work is refused (507)"
        yield Finding("disk_full", str(path), told, command)
    elif free < patient.low_bytes:
        told = f"{free // MIB} MiB are free, less than {patient.low_bytes // MIB} MiB"
        yield Finding("disk_low", str(path), told, command)


def store_findings(patient: Patient) -> Iterator[Finding]:
    """Look at the store."""
    path = patient.database
    wal = path.with_name(f"{path.name}-wal")
    wal_bytes = wal.stat().st_size if wal.exists() else 0
    if not path.exists():
        if wal_bytes:
            told = f"it is gone, but {wal.name} is there with {wal_bytes} bytes"
            yield Finding("store_gone", str(path), told, f"ls -l {_quoted(path.parent)}")
        return
    fault = fault_of(path)
    if isinstance(fault, StorageTooNew):
        yield Finding("store_too_new", str(path), str(fault), "pip install --upgrade hive-daemon")
    elif fault is not None:
        yield Finding("store_damaged", str(path), str(fault), "hive doctor --fix", Mend.SALVAGE)
    if wal_bytes > patient.wal_bytes:
        owner = owner_of(patient.state_dir)
        who = f"process {owner} holds it open" if owner else "nobody owns it"
        told = f"the write-ahead log has {wal_bytes // MIB} MiB ({who}): a reader that never ends keeps it growing"
        yield Finding("wal_large", str(wal), told, "systemctl restart hive-agent")


def _quoted(path: object) -> str:
    return shlex.quote(str(path))
