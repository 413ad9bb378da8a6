"""The unit file of the service manager, held against what the configuration needs. Source: systemd.service(5)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from hive_daemon.doctor.finding import Finding
from hive_daemon.doctor.patient import UNIT, Patient

GRACE_SECONDS = 10.0
"""What the daemon needs beyond drain_seconds to put away what did not end, and a little more."""

_DEFAULT_STOP_SECONDS = 90.0
_EXIT_CONFIG = "78"
_UNITS = {
    "": 1.0,
    "s": 1.0,
    "sec": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3_600.0,
    "ms": 0.001,
    "d": 86_400.0,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_RESTARTS = ("on-failure", "on-abnormal", "always")


def unit_findings(patient: Patient) -> Iterator[Finding]:
    """Look at the unit file that is installed, with its drop-ins."""
    found = next((each / UNIT for each in patient.unit_places if (each / UNIT).is_file()), None)
    if found is None:
        told = "no unit file is installed: nothing starts the daemon again"
        yield Finding("unit_missing", UNIT, told, _installation(patient))
        return
    service = read_unit(found, patient.unit_places)
    edit = f"systemctl edit {UNIT} && systemctl daemon-reload  # in [Service]: "
    for name, told, line in _faults(service, patient.loaded.config.shutdown.drain_seconds):
        yield Finding(name, str(found), told, f"{edit}{line}")


def _installation(patient: Patient) -> str:
    """Return the command that installs the unit file which came with this package, or asks for one to be written."""
    ours = next((each / UNIT for each in patient.unit_sources if (each / UNIT).is_file()), None)
    if ours is None:
        return f"systemctl edit --force --full {UNIT}  # docs/operations.md says what goes in"
    return f"cp {shlex.quote(str(ours))} /etc/systemd/system/ && systemctl daemon-reload"


def read_unit(path: Path, places: tuple[Path, ...]) -> dict[str, str]:
    """Return the settings of [Service]: of the unit, then of its drop-ins by name; the last one counts."""
    texts = [path]
    dropped = {
        drop.name: drop
        for place in reversed(places)
        for drop in (place / f"{UNIT}.d").glob("*.conf")
    }
    texts.extend(dropped[name] for name in sorted(dropped))
    settings: dict[str, str] = {}
    for text in texts:
        settings |= _service(text.read_text(errors="replace"))
    return settings


def _service(text: str) -> dict[str, str]:
    settings: dict[str, str] = {}
    section = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif section == "Service" and "=" in line and line[0] not in "#;":
            name, _, value = line.partition("=")
            settings[name.strip()] = value.strip()
    return settings


def _faults(service: Mapping[str, str], drain: float) -> Iterator[tuple[str, str, str]]:
    """Yield the id, the cause and the line that mends it."""
    stop = seconds(service.get("TimeoutStopSec") or service.get("TimeoutSec") or "")
    limit = _DEFAULT_STOP_SECONDS if stop is None else stop
    needed = drain + GRACE_SECONDS
    if limit < needed:
        told = f"TimeoutStopSec is {limit:g} s, shutdown.drain_seconds {drain:g}: the daemon is killed while it drains"
        yield "unit_stop_short", told, f"TimeoutStopSec={needed:g}"
    if (
        service.get("Type") not in ("notify", "notify-reload")
        or service.get("NotifyAccess") == "none"
    ):
        told = "the service manager does not hear READY: units that wait for the daemon start too early"
        yield "unit_no_notify", told, "Type=notify NotifyAccess=main"
    if not seconds(service.get("WatchdogSec") or "0"):
        yield (
            "unit_no_watchdog",
            "without WatchdogSec a daemon that hangs is not restarted",
            "WatchdogSec=30",
        )
    if service.get("Restart", "no") not in _RESTARTS:
        told = f"Restart is {service.get('Restart', 'no')}: after a crash the daemon stays down"
        yield "unit_no_restart", told, "Restart=on-failure"
    elif _EXIT_CONFIG not in shlex.split(service.get("RestartPreventExitStatus", "")):
        told = "a wrong configuration (exit 78) is started again and again"
        yield "unit_restarts_bad_config", told, "RestartPreventExitStatus=78"


def seconds(text: str) -> float | None:
    """Read a time span as systemd.time(7) has it; infinity for no limit, None for what is no span.

    >>> seconds("1min 30s"), seconds("45")
    (90.0, 45.0)
    """
    if text == "infinity":
        return float("inf")
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text).strip():
        return None
    if any(unit not in _UNITS for _, unit in parts):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
