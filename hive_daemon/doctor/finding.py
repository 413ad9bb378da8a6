"""What can be wrong: every finding with its id, its severity and what it means. docs/doctor.md has the same table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from hive_daemon.observability.redaction import redactor


class Severity(StrEnum):
    """How bad it is: an error keeps the daemon from its work, a warning may, information only tells."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Mend(StrEnum):
    """What `--fix` may do: nothing of it loses anything."""

    REMOVE_SOCKET = "remove_socket"
    REBUILD_MIRROR = "rebuild_mirror"
    SALVAGE = "salvage"


_ERROR, _WARNING, _INFO = Severity.ERROR, Severity.WARNING, Severity.INFO

FINDINGS: Mapping[str, Severity] = {
    "config_invalid": _ERROR,
    "config_warning": _WARNING,
    "state_missing": _INFO,
    "state_unusable": _ERROR,
    "state_open": _WARNING,
    "disk_full": _ERROR,
    "disk_low": _WARNING,
    "store_damaged": _ERROR,
    "store_gone": _ERROR,
    "store_too_new": _ERROR,
    "wal_large": _WARNING,
    "daemon_down": _INFO,
    "daemon_silent": _ERROR,
    "daemon_failing": _ERROR,
    "loop_blocked": _WARNING,
    "socket_stale": _WARNING,
    "socket_odd": _ERROR,
    "port_taken": _ERROR,
    "clock_unsynchronised": _WARNING,
    "clock_behind": _ERROR,
    "zones_missing": _WARNING,
    "unit_missing": _INFO,
    "unit_stop_short": _ERROR,
    "unit_no_watchdog": _WARNING,
    "unit_no_notify": _ERROR,
    "unit_no_restart": _WARNING,
    "unit_restarts_bad_config": _WARNING,
    "agent_broken": _ERROR,
    "agent_warning": _WARNING,
    "key_missing": _WARNING,
    "key_refused": _ERROR,
    "timer_never": _WARNING,
    "timer_held": _WARNING,
    "session_orphan": _WARNING,
    "child_left": _WARNING,
    "mirror_behind": _WARNING,
}
"""Every finding by its id."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: where, why, and the command that mends it. `mend` is what `--fix` does about it."""

    id: str
    subject: str
    cause: str
    command: str
    mend: Mend | None = None

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return FINDINGS[self.id]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; secrets are masked."""
        shown: dict[str, Any] = redactor().redact_value(
            {**asdict(self), "severity": self.severity.value}
        )
        return shown
