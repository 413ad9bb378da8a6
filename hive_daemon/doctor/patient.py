"""Who is looked at: the configuration, where its parts lie, and the machine's own words, each of them replaceable."""

from __future__ import annotations

import ctypes
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import available_timezones

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.config.loaded import LoadedConfig
from hive_daemon.storage.sqlite.database import DATABASE

UNIT = "hive-agent.service"
UNIT_PLACES = (
    Path("/etc/systemd/system"),
    Path("/run/systemd/system"),
    Path("/usr/local/lib/systemd/system"),
    Path("/usr/lib/systemd/system"),
    Path("/lib/systemd/system"),
)
"""Where a unit file is looked for, the first one counts. Source: systemd.unit(5)."""

UNIT_SOURCES = (
    Path(sysconfig.get_path("data"), "share", "hive", "systemd"),
    Path(__file__).resolve().parent.parent.parent / "deploy" / "systemd",
)
"""Where the unit file that comes with this package may lie: beside what was installed, or in its repository."""

MIB = 1024 * 1024
_TIMEX_BYTES = 512
_UNSYNCHRONISED = 5
"""TIME_ERROR of adjtimex(2)."""


def is_synchronised() -> bool | None:
    """Say whether the kernel calls the clock synchronised, None where it does not tell. Source: adjtimex(2)."""
    ask = getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)
    if ask is None:
        return None
    # All zero asks for nothing to be changed; the structure is smaller than this on every architecture.
    state = ask(ctypes.create_string_buffer(_TIMEX_BYTES))
    return None if state < 0 else state != _UNSYNCHRONISED


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at. `full_bytes` and `low_bytes` are how little room counts as none, and as little."""

    loaded: LoadedConfig
    environ: Mapping[str, str] = field(default_factory=dict)
    clock: Clock = SYSTEM_CLOCK
    synchronised: Callable[[], bool | None] = is_synchronised
    zones: Callable[[], set[str]] = available_timezones
    unit_places: tuple[Path, ...] = UNIT_PLACES
    unit_sources: tuple[Path, ...] = UNIT_SOURCES
    processes: Path = Path("/proc")
    full_bytes: int = 64 * MIB
    low_bytes: int = 1024 * MIB
    wal_bytes: int = 256 * MIB

    @property
    def state_dir(self) -> Path:
        """The state directory."""
        return self.loaded.config.state_dir

    @property
    def socket(self) -> Path:
        """Where the control socket is."""
        return self.loaded.config.socket

    @property
    def database(self) -> Path:
        """The store."""
        return self.state_dir / DATABASE
