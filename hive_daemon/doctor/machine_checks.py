"""The machine: its clock, its zones, what daemons before left running on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from hive_daemon.doctor.finding import Finding
from hive_daemon.doctor.patient import Patient
from hive_daemon.errors import HiveError
from hive_daemon.insight.story import moment
from hive_daemon.storage.sqlite.inspection import last_event
from hive_daemon.tools import guard

OLDEST_SANE = 1_735_689_600.0
"""2025-01-01: before this software was made."""

_AHEAD_SECONDS = 60.0
_SYNC = "timedatectl set-ntp true"


def machine_findings(patient: Patient) -> Iterator[Finding]:
    """Look at the clock and the zones."""
    now = patient.clock.time()
    if patient.synchronised() is False:
        told = "the kernel says that the clock is not synchronised: timers may fire early, late or twice"
        yield Finding("clock_unsynchronised", "clock", told, _SYNC)
    yield from _behind(patient, now)
    if not patient.zones():
        told = "this machine knows no time zone but UTC: timers with a timezone cannot be planned"
        yield Finding("zones_missing", "tzdata", told, "pip install tzdata")


def _behind(patient: Patient, now: float) -> Iterator[Finding]:
    newest = _newest(patient)
    if now < OLDEST_SANE:
        told = f"the clock shows {moment(now)}, which is before this software was made"
    elif newest > now + _AHEAD_SECONDS:
        told = f"the clock shows {moment(now)}, and the store has an event of {moment(newest)}: it went back"
    else:
        return
    yield Finding("clock_behind", "clock", told, _SYNC)


def _newest(patient: Patient) -> float:
    """Return the time of the newest event, 0 where the store cannot tell: another check says so."""
    if not patient.database.is_file():
        return 0.0
    try:
        return last_event(patient.database)[1]
    except HiveError:
        return 0.0


def child_findings(patient: Patient) -> Iterator[Finding]:
    """Look for the guards of tool servers whose daemon is gone: one that its daemon let go of ends by itself.

    A guard's daemon is its parent and holds the other end of its leash, whatever process adopts orphans here.
    """
    mark = os.fsencode(Path(guard.__file__).resolve())
    for entry in sorted(patient.processes.glob("[0-9]*")):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if mark not in words:
                continue
            leash = os.readlink(entry / "fd" / os.fsdecode(words[words.index(mark) + 1]))
            parent = _parent(entry)
        except OSError:
            # It ended meanwhile, or belongs to somebody else.
            continue
        if not _holds(entry.with_name(str(parent)), leash):
            name = entry.name
            told = "a tool server whose daemon is gone still runs: what guards it hangs, or was stopped"
            yield Finding(
                "child_left", f"process {name}", told, f"kill {name} && kill -CONT {name}"
            )


def _holds(entry: Path, pipe: str) -> bool:
    """Say whether a process has a pipe open; one that is gone, or somebody else's, has not."""
    try:
        return any(_target(each) == pipe for each in (entry / "fd").iterdir())
    except OSError:
        return False


def _target(descriptor: Path) -> str:
    try:
        return os.readlink(descriptor)
    except FileNotFoundError:
        # It was closed meanwhile.
        return ""


def _parent(entry: Path) -> int:
    for line in (entry / "status").read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "PPid":
            return int(value)
    return 0
