"""Where a configuration comes from: the process's surroundings at one moment, the file they lead to, path defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hive_daemon.config.files import locate

FILE_NAME = "hive.yaml"
SYSTEM_FILE = Path("/etc/hive") / FILE_NAME
SOCKET_NAME = "hived.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSources:
    """Everything that a configuration is read from.

    `config_file` is the `--config` flag; `flags` maps dotted keys to what the other flags say, None for a flag that
    was not given (`{"state_dir": None, "log.level": "DEBUG"}`); `cwd` is where relative paths of flags and variables
    begin.
    """

    config_file: str | Path | None = None
    flags: Mapping[str, str | None] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    cwd: Path
    home: Path
    system_file: Path = SYSTEM_FILE

    @classmethod
    def of_process(
        cls,
        config_file: str | Path | None = None,
        flags: Mapping[str, str | None] | None = None,
    ) -> ConfigSources:
        """Take the environment, the working directory and the home of this process."""
        return cls(
            config_file=config_file,
            flags=flags or {},
            environ=dict(os.environ),
            cwd=Path.cwd(),
            home=Path(os.path.expanduser("~")),
        )


def find_file(sources: ConfigSources) -> tuple[Path | None, tuple[str, ...]]:
    """Return the configuration file, None if there is none, and warnings about places that could not be looked at.

    `--config`, `$HIVE_CONFIG`, `$XDG_CONFIG_HOME/hive/hive.yaml` (default `~/.config`), `/etc/hive/hive.yaml`: the
    first that is named or exists is taken, and must be readable.
    """
    named = sources.config_file or sources.environ.get("HIVE_CONFIG")
    if named:
        return locate(str(named), sources.cwd, sources.home), ()
    warnings: list[str] = []
    for path in _usual_places(sources):
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            warnings.append(f"{path}: skipped, this user cannot look there ({error.strerror})")
            continue
        return path, tuple(warnings)
    return None, tuple(warnings)


def default_state_dir(sources: ConfigSources) -> Path:
    """Return `$STATE_DIRECTORY` (systemd's, of several the first), else `~/.hive`."""
    return _first_of("STATE_DIRECTORY", sources) or sources.home / ".hive"


def default_socket(sources: ConfigSources, state_dir: Path) -> Path:
    """Return the socket under `$RUNTIME_DIRECTORY`, else `$XDG_RUNTIME_DIR/hive`, else the state directory."""
    if runtime := _first_of("RUNTIME_DIRECTORY", sources):
        return runtime / SOCKET_NAME
    if user_runtime := _first_of("XDG_RUNTIME_DIR", sources):
        return user_runtime / "hive" / SOCKET_NAME
    return state_dir / SOCKET_NAME


def _first_of(variable: str, sources: ConfigSources) -> Path | None:
    # systemd separates several directories by colons; a relative one is not systemd's.
    first = sources.environ.get(variable, "").partition(":")[0]
    return Path(first) if first.startswith("/") else None


def _usual_places(sources: ConfigSources) -> tuple[Path, Path]:
    own = _first_of("XDG_CONFIG_HOME", sources) or sources.home / ".config"
    return own / "hive" / FILE_NAME, sources.system_file
